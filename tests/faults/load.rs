//! A steady load of decisions, and what became of each.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tollgate::config::RedisTarget;
use tollgate::store::{Redis, RedisOptions};
use tollgate::{Builder, Decision, Request, Source, TierPlan, Tollgate};

use crate::log::{Log, Moment, Record};
use crate::noise::{Noise, Threads, micros};

/// How the load is shaped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// How many callers there are. Each is a tenant of its own with a counter of its own, and asks one question at a time.
    pub(crate) callers: u64,
    /// How long each waits between an answer and its next question.
    pub(crate) pause: Duration,
    /// How long a decision may take.
    pub(crate) deadline: Duration,
}

impl Default for Shape {
    fn default() -> Self {
        Self { callers: 32, pause: Duration::from_millis(16), deadline: Duration::from_millis(50) }
    }
}

/// Callers that ask and ask, on a runtime of their own.
pub(crate) struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<Vec<Record>>>,
    noise: Noise,
    shape: Shape,
}

struct Shared {
    gate: Tollgate,
    shape: Shape,
    began: Instant,
    stop: AtomicBool,
    /// When the newest question of each caller began that a policy answered; 0 if none.
    served_us: Vec<AtomicU64>,
    faults: AtomicU64,
    /// How many callers wait for an answer.
    asking: AtomicU64,
}

/// What every counter may reach; more than any row takes.
pub(crate) const MAX: u64 = 1_000_000_000;
/// The one limit of the load.
pub(crate) const LIMIT: &str = "hits";
const WINDOW: &str = "30d";
/// Longer than a first connection takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tenant of a caller.
pub(crate) fn tenant(caller: u64) -> String {
    format!("t{caller}")
}

