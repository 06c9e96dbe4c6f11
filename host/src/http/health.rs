//! Whether the server should be asked, and how its store is.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::gate::Tollgate;

/// 200 if decisions can be asked for, 503 if not: the store does not answer, or the server is stopping.
pub(super) async fn ready(gate: &Tollgate, stopping: bool) -> Response {
    let store = gate.store_latency().await;
    let healthy = store.is_ok();
    let status = if healthy && !stopping { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let (latency_ms, error) = match store {
        Ok(latency) => (Some(latency.as_secs_f64() * 1_000.0), None),
        Err(fault) => (None, Some(fault.to_string())),
    };
    let body = json!({
        "ready": status == StatusCode::OK,
        "stopping": stopping,
        "store": { "shared": gate.has_shared_store(), "healthy": healthy, "latency_ms": latency_ms, "error": error },
        "tiers": gate.tiers(),
    });
    (status, Json(body)).into_response()
}
