//! Many tasks of several hosts at once: whatever comes out could have come out one after another.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;
use tollgate::config::{RedisTarget, Secret, WithoutScripts};
use tollgate::counter::{Item, State, charge_all};
use tollgate::store::{List, Memory, Redis, RedisOptions, RedisTime, Reply, Store};
use tollgate::{Algorithm, Charge, Limit, ManualClock, Mode, Outcome, Quota, Settled, Settlement, Timestamp};
use tollgate_tests::{RedisCluster, RedisServer};

use super::SOON;

const MOMENT_US: u64 = 1_700_000_000_000_123;
const KEYS: usize = 4;
const TENANTS: usize = 3;

/// A charge of a list, in terms of the keys of its tenant.
#[derive(Clone, Debug)]
struct Draft {
    key: usize,
    cost: u64,
    mode: Mode,
}

/// What one task charges: lists of one tenant each.
type Work = Vec<(usize, Vec<Draft>)>;

/// What was charged, and what came of it.
struct Done {
    charges: Vec<Charge>,
    outcomes: Vec<Outcome>,
}

fn drafts() -> impl Strategy<Value = Draft> {
    let modes = prop_oneof![8 => Just(Mode::Enforce), 1 => Just(Mode::Shadow), 1 => Just(Mode::Peek)];
    (0..KEYS, 1..4_u64, modes).prop_map(|(key, cost, mode)| Draft { key, cost, mode })
}

fn works() -> impl Strategy<Value = Vec<Work>> {
    vec(vec((0..TENANTS, vec(drafts(), 1..4)), 1..12), 2..12)
}

/// Each key counts by a rule of its own, so that few lists in a case are alike and most keys run full.
fn limit(key: usize) -> Limit {
    let algorithm = [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket][key % 3];
    let max = 5 + 9 * key as u64;
    Limit::new("test", algorithm, Quota { max, window: Duration::from_secs(3_600), burst: max }).expect("it is sound")
}

fn charge(case: &str, tenant: usize, draft: &Draft) -> Charge {
    let limit = limit(draft.key);
    let key = format!("inter:{{{case}-{tenant}}}:{}:{}", limit.algorithm().key_tag(), draft.key);
    Charge { key, limit, cost: draft.cost, mode: draft.mode, holder: 0 }
}

