//! What was measured.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::problem::Problem;
use super::desk::Desk;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Shows what this instance measured, for Prometheus to scrape.
#[utoipa::path(get, path = "/admin/v1/metrics", operation_id = "metrics.show", tag = "fleet",
    responses((status = 200, description = "The metrics.", content_type = "text/plain", body = String)))]
pub(super) async fn metrics(State(desk): State<Arc<Desk>>) -> Result<Response, Problem> {
    let Some(render) = &desk.metrics else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "this process measures nothing"));
    };
    desk.fleet.gate().record();
    Ok(([(header::CONTENT_TYPE, TEXT)], render()).into_response())
}
