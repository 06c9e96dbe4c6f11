//! Many lists in one call of the script.

use foldhash::fast::RandomState;
use indexmap::IndexSet;
use redis::{Cmd, FromRedisValue, ParsingError, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::job::{Answered, Failure, Taking};
use super::script::CHARGE;
use super::state;
use super::words::{Terms, Words};
use crate::counter::{Algorithm, Item, Mode, Outcome, State, charge_all};
use crate::model::{Fault, FaultKind};

/// Lists that are charged by one call, one after another.
#[derive(Debug)]
pub(super) struct Batch {
    keys: IndexSet<String, RandomState>,
    lists: Vec<List>,
    /// How many lists at the beginning are plain charges, the first on the first key and each on the next.
    alone: usize,
    /// The earliest deadline of all.
    pub(super) deadline: Option<Instant>,
    asking: bool,
}

/// One list, or several that are alike.
#[derive(Debug)]
struct List {
    items: Vec<Item>,
    once: Option<usize>,
    jobs: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    deadline: Instant,
    reply: Option<oneshot::Sender<Answered<Vec<Outcome>>>>,
}

impl Batch {
    /// Puts the jobs into one call. Lists that are alike, on counters that nothing else touched between them, become one that is made several times.
    ///
    /// Plain lists go first, as far as they share no counter, since the script makes short work of them.
    pub(super) fn new(jobs: impl ExactSizeIterator<Item = (Taking, Instant)>, asking: bool) -> Self {
        let capacity = jobs.len();
        let mut batch = Self {
            keys: IndexSet::with_capacity_and_hasher(capacity, RandomState::default()),
            lists: Vec::with_capacity(capacity),
            alone: 0,
            deadline: None,
            asking,
        };
        let mut last_on = Vec::with_capacity(capacity);
        let mut later = Vec::new();
        for (taking, deadline) in jobs {
            if taking.is_plain() && batch.leaves_alone(&taking, &last_on) {
                batch.add(taking, deadline, &mut last_on);
            } else {
                later.push((taking, deadline));
            }
        }
        batch.alone = batch.lists.len();
        for (taking, deadline) in later {
            batch.add(taking, deadline, &mut last_on);
        }
        batch
    }

    /// Whether each list so far shares no counter with another still when this one is added, too.
    fn leaves_alone(&self, taking: &Taking, last_on: &[usize]) -> bool {
        let slot_of = |key: &String| self.keys.get_index_of(key);
        let known = taking.keys.iter().find_map(slot_of).and_then(|slot| last_on.get(slot));
        let Some(known) = known.and_then(|list| self.lists.get(*list)) else { return true };
        let is_same = |((item, key), known): ((&Item, &String), &Item)| {
            slot_of(key) == Some(known.slot) && Item { slot: known.slot, ..*item } == *known
        };
        known.items.len() == taking.items.len() && taking.items.iter().zip(&taking.keys).zip(&known.items).all(is_same)
    }

    /// `last_on` tells of each key which list was the last to charge it.
    fn add(&mut self, taking: Taking, deadline: Instant, last_on: &mut Vec<usize>) {
        let Taking { keys, mut items, once, reply } = taking;
        self.deadline = Some(self.deadline.map_or(deadline, |earliest| earliest.min(deadline)));
        let waiting = Waiting { deadline, reply: Some(reply) };
        let slots: Vec<usize> = keys.into_iter().map(|key| self.keys.insert_full(key).0).collect();
        for item in &mut items {
            item.slot = slots.get(item.slot).copied().unwrap_or(item.slot);
        }
        let once = once.map(|key| self.keys.insert_full(key).0);
        // Whoever refused one refuses the others.
        let takes_alike = once.is_none() && items.iter().all(|item| item.mode == Mode::Enforce && item.cost > 0);
        if takes_alike
            && let Some(last) = items.first().and_then(|item| last_on.get(item.slot))
            && items.iter().all(|item| last_on.get(item.slot) == Some(last))
            && let Some(like) = self.lists.get_mut(*last)
            && like.once.is_none()
            && like.items == items
        {
            like.jobs.push(waiting);
            return;
        }
        last_on.resize(self.keys.len(), usize::MAX);
        for item in &items {
            if let Some(last) = last_on.get_mut(item.slot) {
                *last = self.lists.len();
            }
        }
        self.lists.push(List { items, once, jobs: vec![waiting] });
    }

    /// The call of the script, by its hash or with its text.
    pub(super) fn call(&self, by_text: bool, terms: &Terms) -> Cmd {
        let mut call = CHARGE.call(by_text);
        call.arg(self.keys.len());
        for key in &self.keys {
            call.arg(key);
        }
        let mut words = Words::new(terms, self.lists.iter().flat_map(|list| &list.items).map(|item| item.rule));
        let (alone, lists) = self.lists.split_at(self.alone.min(self.lists.len()));
        words.runs(alone.iter().map(|list| (list.items.as_slice(), list.jobs.len())));
        for list in lists {
            words.add([list.items.len() as u64, list.jobs.len() as u64, list.once.map_or(0, |slot| slot as u64 + 1)]);
            list.items.iter().for_each(|item| words.charge(item));
        }
        words.add_to(&mut call);
        call
    }

    /// Whether `ASKING` has to go before it.
    pub(super) fn is_asking(&self) -> bool {
        self.asking
    }

    /// Answers everybody by what the script answered.
    pub(super) fn answer(self, value: Value) {
        let answer: Result<Answer, ParsingError> = redis::from_redis_value(value);
        match answer {
            Ok(answer) => self.work_out(&answer),
            Err(error) => {
                let message = format!("the script answered nonsense: {error}");
                self.fail(&Fault::new(FaultKind::Refused, message).into());
            }
        }
    }

    /// Works the outcomes out from what the counters were, by the one arithmetic there is.
    fn work_out(self, answer: &Answer) {
        let mut counters = Counters::new(&self, answer);
        let mut admitted = 0;
        let keys = self.keys;
        for list in self.lists {
            for job in list.jobs {
                let outcomes = counters.charge(&list.items, list.once, &mut admitted, &keys);
                if let Some(reply) = job.reply {
                    let _ = reply.send(outcomes.map_err(Failure::from));
                }
            }
        }
        if admitted != answer.admitted {
            tracing::error!(
                "the script admitted {} lists where the host counts {admitted}: this server computes otherwise than those that are tested; \
                 report it with its version",
                answer.admitted
            );
        }
    }

    /// Answers those whose time is over, and tells the earliest deadline of the others.
    pub(super) fn expire(&mut self, now: Instant, fault: impl Fn() -> Fault) {
        self.deadline = None;
        for job in self.lists.iter_mut().flat_map(|list| &mut list.jobs).filter(|job| job.reply.is_some()) {
            if job.deadline > now {
                self.deadline = Some(self.deadline.map_or(job.deadline, |earliest| earliest.min(job.deadline)));
            } else if let Some(reply) = job.reply.take() {
                let _ = reply.send(Err(fault().into()));
            }
        }
    }

    /// Answers everybody alike.
    pub(super) fn fail(self, failure: &Failure) {
        for job in self.lists.into_iter().flat_map(|list| list.jobs) {
            if let Some(reply) = job.reply {
                let _ = reply.send(Err(failure.clone()));
            }
        }
    }
}

/// The counters of a batch while its lists are worked out.
struct Counters<'a> {
    now_us: u64,
    held: &'a [Option<Vec<u8>>],
    states: Vec<Option<State>>,
    unreadable: Vec<bool>,
    remembered: Vec<(usize, Vec<Outcome>)>,
}

