//! The way to the server: addresses, sockets, and the first errors.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult};

use crate::config::{Address, RedisTarget, Topology};
use crate::error::{Error, ErrorKind, Result};

/// The server as errors name it: where it is, and nothing secret.
pub(super) fn name(address: &ConnectionAddr) -> String {
    match address {
        ConnectionAddr::Unix(path) => format!("redis at {}", path.display()),
        address => format!("redis at {address}"),
    }
}

/// The one server of `target`.
///
/// # Errors
///
/// Fails on the topologies that have several, and if a socket is asked to speak TLS.
pub(super) fn address(target: &RedisTarget) -> Result<ConnectionAddr> {
    match &target.topology {
        Topology::Single(Address { host, port }) if target.tls => {
            Ok(ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None })
        }
        Topology::Single(Address { host, port }) => Ok(ConnectionAddr::Tcp(host.clone(), *port)),
        Topology::Unix(path) => Ok(ConnectionAddr::Unix(path.clone())),
        Topology::Cluster(_) => Err(later("a cluster")),
        Topology::Sentinel { .. } => Err(later("a master behind sentinels")),
    }
}

fn later(what: &str) -> Error {
    Error::new(
        ErrorKind::Store,
        format!("{what} connects with a later version; give one server's URL, such as redis://host:6379"),
    )
}

/// A client of `target` at `address`, with sockets that notice a dead peer within two seconds.
pub(super) fn client(target: &RedisTarget, address: ConnectionAddr) -> RedisResult<Client> {
    if target.tls {
        // Taken already if the application has chosen one for itself.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut login = RedisConnectionInfo::default().set_db(target.database.into());
    if let Some(username) = &target.username {
        login = login.set_username(username);
    }
    if let Some(password) = &target.password {
        login = login.set_password(password.reveal());
    }
    Client::open(address.into_connection_info()?.set_redis_settings(login).set_tcp_settings(sockets()))
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

/// A connection that is opened when first used, and again when it is lost.
pub(super) fn manager(client: &Client, connect_timeout: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(connect_timeout))
        // Each call has a deadline of its own.
        .set_response_timeout(None)
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(20))
        .set_max_delay(Duration::from_millis(100));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// Looks the host up by itself, since a failed look-up reads like any other failure of a connection.
pub(super) async fn resolve(address: &ConnectionAddr) -> std::io::Result<()> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            tokio::net::lookup_host((host.as_str(), *port)).await.map(drop)
        }
        _ => Ok(()),
    }
}
