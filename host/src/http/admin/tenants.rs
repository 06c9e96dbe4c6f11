//! The tenants of the active roster.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::desk::Desk;
use super::entry::Who;
use super::question::json;
use super::schemas;
use crate::fleet::{Activation, RosterDocument, TenantDocument};

/// The tenants of the active roster.
#[derive(Serialize, ToSchema)]
pub(super) struct Tenants {
    /// The generation of the roster.
    generation: u64,
    /// The tenants, by name.
    #[schema(value_type = BTreeMap<String, schemas::Tenant>)]
    tenants: BTreeMap<String, TenantDocument>,
}

/// Lists the tenants.
#[utoipa::path(get, path = "/admin/v1/tenants", operation_id = "tenant.list", tag = "tenants",
    responses((status = 200, description = "The tenants of the active roster.", body = Tenants)))]
pub(super) async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Tenants>, Problem> {
    let active = desk.active().await?;
    Ok(Json(Tenants { generation: active.generation, tenants: active.roster.tenants }))
}

/// Puts a tenant into a tier, or gives it one of its own: proposes the roster and activates it.
#[utoipa::path(put, path = "/admin/v1/tenants/{tenant}", operation_id = "tenant.put", tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant."), ("note" = Option<String>, Query, description = "What for.")),
    request_body(content = schemas::Tenant),
    responses(
        (status = 200, description = "It is active.", body = schemas::Activation),
        (status = 409, description = "Somebody else changed the roster meanwhile.", body = schemas::Problem),
        (status = 422, description = "It would not work: there is no such tier.", body = schemas::Problem),
    ))]
pub(super) async fn put(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    Path(tenant): Path<String>,
    uri: Uri,
    body: Body,
) -> Result<Json<Activation>, Problem> {
    let document: TenantDocument = json(body).await?;
    let change = |roster: &mut RosterDocument| {
        roster.tenants.insert(tenant, document);
        Ok(())
    };
    desk.change(&who, &uri, change).await
}

/// Removes a tenant, which has the default tier from then on, if there is one.
#[utoipa::path(delete, path = "/admin/v1/tenants/{tenant}", operation_id = "tenant.remove", tag = "tenants",
    params(("tenant" = String, Path, description = "The tenant."), ("note" = Option<String>, Query, description = "What for.")),
    responses(
        (status = 200, description = "The roster without it is active.", body = schemas::Activation),
        (status = 404, description = "There is none.", body = schemas::Problem),
        (status = 409, description = "Somebody else changed the roster meanwhile.", body = schemas::Problem),
    ))]
pub(super) async fn remove(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    Path(tenant): Path<String>,
    uri: Uri,
) -> Result<Json<Activation>, Problem> {
    let change = |roster: &mut RosterDocument| match roster.tenants.remove(&tenant) {
        Some(_) => Ok(()),
        None => {
            let told = format!("the roster lists no tenant `{}`", tenant.escape_debug());
            Err(Problem::new(StatusCode::NOT_FOUND, told))
        }
    };
    desk.change(&who, &uri, change).await
}
