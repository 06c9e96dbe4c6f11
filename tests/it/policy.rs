//! The bounds of a policy, each with a guest that tries to break it.
//!
//! A fault of a policy is answered by the rule of its tier, in time, and harms neither its neighbours nor its own next decision.

mod charges;
mod decide;
mod evil;
mod isolation;
mod load;
mod log;
mod store;

use std::time::{Duration, Instant};

use tollgate::store::Memory;
use tollgate::{Decision, OnFault, PolicyFaultKind, Request, Source, SystemClock, TierPlan, Tollgate, Verdict};
use tollgate_tests::guests::Guest;

pub(crate) use store::Remote;

const DEADLINE: Duration = Duration::from_millis(50);
/// What a decision may take over its deadline: the time of a policy.
const GRACE: Duration = Duration::from_millis(10);

/// Three tiers: `denies` and `allows` are decided by `guest` and have that rule for its faults, `honest` is its neighbour.
async fn gates(guest: &Guest<'_>) -> [Tollgate; 2] {
    gates_of(&TierPlan::component(guest.name, guest.bytes(), "{}")).await
}

async fn gates_of(guest: &TierPlan) -> [Tollgate; 2] {
    let deciding = |on_policy_fault| TierPlan { on_policy_fault, ..guest.clone() };
    let memory = || Memory::new(SystemClock::new());
    let builder = || {
        Tollgate::builder()
            .deadline(DEADLINE)
            .tier("denies", deciding(OnFault::Deny))
            .tier("allows", deciding(OnFault::Allow))
            .tier("honest", Guest::HONEST.tier(OnFault::Deny))
    };
    // A guest is called once over a store that answers at once, and once more for each answer over any other.
    [
        builder().store(memory()).build().await.unwrap(),
        builder().store(Remote::answering(memory())).build().await.unwrap(),
    ]
}

fn request<'a>(tier: &'a str, route: &'a str) -> Request<'a> {
    Request::new("acme", "alice").unwrap().with_tier(tier).unwrap().with_route(route).unwrap()
}

/// A guest is answered for by the rules, for this kind of fault.
async fn contains(guest: &TierPlan, fault: PolicyFaultKind) {
    for gate in gates_of(guest).await {
        for (tier, verdict) in [("denies", Verdict::Deny), ("allows", Verdict::Allow)] {
            let decision = in_time(&gate, tier, "/evil").await;
            assert_eq!((decision.source, decision.verdict), (Source::PolicyFault(fault), verdict), "{guest:?}");
            assert_eq!(decision.reason, "the policy could not decide");
        }
        decides_honestly(&gate, "honest", 0).await;
        decides_honestly(&gate, "denies", 0).await;
        decides_honestly(&gate, "allows", 1).await;
    }
}

/// The tier's policy decides by a counter on which so much was charged before.
async fn decides_honestly(gate: &Tollgate, tier: &str, before: u64) {
    let decision = gate.decide(&request(tier, "")).await;
    assert_eq!((decision.source, decision.verdict), (Source::Policy, Verdict::Allow), "{tier} of {gate:?}");
    let remaining: Vec<u64> = decision.limits.iter().map(|charged| charged.outcome.remaining).collect();
    assert_eq!(remaining, [999 - before], "{tier} of {gate:?}");
}

/// Decides within the deadline and its grace, at least once in a few times: on a busy machine the test itself may be kept waiting.
///
/// Each time for another tenant, since a policy that uses up its time for one twice is not asked a third time.
async fn in_time(gate: &Tollgate, tier: &str, route: &str) -> Decision {
    let mut fastest = Duration::MAX;
    for tenant in ["acme", "acme-1", "acme-2"] {
        let request = Request::new(tenant, "alice").unwrap().with_tier(tier).unwrap().with_route(route).unwrap();
        let began = Instant::now();
        let decision = gate.decide(&request).await;
        fastest = fastest.min(began.elapsed());
        if fastest <= DEADLINE + GRACE {
            return decision;
        }
    }
    panic!("the fastest of three decisions took {fastest:?}");
}

/// A policy that traps at the route `/evil`, and is honest at others.
pub(crate) fn trapping() -> Vec<u8> {
    Guest { name: "trapping", evil: "unreachable", ..Guest::HONEST }.bytes()
}

/// The same component with other bytes: a custom section at its end.
pub(crate) fn renamed_section(component: &[u8]) -> Vec<u8> {
    // Section 0, six bytes: a name of four, and one byte of content.
    [component, b"\0\x06\x04note!"].concat()
}