impl<'a> Counters<'a> {
    fn new(batch: &Batch, answer: &'a Answer) -> Self {
        let mut counters = Self {
            now_us: answer.now_us,
            held: &answer.held,
            states: vec![None; batch.keys.len()],
            unreadable: vec![false; batch.keys.len()],
            remembered: Vec::new(),
        };
        for item in batch.lists.iter().flat_map(|list| &list.items) {
            counters.read(item.slot, item.rule.algorithm);
        }
        counters
    }

    fn read(&mut self, slot: usize, algorithm: Algorithm) {
        let (Some(state), Some(unreadable)) = (self.states.get_mut(slot), self.unreadable.get_mut(slot)) else {
            return;
        };
        // The script answers no key but those it was asked for.
        let Some(held) = self.held.get(slot) else { return *unreadable = true };
        if let Some(held) = held {
            *state = state::read(algorithm, held);
            *unreadable = state.is_none();
        }
    }

    fn charge(
        &mut self,
        items: &[Item],
        once: Option<usize>,
        admitted: &mut u64,
        keys: &IndexSet<String, RandomState>,
    ) -> Result<Vec<Outcome>, Fault> {
        if let Some(slot) = once
            && let Some(outcomes) = self.answered_before(slot, items)
        {
            return outcomes;
        }
        if let Some(item) = items.iter().find(|item| self.unreadable.get(item.slot) != Some(&false)) {
            return Err(unreadable(keys.get_index(item.slot).map_or("", String::as_str)));
        }
        let (passes, outcomes) = charge_all(items, &mut self.states, self.now_us);
        *admitted += u64::from(passes);
        if let Some(slot) = once.filter(|_| passes) {
            self.remembered.push((slot, outcomes.clone()));
        }
        Ok(outcomes)
    }

    /// The answer to a list that was charged before, in this call or in another.
    fn answered_before(&self, slot: usize, items: &[Item]) -> Option<Result<Vec<Outcome>, Fault>> {
        if let Some((_, outcomes)) = self.remembered.iter().find(|(known, _)| *known == slot) {
            return Some(Ok(outcomes.clone()));
        }
        let held = self.held.get(slot)?.as_ref()?;
        let algorithms = items.iter().map(|item| item.rule.algorithm);
        let Some((now_us, states)) = state::remembered(held, algorithms) else {
            let message = "the list that this token stands for was another one; give each request a token of its own";
            return Some(Err(Fault::new(FaultKind::Invalid, message)));
        };
        let mut all = vec![None; self.states.len()];
        for (item, state) in items.iter().zip(states) {
            if let Some(place) = all.get_mut(item.slot) {
                *place = state;
            }
        }
        Some(Ok(charge_all(items, &mut all, now_us).1))
    }
}

fn unreadable(key: &str) -> Fault {
    let message =
        format!("not the state of a counter; look at `{}`, and delete what is no counter", key.escape_debug());
    Fault::new(FaultKind::Poisoned, message)
}

/// What the script answers.
struct Answer {
    /// When the lists were charged.
    now_us: u64,
    /// How many were admitted.
    admitted: u64,
    /// What the keys held before, in order.
    held: Vec<Option<Vec<u8>>>,
}

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (now_us, admitted, held) = redis::from_redis_value(value)?;
        Ok(Self { now_us, admitted, held })
    }
}
