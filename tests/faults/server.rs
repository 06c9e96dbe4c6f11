//! A `redis-server` that a row may stop, kill and start again with the same arguments and the same files.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use redis::{Connection, FromRedisValue, IntoConnectionInfo as _};
use tollgate::config::RedisTarget;
use tollgate_tests::free_port;

/// A server of one's own on a free port of the loopback; killed when dropped.
pub(crate) struct Server {
    process: Child,
    port: u16,
    launch: Launch,
    folder: tempfile::TempDir,
}

/// How a server is started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    /// The program, if not `redis-server`.
    pub(crate) program: Option<String>,
    /// Its further arguments.
    pub(crate) arguments: Vec<String>,
    /// What its environment holds beside that of this process.
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
}

/// Writes every command to a file before it answers, so that a killed server forgets nothing.
pub(crate) const REMEMBERING: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "everysec"];

/// Longer than any server takes for anything.
const PATIENCE: Duration = Duration::from_secs(15);

impl Server {
    /// Starts a server that everybody may use and that writes nothing to disk.
    pub(crate) fn start() -> Result<Self> {
        Self::with(&[])
    }

    /// Starts a server with further arguments.
    pub(crate) fn with(arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self::launch(&Launch { arguments, ..Launch::default() })
    }

    /// Starts a server.
    pub(crate) fn launch(launch: &Launch) -> Result<Self> {
        // Between looking for a free port and taking it, another may take it.
        for _ in 0..5 {
            let (port, folder) = (free_port()?, tempfile::tempdir()?);
            let process = launch.spawn(port, folder.path())?;
            let mut server = Self { process, port, launch: launch.clone(), folder };
            if server.await_ready().is_ok() {
                return Ok(server);
            }
        }
        bail!("the server did not start on any of five ports: {launch:?}")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn target(&self) -> Result<RedisTarget> {
        Ok(self.url().parse()?)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder that is its working directory.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends one command over a connection of its own.
    pub(crate) fn run<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        run(&mut self.connect()?, words)
    }

    /// Opens a connection on which nothing takes longer than a few seconds.
    pub(crate) fn connect(&self) -> Result<Connection> {
        connect(self.port)
    }

    /// Suspends it: connections stay open, and nothing answers.
    pub(crate) fn stop(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on.
    pub(crate) fn cont(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Kills it without a word.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again on the same port, in the same folder, and does not wait.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.process = self.launch.spawn(self.port, self.folder.path())?;
        Ok(())
    }

    /// Waits until it answers as it does when all is well.
    pub(crate) fn await_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        while !self.is_ready() {
            ensure!(self.process.try_wait()?.is_none(), "the server on port {} ended by itself", self.port);
            ensure!(began.elapsed() < PATIENCE, "the server on port {} is not ready after {PATIENCE:?}", self.port);
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.run::<String>(&["PING"]).is_ok_and(|pong| pong == "PONG")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.process.id().to_string()).status()?;
        ensure!(sent.success(), "kill -{name} failed");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.kill();
    }
}

impl Launch {
    fn spawn(&self, port: u16, folder: &Path) -> Result<Child> {
        let mut command = Command::new(self.program.as_deref().unwrap_or("redis-server"));
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        command.args(["--enable-debug-command", "local"]).arg("--dir").arg(folder).args(&self.arguments);
        let quiet = command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        quiet
            .spawn()
            .context("failed to run `redis-server`; install it, for example with `apt-get install redis-server`")
    }
}

/// Opens a connection to a port of the loopback.
pub(crate) fn connect(port: u16) -> Result<Connection> {
    let info = format!("redis://127.0.0.1:{port}").as_str().into_connection_info()?;
    let connection = redis::Client::open(info)?.get_connection_with_timeout(Duration::from_secs(1))?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(connection)
}

/// Sends one command.
pub(crate) fn run<T: FromRedisValue>(connection: &mut Connection, words: &[&str]) -> Result<T> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.query(connection).with_context(|| format!("failed to run {words:?}"))
}
