//! Counting for a user who may call no script: by plain commands, with fewer guarantees.
//!
//! A list takes all that it wants first, looks then whether there was so much, and gives back what it was refused. So no limit ever admits
//! more than it should, whoever comes in between; the price is that until a refused list has given back, another may be refused that would
//! have passed. A host that dies in between leaves what it took until the window ends.
//!
//! Only windows are counted, by the clock of the host. Hosts whose clocks differ count in different windows near an end; a sliding window
//! looks at the next one, too, so that even then it admits no more than it should while clocks differ by less than a window. A list that
//! may be asked for again is not remembered: asked again, it takes again.

mod cell;
mod settle;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::{Instant, timeout_at};

use self::cell::{Cell, Counts, Found, Lives};
use super::job::{Answered, Job};
use super::node::{Node, RedisTime};
use super::rights::Rights;
use crate::counter::{Algorithm, Item, Outcome, State, charge_all};
use crate::model::{Fault, FaultKind};
use crate::store::plan::Plan;
use crate::store::{List, Outcomes};
use crate::time::{Clock, SystemClock};

/// How long giving back may take once the list was answered. Shorter than [`GRACE`], so that a cell that is given back to is there still.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(1);
/// How much longer than it is asked for a cell is kept: hosts' clocks may differ.
const GRACE: Duration = Duration::from_secs(5);

/// What is lost, for the operator.
pub(super) const WARNING: &str = "its user may call no script, so limits are counted by plain commands: no limit admits more than it \
     should, but lists are not taken whole (while a refused one gives back, others may be refused early, and a host that dies meanwhile leaves \
     it taken until the window ends), token buckets, delays and concurrency limits fail, the clocks of the hosts count, extended receipts \
     fail, and a request that is repeated by its token takes again";

/// Counters by plain commands.
pub(super) struct Plain {
    name: String,
    node: Arc<Node>,
    clock: Arc<dyn Clock>,
    grace: Duration,
    rights: Rights,
}

impl Plain {
    pub(super) fn new(name: String, node: Node, time: &RedisTime, rights: Rights) -> Self {
        let clock = match time {
            RedisTime::Server => Arc::new(SystemClock::new()),
            RedisTime::Given(clock) => Arc::clone(clock),
        };
        Self { name, node: Arc::new(node), clock, grace: time.terms().grace.max(GRACE), rights }
    }

    /// Takes a list. What it took for nothing is given back even if whoever asked waits no longer.
    pub(super) async fn take(self: &Arc<Self>, list: List<'_>) -> Outcomes {
        let until = Instant::now() + list.within;
        let taking = Taking::new(Arc::clone(self), list, until)?;
        match timeout_at(until, tokio::spawn(taking.take())).await {
            Ok(Ok(outcomes)) => outcomes,
            Ok(Err(_)) => Err(self.node.ended().fault),
            Err(_) => {
                let message = format!("{}: no answer in time; the charges may have been taken", self.name);
                Err(Fault::new(FaultKind::Timeout, message))
            }
        }
    }

