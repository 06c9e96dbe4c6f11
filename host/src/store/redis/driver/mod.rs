//! The task behind a node: what leaves when, what came back, and what to do about a connection that is lost or silent.

mod link;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use super::cluster::Redirect;
use super::connect::Dial;
use super::fault;
use super::job::{Failure, Job, Turn};
use super::load::Load;
use super::node::{Place, RedisTime};
use crate::model::{Fault, FaultKind};
use link::{Link, Opening, Pushes, lost, moved, opened};

/// How many calls may be under way: enough to keep the server busy while the next is made ready.
const CALLS_UNDER_WAY: usize = 4;
/// How many lists a call takes: what a server charges in some 100 microseconds.
const LISTS_PER_CALL: usize = 64;
/// How long a connection may be silent while an answer is due, before another is tried beside it.
const SILENCE_BORNE: Duration = Duration::from_millis(250);

pub(super) struct Driver {
    dial: Dial,
    place: Place,
    name: String,
    time: RedisTime,
    inbox: mpsc::Receiver<Job>,
    waiting: VecDeque<Job>,
    calls: FuturesUnordered<Pin<Box<dyn Future<Output = Landed> + Send>>>,
    landed: VecDeque<Landed>,
    under_way: Vec<Call>,
    last_number: u64,
    link: Option<Link>,
    opening: Option<(Opening, Pushes)>,
    open_again: Option<Instant>,
    /// Why there is no connection, if the last attempt to open one failed.
    down: Option<Fault>,
    /// Since when no attempt to open one has worked.
    down_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
    alarm_is_set: bool,
}

/// A call under way.
struct Call {
    number: u64,
    link: u64,
    sent: Instant,
    load: Load,
}

/// What came back of a call.
struct Landed {
    call: u64,
    answer: RedisResult<Value>,
}

impl Driver {
    pub(super) fn new(dial: Dial, place: Place, time: RedisTime, inbox: mpsc::Receiver<Job>) -> Self {
        let name = dial.name(&place.server());
        let mut driver = Self {
            dial,
            place,
            name,
            time,
            inbox,
            waiting: VecDeque::new(),
            calls: FuturesUnordered::new(),
            landed: VecDeque::new(),
            under_way: Vec::new(),
            last_number: 0,
            link: None,
            opening: None,
            open_again: None,
            down: None,
            down_since: None,
            alarm: Box::pin(sleep_until(Instant::now())),
            alarm_is_set: false,
        };
        driver.open();
        driver
    }

