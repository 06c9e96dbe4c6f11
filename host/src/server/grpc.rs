//! The listener of Envoy's rate limit service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};

use super::Serving;
use super::listen::{GRACE, HEAD_TIMEOUT, accept};
use crate::config::EnvoyConfig;
use crate::error::Result;
use crate::gate::Tollgate;
use crate::http::rls::{Calls, RateLimitService, RuleFiles};
use crate::http::{HeaderOptions, Routes};

/// Connections at once. A proxy needs one for each of its workers.
const CONNECTIONS: usize = 1_024;
/// Calls at once on one connection.
const STREAMS: u32 = 256;
/// The header fields of a call, in bytes.
const HEADER_BYTES: u32 = 16 * 1024;
/// What a connection may send before it is read, for each call and in all.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// How often a silent connection is asked whether it lives, and how long it may think about it.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked whether the limits have changed.
const LOOK: Duration = Duration::from_secs(1);

/// Envoy's rate limit service, bound to its address.
#[derive(Debug)]
pub struct Envoy {
    serving: Serving,
    service: RateLimitService,
    files: RuleFiles,
}

impl Envoy {
    /// Reads the limits and binds the address.
    pub(super) async fn bind(config: &EnvoyConfig, gate: Tollgate, headers: HeaderOptions) -> Result<Self> {
        let files = RuleFiles::new(&config.limits);
        let service = RateLimitService::new(gate, files.read()?, headers);
        let serving = Serving::bind(config.listen, "TOLLGATE_GRPC_LISTEN").await?;
        Ok(Self { serving, service, files })
    }

    /// The address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.serving.address
    }

    /// The domains that it has limits for, in order.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        self.service.domains()
    }

    /// Answers until it is told to stop, then lets every call under way end. Limits that change are put into effect meanwhile.
    pub(super) async fn answer(self, stopping: watch::Receiver<bool>) {
        let Self { serving, service, files } = self;
        let calls = match Calls::of(service.clone()).await {
            Ok(calls) => calls,
            // They are part of the program, so no operator will meet this.
            Err(error) => return tracing::error!("there is no rate limit service for Envoy: {error:#}"),
        };
        let (routes, mut told) = (calls.routes.clone(), stopping.clone());
        let leaving = async {
            // The sender outlives the listeners; if it did not, that would be a stop as well.
            let _ = told.wait_for(|stopping| *stopping).await;
            calls.leave().await;
        };
        let accepting = async { tokio::join!(accept_all(serving, routes, stopping), leaving) };
        tokio::select! {
            () = follow(&files, &service) => (),
            _ = accepting => (),
        }
    }
}

/// Puts the limits into effect whenever the files change, for ever. What is broken is told, and replaces nothing.
async fn follow(files: &RuleFiles, service: &RateLimitService) {
    let mut before = files.stamps();
    loop {
        tokio::time::sleep(LOOK).await;
        let seen = files.stamps();
        if seen == before {
            continue;
        }
        before = seen;
        let path = files.path().display();
        match files.read() {
            Ok(rules) => {
                service.replace(rules);
                tracing::info!(
                    "the rate limits of {path} are in effect, for the domains {}",
                    service.domains().join(", ")
                );
            }
            Err(error) => tracing::error!("the rate limits of before stay in effect: {error:#}"),
        }
    }
}

/// Answers on the listener until it is told to stop, then lets every call under way end.
async fn accept_all(serving: Serving, routes: Routes, mut stopping: watch::Receiver<bool>) {
    let builder = builder();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let connections = GracefulShutdown::new();
    loop {
        let (stream, _, place) = tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            accepted = accept(&serving.listener, &places) => accepted,
        };
        let (asked, routes) = (Arc::new(AtomicBool::new(false)), TowerToHyperService::new(routes.clone()));
        let silent = silent(Arc::clone(&asked));
        let service = service_fn(move |request| {
            asked.store(true, Ordering::Relaxed);
            routes.call(request)
        });
        let connection = connections.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    tracing::debug!("connection ended early: {error}");
                },
                () = silent => tracing::debug!("connection without a call within {HEAD_TIMEOUT:?}; it is closed"),
            }
            drop(place);
        });
    }
    drop(serving.listener);
    if tokio::time::timeout(GRACE, connections.shutdown()).await.is_err() {
        tracing::warn!("some calls did not end within {GRACE:?}; their connections are closed");
    }
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

/// Ends when a connection brought no call for so long that it does not look as if it would.
async fn silent(asked: Arc<AtomicBool>) {
    tokio::time::sleep(HEAD_TIMEOUT).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}
