//! What a guest keeps of one tenant reaches no other.

use tollgate::store::Memory;
use tollgate::{Isolation, OnFault, Request, Source, SystemClock, TierPlan, Tollgate, Verdict};
use tollgate_tests::guests::{Guest, named};

use super::store::Remote;

/// Answers how often its instance was asked, by charging as much.
const COUNTS: Guest<'static> = Guest {
    name: "counts",
    evil: "(local.set $at (call $charge (i32.const 0)))
        (i64.store offset=56 (local.get $at) (i64.extend_i32_u (global.get $calls))) (return (call $decided (i32.const 1)))",
    ..Guest::HONEST
};

/// A gate over a store that answers at once, and one over a store that must be waited for.
async fn gates(plan: &TierPlan) -> tollgate::Result<[Tollgate; 2]> {
    let memory = || Memory::new(SystemClock::new());
    let builder = || Tollgate::builder().tier("tier", plan.clone()).default_tier("tier");
    Ok([builder().store(memory()).build().await?, builder().store(Remote::answering(memory())).build().await?])
}

fn isolated(guest: &TierPlan, isolation: Isolation) -> TierPlan {
    TierPlan { isolation, ..guest.clone() }
}

/// The verdict on a request of `tenant`, and what the policy charged for it.
async fn asked(gate: &Tollgate, tenant: &str) -> (Verdict, Vec<u64>) {
    let request = Request::new(tenant, "alice").unwrap().with_route("/evil").unwrap();
    let decision = gate.decide(&request).await;
    assert_eq!(decision.source, Source::Policy, "{decision:?}");
    (decision.verdict, decision.limits.iter().map(|charged| charged.cost).collect())
}

#[tokio::test]
async fn a_component_is_isolated_by_tenant_and_what_is_built_in_is_shared() {
    assert_eq!(COUNTS.tier(OnFault::Deny).isolation, Isolation::Tenant);
    assert_eq!(TierPlan::built_in("tiered", "{}").isolation, Isolation::Shared);
}

#[tokio::test]
async fn what_a_guest_remembers_of_a_tenant_is_gone_for_another() {
    let remembers = named("remembers").tier(OnFault::Deny);
    for isolation in [Isolation::Tenant, Isolation::Fresh] {
        for gate in gates(&isolated(&remembers, isolation)).await.unwrap() {
            for tenant in ["acme", "rival", "acme", "third", "rival", "acme"] {
                assert_eq!(asked(&gate, tenant).await, (Verdict::Allow, vec![]), "{tenant}, {isolation:?}");
            }
        }
    }
}

#[tokio::test]
async fn by_tenant_an_instance_serves_its_tenant_again_and_again() {
    // Over a store that must be waited for a guest is called twice, and this one would ask for something else the second time.
    let [gate, _] = gates(&COUNTS.tier(OnFault::Deny)).await.unwrap();
    let mut charged = Vec::new();
    for tenant in ["acme", "acme", "rival", "acme", "rival"] {
        charged.extend(asked(&gate, tenant).await.1);
    }
    assert_eq!(charged, [1, 2, 1, 3, 2]);
}

#[tokio::test]
async fn by_tenant_no_more_instances_are_kept_than_by_none() {
    // More tenants than any machine that runs this has places.
    let [gate, _] = gates(&COUNTS.tier(OnFault::Deny)).await.unwrap();
    let places = 64 * std::thread::available_parallelism().unwrap().get();
    for number in 0..=places {
        assert_eq!(asked(&gate, &format!("tenant-{number}")).await.1, [1]);
    }
    assert_eq!(asked(&gate, &format!("tenant-{places}")).await.1, [2], "who was there last is");
    assert_eq!(asked(&gate, "tenant-0").await.1, [1], "who was there first has made room");
}

#[tokio::test]
async fn fresh_no_instance_serves_twice() {
    for gate in gates(&isolated(&COUNTS.tier(OnFault::Deny), Isolation::Fresh)).await.unwrap() {
        for tenant in ["acme", "acme", "rival"] {
            assert_eq!(asked(&gate, tenant).await.1, [1]);
        }
    }
}

#[tokio::test]
async fn who_keeps_something_may_not_be_shared() {
    let keeps = [
        named("remembers").tier(OnFault::Deny),
        COUNTS.tier(OnFault::Deny),
        // Not what it decides differs, nor what it charges, but what it says.
        Guest {
            name: "mumbles",
            evil: "(return (call $verdict (i32.const 0) (i32.const 2307) (i32.and (global.get $calls) (i32.const 3))))",
            ..Guest::HONEST
        }
        .tier(OnFault::Deny),
        named("traps-now-and-then").tier(OnFault::Deny),
    ];
    for plan in keeps {
        let error = gates(&isolated(&plan, Isolation::Shared)).await.expect_err("it is tried").to_string();
        for part in [
            "tier `tier`: failed to share policy `",
            "it keeps something from one decision to the next: for `",
            "isolation = \"tenant\"",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[tokio::test]
async fn who_keeps_nothing_may_be_shared_and_serves_all() {
    let shared = isolated(&Guest::HONEST.tier(OnFault::Deny), Isolation::Shared);
    for gate in gates(&shared).await.unwrap() {
        for tenant in ["acme", "rival", "acme"] {
            assert_eq!(asked(&gate, tenant).await, (Verdict::Allow, vec![1]));
        }
    }
}

#[tokio::test]
async fn who_spins_is_not_shared_either() {
    let error =
        gates(&isolated(&named("spins").tier(OnFault::Deny), Isolation::Shared)).await.expect_err("it is tried");
    assert!(error.to_string().contains("it uses up what it has: time: "), "{error}");
}