/// Lets every task loose at once, each on the next host.
async fn run(hosts: &[Arc<dyn Store>], case: &str, works: &[Work]) -> Result<Vec<Vec<Done>>> {
    let mut tasks = Vec::new();
    for (task, work) in works.iter().enumerate() {
        let host = Arc::clone(&hosts[task % hosts.len()]);
        let list =
            |(tenant, drafts): &(usize, Vec<Draft>)| drafts.iter().map(|draft| charge(case, *tenant, draft)).collect();
        let lists: Vec<Vec<Charge>> = work.iter().map(list).collect();
        tasks.push(tokio::spawn(async move {
            let mut done = Vec::new();
            for charges in lists {
                let outcomes = host.charge(&charges, SOON).outcomes().await?;
                done.push(Done { charges, outcomes });
            }
            anyhow::Ok(done)
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await??);
    }
    Ok(all)
}

/// Finds an order in which the arithmetic, list by list, comes to the same outcomes, with the lists of each task in their own order.
fn in_some_order(tasks: &[Vec<Done>]) -> Result<(), String> {
    let mut search = Search { tasks, failed: BTreeSet::new(), furthest: vec![0; tasks.len()] };
    if search.goes_on(vec![0; tasks.len()], &BTreeMap::new()) {
        return Ok(());
    }
    let stuck: Vec<&Done> = tasks.iter().zip(&search.furthest).filter_map(|(task, next)| task.get(*next)).collect();
    Err(format!("no order of the lists explains them; stuck before one of {}", Shown(&stuck)))
}

type Counters = BTreeMap<String, Option<State>>;

struct Search<'a> {
    tasks: &'a [Vec<Done>],
    /// How far each task was where nothing fits: what was taken until there depends on nothing else.
    failed: BTreeSet<Vec<usize>>,
    furthest: Vec<usize>,
}

impl Search<'_> {
    fn goes_on(&mut self, mut placed: Vec<usize>, counters: &Counters) -> bool {
        // A list that changes nothing may stand wherever it fits.
        loop {
            let idle = self.fitting(&placed, counters).find(|(_, changed)| changed.is_none()).map(|(task, _)| task);
            let Some(task) = idle else { break };
            placed[task] += 1;
        }
        if placed.iter().sum::<usize>() > self.furthest.iter().sum() {
            self.furthest.clone_from(&placed);
        }
        if placed.iter().zip(self.tasks).all(|(next, task)| *next == task.len()) {
            return true;
        }
        if !self.failed.insert(placed.clone()) {
            return false;
        }
        let next: Vec<(usize, Option<Counters>)> = self.fitting(&placed, counters).collect();
        next.into_iter().any(|(task, changed)| {
            let mut placed = placed.clone();
            placed[task] += 1;
            self.goes_on(placed, changed.as_ref().unwrap_or(counters))
        })
    }

    /// The tasks whose next list fits here, and the counters after it if it changes any.
    fn fitting(&self, placed: &[usize], counters: &Counters) -> impl Iterator<Item = (usize, Option<Counters>)> {
        let heads = self.tasks.iter().zip(placed).enumerate();
        heads.filter_map(|(task, (lists, next))| {
            let done = lists.get(*next)?;
            let (after, outcomes) = applied(counters, &done.charges);
            if outcomes != done.outcomes {
                return None;
            }
            let changed = after.iter().any(|(key, state)| counters.get(key).unwrap_or(&None) != state);
            Some((task, changed.then(|| counters.clone().into_iter().chain(after).collect())))
        })
    }
}

fn applied(counters: &Counters, charges: &[Charge]) -> (Counters, Vec<Outcome>) {
    let mut keys: Vec<&str> = charges.iter().map(|charge| charge.key.as_str()).collect();
    keys.sort_unstable();
    keys.dedup();
    let item = |charge: &Charge| Item {
        rule: *charge.limit.rule(),
        cost: charge.cost,
        mode: charge.mode,
        slot: keys.binary_search(&charge.key.as_str()).expect("each key was collected"),
        holder: charge.holder,
    };
    let items: Vec<Item> = charges.iter().map(item).collect();
    let mut states: Vec<Option<State>> = keys.iter().map(|key| counters.get(*key).cloned().flatten()).collect();
    let (_, outcomes) = charge_all(&items, &mut states, MOMENT_US);
    (keys.into_iter().map(str::to_owned).zip(states).collect(), outcomes)
}

struct Shown<'a>(&'a [&'a Done]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for done in self.0.iter().take(3) {
            let charges = done.charges.iter().map(|charge| (&charge.key, charge.cost, charge.mode));
            write!(f, "\n{:?}", charges.zip(&done.outcomes).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

/// No enforced charges of one key may come to more than its limit.
fn within_limits<'a>(done: impl Iterator<Item = &'a Done>) -> Result<(), String> {
    let mut taken: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for Done { charges, outcomes } in done {
        let refused =
            charges.iter().zip(outcomes).any(|(charge, outcome)| charge.mode == Mode::Enforce && !outcome.allowed);
        for (charge, outcome) in charges.iter().zip(outcomes) {
            let takes = !refused && outcome.allowed && charge.mode != Mode::Peek;
            let entry = taken.entry(&charge.key).or_insert((0, charge.limit.max()));
            entry.0 += if takes { charge.cost } else { 0 };
        }
    }
    let over = taken.iter().find(|(_, (taken, max))| taken > max);
    over.map_or(Ok(()), |(key, (taken, max))| Err(format!("`{key}` took {taken} of {max}")))
}

fn check(runtime: &Runtime, hosts: &[Arc<dyn Store>], cases: u32) -> Result<()> {
    check_that(runtime, hosts, cases, &works().boxed(), in_some_order)
}

/// What comes of any works keeps the limits, and `holds`.
fn check_that(
    runtime: &Runtime,
    hosts: &[Arc<dyn Store>],
    cases: u32,
    works: &BoxedStrategy<Vec<Work>>,
    holds: fn(&[Vec<Done>]) -> Result<(), String>,
) -> Result<()> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let case = Cell::new(0_u32);
    TestRunner::new(config).run(works, |works| {
        case.set(case.get() + 1);
        let name = case.get().to_string();
        let done =
            runtime.block_on(run(hosts, &name, &works)).map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
        within_limits(done.iter().flatten()).map_err(TestCaseError::fail)?;
        holds(&done).map_err(TestCaseError::fail)
    })?;
    Ok(())
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_micros(MOMENT_US))
}

