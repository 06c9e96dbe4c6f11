//! A Redis server of one's own.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::{Client, ConnectionAddr, FromRedisValue, IntoConnectionInfo as _, RedisConnectionInfo};
use tollgate::config::{Address, RedisTarget, Secret, Topology};

use crate::process::{Process, cluster_port};
use crate::tls::{TlsSetting, authority, trusting};

/// A `redis-server` on a free port of the loopback, without any data, gone when dropped.
///
/// `TOLLGATE_REDIS_SERVER` may name another program, such as `valkey-server`.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    port: u16,
    setting: Setting,
    kind: Kind,
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
    /// How it speaks TLS, if it does not speak plainly.
    pub tls: Option<TlsSetting>,
    /// Whether it listens at a Unix socket instead of a port.
    pub socket: bool,
    /// Further arguments of the program, such as `--maxmemory` and `1mb`.
    pub arguments: Vec<String>,
}

/// What a server is to others.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Alone,
    /// A server of a cluster, which keeps a second port.
    OfCluster,
    /// A sentinel, configured so at first. It goes on writing its configuration by itself.
    Sentinel(String),
}

impl Setting {
    /// A server with a password.
    #[must_use]
    pub fn password(password: &str) -> Self {
        Self { password: Some(password.to_owned()), ..Self::default() }
    }

    /// A server that speaks TLS.
    #[must_use]
    pub fn tls(tls: TlsSetting) -> Self {
        Self { tls: Some(tls), ..Self::default() }
    }

    /// A server behind a Unix socket.
    #[must_use]
    pub fn socket() -> Self {
        Self { socket: true, ..Self::default() }
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
        Self::start_as(Kind::Alone, setting)
    }

    pub(crate) fn start_as(kind: Kind, setting: Setting) -> Result<Self> {
        let directory = tempfile::tempdir().context("failed to make a directory for redis-server")?;
        // Between looking for a free port and taking it, another may take it.
        for _ in 0..5 {
            let port = match kind {
                Kind::OfCluster => cluster_port()?,
                _ => TcpListener::bind("127.0.0.1:0")?.local_addr()?.port(),
            };
            if let Some(process) = spawn(port, &kind, &setting, &directory)? {
                return Ok(Self { process, port, setting, kind, directory });
            }
        }
        let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        bail!("redis-server did not start on any of five ports; it said last:\n{log}")
    }

    /// Where it is and how to be let in, as the configuration says it.
    #[must_use]
    pub fn target(&self) -> RedisTarget {
        let topology = match self.setting.socket {
            true => Topology::Unix(self.directory.path().join("socket")),
            false => Topology::Single(self.address()),
        };
        RedisTarget {
            topology,
            username: None,
            password: self.setting.password.clone().map(Secret::new),
            database: 0,
            tls: self.setting.tls.map(|_| trusting()),
        }
    }

    /// Its address as `REDIS_URL` gives it. One that speaks TLS wants `REDIS_CA_CERT` besides, from [`authority`].
    #[must_use]
    pub fn url(&self) -> String {
        let login = self.setting.password.as_ref().map_or_else(String::new, |password| format!(":{password}@"));
        self.target().to_string().replace("***@", "").replacen("://", &format!("://{login}"), 1)
    }

