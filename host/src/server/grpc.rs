//! Envoy's rate limit service over gRPC, with gRPC's own services for health and reflection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use hyper::server::conn::http2;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tonic::Status;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::Serving;
use super::listen::{GRACE, HEAD_TIMEOUT, accept};
use crate::config::EnvoyConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::Tollgate;
use crate::http::rls::{RateLimitServer, RateLimitService, RuleFiles, descriptor_set};
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
/// How long a call may take until its answer begins.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
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
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<RateLimitServer>().await;
        let reflection = match reflection() {
            Ok(reflection) => reflection,
            // The descriptors are ours, so a test would have found it.
            Err(error) => return tracing::error!("there is no rate limit service for Envoy: {error:#}"),
        };
        let routes = Routes::new()
            .route_service(&path::<RateLimitServer>(), service.clone().into_server())
            .route_service("/grpc.health.v1.Health/{*call}", health)
            .merge(reflection)
            .fallback(async || Status::unimplemented("no such service").into_http::<axum::body::Body>())
            .layer(from_fn(in_time));
        let mut told = stopping.clone();
        let leaving = async {
            // The sender outlives the listeners; if it did not, that would be a stop as well.
            let _ = told.wait_for(|stopping| *stopping).await;
            leave(&reporter).await;
        };
        let accepting = async { tokio::join!(accept_all(serving, routes, stopping), leaving) };
        tokio::select! {
            () = follow(&files, &service) => (),
            _ = accepting => (),
        }
    }
}

/// The path of every call of a service.
fn path<S: NamedService>() -> String {
    format!("/{}/{{*call}}", S::NAME)
}

/// What there is to call, for those who ask at run time; under its old name, too, which most clients still use.
fn reflection() -> Result<Routes> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptor_set())
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let wrong =
        |error| Error::new(ErrorKind::System, "failed to read the descriptors of the gRPC services").because(error);
    let (now, old) = (builder().build_v1().map_err(wrong)?, builder().build_v1alpha().map_err(wrong)?);
    Ok(Routes::new()
        .route_service("/grpc.reflection.v1.ServerReflection/{*call}", now)
        .route_service("/grpc.reflection.v1alpha.ServerReflection/{*call}", old))
}

/// Ends a call whose message does not arrive.
async fn in_time(request: Request, next: Next) -> Response {
    let late = || Status::deadline_exceeded(format!("the call did not arrive within {CALL_TIMEOUT:?}")).into_http();
    tokio::time::timeout(CALL_TIMEOUT, next.run(request)).await.unwrap_or_else(|_| late())
}

/// Tells whoever watches that nothing is served any more, and lets the watching end: it would hold the server up.
async fn leave(reporter: &HealthReporter) {
    let mut reporter = reporter.clone();
    for service in ["", RateLimitServer::NAME] {
        reporter.set_service_status(service, ServingStatus::NotServing).await;
        reporter.clear_service_status(service).await;
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
