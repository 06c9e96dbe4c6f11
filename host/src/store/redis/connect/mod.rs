//! The way to a server: its address, its socket, and being let in.

mod refusal;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use redis::aio::MultiplexedConnection;
use redis::io::AsyncDNSResolver;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, PushInfo, RedisConnectionInfo,
    RedisFuture, RedisResult, TlsCertificates,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

pub(super) use self::refusal::{Refusal, system_error};
use crate::config::{Address, RedisTarget, Secret, SentinelLogin, Topology};
use crate::error::Result;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Server {
    /// At this address.
    Tcp(Address),
    /// Behind this Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// Opens connections to the servers of one target: all that it takes but the address.
#[derive(Clone)]
pub(super) struct Dial {
    login: RedisConnectionInfo,
    tls: Option<Arc<TlsCertificates>>,
    connect_timeout: Duration,
}

impl Dial {
    /// How long opening may take where another server can be asked instead.
    pub(super) const SEVERAL: Duration = Duration::from_millis(250);

    /// The size of a queue of commands that never makes one wait: more decisions than this are never under way.
    const COMMANDS: usize = 2_048;

    /// Reads the certificates that `target` names. Opening takes `connect_timeout` at most, and no longer than [`SEVERAL`](Self::SEVERAL) if
    /// the target has several servers.
    ///
    /// # Errors
    ///
    /// Fails if a certificate or key cannot be read or does not fit, and names the variable and the path.
    pub(super) fn new(target: &RedisTarget, connect_timeout: Duration) -> Result<Self> {
        let connect_timeout = match target.topology {
            Topology::Single(_) | Topology::Unix(_) => connect_timeout,
            Topology::Cluster(_) | Topology::Sentinel { .. } => connect_timeout.min(Self::SEVERAL),
        };
        let login = login(target.username.as_deref(), target.password.as_ref()).set_db(target.database.into());
        let tls = target.tls.as_ref().map(tls::certificates).transpose()?;
        Ok(Self { login, tls: tls.map(Arc::new), connect_timeout })
    }

    /// The same for the sentinels of the target, which let in by themselves and have no databases.
    pub(super) fn to_sentinels(&self, own: &SentinelLogin) -> Self {
        Self { login: login(own.username.as_deref(), own.password.as_ref()), ..self.clone() }
    }

    /// The server as errors name it: where it is, and nothing secret.
    pub(super) fn name(&self, server: &Server) -> String {
        format!("redis at {server}")
    }

    /// Whether the servers speak TLS, so that the names in their certificates count.
    pub(super) fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Opens a connection to `server`, whose host is looked up anew, and waits until it has let us in.
    ///
    /// An answer may then take as long as it likes: whoever asks has a deadline. `push` is told what the server says unasked, and that the
    /// connection is lost; with it the connection speaks the third version of the protocol.
    ///
    /// # Errors
    ///
    /// Fails if it takes too long, and otherwise as [`advice`](super::fault::advice) explains.
    pub(super) async fn open(
        &self,
        server: &Server,
        push: Option<UnboundedSender<PushInfo>>,
    ) -> RedisResult<MultiplexedConnection> {
        let protocol = if push.is_some() { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 };
        let client = self.client(server, protocol)?;
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(Self::COMMANDS)
            .set_dns_resolver(Resolver);
        if let Some(push) = push {
            config = config.set_push_sender(push);
        }
        let opening = client.get_multiplexed_async_connection_with_config(&config);
        match (server, &self.tls) {
            (Server::Tcp(address), Some(_)) => within(self.connect_timeout, tls::unless_plain(address, opening)).await,
            _ => within(self.connect_timeout, opening).await,
        }
    }

    /// A client of `server`, with sockets that notice a dead peer within two seconds.
    pub(super) fn client(&self, server: &Server, protocol: ProtocolVersion) -> RedisResult<Client> {
        let (address, tls) = match (server, &self.tls) {
            (Server::Unix(path), _) => (ConnectionAddr::Unix(path.clone()), None),
            (Server::Tcp(Address { host, port }), None) => (ConnectionAddr::Tcp(host.clone(), *port), None),
            (Server::Tcp(Address { host, port }), Some(tls)) => {
                let (host, port) = (host.clone(), *port);
                (ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }, Some(tls))
            }
        };
        let login = self.login.clone().set_protocol(protocol);
        let info = address.into_connection_info()?.set_redis_settings(login).set_tcp_settings(sockets());
        match tls {
            Some(tls) => Client::build_with_tls(info, TlsCertificates::clone(tls)),
            None => Client::open(info),
        }
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest knows the password and the key.
        f.debug_struct("Dial").field("connect_timeout", &self.connect_timeout).finish_non_exhaustive()
    }
}

/// Waits for an answer no longer than `limit`.
///
/// # Errors
///
/// Fails as `answer` does, or since it takes too long.
pub(super) async fn within<T>(limit: Duration, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")).into());
    timeout(limit, answer).await.unwrap_or_else(late)
}

fn login(username: Option<&str>, password: Option<&Secret>) -> RedisConnectionInfo {
    // A server of 7.2 or later lists its clients by this name.
    let mut login = RedisConnectionInfo::default().set_lib_name("tollgate", env!("CARGO_PKG_VERSION"));
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password.reveal());
    }
    login
}

fn sockets() -> TcpSettings {
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new().with_time(second).with_interval(second);
    #[cfg(unix)]
    let keepalive = keepalive.with_retries(2);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(2 * second);
    settings
}

/// Looks hosts up as the system does, but says so when it finds none.
struct Resolver;

impl AsyncDNSResolver for Resolver {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found: Vec<_> = match tokio::net::lookup_host((host, port)).await {
                Ok(found) => found.collect(),
                Err(error) => return Err(Refusal::NoSuchHost(Some(error)).into()),
            };
            if found.is_empty() {
                return Err(Refusal::NoSuchHost(None).into());
            }
            Ok(Box::new(found.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send>)
        })
    }
}
