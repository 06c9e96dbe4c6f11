//! Replacing every tier while requests are decided.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Result;
use tollgate::policy::{Component, Engine, built_in};
use tollgate::{Decision, ErrorKind, Plan, Request, Source, TierPlan, Tollgate};

use super::{gate, left, plan, tier};

/// What the limit of the tier `counted` allows in an odd generation, and in an even one.
const MAX: [u64; 2] = [2_000_000, 1_000_000];
/// Which policy the tier `changing` has in an odd generation, and in an even one.
const POLICIES: [&str; 2] = ["penalty", "tiered"];

/// Odd and even generations differ: other numbers for `counted`, another policy for `changing`.
fn plan_of(generation: u64) -> Plan {
    let at = usize::from(generation.is_multiple_of(2));
    let policy = |name: &str| match name {
        "tiered" => tier("1000000/day"),
        _ => TierPlan::built_in(name, "{}"),
    };
    plan([
        ("counted", tier(&format!("{}/300d", MAX[at]))),
        ("changing", policy(POLICIES[at])),
        // Code that is active is not compiled again: this keeps the other policy so.
        ("spare", policy(POLICIES[1 - at])),
    ])
}

/// Everything that the decision says is of the generation that it names.
fn check_whole(decision: &Decision, digests: &[String; 2]) {
    assert_eq!(decision.source, Source::Policy, "{decision:?}");
    let at = usize::from(decision.generation.is_multiple_of(2));
    let policy = decision.policy.as_ref().expect("a policy decided");
    match &*decision.tier {
        "counted" => {
            assert_eq!(policy.name, "tiered");
            assert_eq!((decision.limits.len(), decision.limits[0].limit.max()), (1, MAX[at]), "{decision:?}");
        }
        _ => {
            assert_eq!((policy.name.as_str(), &policy.digest), (POLICIES[at], &digests[at]), "{decision:?}");
            let ids: Vec<&str> = decision.limits.iter().map(|charged| charged.limit.id()).collect();
            assert_eq!(ids.contains(&"only"), POLICIES[at] == "tiered", "{decision:?}");
        }
    }
}

async fn decide_until(stop: &AtomicBool, gate: Tollgate, digests: [String; 2], charged: &AtomicU64) -> Result<u64> {
    let (mut latest, mut number) = (0, 0_u64);
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let tier = ["counted", "changing"][usize::from(number.is_multiple_of(2))];
        // New subjects, since a refusal by `penalty` would be one of its own.
        let subject = if tier == "counted" { "alice".to_owned() } else { number.to_string() };
        let decision = gate.decide(&Request::new("acme", &subject)?.with_tier(tier)?).await;
        check_whole(&decision, &digests);
        assert!(decision.generation >= latest, "generation {} after {latest}", decision.generation);
        latest = decision.generation;
        if tier == "counted" {
            charged.fetch_add(1, Ordering::Relaxed);
        }
        tokio::task::yield_now().await;
    }
    Ok(number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 5)]
async fn two_hundred_replacements_disturb_no_decision_and_lose_no_count() -> Result<()> {
    static STOP: AtomicBool = AtomicBool::new(false);
    static CHARGED: AtomicU64 = AtomicU64::new(0);
    let engine = Engine::new()?;
    let mut digests = [String::new(), String::new()];
    for (digest, policy) in digests.iter_mut().zip(POLICIES) {
        digest.clone_from(&Component::load(&engine, policy, built_in(policy)?).await?.id().digest);
    }
    let gate = gate(plan_of(1)).await?;
    let tasks: Vec<_> =
        (0..4).map(|_| tokio::spawn(decide_until(&STOP, gate.clone(), digests.clone(), &CHARGED))).collect();
    for generation in 2..=201 {
        assert_eq!(gate.replace(plan_of(generation)).await?, generation);
    }
    STOP.store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await?? > 0);
    }
    let last = gate.decide(&Request::new("acme", "alice")?.with_tier("counted")?).await;
    assert_eq!((last.generation, last.limits[0].limit.max()), (201, MAX[0]));
    assert_eq!(left(&last), MAX[0] - CHARGED.load(Ordering::Relaxed) - 1, "each decision was counted, once");
    Ok(())
}

