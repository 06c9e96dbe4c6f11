//! What is known of API keys.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::desk::Desk;
use super::entry::Who;
use super::question::json;
use super::schemas;
use crate::config::Secret;
use crate::keys::Invalidation;
use crate::model::Request;

/// What is to be forgotten: one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InvalidationBody {
    /// A key.
    #[schema(value_type = Option<String>)]
    key: Option<Secret>,
    /// All keys of a tenant.
    tenant: Option<String>,
    /// Whether all keys of everybody.
    #[serde(default)]
    all: bool,
}

const ONE_OF: &str = "give one of `key`, `tenant` and `all: true`";

impl InvalidationBody {
    fn invalidation(self) -> Result<Invalidation, Problem> {
        match (self.key, self.tenant, self.all) {
            (Some(key), None, false) => Ok(Invalidation::Key(key)),
            (None, Some(tenant), false) => {
                Request::new(&tenant, "-")?;
                Ok(Invalidation::Tenant(tenant))
            }
            (None, None, true) => Ok(Invalidation::All),
            _ => Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, ONE_OF)),
        }
    }
}

/// Forgets what every server of the fleet knows of API keys, so that the next request that shows one asks for its holder anew. The source of the keys is not changed.
#[utoipa::path(post, path = "/admin/v1/keys/invalidate", operation_id = "keys.invalidate", tag = "keys",
    request_body(content = InvalidationBody),
    responses(
        (status = 204, description = "It is forgotten here, and the others are told."),
        (status = 409, description = "There is no source of keys: those of the configuration are not cached.", body = schemas::Problem),
        (status = 422, description = "Not one of them is given.", body = schemas::Problem),
        (status = 503, description = "It is forgotten here, and the others could not be told.", body = schemas::Problem),
    ))]
pub(super) async fn invalidate(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    body: Body,
) -> Result<StatusCode, Problem> {
    let body: InvalidationBody = json(body).await?;
    let what = body.invalidation()?;
    if !desk.keys.are_cached() {
        let told = "there is no `key_source`, so nothing is cached: keys of the configuration are read at start";
        return Err(Problem::new(StatusCode::CONFLICT, told));
    }
    let told = match &what {
        Invalidation::Key(_) => "a key".to_owned(),
        Invalidation::Tenant(tenant) => format!("keys of tenant {tenant}"),
        Invalidation::All => "all keys".to_owned(),
    };
    let done = desk.keys.invalidate(what).await;
    desk.fleet.note(&who, "keys.invalidate", &told, &done).await;
    done?;
    Ok(StatusCode::NO_CONTENT)
}
