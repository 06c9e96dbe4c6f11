//! The roster: which one is active, those there were, and changing to another.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::desk::Desk;
use super::diff::{Difference, difference};
use super::entry::Who;
use super::question::{Query, json};
use super::schemas;
use crate::error::Result as Answer;
use crate::fleet::{Activation, FIRST_GENERATION, Revision, RosterDocument};

/// A roster to be kept.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Proposal {
    /// The roster.
    #[schema(value_type = schemas::Roster)]
    roster: RosterDocument,
    /// What for.
    #[serde(default)]
    note: String,
}

/// What is to be activated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivationBody {
    /// The revision; 0 is each host's own configuration.
    revision: u64,
    /// What for.
    #[serde(default)]
    note: String,
    /// The generation that is to be replaced: if another is active meanwhile, nothing changes.
    #[serde(default)]
    expected_generation: Option<u64>,
}

/// Why it is undone.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RollbackBody {
    /// What for.
    #[serde(default)]
    note: String,
}

/// What is active.
#[derive(Serialize, ToSchema)]
pub(super) struct ActiveRoster {
    /// The generation of its decisions.
    pub(super) generation: u64,
    /// The revision; 0 is the host's own configuration.
    pub(super) revision: u64,
    /// Who activated it, when, and what for; none if nothing ever was activated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::Activation>)]
    activation: Option<Activation>,
    /// The roster.
    #[schema(value_type = schemas::Roster)]
    pub(super) roster: RosterDocument,
}

impl Desk {
    /// What is active in the fleet.
    pub(super) async fn active(&self) -> Answer<ActiveRoster> {
        let activation = self.fleet.registry().active().await?;
        let (generation, revision) =
            activation.as_ref().map_or((FIRST_GENERATION, 0), |active| (active.generation, active.revision));
        let roster = self.fleet.roster(revision).await?;
        Ok(ActiveRoster { generation, revision, activation, roster })
    }

    /// Changes the active roster, unless somebody else changes it meanwhile.
    pub(super) async fn change(
        &self,
        who: &str,
        uri: &Uri,
        change: impl FnOnce(&mut RosterDocument) -> Result<(), Problem>,
    ) -> Result<Json<Activation>, Problem> {
        let query = Query::of(uri, &["note"])?;
        let note = query.text("note").unwrap_or_default();
        let ActiveRoster { generation, mut roster, .. } = self.active().await?;
        change(&mut roster)?;
        let proposed = self.fleet.propose(roster, who, note).await?;
        Ok(Json(self.fleet.activate(proposed.revision, who, note, Some(generation)).await?))
    }
}

/// Says which roster is active.
#[utoipa::path(get, path = "/admin/v1/roster", operation_id = "roster.show", tag = "roster",
    responses((status = 200, description = "The active roster.", body = ActiveRoster)))]
pub(super) async fn active(State(desk): State<Arc<Desk>>) -> Result<Json<ActiveRoster>, Problem> {
    Ok(Json(desk.active().await?))
}

/// Lists the rosters that were proposed, the newest last.
#[utoipa::path(get, path = "/admin/v1/roster/revisions", operation_id = "roster.history", tag = "roster",
    responses((status = 200, description = "Every revision.", body = [schemas::Revision])))]
pub(super) async fn history(State(desk): State<Arc<Desk>>) -> Result<Json<Vec<Revision>>, Problem> {
    Ok(Json(desk.fleet.registry().revisions().await?))
}

/// Examines a roster and keeps it under the next number. It is not activated.
#[utoipa::path(post, path = "/admin/v1/roster/revisions", operation_id = "roster.propose", tag = "roster",
    request_body = Proposal,
    responses(
        (status = 201, description = "It would work: every policy was compiled, started and configured.", body = schemas::Revision),
        (status = 404, description = "A policy is not in the registry.", body = schemas::Problem),
        (status = 422, description = "It would not.", body = schemas::Problem),
    ))]
pub(super) async fn propose(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    body: Body,
) -> Result<Response, Problem> {
    let Proposal { roster, note } = json(body).await?;
    let revision = desk.fleet.propose(roster, &who, &note).await?;
    Ok((StatusCode::CREATED, Json(revision)).into_response())
}

/// Shows one revision.
#[utoipa::path(get, path = "/admin/v1/roster/revisions/{revision}", operation_id = "roster.revision", tag = "roster",
    params(("revision" = u64, Path, description = "Its number.")),
    responses((status = 200, description = "The revision.", body = schemas::Revision), (status = 404, description = "There is none.")))]
pub(super) async fn revision(
    State(desk): State<Arc<Desk>>,
    Path(number): Path<String>,
) -> Result<Json<Revision>, Problem> {
    let wrong = |_| Problem::new(StatusCode::NOT_FOUND, "a revision has a number");
    Ok(Json(desk.fleet.registry().revision(number.parse().map_err(wrong)?).await?))
}

/// Says what differs between two revisions.
#[utoipa::path(get, path = "/admin/v1/roster/diff", operation_id = "roster.diff", tag = "roster",
    params(
        ("from" = Option<u64>, Query, description = "The earlier one; if not given, the one that was active before."),
        ("to" = Option<u64>, Query, description = "The later one; if not given, the active one."),
    ),
    responses((status = 200, description = "Every difference, by its JSON Pointer.", body = [Difference]), (status = 404, description = "There is no such revision.")))]
pub(super) async fn differences(State(desk): State<Arc<Desk>>, uri: Uri) -> Result<Json<Vec<Difference>>, Problem> {
    let query = Query::of(&uri, &["from", "to"])?;
    let active = desk.fleet.registry().active().await?;
    let (before, now) = active.map_or((0, 0), |active| (active.before, active.revision));
    let from = desk.fleet.roster(query.number("from")?.unwrap_or(before)).await?;
    let to = desk.fleet.roster(query.number("to")?.unwrap_or(now)).await?;
    Ok(Json(difference(&from, &to)))
}

/// Makes a revision the active one of the whole fleet.
#[utoipa::path(post, path = "/admin/v1/roster/activate", operation_id = "roster.activate", tag = "roster",
    request_body = ActivationBody,
    responses(
        (status = 200, description = "It is active.", body = schemas::Activation),
        (status = 404, description = "There is no such revision.", body = schemas::Problem),
        (status = 409, description = "Another generation is active.", body = schemas::Problem),
    ))]
pub(super) async fn activate(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    body: Body,
) -> Result<Json<Activation>, Problem> {
    let ActivationBody { revision, note, expected_generation } = json(body).await?;
    Ok(Json(desk.fleet.activate(revision, &who, &note, expected_generation).await?))
}

/// Activates what was active before.
#[utoipa::path(post, path = "/admin/v1/roster/rollback", operation_id = "roster.rollback", tag = "roster",
    request_body = RollbackBody,
    responses(
        (status = 200, description = "It is active again.", body = schemas::Activation),
        (status = 409, description = "Nothing was active before.", body = schemas::Problem),
    ))]
pub(super) async fn roll_back(
    State(desk): State<Arc<Desk>>,
    Extension(Who(who)): Extension<Who>,
    body: Body,
) -> Result<Json<Activation>, Problem> {
    let RollbackBody { note } = json(body).await?;
    Ok(Json(desk.fleet.roll_back(&who, &note).await?))
}
