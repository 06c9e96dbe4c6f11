//! Every evil guest of the list, asked once over each kind of store. `tests/run-guests` asks them under load, beside a neighbour.

use tollgate::policy::{Component, Engine, Policy, Setting};
use tollgate::{OnFault, Source, TierPlan, Verdict};
use tollgate_tests::guests::{ANSWERING, CHARGING, Ends, Evil, LOADING, RUNNING};

use super::{contains, gates_of, request};

#[tokio::test]
async fn guests_that_use_up_what_they_are_given_are_contained() {
    all_are_contained(RUNNING).await;
}

#[tokio::test]
async fn guests_that_answer_what_cannot_be_are_contained() {
    all_are_contained(ANSWERING).await;
}

#[tokio::test]
async fn guests_that_charge_what_they_may_not_are_contained() {
    all_are_contained(CHARGING).await;
}

#[tokio::test]
async fn what_is_no_policy_is_refused_for_what_it_is() {
    all_are_contained(LOADING).await;
}

async fn all_are_contained(guests: &[Evil]) {
    for evil in guests {
        match evil.ends {
            Ends::Fault(fault) => contains(&evil.tier(OnFault::Deny), fault).await,
            Ends::EverySecond(fault) => {
                fails_every_second_time(&evil.tier(OnFault::Deny), Source::PolicyFault(fault)).await
            }
            Ends::Decides(verdict) => decides(evil, verdict).await,
            Ends::Refused(reasons) => {
                let error = started(evil).await.expect_err(evil.name);
                assert!(reasons.iter().any(|reason| error.contains(reason)), "{}: {error}", evil.name);
            }
            Ends::Loads => drop(started(evil).await),
            // Needs a store that hangs.
            Ends::Waits => {}
        }
    }
}

async fn fails_every_second_time(guest: &TierPlan, fault: Source) {
    let [local, waiting] = gates_of(guest).await;
    let ask = async |gate: &tollgate::Tollgate| gate.decide(&request("denies", "/evil")).await.source;
    for expected in [Source::Policy, fault, Source::Policy, fault] {
        assert_eq!(ask(&local).await, expected);
    }
    // Where the store must be waited for, a guest is called twice for a decision.
    for _ in 0..4 {
        assert_eq!(ask(&waiting).await, fault);
    }
}

/// Four tenants are told the same by turns.
async fn decides(evil: &Evil, verdict: Verdict) {
    for gate in gates_of(&evil.tier(OnFault::Deny)).await {
        for turn in 0..8 {
            let tenant = format!("tenant-{}", turn % 4);
            let request = tollgate::Request::new(&tenant, "alice").unwrap();
            let request = request.with_tier("allows").unwrap().with_route("/evil").unwrap();
            let decision = gate.decide(&request).await;
            assert_eq!((decision.source, decision.verdict), (Source::Policy, verdict), "{}: {decision:?}", evil.name);
        }
    }
}

/// The policy, or why it is refused, with the causes.
async fn started(evil: &Evil) -> Result<Policy, String> {
    let start = async {
        let component = Component::load(&Engine::new()?, evil.name, evil.bytes()).await?;
        Policy::new(&component, "{}", Setting::in_memory()).await
    };
    start.await.map_err(|error| format!("{error:#}"))
}