#[tokio::test]
async fn a_limit_that_keeps_its_id_keeps_its_count() -> Result<()> {
    let gate = gate(plan([("free", tier("10/day"))])).await?;
    let request = Request::new("acme", "alice")?.with_tier("free")?;
    assert_eq!(left(&gate.decide(&request.with_cost(4)?).await), 6);
    gate.replace(plan([("free", tier("20/day"))])).await?;
    assert_eq!(left(&gate.decide(&request).await), 15);
    gate.replace(plan([("free", tier("3/day"))])).await?;
    let refused = gate.decide(&request).await;
    assert_eq!((refused.is_allowed(), left(&refused)), (false, 0), "five are spent of three");
    Ok(())
}

#[tokio::test]
async fn a_plan_that_does_not_fit_replaces_nothing_and_says_where_and_what() -> Result<()> {
    let gate = gate(plan([("free", tier("10/day"))])).await?;
    let request = Request::new("acme", "alice")?.with_tier("free")?;
    let sound = || plan([("free", tier("1/day"))]);
    let free = |broken: TierPlan| plan([("free", broken), ("basic", tier("1/day"))]);
    let named = |tenant: &str, tier: &str| [(tenant.to_owned(), tier.to_owned())].into();
    use ErrorKind::{Config, Policy};
    let cases: [(Plan, ErrorKind, &[&str]); 10] = [
        (plan([]), Config, &["no tier is set; give at least one"]),
        (
            free(TierPlan::built_in("teired", "{}")),
            Config,
            &["tier `free`: ", "`teired`", "there are descriptors, penalty, route-classes, throttle, tiered"],
        ),
        (
            free(TierPlan::built_in("tiered", r#"{"limits": [{"id": "a", "limit": "1/fortnight"}]}"#)),
            Policy,
            &[
                "tier `free`: failed to configure policy `tiered`: ",
                "`1/fortnight` is not a limit: write `10/s burst 20`",
            ],
        ),
        (free(TierPlan::built_in("tiered", "{")), Policy, &["tier `free`: ", "(line 1, column "]),
        (
            free(TierPlan::component("mine.wasm", b"garbage", "{}")),
            Policy,
            &[
                "tier `free`: failed to load policy `mine.wasm` at `form`: it is not WebAssembly; give the .wasm component",
            ],
        ),
        (
            free(TierPlan::component("mine.wasm", b"\0asm\x01\0\0\0", "{}")),
            Policy,
            &["tier `free`: ", "`mine.wasm`", "core module", "`tollgate policy build` makes components"],
        ),
        (plan([("free tier", tier("1/day"))]), Config, &["tier `free tier` is not 1 to 64 of A-Z a-z 0-9 . _ -"]),
        (
            Plan { tenants: named("acme", "gold"), ..sound() },
            Config,
            &["tenant `acme` has the tier `gold`; the tiers are free"],
        ),
        (Plan { tenants: named("a{b}", "free"), ..sound() }, Config, &["tenant `a{b}`: `tenant` holds a brace"]),
        (
            Plan { default_tier: Some("gold".to_owned()), ..sound() },
            Config,
            &["the default tier is `gold`; the tiers are free"],
        ),
    ];
    for (spent, (plan, kind, parts)) in (1..).zip(cases) {
        let error = gate.replace(plan).await.expect_err("the plan does not fit");
        assert_eq!(error.kind(), kind, "{error:#}");
        for part in parts {
            assert!(error.to_string().contains(part), "`{part}` is not in: {error:#}");
        }
        let decision = gate.decide(&request).await;
        assert_eq!((decision.generation, left(&decision)), (1, 10 - spent), "{error}");
    }
    assert_eq!(gate.tiers(), ["free"]);
    assert_eq!(gate.replace(sound()).await?, 2, "a plan that failed is no generation");
    Ok(())
}
