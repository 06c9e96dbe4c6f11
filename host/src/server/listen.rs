//! Accepting connections, and letting them end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Assembly;
use super::stream::Patient;
use crate::error::{Error, ErrorKind, Result};
use crate::http::{Routes, admin, from_peer, router};

/// How long a request's head may take to arrive, and so how long a silent connection stays.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How large a request's head may be, in bytes.
const HEAD_BYTES: usize = 64 * 1024;
/// How long requests under way may take to end after the server was told to stop.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted, as far as the system lets them. The usual 128 are soon exceeded when all clients of a server that was restarted come
/// back, and each beyond that is kept waiting for a second.
const BACKLOG: u32 = 4_096;
/// Connections at once. One more waits to be accepted.
const CONNECTIONS: usize = 10_000;
/// Of these for the admin API.
const ADMIN_CONNECTIONS: usize = 256;

/// A bound listener.
#[derive(Debug)]
pub struct Serving {
    pub(super) listener: TcpListener,
    /// The address it listens on: the port is the one that was given out if 0 was asked for.
    pub address: SocketAddr,
}

impl Serving {
    /// Binds `address`, of which an error says that `named` gave it.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::System`] if the address is taken or not ours.
    pub async fn bind(address: SocketAddr, named: &str) -> Result<Self> {
        let wrong = |error: std::io::Error| {
            let message = format!("failed to listen on {address} ({named}): {error}");
            Error::new(ErrorKind::System, message)
        };
        let listener = listen(address).map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        Ok(Self { listener, address })
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As usual: a server that starts again takes its address back at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Answers until `stop` ends, then lets every request under way end, for at most ten seconds, gives back what was drawn of leased limits, and leaves
/// the fleet. `admin` is the listener of the admin API, if there is to be one.
///
/// A connection that sends no head for ten seconds is closed.
pub async fn serve(serving: Serving, admin: Option<Serving>, assembly: Assembly, stop: impl Future<Output = ()>) {
    let Assembly { front, fleet, desk, envoy, resp, .. } = assembly;
    let stopping = watch::Sender::new(false);
    let public = router(Arc::clone(&front));
    let public = answer(serving, CONNECTIONS, |peer| from_peer(&public, peer), stopping.subscribe());
    let admin = async {
        if let (Some(serving), Some(desk)) = (admin, &desk) {
            let routes = admin::router(desk);
            let router = |peer: SocketAddr| admin::from_peer(&routes, peer.ip());
            answer(serving, ADMIN_CONNECTIONS, router, stopping.subscribe()).await;
        }
    };
    let resp = async {
        if let Some(resp) = resp {
            resp.answer(stopping.subscribe()).await;
        }
    };
    let envoy = async {
        if let Some(envoy) = envoy {
            envoy.answer(stopping.subscribe()).await;
        }
    };
    let stopped = async {
        stop.await;
        front.stopping.store(true, Ordering::Relaxed);
        desk.iter().for_each(|desk| desk.stop());
        stopping.send_replace(true);
    };
    tokio::join!(stopped, public, admin, envoy, resp);
    front.gate.give_back().await;
    fleet.leave().await;
}

/// Answers on one listener until it is told to stop, then lets every request under way end.
async fn answer(
    serving: Serving,
    connections: usize,
    router: impl Fn(SocketAddr) -> Routes,
    mut stopping: watch::Receiver<bool>,
) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES);
    let places = Arc::new(Semaphore::new(connections));
    let connections = GracefulShutdown::new();
    loop {
        let (stream, peer, place) = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            accepted = accept(&serving.listener, &places) => accepted,
        };
        let service = TowerToHyperService::new(router(peer));
        let connection = connections.watch(builder.serve_connection(TokioIo::new(Patient::new(stream)), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("connection ended early: {error}");
            }
            drop(place);
        });
    }
    drop(serving.listener);
    if tokio::time::timeout(GRACE, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end within {GRACE:?}; their connections are closed");
    }
}

/// The next connection, as soon as there is a place for it.
pub(super) async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small: waiting to fill a packet would only delay them. A socket that refuses is slower, not wrong.
                let _ = stream.set_nodelay(true);
                return (stream, peer, place);
            }
            Err(error) => {
                // Usually out of file descriptors: give connections time to end instead of spinning.
                tracing::warn!("failed to accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
