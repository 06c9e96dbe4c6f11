//! The policies of the registry.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::super::body::read;
use super::super::problem::Problem;
use super::desk::Desk;
use super::entry::Who;
use super::question::{COMPONENT, json};
use super::schemas;
use crate::fleet::{Cases, PolicyRecord, Upload};

/// Golden cases.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CasesBody {
    /// The configuration that they are for.
    #[schema(value_type = Object)]
    config: Value,
    /// The cases, as scenario files have them.
    text: String,
}

/// A signature.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignatureBody {
    /// The signature, as `tollgate policy sign` prints it.
    signature: String,
}

/// Lists the policies.
#[utoipa::path(get, path = "/admin/v1/policies", operation_id = "policy.list", tag = "policies",
    responses((status = 200, description = "Every policy of the registry.", body = [schemas::Policy])))]
pub(super) async fn list(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<PolicyRecord>>, Problem> {
    Ok(Json(desk.fleet.registry().policies().await?))
}

/// Examines a component and keeps it. Nothing is activated.
#[utoipa::path(post, path = "/admin/v1/policies", operation_id = "policy.push", tag = "policies",
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "The component."),
    responses(
        (status = 200, description = "It was there already.", body = schemas::Policy),
        (status = 201, description = "It is there now.", body = schemas::Policy),
        (status = 413, description = "It is too large."),
        (status = 415, description = "It is not sent as `application/wasm`."),
        (status = 422, description = "It is not fit to be a policy.", body = schemas::Problem),
    ))]
pub(super) async fn push(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != "application/wasm") {
        let told = "a policy is the bytes of a component: send them with `Content-Type: application/wasm`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told));
    }
    let component = read(body, COMPONENT).await?;
    let known = desk.fleet.registry().policies().await?;
    let record = desk.fleet.push(Upload { component, ..Upload::default() }, &who).await?;
    let is_new = known.iter().all(|known| known.digest != record.digest);
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, Json(record)).into_response())
}

/// Says what is known of a policy.
#[utoipa::path(get, path = "/admin/v1/policies/{digest}", operation_id = "policy.inspect", tag = "policies",
    params(("digest" = String, Path, description = "The SHA-256 of the component, with or without `sha256:`.")),
    responses((status = 200, description = "The policy.", body = schemas::Policy), (status = 404, description = "There is none.")))]
pub(super) async fn inspect(
    State(desk): State<Arc<Desk>>,
    Path(digest): Path<String>,
) -> Result<Json<PolicyRecord>, Problem> {
    Ok(Json(desk.fleet.registry().policy(sound(&digest)?).await?))
}

/// Removes a policy that neither the active roster needs nor the one before.
#[utoipa::path(delete, path = "/admin/v1/policies/{digest}", operation_id = "policy.remove", tag = "policies",
    params(("digest" = String, Path, description = "The SHA-256 of the component.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "There is none."),
        (status = 409, description = "A roster needs it.", body = schemas::Problem),
    ))]
pub(super) async fn remove(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    Path(digest): Path<String>,
) -> Result<StatusCode, Problem> {
    desk.fleet.remove(sound(&digest)?, &who).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives back the component, byte by byte.
#[utoipa::path(get, path = "/admin/v1/policies/{digest}/component", operation_id = "policy.download", tag = "policies",
    params(("digest" = String, Path, description = "The SHA-256 of the component.")),
    responses(
        (status = 200, description = "The component.", body = Vec<u8>, content_type = "application/wasm"),
        (status = 404, description = "There is none."),
    ))]
pub(super) async fn component(State(desk): State<Arc<Desk>>, Path(digest): Path<String>) -> Result<Response, Problem> {
    let bytes = desk.fleet.registry().component(sound(&digest)?).await?;
    Ok(([(header::CONTENT_TYPE, "application/wasm")], bytes).into_response())
}

/// Gives a policy its golden cases, in the place of those it may have.
#[utoipa::path(put, path = "/admin/v1/policies/{digest}/cases", operation_id = "policy.cases", tag = "policies",
    params(("digest" = String, Path, description = "The SHA-256 of the component.")), request_body = CasesBody,
    responses(
        (status = 200, description = "The policy.", body = schemas::Policy),
        (status = 404, description = "There is none."),
        (status = 422, description = "They do not hold.", body = schemas::Problem),
    ))]
pub(super) async fn put_cases(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    Path(digest): Path<String>,
    body: Body,
) -> Result<Json<PolicyRecord>, Problem> {
    let CasesBody { config, text } = json(body).await?;
    let component = desk.fleet.registry().component(sound(&digest)?).await?;
    let cases = Some(Cases { config: config.to_string(), text });
    Ok(Json(desk.fleet.push(Upload { component, cases, signatures: Vec::new() }, &who).await?))
}

/// Adds a signature to a policy.
#[utoipa::path(post, path = "/admin/v1/policies/{digest}/signatures", operation_id = "policy.sign", tag = "policies",
    params(("digest" = String, Path, description = "The SHA-256 of the component.")), request_body = SignatureBody,
    responses(
        (status = 200, description = "The policy.", body = schemas::Policy),
        (status = 404, description = "There is none."),
        (status = 422, description = "It is no signature.", body = schemas::Problem),
    ))]
pub(super) async fn add_signature(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    Path(digest): Path<String>,
    body: Body,
) -> Result<Json<PolicyRecord>, Problem> {
    let SignatureBody { signature } = json(body).await?;
    let component = desk.fleet.registry().component(sound(&digest)?).await?;
    Ok(Json(desk.fleet.push(Upload { component, cases: None, signatures: vec![signature] }, &who).await?))
}

/// The digits of a digest.
fn sound(text: &str) -> Result<&str, Problem> {
    let digest = text.strip_prefix("sha256:").unwrap_or(text);
    if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Ok(digest);
    }
    let told = format!("`{}` is no digest: 64 hexadecimal digits in small letters", text.escape_debug());
    Err(Problem::new(StatusCode::NOT_FOUND, told))
}
