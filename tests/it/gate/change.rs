//! Limits that change while they are counted: in place, or because a tenant gets another tier.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tollgate::store::{Memory, Redis, RedisOptions, RedisTime};
use tollgate::{Builder, ManualClock, OnChange, Plan, Request, TierPlan, Timestamp, Tollgate};
use tollgate_tests::RedisServer;

/// A plan of one tier of these limits, with this rule for changes of `window` and `bucket`; `other` keeps.
fn plan(max: u64, on_change: OnChange) -> Plan {
    let limits = format!(
        r#"{{"limits": [{{"id": "window", "limit": "{max}/day"}}, {{"id": "bucket", "limit": "1/h burst {max}"}},
            {{"id": "other", "limit": "{max}/day"}}]}}"#
    );
    let mut tier = TierPlan::built_in("tiered", limits);
    tier.on_change = tier.on_change.with("window", on_change).with("bucket", on_change);
    Plan { tiers: [("tier".to_owned(), tier)].into(), default_tier: Some("tier".to_owned()), ..Plan::default() }
}

async fn left(gate: &Tollgate, cost: u64) -> Result<Vec<u64>> {
    let decision = gate.decide(&Request::new("acme", "alice")?.with_cost(cost)?).await;
    Ok(decision.limits.iter().map(|charged| charged.outcome.remaining).collect())
}

#[tokio::test]
async fn a_replaced_plan_does_with_what_is_counted_as_it_says() -> Result<()> {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let server = RedisServer::start()?;
    // What is left when a limit of 10 of which 6 are used becomes 100, when 1 more is used, and when it becomes 10 again.
    for (on_change, larger, smaller) in [
        (OnChange::Keep, [93, 93, 93], [3, 3, 3]),
        (OnChange::Proportional, [39, 39, 93], [3, 3, 3]),
        (OnChange::Additive, [93, 93, 93], [10, 10, 3]),
        (OnChange::Reset, [99, 99, 93], [10, 10, 3]),
    ] {
        let name = on_change.name();
        let options = RedisOptions { time: RedisTime::Given(Arc::new(clock.clone())), ..RedisOptions::default() };
        let redis = Redis::connect(&server.target(), options).await?;
        let built = async |builder: Builder| {
            let builder = builder.clock(clock.clone()).deadline(Duration::from_secs(5)).key_prefix(name);
            builder.plan(plan(10, on_change)).build().await
        };
        let memory = Memory::new(clock.clone());
        for gate in [built(Tollgate::builder().store(memory)).await?, built(Tollgate::builder().store(redis)).await?] {
            assert_eq!(left(&gate, 6).await?, [4, 4, 4], "{name}");
            gate.replace(plan(100, on_change)).await?;
            assert_eq!(left(&gate, 1).await?, larger, "{name}");
            gate.replace(plan(10, on_change)).await?;
            // More than it can ever give, so that it is refused and takes nothing.
            assert_eq!(left(&gate, 11).await?, smaller, "{name}");
        }
    }
    Ok(())
}
