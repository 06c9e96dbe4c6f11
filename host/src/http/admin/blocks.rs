//! Who is kept out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::desk::Desk;
use super::entry::Who;
use super::question::{Query, json};
use super::schemas;
use crate::blocks::{Block, BlockTarget};
use crate::model::rfc3339;

/// Who is to be kept out: an `address`, or a `tenant` and its `subject`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BlockBody {
    /// An address or a network.
    address: Option<String>,
    /// A tenant.
    tenant: Option<String>,
    /// Its subject.
    subject: Option<String>,
    /// For how long.
    seconds: u64,
    /// What for: told to operators, and not to whoever is blocked.
    #[serde(default)]
    reason: String,
}

/// Who is kept out.
#[derive(Serialize, ToSchema)]
pub(super) struct BlockView {
    /// The network, in the end a single address.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// Its subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// Since when.
    at: String,
    /// Until when.
    until: String,
    /// By whom.
    by: String,
    /// What for.
    reason: String,
}

impl From<&Block> for BlockView {
    fn from(block: &Block) -> Self {
        let (address, tenant, subject) = match block.target.clone() {
            BlockTarget::Network(network) => (Some(network.to_string()), None, None),
            BlockTarget::Subject { tenant, subject } => (None, Some(tenant), Some(subject)),
        };
        let (at, until) = (rfc3339(block.at), rfc3339(block.until));
        Self { address, tenant, subject, at, until, by: block.by.clone(), reason: block.reason.clone() }
    }
}

fn target(address: Option<&str>, tenant: Option<&str>, subject: Option<&str>) -> Result<BlockTarget, Problem> {
    match (address, tenant, subject) {
        (Some(address), None, None) => Ok(address.parse()?),
        (None, Some(tenant), Some(subject)) => Ok(BlockTarget::subject(tenant, subject)?),
        _ => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "give an `address`, or a `tenant` and its `subject`")),
    }
}

/// Lists who is kept out.
#[utoipa::path(get, path = "/admin/v1/blocks", operation_id = "block.list", tag = "blocks",
    responses((status = 200, description = "The blocks that have not ended, as this server knows them.", body = [BlockView])))]
pub(super) async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<BlockView>>, Problem> {
    Ok(Json(desk.blocks()?.list().iter().map(|block| BlockView::from(&**block)).collect()))
}

/// Keeps an address, a network or a subject out for a time, on every server. An older block of the same is replaced.
#[utoipa::path(put, path = "/admin/v1/blocks", operation_id = "block.put", tag = "blocks",
    request_body(content = BlockBody),
    responses(
        (status = 200, description = "It is blocked here, and the others are told.", body = BlockView),
        (status = 409, description = "There are too many blocks.", body = schemas::Problem),
        (status = 422, description = "The body will not do.", body = schemas::Problem),
    ))]
pub(super) async fn put(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    body: Body,
) -> Result<Json<BlockView>, Problem> {
    let BlockBody { address, tenant, subject, seconds, reason } = json(body).await?;
    let target = target(address.as_deref(), tenant.as_deref(), subject.as_deref())?;
    let told = format!("{target} for {seconds} s: {}", reason.escape_debug());
    let done = desk.blocks()?.block(target, Duration::from_secs(seconds), &who, &reason).await;
    desk.fleet.note(&who, "block.put", &told, &done).await;
    Ok(Json(BlockView::from(&done?)))
}

/// Lets an address, a network or a subject in again.
#[utoipa::path(delete, path = "/admin/v1/blocks", operation_id = "block.remove", tag = "blocks",
    params(
        ("address" = Option<String>, Query, description = "An address or a network, as it was blocked."),
        ("tenant" = Option<String>, Query, description = "A tenant."),
        ("subject" = Option<String>, Query, description = "Its subject."),
    ),
    responses(
        (status = 204, description = "It is let in here, and the others are told."),
        (status = 404, description = "It was not blocked.", body = schemas::Problem),
        (status = 422, description = "The query will not do.", body = schemas::Problem),
    ))]
pub(super) async fn remove(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    let query = Query::of(&uri, &["address", "tenant", "subject"])?;
    let target = target(query.text("address"), query.text("tenant"), query.text("subject"))?;
    let done = desk.blocks()?.unblock(&target).await;
    desk.fleet.note(&who, "block.remove", &target.to_string(), &done).await;
    if done? {
        return Ok(StatusCode::NO_CONTENT);
    }
    let told = format!("{target} is not blocked by itself; GET /admin/v1/blocks lists what is");
    Err(Problem::new(StatusCode::NOT_FOUND, told))
}
