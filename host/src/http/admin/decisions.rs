//! What a request would be told, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::answer::answer;
use super::super::problem::Problem;
use super::desk::Desk;
use super::question::json;
use super::schemas;
use crate::model::{FieldError, Request};

/// Who asks for what.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Explanation {
    /// Whose request it is.
    tenant: String,
    /// Who asks; the tenant, if it is not given.
    #[serde(default)]
    subject: Option<String>,
    /// The tier, if the request names one.
    #[serde(default)]
    tier: Option<String>,
    /// What is asked for.
    #[serde(default)]
    route: String,
    /// How much is asked for.
    #[serde(default = "one")]
    cost: u64,
    /// What else the policy is told.
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

const fn one() -> u64 {
    1
}

/// Says what a request would be told now: which limits, what remains, when they are free, which policy. Takes nothing.
#[utoipa::path(post, path = "/admin/v1/explain", operation_id = "decision.explain", tag = "decisions",
    request_body = Explanation,
    responses(
        (status = 200, description = "The answer, as `POST /v1/check` gives it.", body = schemas::Decision),
        (status = 404, description = "No tier decides such a request.", body = schemas::Problem),
        (status = 422, description = "A field will not do.", body = schemas::Problem),
    ))]
pub(super) async fn explain(State(desk): State<Arc<Desk>>, body: Body) -> Result<Json<Value>, Problem> {
    let asked: Explanation = json(body).await?;
    let attributes: Vec<(&str, &str)> =
        asked.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let request = asked
        .request(&attributes)
        .map_err(|error| Problem::field(StatusCode::UNPROCESSABLE_ENTITY, error.field, &error.problem))?;
    match desk.fleet.gate().explain(&request).await {
        Some(decision) => Ok(Json(answer(&decision, request.tenant()))),
        None => {
            let tiers = desk.fleet.gate().tiers().join(", ");
            let told = format!("no tier decides such a request: list the tenant, or name a `tier`, one of {tiers}");
            Err(Problem::new(StatusCode::NOT_FOUND, told))
        }
    }
}

impl Explanation {
    fn request<'a>(&'a self, attributes: &'a [(&'a str, &'a str)]) -> Result<Request<'a>, FieldError> {
        let subject = self.subject.as_deref().unwrap_or(&self.tenant);
        let request = Request::new(&self.tenant, subject)?
            .with_route(&self.route)?
            .with_cost(self.cost)?
            .with_attributes(attributes)?;
        match &self.tier {
            Some(tier) => request.with_tier(tier),
            None => Ok(request),
        }
    }
}
