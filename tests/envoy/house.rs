//! Upstream, Tollgate and Envoy, on free ports of the loopback.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use reqwest::{Client, Response};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate_tests::{Server, free_port};

/// Everything that takes part; Envoy and Tollgate are killed when dropped.
pub(crate) struct House {
    client: Client,
    tollgate: Option<Server>,
    envoy: Envoy,
    _folder: TempDir,
}

/// A running Envoy.
struct Envoy {
    child: Child,
    edge: u16,
    admin: u16,
}

/// How long anything may take.
const LONG: Duration = Duration::from_secs(30);
const CONFIGURATION: &str = include_str!("../../deploy/envoy/envoy.yaml");
const LIMITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/envoy/limits");

impl House {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let upstream = upstream().await?;
        let tollgate = Server::start([("TOLLGATE_GRPC_LISTEN", "127.0.0.1:0"), ("TOLLGATE_RLS_CONFIG", LIMITS)])?;
        let said = tollgate.said("  envoy     ")?;
        let port = said.split_whitespace().next().and_then(|address| address.rsplit(':').next());
        let port = port.context("it says its address")?.parse()?;
        let envoy = Envoy::start(&folder, [("8080", upstream), ("8081", port)])?;
        let house = Self { client: Client::new(), tollgate: Some(tollgate), envoy, _folder: folder };
        house.until("ready", |text| text.trim() == "LIVE").await?;
        Ok(house)
    }

    /// What Envoy says that it is.
    pub(crate) fn version(&self) -> Result<String> {
        let said = Command::new(program()?).arg("--version").output()?;
        Ok(String::from_utf8(said.stdout)?.trim().to_owned())
    }

    /// Asks the upstream, through Envoy.
    pub(crate) async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Result<Response> {
        let request = self.client.get(format!("http://127.0.0.1:{}{path}", self.envoy.edge));
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        Ok(request.send().await?)
    }

    /// Waits until Envoy's admin page says what is wanted.
    pub(crate) async fn until(&self, page: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let (began, url) = (Instant::now(), format!("http://127.0.0.1:{}/{page}", self.envoy.admin));
        loop {
            let text = match self.client.get(&url).send().await {
                Ok(response) => response.text().await?,
                Err(error) => error.to_string(),
            };
            if wanted(&text) {
                return Ok(());
            }
            if began.elapsed() > LONG {
                bail!("waited in vain for Envoy's page {page}, which says:\n{text}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends Tollgate, as a crash would.
    pub(crate) fn stop_tollgate(&mut self) -> Result<()> {
        self.tollgate.take().context("it runs once")?.signal("KILL")
    }
}

impl Envoy {
    /// Starts it with our configuration, of which these ports are replaced, and those on which it listens by free ones.
    fn start(folder: &TempDir, ports: [(&str, u16); 2]) -> Result<Self> {
        let (edge, admin) = (free_port()?, free_port()?);
        let ports = ports.into_iter().chain([("10000", edge), ("9901", admin)]);
        let replaced = ports.fold(CONFIGURATION.to_owned(), |text, (old, new)| {
            text.replace(&format!("port_value: {old} "), &format!("port_value: {new} "))
        });
        let (file, log) = (folder.path().join("envoy.yaml"), folder.path().join("envoy.log"));
        fs::write(&file, replaced)?;
        let log = fs::File::create(log)?;
        let mut command = Command::new(program()?);
        command.arg("-c").arg(&file).args(["--concurrency", "1", "--use-dynamic-base-id"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().context("failed to start Envoy")?;
        Ok(Self { child, edge, admin })
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Result<String> {
    std::env::var("TOLLGATE_ENVOY")
        .context("TOLLGATE_ENVOY does not name an Envoy; run tests/run-envoy, which brings one along")
}

/// An upstream that always says the same. Answers its port.
async fn upstream() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    Ok(port)
}

async fn answer(mut stream: TcpStream) -> Result<()> {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => head.extend_from_slice(buffer.get(..read).unwrap_or_default()),
        }
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\nupstream").await?;
    Ok(())
}
