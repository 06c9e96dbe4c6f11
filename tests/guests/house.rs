//! The gate on which guests are tried, and its neighbour.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;
use tollgate::store::{Memory, Redis, RedisOptions};
use tollgate::{Builder, OnFault, OnStoreFault, Plan, SystemClock, TierPlan, Tollgate};
use tollgate_tests::RedisServer;
use tollgate_tests::guests::{Ends, Evil, Guest, honest_by_another_name};
use tollgate_tests::noise::Threads;

/// How long a decision may take.
pub(crate) const DEADLINE: Duration = Duration::from_millis(50);
/// How often each tenant of the neighbour is admitted.
pub(crate) const LIMIT: u64 = 250;

/// A gate with a neighbour, an honest guest, and an evil one unless that is only to be loaded; its runtime, and its store if that is a server.
pub(crate) struct House {
    pub(crate) runtime: Runtime,
    pub(crate) threads: Threads,
    pub(crate) gate: Tollgate,
    /// The Redis, which is to be suspended while guests are asked.
    pub(crate) redis: Option<RedisServer>,
}

impl House {
    /// Builds it for one guest.
    pub(crate) fn for_guest(evil: &Evil) -> Result<Self> {
        let threads = Threads::default();
        let runtime = runtime(&threads)?;
        let redis = matches!(evil.ends, Ends::Waits).then(RedisServer::start).transpose()?;
        let gate = runtime.block_on(async {
            let builder = match &redis {
                Some(server) => {
                    Tollgate::builder().store(Redis::connect(&server.target(), RedisOptions::default()).await?)
                }
                None => Tollgate::builder().store(Memory::new(SystemClock::new())),
            };
            anyhow::Ok(furnished(builder, evil).build().await?)
        })?;
        Ok(Self { runtime, threads, gate, redis })
    }
}

fn furnished(builder: Builder, evil: &Evil) -> Builder {
    let plan = plan(evil.is_asked().then(|| evil.tier(OnFault::Deny)));
    builder.deadline(DEADLINE).plan(plan)
}

/// The neighbour, the honest guest, and a tier `evil` if there is one.
fn plan(evil: Option<TierPlan>) -> Plan {
    let limits = format!(r#"{{"limits": [{{"id": "hits", "limit": "{LIMIT}/366d"}}]}}"#);
    let neighbour = TierPlan { on_store_fault: OnStoreFault::Local.into(), ..TierPlan::built_in("tiered", limits) };
    let mut plan = Plan { default_tier: Some("neighbour".to_owned()), ..Plan::default() };
    plan.tiers.insert("neighbour".to_owned(), neighbour);
    plan.tiers.insert("honest".to_owned(), Guest::HONEST.tier(OnFault::Deny));
    plan.tiers.extend(evil.map(|evil| ("evil".to_owned(), evil)));
    plan
}

/// The same gate with a tier that these bytes are to decide.
pub(crate) fn plan_with(bytes: Vec<u8>) -> Plan {
    plan(Some(TierPlan::component("evil", bytes, "{}")))
}

/// The same gate with an honest tier that was never compiled before.
pub(crate) fn plan_anew(number: u64) -> Plan {
    plan_with(honest_by_another_name(number))
}

/// A runtime of two threads whose waiting for a core counts as the machine's.
fn runtime(threads: &Threads) -> Result<Runtime> {
    let threads = threads.clone();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(2).thread_name("gate").enable_all();
    builder.on_thread_start(move || threads.add_this_one()).build().context("failed to start the gate's threads")
}
