//! Versions on trial, and versions that fail.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tollgate::fleet::{Fleet, RosterDocument, Upload};
use tollgate::policy::Keyring;
use tollgate::store::{Redis, RedisOptions};
use tollgate::{Request, Source, TierPlan, Tollgate};
use tollgate_tests::RedisServer;

use super::{alone, asked, gate, host, within};

fn limits(limit: &str) -> Value {
    json!({"limits": [{"id": "only", "limit": limit}]})
}

/// Ten a day, with another version of it on trial.
fn on_trial(trial: &Value) -> RosterDocument {
    let roster = json!({
        "tiers": {"free": {"policy": "tiered", "config": limits("10/day"), "trial": trial}}, "default_tier": "free",
    });
    RosterDocument::parse(roster.to_string().as_bytes()).unwrap()
}

async fn activate(fleet: &Fleet, roster: RosterDocument) -> Result<u64> {
    let revision = fleet.propose(roster, "alice", "").await?.revision;
    Ok(fleet.activate(revision, "alice", "", None).await?.generation)
}

/// Fifteen requests of a tenant; how many passed.
async fn ask(gate: &Tollgate, tenant: &str) -> Result<usize> {
    let mut passed = 0;
    for _ in 0..15 {
        passed += usize::from(gate.decide(&Request::new(tenant, "alice")?).await.is_allowed());
    }
    Ok(passed)
}

