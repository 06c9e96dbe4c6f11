//! The tiers of the active roster.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::desk::Desk;
use super::entry::Who;
use super::question::json;
use super::schemas;
use crate::fleet::{Activation, TierDocument};

/// The tiers of the active roster.
#[derive(Serialize, ToSchema)]
pub(super) struct Tiers {
    /// The generation of the roster.
    generation: u64,
    /// The tier of whom no other is known for.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_tier: Option<String>,
    /// The tiers, by name.
    #[schema(value_type = BTreeMap<String, schemas::Tier>)]
    tiers: BTreeMap<String, TierDocument>,
}

/// Lists the tiers.
#[utoipa::path(get, path = "/admin/v1/tiers", operation_id = "tier.list", tag = "tiers",
    responses((status = 200, description = "The tiers of the active roster.", body = Tiers)))]
pub(super) async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Tiers>, Problem> {
    let active = desk.active().await?;
    let (default_tier, tiers) = (active.roster.default_tier, active.roster.tiers);
    Ok(Json(Tiers { generation: active.generation, default_tier, tiers }))
}

/// Replaces a tier, its trial included, or adds it: proposes the roster and activates it.
#[utoipa::path(put, path = "/admin/v1/tiers/{tier}", operation_id = "tier.put", tag = "tiers",
    params(("tier" = String, Path, description = "The tier."), ("note" = Option<String>, Query, description = "What for.")),
    request_body(content = schemas::Tier),
    responses(
        (status = 200, description = "It is active.", body = schemas::Activation),
        (status = 404, description = "A policy is not in the registry.", body = schemas::Problem),
        (status = 409, description = "Somebody else changed the roster meanwhile.", body = schemas::Problem),
        (status = 422, description = "It would not work.", body = schemas::Problem),
    ))]
pub(super) async fn put(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    Path(tier): Path<String>,
    uri: Uri,
    body: Body,
) -> Result<Json<Activation>, Problem> {
    let document: TierDocument = json(body).await?;
    let change = |roster: &mut crate::fleet::RosterDocument| {
        roster.tiers.insert(tier, document);
        Ok(())
    };
    desk.change(&who, &uri, change).await
}
