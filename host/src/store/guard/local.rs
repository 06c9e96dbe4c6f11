//! What this host counts by itself while the store fails, and what it owes the store for it.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bounded::Bounded;
use super::stats::Counts;
use crate::counter::{Algorithm, Mode, Outcome};
use crate::model::{Charge, Limit, OnStoreFault, StoreFaultRules};
use crate::store::{List, Memory, Outcomes, Reply, Store};
use crate::time::{Clock, Timestamp};

/// How many counters this host keeps by itself.
const COUNTERS: usize = 100_000;
/// On how many counters it may owe the store something.
const OWED: usize = 10_000;
/// When to ask again for what a rule denied: nobody knows, and the store is probed more often than that.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Counts with this host's share of each limit.
///
/// The counts outlive the fault: a store that fails now and then grants no fresh share each time. So `hosts` hosts admit, beside what the
/// store admitted before, at most the limit, or one unit each where the limit is less than the hosts.
#[derive(Debug)]
pub(super) struct Local {
    counts: Memory,
    hosts: NonZeroU32,
    owed: Mutex<Bounded<Owed>>,
}

/// What was admitted here and not told to the store yet.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) limit: Limit,
    pub(super) cost: u64,
    /// An attempt to tell it that may have succeeded: only the very same may be repeated.
    pub(super) attempt: Option<Attempt>,
}

#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) cost: u64,
    pub(super) once: String,
    /// From when on nothing of it counts any more.
    pub(super) until: Timestamp,
}

impl Local {
    pub(super) fn new(clock: Arc<dyn Clock>, hosts: NonZeroU32) -> Self {
        Self { counts: Memory::with_capacity(clock, COUNTERS), hosts, owed: Mutex::new(Bounded::new(OWED)) }
    }

    /// Answers the list charge by charge as `rules` say, in the place of a store that cannot.
    pub(super) fn answer(&self, list: List<'_>, rules: &StoreFaultRules, counts: &Counts) -> Outcomes {
        let charges = list.charges;
        let answers: Vec<OnStoreFault> = charges.iter().map(|charge| rules.of(charge.limit.id())).collect();
        let asked: Vec<Charge> =
            charges.iter().zip(&answers).map(|(charge, rule)| self.as_told(charge, *rule)).collect();
        let mut outcomes = self.take(List { charges: &asked, ..list })?;
        let admitted =
            charges.iter().zip(&outcomes).all(|(charge, outcome)| outcome.allowed || charge.mode != Mode::Enforce);
        for ((charge, rule), outcome) in charges.iter().zip(&answers).zip(&mut outcomes) {
            // The store did not take it, so whoever settles it finds nothing there to give back.
            outcome.mark_us = 0;
            match rule {
                OnStoreFault::Deny => (outcome.remaining, outcome.retry_after) = (0, Some(ASK_AGAIN)),
                OnStoreFault::Local if admitted && outcome.allowed && charge.mode != Mode::Peek => {
                    self.owe(charge, counts);
                }
                _ => (),
            }
        }
        counts.local_answers.add(1);
        Ok(outcomes)
    }

    /// The charge as this host counts it. What is allowed by rule costs nothing, what is denied more than any limit gives: so the arithmetic of lists
    /// takes care of the rest.
    fn as_told(&self, charge: &Charge, rule: OnStoreFault) -> Charge {
        match rule {
            OnStoreFault::Allow => Charge { cost: 0, ..charge.clone() },
            OnStoreFault::Deny => Charge { cost: u64::MAX, ..charge.clone() },
            OnStoreFault::Local => Charge { limit: charge.limit.share(self.hosts), ..charge.clone() },
        }
    }

    fn take(&self, list: List<'_>) -> Outcomes {
        match self.counts.take(list) {
            Reply::Ready(outcomes) => outcomes,
            Reply::Pending(_) => Ok(Vec::new()),
        }
    }

    fn owe(&self, charge: &Charge, counts: &Counts) {
        // A slot belongs to a holder, and ends with its lease.
        if charge.cost == 0 || charge.limit.algorithm() == Algorithm::Concurrency {
            return;
        }
        let mut owed = self.owed();
        match owed.get_mut(&charge.key) {
            Some(known) => known.cost = known.cost.saturating_add(charge.cost),
            None => {
                let new = Owed { limit: charge.limit.clone(), cost: charge.cost, attempt: None };
                counts.owed_dropped.add(owed.put(&charge.key, new).map_or(0, |_| 1));
            }
        }
    }

    /// On how many counters something is owed.
    pub(super) fn owed_counters(&self) -> usize {
        self.owed().len()
    }

    /// Takes over what is owed on this counter.
    pub(super) fn take_owed(&self, key: &str) -> Option<Owed> {
        self.owed().remove(key)
    }

    /// Takes over what is owed on any counter.
    pub(super) fn pop_owed(&self) -> Option<(Box<str>, Owed)> {
        self.owed().pop()
    }

    /// Gives back what could not be told, to what came to be owed meanwhile.
    pub(super) fn put_back(&self, key: &str, back: Owed, counts: &Counts) {
        let mut owed = self.owed();
        let meanwhile = owed.get(key).map_or(0, |meanwhile| meanwhile.cost);
        let all = Owed { cost: back.cost.saturating_add(meanwhile), ..back };
        counts.owed_dropped.add(owed.put(key, all).map_or(0, |_| 1));
    }

    /// How much of what was counted here on a counter still counts, and for how long at most: what was taken in a window that is over does not.
    pub(super) fn still_counts(&self, key: &str, limit: &Limit) -> (u64, Duration) {
        let limit = limit.share(self.hosts);
        let capacity = limit.rule().most();
        let look = Charge { key: key.to_owned(), limit, cost: 0, mode: Mode::Peek, holder: 0 };
        let outcome = self
            .take(List { charges: &[look], within: Duration::MAX, once: None, fault: None })
            .ok()
            .and_then(|outcomes| outcomes.first().copied());
        let counts = |outcome: Outcome| (capacity.saturating_sub(outcome.remaining), outcome.reset_after);
        outcome.map(counts).unwrap_or_default()
    }

    fn owed(&self) -> MutexGuard<'_, Bounded<Owed>> {
        // Each entry is written in one step.
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