#[tokio::test]
async fn a_stricter_shadow_reports_what_it_would_refuse_and_takes_nothing() -> Result<()> {
    let fleet = host(&alone(), "a").await?;
    activate(&fleet, on_trial(&json!({"policy": "tiered", "config": limits("4/day")}))).await?;
    for tenant in ["acme", "globex"] {
        assert_eq!(ask(fleet.gate(), tenant).await?, 10, "the active version decides");
    }
    let reports = fleet.gate().shadows();
    let report = &reports[0];
    assert_eq!((reports.len(), &*report.tier, report.policy.name.as_str()), (1, "free", "tiered"));
    for tenant in ["acme", "globex"] {
        let flips = report.tenants[tenant];
        // It would have refused the fifth to the tenth; the rest both refuse.
        assert_eq!((flips.decided, flips.stricter, flips.looser, flips.faults), (15, 6, 0, 0), "{tenant}");
    }
    assert_eq!((report.total.decided, report.total.stricter), (30, 12));
    assert_eq!(report.samples.len(), 12);
    assert!(report.samples.iter().all(|flip| flip.subject == "alice"), "{:?}", report.samples);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_leaves_every_counter_in_redis_as_it_is_without_one() -> Result<()> {
    let mut kept = Vec::new();
    for trial in [Value::Null, json!({"policy": "tiered", "config": limits("4/day")})] {
        let server = RedisServer::start()?;
        let store = Redis::connect(&server.target(), RedisOptions::default()).await?;
        let own = TierPlan::built_in("tiered", limits("7/day").to_string());
        let builder = Tollgate::builder().store(store).deadline(Duration::from_secs(5)).refusal_memory(false);
        let gate = builder.tier("free", own).default_tier("free").build().await?;
        let fleet = Fleet::join(gate, alone(), "a", None, Keyring::default()).await?;
        activate(&fleet, on_trial(&trial)).await?;
        assert_eq!(ask(fleet.gate(), "acme").await?, 10);
        let keys: Vec<String> = server.run(&["KEYS", "ratelimit:*acme*"])?;
        assert_eq!(keys.len(), 1, "{keys:?}");
        let counter: Vec<u8> = server.run(&["GET", &keys[0]])?;
        kept.push((keys, counter.last_chunk::<4>().copied()));
    }
    assert_eq!(kept[0], kept[1]);
    assert_eq!(kept[0].1, Some(10_u32.to_le_bytes()));
    Ok(())
}

#[tokio::test]
async fn a_looser_shadow_and_one_that_fails_are_told_apart() -> Result<()> {
    let fleet = host(&alone(), "a").await?;
    activate(&fleet, on_trial(&json!({"policy": "tiered", "config": limits("12/day")}))).await?;
    assert_eq!(ask(fleet.gate(), "acme").await?, 10);
    let total = fleet.gate().shadows()[0].total;
    // Ten are taken, so there is always room for one of twelve.
    assert_eq!((total.decided, total.stricter, total.looser, total.faults), (15, 0, 5, 0));
    let trapping = push_trapping(&fleet).await?;
    activate(&fleet, on_trial(&json!({"policy": trapping, "config": {}}))).await?;
    let request = Request::new("globex", "alice")?.with_route("/evil")?;
    for _ in 0..30 {
        assert_eq!(fleet.gate().decide(&request).await.source, Source::Policy, "the shadow's faults are its own");
    }
    assert_eq!(fleet.gate().shadows()[0].total.faults, 30);
    Ok(())
}

#[tokio::test]
async fn a_canary_decides_for_its_share_of_tenants_the_same_on_every_host() -> Result<()> {
    let documents = alone();
    let (one, other) = (host(&documents, "a").await?, host(&documents, "b").await?);
    let trial = json!({"policy": "tiered", "config": limits("99/day"), "canary_percent": 25});
    let generation = activate(&one, on_trial(&trial)).await?;
    within(Duration::from_secs(2), "both run it", async || other.gate().generation() == generation).await;
    let mut chosen = 0;
    for tenant in (0..400).map(|number| format!("tenant-{number}")) {
        let request = Request::new(&tenant, "alice")?;
        let max = one.gate().decide(&request).await.limits[0].limit.max();
        assert_eq!(other.gate().decide(&request).await.limits[0].limit.max(), max, "{tenant}");
        chosen += usize::from(max == 99);
    }
    assert!((70..=130).contains(&chosen), "{chosen} of 400 are a quarter");
    let refused = one.propose(on_trial(&json!({"policy": "tiered", "canary_percent": 100})), "alice", "").await;
    assert!(refused.expect_err("that is all of them").to_string().contains("1 to 99 make sense"));
    Ok(())
}

/// Keeps a policy that traps at the route `/evil`.
async fn push_trapping(fleet: &Fleet) -> Result<String> {
    let component = crate::policy::trapping();
    Ok(format!("sha256:{}", fleet.push(Upload { component, ..Upload::default() }, "mallory").await?.digest))
}

#[tokio::test]
async fn a_policy_that_traps_again_and_again_is_rolled_back_by_itself() -> Result<()> {
    let documents = alone();
    let (one, other) = (host(&documents, "a").await?, host(&documents, "b").await?);
    let good = activate(&one, on_trial(&Value::Null)).await?;
    let trapping = push_trapping(&one).await?;
    let roster = json!({"tiers": {"free": {"policy": trapping}}, "default_tier": "free"});
    let bad = activate(&one, RosterDocument::parse(roster.to_string().as_bytes())?).await?;
    within(Duration::from_secs(2), "both run it", async || other.gate().generation() == bad).await;
    let evil = Request::new("acme", "alice")?.with_route("/evil")?;
    let mut faults = 0;
    while one.gate().decide(&evil).await.source != Source::Policy {
        faults += 1;
        assert!(faults < 100, "it was never rolled back");
    }
    assert_eq!(faults, 20, "at once on the host that saw it");
    assert_eq!(asked(one.gate(), "bob").await?.1, 10);
    within(Duration::from_secs(2), "the other follows", async || other.gate().generation() > bad).await;
    assert_eq!(asked(other.gate(), "bob").await?.1, 10);
    let active = one.registry().active().await?.expect("something is active");
    assert_eq!((active.generation, active.by.as_str()), (bad + 1, "tollgate on a"), "{active:?}");
    assert!(active.note.contains("could not make 20 decisions, the last by trap"), "{active:?}");
    assert!(good < bad && active.after_storm);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_goes_back_one_step_and_not_two() -> Result<()> {
    let documents = alone();
    let (one, other) = (host(&documents, "a").await?, host(&documents, "b").await?);
    let trapping = push_trapping(&one).await?;
    let roster = |note: &str| {
        let roster = json!({"tiers": {"free": {"policy": trapping, "config": {"note": note}}}, "default_tier": "free"});
        RosterDocument::parse(roster.to_string().as_bytes()).unwrap()
    };
    activate(&one, roster("first")).await?;
    let second = activate(&one, roster("second")).await?;
    within(Duration::from_secs(2), "both run it", async || other.gate().generation() == second).await;
    let evil = Request::new("acme", "alice")?.with_route("/evil")?;
    for _ in 0..25 {
        one.gate().decide(&evil).await;
    }
    within(Duration::from_secs(2), "both went back", async || other.gate().generation() == second + 1).await;
    // What they went back to fails, too.
    for gate in [one.gate(), other.gate()] {
        for _ in 0..50 {
            assert!(matches!(gate.decide(&evil).await.source, Source::PolicyFault(_)));
        }
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let active = one.registry().active().await?.map(|active| (active.generation, active.revision));
    assert_eq!(
        (active, one.gate().generation()),
        (Some((second + 1, 1)), second + 1),
        "forth again, it would be the second"
    );
    Ok(())
}

#[tokio::test]
async fn a_storm_without_anything_to_go_back_to_changes_nothing() -> Result<()> {
    let gate = gate().await?;
    let trapping = TierPlan::component("trapping", crate::policy::trapping(), "{}");
    let builder = Tollgate::builder().tier("free", trapping).default_tier("free").deadline(Duration::from_secs(5));
    let only = builder.build().await?;
    let evil = Request::new("acme", "alice")?.with_route("/evil")?;
    for _ in 0..50 {
        assert!(matches!(only.decide(&evil).await.source, Source::PolicyFault(_)));
    }
    assert_eq!((only.generation(), gate.generation()), (1, 1));
    Ok(())
}
