//! Who did what.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;

use super::super::problem::Problem;
use super::desk::Desk;
use super::question::Query;
use super::schemas;
use crate::fleet::AuditRecord;

/// How many lines are told if nobody says how many.
const LINES: u64 = 100;
/// How many are told at most.
const MOST_LINES: u64 = 10_000;

/// Shows the last lines of the audit log, the newest last.
#[utoipa::path(get, path = "/admin/v1/audit", operation_id = "audit.show", tag = "audit",
    params(("count" = Option<u64>, Query, description = "How many lines, 100 if not given, at most 10,000.")),
    responses((status = 200, description = "The lines.", body = [schemas::AuditLine])))]
pub(super) async fn audit(State(desk): State<Arc<Desk>>, uri: Uri) -> Result<Json<Vec<AuditRecord>>, Problem> {
    let count = Query::of(&uri, &["count"])?.number("count")?.unwrap_or(LINES).min(MOST_LINES);
    Ok(Json(desk.fleet.registry().notes(usize::try_from(count).unwrap_or(usize::MAX)).await?))
}