fn options() -> RedisOptions {
    RedisOptions { time: RedisTime::Given(Arc::new(clock())), ..RedisOptions::default() }
}

#[test]
fn tasks_that_share_memory_are_served_one_after_another() -> Result<()> {
    check(&runtime()?, &[Arc::new(Memory::new(clock()))], 400)
}

#[test]
fn hosts_that_share_a_server_are_served_one_after_another() -> Result<()> {
    let (runtime, server) = (runtime()?, RedisServer::start()?);
    let mut hosts: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..3 {
        hosts.push(Arc::new(runtime.block_on(Redis::connect(&server.target(), options()))?));
    }
    check(&runtime, &hosts, 150)
}

#[test]
fn hosts_that_share_a_cluster_are_served_one_after_another() -> Result<()> {
    let (runtime, cluster) = (runtime()?, RedisCluster::start(3, 0)?);
    let mut hosts: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..2 {
        hosts.push(Arc::new(runtime.block_on(Redis::connect(&cluster.target(), options()))?));
    }
    check(&runtime, &hosts, 60)
}

#[test]
fn hosts_without_scripts_keep_the_limits() -> Result<()> {
    let (runtime, server) = (runtime()?, RedisServer::start()?);
    server.run::<()>(&["ACL", "SETUSER", "plain", "on", ">pw", "~*", "+@all", "-@scripting"])?;
    let user = RedisTarget { username: Some("plain".to_owned()), password: Some(Secret::new("pw")), ..server.target() };
    let mut hosts: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..3 {
        let options = RedisOptions { without_scripts: WithoutScripts::Allow, ..options() };
        hosts.push(Arc::new(runtime.block_on(Redis::connect(&user, options))?));
    }
    // The key 2 is a bucket, which is not counted without scripts.
    let to_window = |draft: &mut Draft| draft.key = if draft.key == 2 { 3 } else { draft.key };
    let works = works().prop_map(move |mut works| {
        works.iter_mut().flatten().flat_map(|(_, drafts)| drafts).for_each(to_window);
        works
    });
    check_that(&runtime, &hosts, 100, &works.boxed(), |_| Ok(()))
}

/// A store that takes a list charge by charge, as one does without scripts.
#[derive(Debug)]
struct Torn(Memory);

impl Store for Torn {
    fn take<'a>(&'a self, list: List<'a>) -> Reply<'a> {
        Reply::Pending(Box::pin(async move {
            let mut outcomes = Vec::new();
            for charge in list.charges {
                outcomes.extend(self.0.charge(std::slice::from_ref(charge), list.within).outcomes().await?);
                tokio::task::yield_now().await;
            }
            Ok(outcomes)
        }))
    }

    fn settle<'a>(&'a self, settlement: &'a Settlement, within: Duration) -> Reply<'a, Settled> {
        self.0.settle(settlement, within)
    }
}

#[test]
fn a_store_that_takes_lists_apart_is_found_out() -> Result<()> {
    let torn = check(&runtime()?, &[Arc::new(Torn(Memory::new(clock())))], 400);
    let text = format!("{:#}", torn.expect_err("its lists are not whole"));
    assert!(text.contains("no order of the lists explains them"), "{text}");
    Ok(())
}
