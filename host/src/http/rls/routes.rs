//! The service with gRPC's own beside it: health and reflection.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tonic::Status;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder;

use super::{RateLimitServer, RateLimitService};
use crate::error::{Error, ErrorKind, Result};
use crate::http::Routes;

/// What the listener of Envoy's rate limit service answers.
pub(crate) struct Calls {
    pub(crate) routes: Routes,
    health: HealthReporter,
}

/// How long a call may take until its answer begins.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The descriptors of the service's messages: a `FileDescriptorSet` of `envoy/service/ratelimit/v3/rls.proto` and all that it imports, as `protoc
/// --include_imports --descriptor_set_out` makes it of the files that the crate `envoy-types` carries.
const DESCRIPTORS: &[u8] = include_bytes!("descriptors.bin");

impl Calls {
    /// The routes of the service, which is told to be well from now on.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::System`] if the descriptors cannot be read: they are ours.
    pub(crate) async fn of(service: RateLimitService) -> Result<Self> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<RateLimitServer>().await;
        let routes = reflection()?
            .route_service(&format!("/{}/{{*call}}", RateLimitServer::NAME), service.into_server())
            .route_service("/grpc.health.v1.Health/{*call}", health)
            .fallback(async || Status::unimplemented("no such service").into_http::<Body>())
            .layer(from_fn(in_time));
        Ok(Self { routes, health: reporter })
    }

    /// Tells whoever watches that nothing is served any more, and lets the watching end: it would hold a stop up.
    pub(crate) async fn leave(mut self) {
        for service in ["", RateLimitServer::NAME] {
            self.health.set_service_status(service, ServingStatus::NotServing).await;
            self.health.clear_service_status(service).await;
        }
    }
}

/// What there is to call, for those who ask at run time; under its old name, too, which many clients still use.
fn reflection() -> Result<Routes> {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
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