    /// Its address on the loopback.
    #[must_use]
    pub fn address(&self) -> Address {
        Address { host: "127.0.0.1".to_owned(), port: self.port }
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
    /// Fails if the server does not answer within five seconds, or answers with an error.
    pub fn run<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        let mut connection = self.client()?.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(word);
        }
        command.query(&mut connection).with_context(|| format!("failed to run {words:?}"))
    }

    fn client(&self) -> Result<Client> {
        let mut login = RedisConnectionInfo::default();
        if let Some(password) = &self.setting.password {
            login = login.set_password(password);
        }
        let address = match (self.setting.socket, self.setting.tls) {
            (true, _) => ConnectionAddr::Unix(self.directory.path().join("socket")),
            (_, None) => ConnectionAddr::Tcp("127.0.0.1".to_owned(), self.port),
            (_, Some(_)) => ConnectionAddr::TcpTls {
                host: "127.0.0.1".to_owned(),
                port: self.port,
                insecure: false,
                tls_params: None,
            },
        };
        let info = address.into_connection_info()?.set_redis_settings(login);
        if self.setting.tls.is_none() {
            return Ok(Client::open(info)?);
        }
        let client = crate::tls::client();
        let client_tls = Some(redis::ClientTlsConfig {
            client_cert: fs::read(client.certificate)?,
            client_key: fs::read(client.key)?,
        });
        let root_cert = Some(fs::read(authority())?);
        Ok(Client::build_with_tls(info, redis::TlsCertificates { client_tls, root_cert })?)
    }

    /// Suspends it: connections stay open, and nothing answers.
    ///
    /// # Errors
    ///
    /// Fails if it is gone already.
    pub fn stop(&self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    ///
    /// Fails if it is gone already.
    pub fn cont(&self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// Kills it, with all that it holds.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again after a [`kill`](Self::kill), on the same port, empty and with the same setting. A server of a cluster and a sentinel
    /// remember who they are.
    ///
    /// # Errors
    ///
    /// Fails if the port was taken meanwhile.
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with(self.setting.clone())
    }

    /// Starts it again after a [`kill`](Self::kill), on the same port, empty and with another setting.
    ///
    /// # Errors
    ///
    /// Fails if the port was taken meanwhile.
    pub fn restart_with(&mut self, setting: Setting) -> Result<()> {
        self.process =
            spawn(self.port, &self.kind, &setting, &self.directory)?.context("redis-server did not start again")?;
        self.setting = setting;
        Ok(())
    }
}

/// How long a server may take for one command.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts a server and waits until it is ready; none if it ended before.
fn spawn(port: u16, kind: &Kind, setting: &Setting, directory: &tempfile::TempDir) -> Result<Option<Process>> {
    let inside = |name: &str| directory.path().join(name).display().to_string();
    let log = directory.path().join("log");
    let mut arguments: Vec<String> = setting.config.iter().map(|path| path.display().to_string()).collect();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    if let Kind::Sentinel(lines) = kind {
        let file = directory.path().join("sentinel.conf");
        if !file.exists() {
            fs::write(&file, lines)?;
        }
        add(&[&inside("sentinel.conf"), "--sentinel"]);
    } else {
        add(&["--save", "", "--appendonly", "no"]);
    }
    let port = port.to_string();
    add(&["--bind", "127.0.0.1", "--dir", &directory.path().display().to_string()]);
    match (setting.socket, setting.tls) {
        (true, _) => add(&["--port", "0", "--unixsocket", &inside("socket")]),
        (_, None) => add(&["--port", &port]),
        (_, Some(tls)) => {
            let (certificate, key) = tls.shows.files();
            add(&["--port", "0", "--tls-port", &port, "--tls-replication", "yes", "--tls-cluster", "yes"]);
            add(&["--tls-cert-file", &certificate.display().to_string(), "--tls-key-file", &key.display().to_string()]);
            add(&["--tls-ca-cert-file", &authority().display().to_string()]);
            add(&["--tls-auth-clients", if tls.asks { "yes" } else { "no" }]);
        }
    }
    if let Some(users) = &setting.users {
        add(&["--aclfile", &users.display().to_string()]);
    }
    if let Some(password) = &setting.password {
        add(&["--requirepass", password]);
        if !matches!(kind, Kind::Sentinel(_)) {
            add(&["--masterauth", password]);
        }
    }
    if matches!(kind, Kind::OfCluster) {
        add(&["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"]);
        add(&[
            "--cluster-require-full-coverage",
            "no",
            "--repl-diskless-sync",
            "yes",
            "--repl-diskless-sync-delay",
            "0",
        ]);
    }
    arguments.extend(setting.arguments.iter().cloned());
    let ready = if matches!(kind, Kind::Sentinel(_)) { "Sentinel ID is" } else { "eady to accept" };
    Process::start(&arguments, &log, ready)
}