    pub(super) fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node)
    }

    fn lives(&self) -> Lives {
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        Lives { now_us: self.clock.now().as_micros(), grace_ms }
    }

    async fn run(&self, commands: Pipeline, until: Instant) -> Answered<Vec<Value>> {
        match self.node.ask(Job::run(commands.clone(), until)).await {
            // It took nothing, and its connection is opened anew: to the same name, or to a new master.
            Err(failure) if failure.turn.is_some() => self.node.ask(Job::run(commands, until)).await,
            answered => answered,
        }
    }

    /// Sends what gives back, before anything that is asked for later, and waits for nothing.
    fn give_back(&self, commands: Pipeline) {
        if commands.is_empty() {
            return;
        }
        let (job, answered) = Job::run(commands, Instant::now() + GIVEN_BACK_WITHIN);
        let warn = |fault: &Fault| {
            tracing::warn!("a refused list could not be given back, and stays taken until its windows end: {fault}");
        };
        if let Err(failure) = self.node.send(job) {
            return warn(&failure.fault);
        }
        tokio::spawn(async move {
            if let Ok(Err(failure)) = answered.await {
                warn(&failure.fault);
            }
        });
    }

    /// What a limit is answered that no plain command can count.
    fn unable(&self, algorithm: Algorithm) -> Fault {
        let line = self.rights.scripts();
        let message =
            format!("{}: a {algorithm} limit takes a script, and the user may call none; grant it `{line}`", self.name);
        Fault::new(FaultKind::Invalid, message)
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plain").field("name", &self.name).field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// A list that is being taken.
struct Taking {
    plain: Arc<Plain>,
    items: Vec<Item>,
    cells: Vec<Cell>,
    lives: Lives,
    until: Instant,
}

impl Taking {
    fn new(plain: Arc<Plain>, list: List<'_>, until: Instant) -> Result<Self, Fault> {
        let plan = Plan::new(list.charges)?;
        let lives = plain.lives();
        let cells = Cell::of_list(&plan, lives.now_us, |algorithm| plain.unable(algorithm))?;
        Ok(Self { plain, items: plan.items, cells, lives, until })
    }

    async fn take(mut self) -> Outcomes {
        let mut counts = self.count().await?;
        let wanted: Vec<u64> = self.cells.iter().map(|cell| cell.wanted).collect();
        let before = self.cells.clone();
        let followed: Vec<bool> =
            self.cells.iter_mut().zip(&counts).map(|(cell, counts)| cell.follow(counts)).collect();
        if followed.contains(&true) {
            self.give_back(&before, &wanted);
            counts = self.count().await?;
        }
        let (outcomes, surplus) = self.work_out(&counts);
        self.give_back(&self.cells, &surplus);
        Ok(outcomes)
    }

    /// Takes what the list wants, and tells what was there before.
    async fn count(&self) -> Result<Vec<Counts>, Fault> {
        let mut commands = Pipeline::with_capacity(4 * self.cells.len());
        self.cells.iter().for_each(|cell| cell.take(&mut commands, self.lives));
        self.cells.iter().for_each(|cell| cell.look_beside(&mut commands));
        let name = &self.plain.name;
        let mut answers = self.plain.run(commands, self.until).await.map_err(|failure| failure.fault)?.into_iter();
        let mut found: Vec<Found> = self.cells.iter().map(|cell| cell.taken(name, &mut answers)).collect();
        self.cells.iter().zip(&mut found).for_each(|(cell, found)| cell.seen(name, &mut answers, found));
        let took: Vec<u64> =
            self.cells.iter().zip(&found).map(|(cell, found)| if found.took { cell.wanted } else { 0 }).collect();
        let counts: Result<Vec<Counts>, Fault> = found.into_iter().map(|found| found.counts).collect();
        if counts.is_err() {
            self.give_back(&self.cells, &took);
        }
        counts
    }

    /// The outcomes, and how much too much was taken of each cell.
    fn work_out(&self, counts: &[Counts]) -> (Vec<Outcome>, Vec<u64>) {
        let before: Vec<Option<State>> =
            self.cells.iter().zip(counts).map(|(cell, counts)| Some(cell.state(counts))).collect();
        let mut after = before.clone();
        let (_, outcomes) = charge_all(&self.items, &mut after, self.lives.now_us);
        let taken = before.iter().zip(&after).map(|(before, after)| used(after).saturating_sub(used(before)));
        let surplus = self.cells.iter().zip(taken).map(|(cell, taken)| cell.wanted.saturating_sub(taken)).collect();
        (outcomes, surplus)
    }

    fn give_back(&self, cells: &[Cell], amounts: &[u64]) {
        let mut commands = Pipeline::new();
        for (cell, amount) in cells.iter().zip(amounts).filter(|(_, amount)| **amount > 0) {
            cell.give_back(&mut commands, *amount, self.lives);
        }
        self.plain.give_back(commands);
    }
}

fn used(state: &Option<State>) -> u64 {
    match state {
        Some(State::FixedWindow { used, .. } | State::SlidingWindow { used, .. }) => *used,
        _ => 0,
    }
}
