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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind, Result};
use crate::http::{Front, router};

/// How long a request's head may take to arrive, and so how long a silent connection stays.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take to end after the server was told to stop.
const GRACE: Duration = Duration::from_secs(10);
/// Connections at once. One more waits to be accepted.
const CONNECTIONS: usize = 10_000;

/// A bound listener.
#[derive(Debug)]
pub struct Serving {
    listener: TcpListener,
    /// The address it listens on: the port is the one that was given out if 0 was asked for.
    pub address: SocketAddr,
}

impl Serving {
    /// Binds `address`.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::System`] if the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self> {
        let wrong = |error: std::io::Error| {
            let message = format!("failed to listen on {address} (TOLLGATE_LISTEN): {error}");
            Error::new(ErrorKind::System, message)
        };
        let listener = TcpListener::bind(address).await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        Ok(Self { listener, address })
    }
}

/// Answers until `stop` ends, then lets every request under way end, for at most ten seconds, and gives back what was drawn of leased limits.
///
/// A connection that sends no head for ten seconds is closed.
pub async fn serve(serving: Serving, front: Arc<Front>, stop: impl Future<Output = ()>) {
    let service = TowerToHyperService::new(router(Arc::clone(&front)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::pin!(stop);
    loop {
        let (stream, place) = tokio::select! {
            () = &mut stop => break,
            accepted = accept(&serving.listener, &places) => accepted,
        };
        let connection = connections.watch(builder.serve_connection(TokioIo::new(stream), service.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("connection ended early: {error}");
            }
            drop(place);
        });
    }
    front.stopping.store(true, Ordering::Relaxed);
    drop(serving.listener);
    if tokio::time::timeout(GRACE, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end within {GRACE:?}; their connections are closed");
    }
    front.gate.give_back().await;
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, tokio::sync::OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small: waiting to fill a packet would only delay them. A socket that refuses is slower, not wrong.
                let _ = stream.set_nodelay(true);
                return (stream, place);
            }
            Err(error) => {
                // Usually out of file descriptors: give connections time to end instead of spinning.
                tracing::warn!("failed to accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