    /// Runs until the node is dropped.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                landed = landed(&mut self.calls, &mut self.landed) => {
                    self.landed(landed);
                    // Whoever was answered asks again before the next answer is looked at, so that the server has work meanwhile.
                    self.gather().await;
                }
                (opened, pushes) = opened(&mut self.opening) => self.opened(opened, pushes),
                () = lost(&mut self.link) => self.reopen(),
                () = moved(&mut self.place) => self.follow(),
                () = &mut self.alarm, if self.alarm_is_set => self.alarmed(),
                job = self.inbox.recv() => {
                    let Some(job) = job else { return };
                    self.arrived(job);
                    self.gather().await;
                }
            }
            self.launch();
        }
    }

    /// Whoever is ready to charge, charges first: what can leave together does.
    async fn gather(&mut self) {
        tokio::task::yield_now().await;
        while let Ok(job) = self.inbox.try_recv() {
            self.arrived(job);
        }
    }

    fn arrived(&mut self, job: Job) {
        match (&self.link, &self.down) {
            (None, Some(fault)) => job.fail(Failure { fault: fault.clone(), turn: self.turn_away() }),
            _ => {
                self.remind(job.deadline);
                self.waiting.push_back(job);
            }
        }
    }

    /// Sends what waits, as far as the server can take it.
    fn launch(&mut self) {
        while let Some(link) = self.link.as_mut().filter(|link| link.under_way < CALLS_UNDER_WAY)
            && !self.waiting.is_empty()
        {
            let number = link.number;
            let lists = self.waiting.len().min(LISTS_PER_CALL);
            let mut leaving: Vec<Job> = self.waiting.drain(..lists).collect();
            let in_cluster = matches!(self.place, Place::InCluster(_));
            if in_cluster {
                leaving.sort_by_key(|job| job.hash);
            }
            while let Some(load) = Load::of(&mut leaving, in_cluster) {
                self.last_number += 1;
                self.under_way.push(Call { number: self.last_number, link: number, sent: Instant::now(), load });
                if let Some(link) = &mut self.link {
                    link.under_way += 1;
                }
                self.send(self.last_number, false);
            }
            self.remind(Instant::now() + SILENCE_BORNE);
        }
    }

    fn send(&mut self, number: u64, by_text: bool) {
        let (Some(link), Some(call)) = (&self.link, self.under_way.iter().find(|call| call.number == number)) else {
            return;
        };
        let parcel = call.load.parcel(by_text, &self.time.terms());
        let mut connection = link.connection.clone();
        self.calls.push(Box::pin(async move { Landed { call: number, answer: parcel.send(&mut connection).await } }));
    }

    fn landed(&mut self, Landed { call, answer }: Landed) {
        let Some(at) = self.under_way.iter().position(|known| known.number == call) else { return };
        let of_link = self.under_way.get(at).map(|call| call.link);
        let link = self.link.as_mut().filter(|link| Some(link.number) == of_link);
        if let Err(error) = &answer
            && error.kind() == ServerErrorKind::NoScript.into()
            && link.is_some()
        {
            // Nothing was taken: the server does not know the script yet.
            return self.send(call, true);
        }
        let is_of_link = link.is_some();
        if let Some(link) = link {
            link.under_way -= 1;
            link.heard = Instant::now();
        }
        let Call { load, .. } = self.under_way.swap_remove(at);
        match answer {
            Ok(value) => load.answer(value),
            Err(error) => self.failed(load, &error, is_of_link),
        }
    }

    fn failed(&mut self, load: Load, error: &RedisError, is_of_link: bool) {
        let failure = Failure { fault: fault::fault(&self.name, error), turn: self.turn(error) };
        let demoted = matches!(failure.turn, Some(Turn::ToMaster));
        let is_lost = error.code().is_none() || demoted || failure.fault.kind == FaultKind::Denied;
        load.fail(&failure);
        if is_of_link && is_lost {
            self.reopen();
        }
    }

    /// Who else may be asked after this error, which says that nothing was taken.
    fn turn(&self, error: &RedisError) -> Option<Turn> {
        match (error.code(), &self.place) {
            (Some("MOVED" | "ASK"), Place::InCluster(server)) => Redirect::parse(error, server).map(Turn::To),
            (Some("TRYAGAIN"), _) => Some(Turn::Back),
            (Some("READONLY" | "MASTERDOWN"), _) => Some(Turn::ToMaster),
            // It is cut off, or half of the cluster is: the others may have elected another.
            (Some("CLUSTERDOWN"), Place::InCluster(_)) => Some(Turn::ToMaster),
            _ => None,
        }
    }

    /// Who else may be asked while there is no connection.
    fn turn_away(&self) -> Option<Turn> {
        matches!(self.place, Place::InCluster(_)).then_some(Turn::ToMaster)
    }

    fn remind(&mut self, at: Instant) {
        if !self.alarm_is_set || at < self.alarm.deadline() {
            self.alarm.as_mut().reset(at);
            self.alarm_is_set = true;
        }
    }

    /// Answers those whose time is over, and looks after the connection.
    fn alarmed(&mut self) {
        self.alarm_is_set = false;
        let now = Instant::now();
        let mut next = self.keep_deadlines(now);
        self.open_again = self.open_again.filter(|again| *again > now);
        next.extend(self.open_again);
        if self.link.is_none() {
            self.open();
        }
        if let Some(silent_since) = self.silent_since() {
            if silent_since + SILENCE_BORNE <= now {
                // Kept all the same: a server that only paused answers on it.
                self.open();
                next.push(now + SILENCE_BORNE);
            } else {
                next.push(silent_since + SILENCE_BORNE);
            }
        }
        next.into_iter().for_each(|at| self.remind(at));
    }

    /// When next to look.
    fn keep_deadlines(&mut self, now: Instant) -> Vec<Instant> {
        let name = &self.name;
        let late =
            || Fault::new(FaultKind::Timeout, format!("{name}: no answer in time; the charges may have been taken"));
        let unsent =
            || Fault::new(FaultKind::Timeout, format!("{name}: not asked in time, since earlier calls are unanswered"));
        for call in &mut self.under_way {
            if call.load.deadline().is_some_and(|deadline| deadline <= now) {
                call.load.expire(now, late);
            }
        }
        let (over, waiting) = self.waiting.drain(..).partition::<Vec<Job>, _>(|job| job.deadline <= now);
        over.into_iter().for_each(|job| job.fail(unsent().into()));
        self.waiting = waiting.into();
        let of_calls = self.under_way.iter().filter_map(|call| call.load.deadline());
        of_calls.chain(self.waiting.iter().map(|job| job.deadline)).min().into_iter().collect()
    }
}

/// Waits for what comes back of a call. Looks at every call each time, since one that is new is not on its way before.
async fn landed(
    calls: &mut FuturesUnordered<Pin<Box<dyn Future<Output = Landed> + Send>>>,
    landed: &mut VecDeque<Landed>,
) -> Landed {
    poll_fn(|context| {
        while let Poll::Ready(Some(call)) = calls.poll_next_unpin(context) {
            landed.push_back(call);
        }
        landed.pop_front().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}
