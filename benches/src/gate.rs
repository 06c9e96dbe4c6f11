//! The gate under test: the component of the policy `tiered`, over the store that a row asks for.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate::store::{Memory, Store};
use tollgate::{Decision, Precision, Request, SystemClock, TierPlan, Tollgate};

/// Which arithmetic a row compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A token bucket: GCRA.
    Gcra,
    /// A fixed window.
    Window,
}

impl Algorithm {
    /// The name in rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gcra => "gcra",
            Self::Window => "window",
        }
    }

    /// A limit that no row reaches, and whose counters outlive it: one hit keeps a bucket for ten seconds.
    #[must_use]
    pub const fn limit(self) -> &'static str {
        match self {
            Self::Gcra => "6/m burst 30000000",
            Self::Window => "1000000000/h",
        }
    }
}

/// The configuration of the policy `tiered` with this many limits of one algorithm, none of which is ever reached.
#[must_use]
pub fn configuration(algorithm: Algorithm, limits: usize) -> String {
    let limit = algorithm.limit();
    let limits: Vec<String> =
        (0..limits).map(|number| format!(r#"{{"id": "limit-{number}", "limit": "{limit}"}}"#)).collect();
    format!(r#"{{"limits": [{}]}}"#, limits.join(", "))
}

/// The tier of that.
#[must_use]
pub fn tier(algorithm: Algorithm, limits: usize) -> TierPlan {
    TierPlan::built_in("tiered", configuration(algorithm, limits))
}

/// A gate that runs the component of the policy `tiered` over memory, with token buckets.
///
/// # Panics
///
/// Panics if it cannot be built.
#[must_use]
pub fn gate(limits: usize) -> Tollgate {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let store = Memory::with_capacity(SystemClock::new(), MEMORY_CAPACITY);
    runtime.block_on(gate_over(store, Algorithm::Gcra, limits)).expect("the gate is sound")
}

/// More counters than any row makes, so that none gives way to another.
pub const MEMORY_CAPACITY: usize = 4_000_000;

/// A gate that runs the component of the policy `tiered` over `store`.
///
/// Its deadline is five seconds, so that a hiccup of a busy machine is a slow decision and not a failed one.
///
/// # Errors
///
/// Fails if it cannot be built.
pub async fn gate_over(store: impl Store, algorithm: Algorithm, limits: usize) -> tollgate::Result<Tollgate> {
    gate_with(store, algorithm, limits, Precision::Exact).await
}

/// The same with this precision.
///
/// # Errors
///
/// Fails if it cannot be built.
pub async fn gate_with(
    store: impl Store,
    algorithm: Algorithm,
    limits: usize,
    precision: Precision,
) -> tollgate::Result<Tollgate> {
    let tier = TierPlan { precision: precision.into(), ..tier(algorithm, limits) };
    let builder = Tollgate::builder().store(store).deadline(Duration::from_secs(5));
    builder.tier("free", tier).default_tier("free").build().await
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
