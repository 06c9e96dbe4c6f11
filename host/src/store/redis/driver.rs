//! The task behind a node: what leaves when, what came back, and what to do about a connection that is lost or silent.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until};

use super::cluster::Redirect;
use super::connect::Dial;
use super::fault;
use super::job::{Failure, Job, Turn};
use super::load::Load;
use super::node::{self, Place, RedisTime};
use crate::model::{Fault, FaultKind};

/// How many calls may be under way: enough to keep the server busy while the next is made ready.
const CALLS_UNDER_WAY: usize = 4;
/// How many lists a call takes: what a server charges in some 100 microseconds.
const LISTS_PER_CALL: usize = 64;
/// How long a connection may be silent while an answer is due, before another is tried beside it.
const SILENCE_BORNE: Duration = Duration::from_millis(250);
/// How long to wait before a server is tried again that refused a connection, that spoke nonsense, and that did not answer.
const AFTER_REFUSAL: Duration = Duration::from_millis(25);
const AFTER_NONSENSE: Duration = Duration::from_millis(250);
const AFTER_SILENCE: Duration = Duration::from_secs(1);

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
    alarm: Pin<Box<Sleep>>,
    alarm_is_set: bool,
}

/// A connection that is being opened.
type Opening = Pin<Box<dyn Future<Output = RedisResult<MultiplexedConnection>> + Send>>;
type Pushes = mpsc::UnboundedReceiver<PushInfo>;

/// A connection that is open.
struct Link {
    connection: MultiplexedConnection,
    pushes: Pushes,
    number: u64,
    under_way: usize,
    heard: Instant,
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

    /// Gives the connection up, and opens another.
    fn reopen(&mut self) {
        self.link = None;
        // What it waits for is another attempt beside a connection that was silent.
        self.open_again = None;
        self.open();
    }

    /// Turns to the new master, whatever became of the old one.
    fn follow(&mut self) {
        self.name = self.dial.name(&self.place.server());
        self.opening = None;
        self.reopen();
    }

    fn open(&mut self) {
        if self.opening.is_some() || self.open_again.is_some() {
            return;
        }
        let (sender, pushes) = mpsc::unbounded_channel();
        let (dial, server) = (self.dial.clone(), self.place.server());
        let check = self.place.check();
        let opening = async move { node::open(&dial, &server, sender, check).await };
        self.opening = Some((Box::pin(opening), pushes));
    }

    fn opened(&mut self, opened: RedisResult<MultiplexedConnection>, pushes: Pushes) {
        self.opening = None;
        match opened {
            Ok(connection) => {
                self.last_number += 1;
                self.down = None;
                let heard = Instant::now();
                self.link = Some(Link { connection, pushes, number: self.last_number, under_way: 0, heard });
            }
            Err(error) => {
                let fault = fault::unopened(&self.name, &error);
                let pause = match () {
                    () if error.is_connection_refusal() || error.code().is_some() => AFTER_REFUSAL,
                    () if error.is_timeout() => AFTER_SILENCE,
                    () => AFTER_NONSENSE,
                };
                let again = Instant::now() + pause;
                self.open_again = Some(again);
                self.remind(again);
                if self.link.is_none() {
                    let failure = Failure { fault: fault.clone(), turn: self.turn_away() };
                    self.waiting.drain(..).for_each(|job| job.fail(failure.clone()));
                    self.down = Some(fault);
                }
            }
        }
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

    /// Since when an answer is due and nothing was heard.
    fn silent_since(&self) -> Option<Instant> {
        let link = self.link.as_ref()?;
        let oldest = self.under_way.iter().filter(|call| call.link == link.number).map(|call| call.sent).min()?;
        Some(oldest.max(link.heard))
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

/// Waits for a connection that is being opened; for ever, if none is.
async fn opened(opening: &mut Option<(Opening, Pushes)>) -> (RedisResult<MultiplexedConnection>, Pushes) {
    let Some((opened, _)) = opening else { return pending().await };
    let opened = opened.await;
    let (_, pushes) = opening.take().expect("it was there a moment ago");
    (opened, pushes)
}

/// Waits until the server hangs up.
async fn lost(link: &mut Option<Link>) {
    let Some(link) = link else { return pending().await };
    while let Some(push) = link.pushes.recv().await {
        if push.kind == PushKind::Disconnection {
            return;
        }
    }
}

/// Waits until another server is the one.
async fn moved(place: &mut Place) {
    // The watch lives as long as we do.
    if let Place::Master(watch) = place
        && watch.master.changed().await.is_ok()
    {
        return;
    }
    pending().await
}
