//! The same policy as native code, on the same store: what a decision costs without the sandbox.

use std::sync::Arc;
use std::time::Duration;

use tollgate::store::{Memory, Reply, Store};
use tollgate::{Charge, KeySpace, Mode, Quota, SystemClock};
use tollgate_guest::{Config, Counters, Fault, Outcome, Policy};

use crate::gate::{Algorithm, MEMORY_CAPACITY, configuration};

/// The policy `tiered` as native code over memory.
pub struct Twin {
    policy: policy_tiered::Tiered,
    store: Arc<Memory>,
}

impl Twin {
    /// The policy with this many token buckets.
    ///
    /// # Panics
    ///
    /// Panics if it cannot be configured.
    #[must_use]
    pub fn new(limits: usize) -> Self {
        let config = Config::new(configuration(Algorithm::Gcra, limits));
        let policy = policy_tiered::Tiered::configure(&config).expect("the configuration is sound");
        Self { policy, store: Arc::new(Memory::with_capacity(SystemClock::new(), MEMORY_CAPACITY)) }
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
