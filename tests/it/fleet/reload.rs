//! Thousands of activations while requests are decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Result;
use tollgate::{Decision, Request, Source, Tollgate};

use super::{alone, host, push, roster};

/// What the limit allows in an odd generation, and in an even one.
const MAX: [u64; 2] = [2_000_000, 1_000_000];

/// What the decision says is of the generation that it names.
fn check_whole(decision: &Decision, digests: &[String; 2]) {
    assert_eq!((decision.source, decision.is_allowed()), (Source::Policy, true), "{decision:?}");
    let at = usize::from(decision.generation.is_multiple_of(2));
    let digest = &decision.policy.as_ref().expect("a policy decided").digest;
    assert_eq!((digest, decision.limits[0].limit.max()), (&digests[at], MAX[at]), "{decision:?}");
}

async fn decide(stop: Arc<AtomicBool>, gate: Tollgate, digests: [String; 2], charged: Arc<AtomicU64>) -> Result<u64> {
    let (request, mut decided) = (Request::new("acme", "alice")?, 0);
    while !stop.load(Ordering::Relaxed) {
        check_whole(&gate.decide(&request).await, &digests);
        charged.fetch_add(1, Ordering::Relaxed);
        decided += 1;
        tokio::task::yield_now().await;
    }
    Ok(decided)
}

/// The memory of this process that is in use, in bytes.
fn resident() -> Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?.split(' ').nth(1).unwrap_or_default().parse::<u64>()?;
    Ok(pages * 4_096)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn ten_thousand_activations_disturb_no_decision_lose_no_count_and_take_no_memory() -> Result<()> {
    let fleet = host(&alone(), "a").await?;
    let (stop, charged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Two policies that share their counters: the same name, other bytes.
    let own = push(&fleet).await?;
    let other = crate::policy::renamed_section(tollgate::policy::built_in("tiered")?);
    let other = fleet.push(tollgate::fleet::Upload { component: other, ..Default::default() }, "alice").await?.digest;
    let policies = [own, format!("sha256:{other}")];
    let digests = policies.clone().map(|policy| policy.trim_start_matches("sha256:").to_owned());
    assert_ne!(digests[0], digests[1]);
    let mut revisions = [0; 2];
    for (at, revision) in revisions.iter_mut().enumerate() {
        *revision = fleet.propose(roster(&policies[at], &format!("{}/300d", MAX[at])), "alice", "").await?.revision;
    }
    let activate = async |generation: u64| {
        let revision = revisions[usize::from(generation.is_multiple_of(2))];
        let active = fleet.activate(revision, "alice", "", None).await;
        assert_eq!(active.map(|active| active.generation).unwrap(), generation);
    };
    activate(2).await;
    let tasks: Vec<_> = (0..2)
        .map(|_| tokio::spawn(decide(Arc::clone(&stop), fleet.gate().clone(), digests.clone(), Arc::clone(&charged))))
        .collect();
    let mut warm = 0;
    for generation in 3..=10_002 {
        activate(generation).await;
        if generation == 2_002 {
            warm = resident()?;
        }
    }
    let end = resident()?;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        assert!(task.await?? > 0);
    }
    assert!(end * 100 < warm * 105, "grew from {warm} to {end} bytes over the last eight thousand");
    let last = fleet.gate().decide(&Request::new("acme", "alice")?).await;
    let left = last.limits[0].outcome.remaining;
    assert_eq!(left, MAX[1] - charged.load(Ordering::Relaxed) - 1, "each decision was counted, once");
    Ok(())
}
