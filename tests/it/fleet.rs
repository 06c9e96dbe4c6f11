//! Several hosts that decide alike: what they share, what they follow, and what they do when it is gone.

mod documents;
mod follow;
mod operate;
mod reload;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;
use tollgate::fleet::{Fleet, RosterDocument, Upload};
use tollgate::policy::{Keyring, built_in};
use tollgate::store::{DocumentMemory, Documents, Memory};
use tollgate::{ManualClock, Request, TierPlan, Timestamp, Tollgate};
use tollgate_tests::noise::waited_for_a_core;

/// A roster of one tier, `free`, whose policy this is, with one limit.
fn roster(policy: &str, limit: &str) -> RosterDocument {
    let config = json!({"limits": [{"id": "only", "limit": limit}]});
    let roster = json!({"tiers": {"free": {"policy": policy, "config": config}}, "default_tier": "free"});
    RosterDocument::parse(roster.to_string().as_bytes()).unwrap()
}

/// A gate over memory whose time stands still.
async fn gate() -> Result<Tollgate> {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let own = TierPlan::built_in("tiered", r#"{"limits": [{"id": "only", "limit": "7/day"}]}"#);
    let builder = Tollgate::builder().store(Memory::new(clock.clone())).clock(clock).deadline(Duration::from_secs(5));
    Ok(builder.tier("free", own).default_tier("free").build().await?)
}

/// A host of the fleet that shares these documents, whose own roster allows seven a day.
async fn host(documents: &Arc<dyn Documents>, name: &str) -> Result<Fleet> {
    Ok(Fleet::join(gate().await?, Arc::clone(documents), name, Some(roster("tiered", "7/day")), Keyring::default())
        .await?)
}

fn alone() -> Arc<dyn Documents> {
    Arc::new(DocumentMemory::default())
}

/// The built-in policy `tiered` as somebody's own.
async fn push(fleet: &Fleet) -> Result<String> {
    let upload = Upload { component: built_in("tiered")?.to_vec(), ..Upload::default() };
    Ok(format!("sha256:{}", fleet.push(upload, "alice").await?.digest))
}

/// What a new subject is told: the generation, and how much the one limit allows.
async fn asked(gate: &Tollgate, subject: &str) -> Result<(u64, u64)> {
    let decision = gate.decide(&Request::new("acme", subject)?).await;
    Ok((decision.generation, decision.limits[0].limit.max()))
}

/// Waits until it holds, and fails with `what` if it does not within this long. What this process had to wait for a core does not count.
async fn within(longest: Duration, what: &str, holds: impl AsyncFn() -> bool) -> Duration {
    let (began, waited) = (tokio::time::Instant::now(), waited_for_a_core());
    while !holds().await {
        assert!(
            began.elapsed() < longest + waited_for_a_core().saturating_sub(waited),
            "not within {longest:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}
