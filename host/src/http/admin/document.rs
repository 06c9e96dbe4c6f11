//! What the admin API says of itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::desk::Desk;

/// Describes the API: this document.
#[utoipa::path(get, path = "/admin/v1/openapi.json", operation_id = "document.show", tag = "document",
    responses((status = 200, description = "The OpenAPI document.", body = Object)))]
pub(super) async fn document(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(desk.document.get().cloned().unwrap_or_default())
}