/// The tier of the load: one window that nobody fills.
pub(crate) fn tier() -> TierPlan {
    let limits = format!(r#"{{"limits": [{{"id": "{LIMIT}", "limit": "{MAX}/{WINDOW}"}}]}}"#);
    TierPlan::built_in("tiered", limits)
}

/// A builder of a gate that counts in this Redis.
pub(crate) async fn builder(target: &RedisTarget, deadline: Duration) -> Result<Builder> {
    let store = Redis::connect(target, RedisOptions::default()).await?;
    Ok(Tollgate::builder().store(store).deadline(deadline).tier("load", tier()).default_tier("load"))
}

/// A runtime of two threads whose waiting for a core counts as the machine's.
pub(crate) fn runtime(threads: &Threads) -> Result<Runtime> {
    let threads = threads.clone();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(2).thread_name("load").enable_all();
    builder.on_thread_start(move || threads.add_this_one()).build().context("failed to start the load's threads")
}

impl Load {
    /// Connects, begins, and waits until a policy has answered every caller.
    pub(crate) fn start(url: &str) -> Result<Self> {
        Self::at(&url.parse()?, Shape::default())
    }

    /// Starts a load of some shape on the Redis of `target`.
    pub(crate) fn at(target: &RedisTarget, shape: Shape) -> Result<Self> {
        let threads = Threads::default();
        let runtime = runtime(&threads)?;
        let gate = runtime.block_on(async { anyhow::Ok(builder(target, shape.deadline).await?.build().await?) })?;
        Self::on(runtime, threads, gate, shape)
    }

    /// Starts a load on a gate that lives on this runtime.
    pub(crate) fn on(runtime: Runtime, threads: Threads, gate: Tollgate, shape: Shape) -> Result<Self> {
        let began = Instant::now();
        let shared = Arc::new(Shared {
            gate,
            shape,
            began,
            stop: AtomicBool::new(false),
            served_us: (0..shape.callers).map(|_| AtomicU64::new(0)).collect(),
            faults: AtomicU64::new(0),
            asking: AtomicU64::new(0),
        });
        let callers = (0..shape.callers).map(|caller| runtime.spawn(Arc::clone(&shared).ask(caller))).collect();
        let load = Self { runtime, shared, callers, noise: Noise::watch(began, threads), shape };
        load.until("a policy answers every caller", PATIENCE, |shared| shared.newest_us().all(|us| us > 0))?;
        Ok(load)
    }

    /// The gate that is asked.
    pub(crate) fn gate(&self) -> &Tollgate {
        &self.shared.gate
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Moment {
        Moment(micros(self.shared.began.elapsed()))
    }

    /// Lets the load go on for so long.
    pub(crate) fn runs(&self, duration: Duration) {
        thread::sleep(duration);
    }

    /// How many decisions a rule has made so far.
    pub(crate) fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::Relaxed)
    }

    /// Waits until somebody waits for an answer. Whether somebody did.
    pub(crate) fn asks(&self, within: Duration) -> bool {
        self.until("somebody asks", within, |shared| shared.asking.load(Ordering::Relaxed) > 0).is_ok()
    }

    /// Waits until a policy has answered a question that began after `moment`. Whether it did.
    pub(crate) fn recovers(&self, moment: Moment, within: Duration) -> bool {
        self.until("a policy answers again", within, |shared| shared.newest_us().any(|us| us > moment.0)).is_ok()
    }

    /// Waits until a policy has answered a question of one of these callers that began after `moment`. Whether it did.
    pub(crate) fn recovers_for(&self, callers: &BTreeSet<u64>, moment: Moment, within: Duration) -> bool {
        let newest = |shared: &Shared| {
            (0..).zip(shared.newest_us()).any(|(caller, us)| callers.contains(&caller) && us > moment.0)
        };
        self.until("a policy answers them again", within, newest).is_ok()
    }

    /// Waits until a rule has made a decision more than `before`. Whether it did.
    pub(crate) fn fails(&self, before: u64, within: Duration) -> bool {
        self.until("a rule answers", within, |shared| shared.faults.load(Ordering::Relaxed) > before).is_ok()
    }

    fn until(&self, what: &str, within: Duration, holds: impl Fn(&Shared) -> bool) -> Result<()> {
        let began = Instant::now();
        while !holds(&self.shared) {
            ensure!(began.elapsed() < within, "waited {within:?}, and it is not so that {what}");
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets every caller finish its question, and answers what became of all.
    pub(crate) fn end(self) -> Result<Log> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut callers = Vec::new();
        let mut silent = 0;
        let give_up = Instant::now() + self.shape.deadline + self.shape.pause + Duration::from_secs(3);
        for caller in self.callers {
            let left = give_up.saturating_duration_since(Instant::now());
            match self.runtime.block_on(async { tokio::time::timeout(left, caller).await }) {
                Ok(Ok(records)) => callers.push(records),
                Ok(Err(error)) => bail!("a caller panicked: {error}"),
                Err(_) => silent += 1,
            }
        }
        let (stalls, ended) = (self.noise.end(), Moment(micros(self.shared.began.elapsed())));
        self.runtime.shutdown_background();
        Ok(Log { callers, silent, stalls, ended, deadline: self.shape.deadline })
    }
}

impl Shared {
    async fn ask(self: Arc<Self>, caller: u64) -> Vec<Record> {
        let tenant = tenant(caller);
        let mut records = Vec::new();
        // The callers do not march in step, and no two counters ever stand at the same.
        tokio::time::sleep(self.shape.pause.mul_f64(caller as f64 / self.shape.callers as f64)).await;
        let mut cost = 1_000 * caller + 2;
        while !self.stop.load(Ordering::Relaxed) {
            let request = Request::new(&tenant, "s").and_then(|request| request.with_cost(cost));
            let request = request.expect("the tenant and the cost are in every range");
            let began = Instant::now();
            self.asking.fetch_add(1, Ordering::Relaxed);
            let decision = self.gate.decide(&request).await;
            self.asking.fetch_sub(1, Ordering::Relaxed);
            let record = Record {
                began_us: micros(began - self.began),
                took_us: micros(began.elapsed()),
                cost,
                source: decision.source,
                allowed: decision.is_allowed(),
                used: used(&decision),
            };
            self.note(caller, &record);
            if record.is_by_policy() {
                cost = 1;
            }
            records.push(record);
            tokio::time::sleep(self.shape.pause).await;
        }
        records
    }

    fn note(&self, caller: u64, record: &Record) {
        if !record.is_by_policy() {
            self.faults.fetch_add(1, Ordering::Relaxed);
        } else if let Some(served_us) = usize::try_from(caller).ok().and_then(|caller| self.served_us.get(caller)) {
            served_us.store(record.began_us.max(1), Ordering::Relaxed);
        }
    }

    fn newest_us(&self) -> impl Iterator<Item = u64> {
        self.served_us.iter().map(|us| us.load(Ordering::Relaxed))
    }
}

fn used(decision: &Decision) -> Option<u64> {
    let charged = decision.limits.first().filter(|_| decision.source == Source::Policy)?;
    Some(MAX - charged.outcome.remaining)
}
