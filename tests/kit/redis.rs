//! A Redis server of one's own.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use redis::{FromRedisValue, RedisConnectionInfo};
use tollgate::config::{Address, RedisTarget, Secret, Topology};

/// A `redis-server` on a free port of the loopback, without any data, gone when dropped.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    port: u16,
    password: Option<String>,
    directory: tempfile::TempDir,
}

/// How a server differs from an open and empty one.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// The password of the default user, if it has one.
    pub password: Option<String>,
    /// A configuration file; the port, the address and the persistence of a test win over it.
    pub config: Option<PathBuf>,
    /// A file of users.
    pub users: Option<PathBuf>,
}

impl Setting {
    /// A server with a password.
    #[must_use]
    pub fn password(password: &str) -> Self {
        Self { password: Some(password.to_owned()), ..Self::default() }
    }
}

impl RedisServer {
    /// Starts an open server.
    ///
    /// # Errors
    ///
    /// Fails if there is no `redis-server` on the `PATH`, or if it does not start.
    pub fn start() -> Result<Self> {
        Self::start_with(Setting::default())
    }

    /// Starts a server.
    ///
    /// # Errors
    ///
    /// Fails as [`start`](Self::start) does.
    pub fn start_with(setting: Setting) -> Result<Self> {
        let directory = tempfile::tempdir().context("failed to make a directory for redis-server")?;
        // Between looking for a free port and taking it, another may take it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            if let Some(process) = spawn(port, &setting, &directory)? {
                return Ok(Self { process, port, password: setting.password, directory });
            }
        }
        bail!("redis-server did not start on any of five ports")
    }

    /// Where it is and how to be let in, as the configuration says it.
    #[must_use]
    pub fn target(&self) -> RedisTarget {
        RedisTarget {
            topology: Topology::Single(Address { host: "127.0.0.1".to_owned(), port: self.port }),
            username: None,
            password: self.password.clone().map(Secret::new),
            database: 0,
            tls: false,
        }
    }

    /// Its address as `REDIS_URL` gives it.
    #[must_use]
    pub fn url(&self) -> String {
        let login = self.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        format!("redis://{login}127.0.0.1:{}", self.port)
    }

    /// Its port on the loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends one command over a connection of its own.
    ///
    /// # Errors
    ///
    /// Fails if the server does not answer, or answers with an error.
    pub fn run<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let mut login = RedisConnectionInfo::default();
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let address = redis::ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.port);
        let info = redis::IntoConnectionInfo::into_connection_info(address)?.set_redis_settings(login);
        let mut connection = redis::Client::open(info)?.get_connection()?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut connection).with_context(|| format!("failed to run {words:?}"))
    }

    /// Suspends it: connections stay open, and nothing answers.
    ///
    /// # Errors
    ///
    /// Fails if it is gone already.
    pub fn stop(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// Fails if it is gone already.
    pub fn cont(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// Kills it, with all that it holds.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Starts it again after a [`kill`](Self::kill), on the same port and empty.
    ///
    /// # Errors
    ///
    /// Fails if the port was taken meanwhile.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with(Setting { password: self.password.clone(), ..Setting::default() })
    }

    /// Starts it again after a [`kill`](Self::kill), on the same port, empty and with another setting.
    ///
    /// # Errors
    ///
    /// Fails if the port was taken meanwhile.
    pub fn restart_with(&mut self, setting: Setting) -> Result<()> {
        self.process = spawn(self.port, &setting, &self.directory)?.context("redis-server did not start again")?;
        self.password = setting.password;
        Ok(())
    }

    fn signal(&self, name: &str) -> Result<()> {
        let done = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.process.id())]).status()?;
        if done.success() { Ok(()) } else { bail!("kill -{name} {} failed", self.process.id()) }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.kill();
    }
}

/// Starts a server and waits until it is ready; none if it ended before.
fn spawn(port: u16, setting: &Setting, directory: &tempfile::TempDir) -> Result<Option<Child>> {
    let mut command = Command::new("redis-server");
    command.args(&setting.config);
    if let Some(users) = &setting.users {
        command.arg("--aclfile").arg(users);
    }
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.arg("--dir").arg(directory.path());
    if let Some(password) = &setting.password {
        command.args(["--requirepass", password]);
    }
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("failed to run `redis-server`; install it, for example with `apt-get install redis-server`")?;
    let output = process.stdout.take().context("redis-server has no output")?;
    let ready = BufReader::new(output).lines().map_while(Result::ok).any(|line| line.contains("Ready to accept"));
    if ready {
        return Ok(Some(process));
    }
    process.wait()?;
    Ok(None)
}
