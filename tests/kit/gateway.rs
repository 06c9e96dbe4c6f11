//! Gateways that people run, with the files of `deploy/`.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::free_port;
use crate::process::until;

/// A running nginx or Caddy before an application; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    /// `http://` and its address.
    pub url: String,
    folder: tempfile::TempDir,
}

/// Whom a gateway stands before, and whom it asks: ports of the loopback.
#[derive(Clone, Copy, Debug)]
pub struct Behind {
    /// The port of Tollgate.
    pub tollgate: u16,
    /// The port of the application.
    pub app: u16,
}

/// `deploy/nginx.conf`.
pub const NGINX: &str = include_str!("../../deploy/nginx.conf");
const CADDY: &str = include_str!("../../deploy/Caddyfile");

impl Gateway {
    /// nginx with `deploy/nginx.conf`, in which nothing is changed but ports.
    ///
    /// # Errors
    ///
    /// Fails if nginx is not installed, with what installs it, or if it does not start, with what it said.
    pub fn nginx(behind: Behind) -> Result<Self> {
        Self::nginx_from(NGINX, behind)
    }

    /// nginx with this file instead.
    ///
    /// # Errors
    ///
    /// As [`nginx`](Self::nginx).
    pub fn nginx_from(file: &str, behind: Behind) -> Result<Self> {
        let start = |folder: &Path, ours: &Path| {
            let place = folder.display();
            let bodies = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|kind| format!("{kind}_temp_path {place}/{kind};"));
            let around = format!(
                "daemon off; master_process off; pid {place}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {} include {}; }}\n",
                bodies.join(" "),
                ours.display()
            );
            let main = folder.join("main.conf");
            fs::write(&main, around)?;
            let mut nginx = Command::new("nginx");
            nginx.arg("-p").arg(folder).arg("-e").arg("stderr").arg("-c").arg(main);
            Ok(nginx)
        };
        Self::start("nginx", "nginx-light", file, behind, start)
    }

    /// Caddy with `deploy/Caddyfile`, in which nothing is changed but ports.
    ///
    /// # Errors
    ///
    /// As [`nginx`](Self::nginx).
    pub fn caddy(behind: Behind) -> Result<Self> {
        let start = |folder: &Path, ours: &Path| {
            let main = folder.join("main.caddy");
            // Its own admin API would take a port that all share.
            fs::write(&main, format!("{{\n\tadmin off\n}}\nimport {}\n", ours.display()))?;
            let mut caddy = Command::new("caddy");
            caddy.args(["run", "--adapter", "caddyfile", "--config"]).arg(main).env("HOME", folder);
            caddy.env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
            Ok(caddy)
        };
        Self::start("caddy", "caddy", CADDY, behind, start)
    }

    fn start(
        program: &str,
        package: &str,
        file: &str,
        behind: Behind,
        command: impl Fn(&Path, &Path) -> Result<Command>,
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (ours, log) = (folder.path().join("ours"), folder.path().join("log"));
        // Between looking for a free port and taking it, another may take it.
        for _ in 0..5 {
            let port = free_port()?;
            fs::write(&ours, moved(file, port, behind)?)?;
            let said = fs::File::create(&log)?;
            let mut command = command(folder.path(), &ours)?;
            command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
            let mut child = command.spawn().with_context(|| {
                format!("failed to run `{program}`; install it, for example with `apt-get install {package}`")
            })?;
            until("a gateway listens", || {
                Ok(TcpStream::connect(("127.0.0.1", port)).is_ok() || child.try_wait()?.is_some())
            })?;
            if child.try_wait()?.is_none() {
                return Ok(Self { child, url: format!("http://127.0.0.1:{port}"), folder });
            }
        }
        bail!("{program} did not start on any of five ports; it said last:\n{}", fs::read_to_string(log)?)
    }

    /// What it has said so far.
    ///
    /// # Errors
    ///
    /// Fails if that cannot be read.
    pub fn output(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.path().join("log"))?)
    }
}

/// The file with other ports.
fn moved(file: &str, port: u16, behind: Behind) -> Result<String> {
    let mut text = file.to_owned();
    for (usual, actual) in [("8080", port), ("8787", behind.tollgate), ("3000", behind.app)] {
        anyhow::ensure!(text.matches(usual).count() == 1, "the port {usual} stands not once in:\n{text}");
        text = text.replace(usual, &actual.to_string());
    }
    Ok(text)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
