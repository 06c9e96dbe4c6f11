//! The types of `wit/policy.wit`, field by field. The engine compares them with each component when it is loaded.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::counter;
use crate::model;
use crate::time::Timestamp;

/// The interfaces that a policy may import, without their version.
pub(super) const COUNTERS: &str = "tollgate:policy/counters";
/// See [`COUNTERS`].
pub(super) const LOG: &str = "tollgate:policy/log";
/// See [`COUNTERS`].
pub(super) const TYPES: &str = "tollgate:policy/types";
/// The version of the contract that this host speaks.
pub(super) const VERSION: &str = "0.1.0";

/// Owned, so that an instance can keep one and fill it anew for each decision without allocating.
#[derive(Default, ComponentType, Lower)]
#[component(record)]
pub(super) struct Request {
    tenant: String,
    subject: String,
    route: String,
    cost: u64,
    #[component(name = "now-ms")]
    now_ms: u64,
    attributes: Vec<(String, String)>,
}

impl Request {
    pub(super) fn fill(&mut self, request: &model::Request<'_>, now: Timestamp) {
        for (text, given) in [
            (&mut self.tenant, request.tenant()),
            (&mut self.subject, request.subject()),
            (&mut self.route, request.route()),
        ] {
            text.clear();
            text.push_str(given);
        }
        self.cost = request.cost();
        self.now_ms = now.as_millis();
        self.attributes.clear();
        self.attributes
            .extend(request.attributes().iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    }
}

#[derive(PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub(super) enum Algorithm {
    #[component(name = "fixed-window")]
    FixedWindow,
    #[component(name = "sliding-window")]
    SlidingWindow,
    #[component(name = "token-bucket")]
    TokenBucket,
    #[component(name = "concurrency")]
    Concurrency,
    #[component(name = "calendar")]
    Calendar(String),
    #[component(name = "other")]
    Other(String),
}

#[derive(PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub(super) struct Limit {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    pub(super) max: u64,
    #[component(name = "window-ms")]
    pub(super) window_ms: u64,
    pub(super) burst: u64,
}

#[derive(PartialEq, Eq, ComponentType, Lift)]
#[component(variant)]
pub(super) enum Mode {
    #[component(name = "enforce")]
    Enforce,
    #[component(name = "shadow")]
    Shadow,
    #[component(name = "peek")]
    Peek,
    #[component(name = "other")]
    Other(String),
}

#[derive(PartialEq, Eq, ComponentType, Lift)]
#[component(record)]
pub(super) struct Charge {
    pub(super) limit: Limit,
    pub(super) key: String,
    pub(super) cost: u64,
    pub(super) mode: Mode,
    #[component(name = "hold-ms")]
    pub(super) hold_ms: Option<u64>,
}

#[derive(Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(super) struct Outcome {
    allowed: bool,
    remaining: u64,
    #[component(name = "reset-after-ms")]
    reset_after_ms: u64,
    #[component(name = "retry-after-ms")]
    retry_after_ms: Option<u64>,
}

impl From<&counter::Outcome> for Outcome {
    fn from(outcome: &counter::Outcome) -> Self {
        Self {
            allowed: outcome.allowed,
            remaining: outcome.remaining,
            reset_after_ms: millis_up(outcome.reset_after),
            retry_after_ms: outcome.retry_after.map(millis_up),
        }
    }
}

/// Rounded up, so that a caller who waits this long has waited long enough.
fn millis_up(duration: std::time::Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(u64::from(duration.subsec_nanos().div_ceil(1_000_000)))
}

#[derive(Clone, ComponentType, Lower)]
#[component(variant)]
pub(super) enum Fault {
    #[component(name = "unavailable")]
    Unavailable,
    #[component(name = "timeout")]
    Timeout,
    #[component(name = "denied")]
    Denied(String),
    #[component(name = "invalid")]
    Invalid(String),
    #[component(name = "over-budget")]
    OverBudget(String),
    #[component(name = "other")]
    #[expect(dead_code, reason = "the contract's room for faults of later versions")]
    Other(String),
}

#[derive(ComponentType, Lift)]
#[component(variant)]
pub(super) enum Verdict {
    #[component(name = "allow")]
    Allow,
    #[component(name = "delay")]
    Delay(u64),
    #[component(name = "deny")]
    Deny,
    #[component(name = "other")]
    Other(String),
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    pub(super) attributes: Vec<(String, String)>,
}

#[derive(ComponentType, Lift)]
#[component(record)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    #[component(name = "configuration-schema")]
    pub(super) configuration_schema: String,
}

#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the engine makes them when it lifts a call")]
pub(super) enum Level {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}
