//! The fleet: who runs what, and how shadows fare.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::problem::Problem;
use super::desk::Desk;
use super::schemas;
use crate::fleet::{FIRST_GENERATION, InstanceRecord};
use crate::gate::{Flip, Flips, ShadowReport};
use crate::model::rfc3339;

/// The fleet.
#[derive(Serialize, ToSchema)]
pub(super) struct FleetView {
    /// The instance that answers.
    instance: String,
    /// The generation that is active.
    generation: u64,
    /// The revision that is active.
    revision: u64,
    /// Whether every instance runs it.
    converged: bool,
    /// The instances that said within ten seconds that they are there.
    instances: Vec<InstanceView>,
}

/// One instance.
#[derive(Serialize, ToSchema)]
pub(super) struct InstanceView {
    #[serde(flatten)]
    #[schema(value_type = schemas::Instance)]
    record: InstanceRecord,
    /// How long ago it said so.
    age_ms: u64,
}

/// How a shadow compares with what decides, on the instance that answers.
#[derive(Serialize, ToSchema)]
pub(super) struct ShadowView {
    /// The tier.
    tier: String,
    /// The tenant, if it is one's own tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// Name and version of the shadow.
    policy: String,
    /// Its digest.
    digest: String,
    /// All of it.
    total: FlipsView,
    /// By tenant; those beyond the first 10,000 are together under `~others`.
    tenants: BTreeMap<String, FlipsView>,
    /// The last differences, the newest last.
    samples: Vec<FlipView>,
}

/// How verdicts compare.
#[derive(Serialize, ToSchema)]
pub(super) struct FlipsView {
    /// How many requests both decided.
    decided: u64,
    /// The shadow refuses what passed.
    stricter: u64,
    /// The shadow lets pass what was refused.
    looser: u64,
    /// The shadow could not decide.
    faults: u64,
}

/// A verdict that differs.
#[derive(Serialize, ToSchema)]
pub(super) struct FlipView {
    /// When.
    at: String,
    /// Whose request it was.
    tenant: String,
    /// Who asked.
    subject: String,
    /// What was told: `allow`, `deny` or `delay`.
    active: String,
    /// What the shadow would have told.
    shadow: String,
}

/// Says what every instance runs.
#[utoipa::path(get, path = "/admin/v1/fleet", operation_id = "fleet.show", tag = "fleet",
    responses((status = 200, description = "The fleet.", body = FleetView)))]
pub(super) async fn fleet(State(desk): State<Arc<Desk>>) -> Result<Json<FleetView>, Problem> {
    let active = desk.fleet.registry().active().await?;
    let (generation, revision) = active.map_or((FIRST_GENERATION, 0), |active| (active.generation, active.revision));
    let instances = desk.fleet.instances().await?;
    let runs = |record: &InstanceRecord| record.generation == generation && record.error.is_none();
    let converged = !instances.is_empty() && instances.iter().all(|(record, _)| runs(record));
    let view = |(record, age): (InstanceRecord, std::time::Duration)| InstanceView {
        record,
        age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
    };
    let instances = instances.into_iter().map(view).collect();
    let instance = desk.fleet.instance().to_owned();
    Ok(Json(FleetView { instance, generation, revision, converged, instances }))
}

/// Says how shadows compare with what decides, on the instance that answers.
#[utoipa::path(get, path = "/admin/v1/shadows", operation_id = "fleet.shadows", tag = "fleet",
    responses((status = 200, description = "Every shadow of the active roster.", body = [ShadowView])))]
pub(super) async fn shadows(State(desk): State<Arc<Desk>>) -> Json<Vec<ShadowView>> {
    Json(desk.fleet.gate().shadows().into_iter().map(ShadowView::from).collect())
}

impl From<ShadowReport> for ShadowView {
    fn from(report: ShadowReport) -> Self {
        Self {
            tier: report.tier.to_string(),
            tenant: report.tenant,
            policy: format!("{} {}", report.policy.name, report.policy.version),
            digest: report.policy.digest.clone(),
            total: report.total.into(),
            tenants: report.tenants.into_iter().map(|(tenant, flips)| (tenant, flips.into())).collect(),
            samples: report.samples.into_iter().map(FlipView::from).collect(),
        }
    }
}

impl From<Flips> for FlipsView {
    fn from(flips: Flips) -> Self {
        let Flips { decided, stricter, looser, faults } = flips;
        Self { decided, stricter, looser, faults }
    }
}

impl From<Flip> for FlipView {
    fn from(flip: Flip) -> Self {
        let (active, shadow) = (flip.active.name().to_owned(), flip.shadow.name().to_owned());
        Self { at: rfc3339(flip.at), tenant: flip.tenant, subject: flip.subject, active, shadow }
    }
}
