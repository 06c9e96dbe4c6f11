//! What the benchmarks share: the gate under test, its native twin, and the keys.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::store::{Memory, Reply, Store};
use tollgate::{Charge, Decision, KeySpace, Mode, Quota, Request, SystemClock, TierPlan, Tollgate};
use tollgate_guest::{Config, Counters, Fault, Outcome, Policy};

/// How many subjects the benchmarks go round.
pub const SUBJECTS: usize = 10_000;

/// The configuration of the policy `tiered` with this many limits, none of which is ever reached.
#[must_use]
pub fn configuration(limits: usize) -> String {
    let limits: Vec<String> = (0..limits)
        .map(|number| format!(r#"{{"id": "limit-{number}", "limit": "1000000/s burst 1000000000"}}"#))
        .collect();
    format!(r#"{{"limits": [{}]}}"#, limits.join(", "))
}

/// The subjects `subject-0`, `subject-1`, ….
#[must_use]
pub fn subjects() -> Vec<String> {
    (0..SUBJECTS).map(|number| format!("subject-{number}")).collect()
}

/// A gate that runs the component of the policy `tiered` over memory.
///
/// # Panics
///
/// Panics if it cannot be built.
#[must_use]
pub fn gate(limits: usize) -> Tollgate {
    let tier = TierPlan::built_in("tiered", configuration(limits));
    let built =
        Tollgate::builder().store(Memory::new(SystemClock::new())).tier("free", tier).default_tier("free").build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(built).expect("the gate is sound")
}

/// Decides over a store that never waits, without a runtime.
///
/// # Panics
///
/// Panics if the decision waits.
pub fn decide(gate: &Tollgate, subject: &str) -> Decision {
    let request = Request::new("acme", subject).expect("the request is sound");
    let mut decision = std::pin::pin!(gate.decide(&request));
    match decision.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(decision) => decision,
        Poll::Pending => panic!("a decision over memory waited"),
    }
}

/// The same policy as native code, on the same store: what a decision costs without the sandbox.
pub struct Twin {
    policy: policy_tiered::Tiered,
    store: Arc<Memory>,
}

impl Twin {
    /// The policy `tiered` with this many limits.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be configured.
    #[must_use]
    pub fn new(limits: usize) -> Self {
        let policy =
            policy_tiered::Tiered::configure(&Config::new(configuration(limits))).expect("the configuration is sound");
        Self { policy, store: Arc::new(Memory::new(SystemClock::new())) }
    }

    /// Decides one request.
    ///
    /// # Panics
    ///
    /// Panics if the policy fails.
    #[must_use]
    pub fn decide(&self, subject: &str) -> tollgate_guest::Decision {
        let request = tollgate_guest::Request {
            tenant: "acme".to_owned(),
            subject: subject.to_owned(),
            route: String::new(),
            cost: 1,
            now_ms: 0,
            attributes: Vec::new(),
        };
        let counters = HostCounters { store: &self.store, keys: KeySpace::new("ratelimit", "acme", "tiered") };
        self.policy.decide(&request, &counters).expect("the policy decides")
    }
}

struct HostCounters<'a> {
    store: &'a Memory,
    keys: KeySpace,
}

impl Counters for HostCounters<'_> {
    fn charge_all(&self, charges: &[tollgate_guest::Charge<'_>]) -> Result<Vec<Outcome>, Fault> {
        let charges: Vec<Charge> = charges.iter().map(|charge| self.charge(charge)).collect();
        match self.store.charge(&charges, Duration::MAX) {
            Reply::Ready(Ok(outcomes)) => Ok(outcomes.iter().map(to_guest).collect()),
            Reply::Ready(Err(_)) | Reply::Pending(_) => Err(Fault::Unavailable),
        }
    }
}

impl HostCounters<'_> {
    fn charge(&self, charge: &tollgate_guest::Charge<'_>) -> Charge {
        let rule = charge.limit.rule();
        let quota = Quota { max: rule.max, window: Duration::from_micros(rule.window_us), burst: rule.burst };
        let limit = tollgate::Limit::new(charge.limit.id(), tollgate::Algorithm::TokenBucket, quota)
            .expect("the limit is sound");
        Charge { key: self.keys.key(&limit, charge.key), limit, cost: charge.cost, mode: Mode::Enforce, holder: 0 }
    }
}

/// The two crates carry the same arithmetic, as types of their own.
fn to_guest(outcome: &tollgate::Outcome) -> Outcome {
    let tollgate::Outcome { allowed, remaining, reset_after, retry_after, mark_us } = *outcome;
    Outcome { allowed, remaining, reset_after, retry_after, mark_us }
}
