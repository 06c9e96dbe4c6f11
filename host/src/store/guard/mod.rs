//! What stands between a decision and a shared store.
//!
//! A [`Guard`] asks the store as long as that is worth it, and answers by itself where it can do so as well: while the store fails, by the
//! rules of the tier; for a while after a refusal, by the refusal;
//! for a limit that is leased, from a share drawn in advance.

mod bounded;
mod carry;
mod circuit;
mod draw;
mod leases;
mod local;
mod options;
mod probe;
mod refusals;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use tokio::time::Instant;

use self::circuit::Circuit;
use self::leases::{Leases, Spending};
use self::local::Local;
pub use self::options::{GuardOptions, Terms};
use self::refusals::Refusals;
use self::stats::Counts;
pub use self::stats::StoreStats;
use super::{List, Outcomes, Reply, Store};
use crate::counter::Outcome;
use crate::model::{Fault, FaultKind, Settled, Settlement};
use crate::time::Clock;

/// A shared store behind a circuit breaker, with a stand-in for the time that it fails.
///
/// - **While the store answers**, the guard asks it, once for each list, and answers as it does.
/// - **A list that was refused** is refused again without asking, until the first of its full limits may have room, at most for a second. That is
///   exact as long as nobody gives anything back; what another host gives back is noticed when the second is over.
/// - **Limits that are [`Leased`](crate::Precision::Leased)** are answered from a share that this host drew in advance, as long as it lasts: without waiting. Drawn
///   before spent, so no limit is exceeded. A share is what is asked for in 50 ms, if the limit has enough left for as much on each host and three
///   times that for all; where it has not, every charge asks the store. What is not spent of a window within a second, or is not asked for during 200 ms, is given back; of a bucket it
///   melts as the bucket refills.
/// - **After repeated failures** (5 in a row, or half of at least 8 calls in a second) the guard stops asking, and probes the store every 100 ms in
///   the background. It asks again as soon as a probe passes.
/// - **A list that the store cannot take** is answered by the rules of the tier, where they answer charge by charge
///   ([`StoreFaultRules::answer_charges`](crate::StoreFaultRules::answer_charges)); otherwise whoever asks is told the fault. What a rule of [`Local`](crate::OnStoreFault::Local) admits is
///   taken in the store when that is back, as far as it has room.
///
/// Clones are the same guard. [`with_terms`](Self::with_terms) makes the one of a tier.
#[derive(Clone)]
pub struct Guard {
    core: Arc<Core>,
    terms: Arc<Terms>,
}

/// What the guards of all tiers share.
struct Core {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    patience: Duration,
    prefix: String,
    /// The circuit, for a store that fails as one.
    circuit: Option<Circuit>,
    local: Local,
    refusals: Option<Refusals>,
    leases: Leases,
    counts: Counts,
    carrying: AtomicBool,
    sweeping: AtomicBool,
    /// The number of the next share, or of the next debt to tell.
    numbers: AtomicU64,
    /// What tells this host's repeats from those of others.
    nonce: u64,
}

impl Guard {
    /// Guards `store`. `clock` is this host's, for what it counts by itself.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, options: GuardOptions) -> Self {
        let GuardOptions { hosts, patience, prefix, refusal_memory } = options;
        let core = Core {
            circuit: store.fails_as_one().then(Circuit::default),
            local: Local::new(Arc::clone(&clock), hosts),
            refusals: refusal_memory.then(Refusals::new),
            leases: Leases::new(hosts),
            store,
            clock,
            patience,
            prefix,
            counts: Counts::default(),
            carrying: AtomicBool::new(false),
            sweeping: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            nonce: RandomState::new().hash_one(0),
        };
        Self { core: Arc::new(core), terms: Arc::default() }
    }

    /// The same guard for a tier that wants this.
    #[must_use]
    pub fn with_terms(&self, terms: Terms) -> Self {
        Self { core: Arc::clone(&self.core), terms: Arc::new(terms) }
    }

    /// What it did since it was made, and how it stands.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let Core { counts, local, refusals, leases, clock, .. } = &*self.core;
        StoreStats {
            asked: counts.asked.get(),
            faults: counts.faults.get(),
            circuit_open: self.core.is_cut_off(),
            circuit_opened: counts.circuit_opened.get(),
            circuit_refused: counts.circuit_refused.get(),
            probes: counts.probes.get(),
            local_answers: counts.local_answers.get(),
            owed_counters: local.owed_counters() as u64,
            carried: counts.carried.get(),
            not_carried: counts.not_carried.get(),
            owed_dropped: counts.owed_dropped.get(),
            refusals: refusals.as_ref().map_or(0, Refusals::len) as u64,
            refusals_answered: counts.refusals_answered.get(),
            shares_held: leases.held(clock.now()),
            shares_drawn: counts.drawn.get(),
            shares_returned: counts.returned.get(),
            shares_lost: counts.lost.get(),
            draws: counts.draws.get(),
            lease_answers: counts.lease_answers.get(),
            lease_refusals: counts.lease_refusals.get(),
        }
    }

    /// Gives back to the store what was drawn from it and not spent: before a host stops, so that others can have it at once.
    pub async fn give_back(&self) {
        self.core.give_all_back(self.core.leases.take_all()).await;
    }

    async fn asked(&self, list: List<'_>, spending: Option<Spending>) -> Outcomes {
        let asked = self.core.clock.now();
        let mut rest = list;
        if self.core.local.owed_counters() > 0 {
            let began = Instant::now();
            // A store that fails again must leave time for the list itself.
            if let Err(fault) = Box::pin(self.core.carry_for(list.charges, list.within / 2)).await {
                spending.iter().for_each(|spending| self.core.unspend(list.charges, spending));
                return self.core.stand_in(&self.terms, list, fault);
            }
            rest.within = list.within.saturating_sub(began.elapsed());
        }
        let answer = match &spending {
            // What is rare has a place of its own, so that what is common is small.
            Some(spending) => Box::pin(self.core.ask_rest(rest, spending)).await,
            None => self.core.ask(rest).await,
        };
        match answer {
            Ok(outcomes) => {
                if let Some(refusals) = &self.core.refusals {
                    refusals.note(list.charges, &outcomes, asked);
                }
                self.core.carry_all();
                Ok(outcomes)
            }
            Err(fault) => self.core.stand_in(&self.terms, list, fault),
        }
    }
}

impl Store for Guard {
    fn take<'a>(&'a self, list: List<'a>) -> Reply<'a> {
        if let Some(outcomes) = self.core.remembered(list) {
            return Reply::Ready(Ok(outcomes));
        }
        let spending = self.core.spend(&self.terms, list);
        if let Some(outcomes) = spending.as_ref().and_then(Spending::outcomes) {
            self.core.counts.lease_answers.add(1);
            return Reply::Ready(Ok(outcomes));
        }
        if let Some(fault) = self.core.cut_off() {
            spending.iter().for_each(|spending| self.core.unspend(list.charges, spending));
            return Reply::Ready(self.core.stand_in(&self.terms, list, fault));
        }
        Reply::Pending(Box::pin(self.asked(list, spending)))
    }

    fn settle<'a>(&'a self, settlement: &'a Settlement, within: Duration) -> Reply<'a, Settled> {
        Reply::Pending(Box::pin(self.core.settled(settlement, within)))
    }

    fn is_local(&self) -> bool {
        self.core.store.is_local()
    }

    fn fails_as_one(&self) -> bool {
        self.core.store.fails_as_one()
    }
}

impl Core {
    /// The outcomes of a list that is known to be refused. One that may be repeated is told to the store, which must remember it.
    fn remembered(&self, list: List<'_>) -> Option<Vec<Outcome>> {
        let refusals = self.refusals.as_ref().filter(|_| list.once.is_none())?;
        let outcomes = refusals.answer(list.charges, self.clock.now())?;
        self.counts.refusals_answered.add(1);
        Some(outcomes)
    }

    /// Whether the store is not asked.
    fn is_cut_off(&self) -> bool {
        self.circuit.as_ref().is_some_and(Circuit::is_open)
    }

    /// The fault to answer with while the store is not asked.
    fn cut_off(&self) -> Option<Fault> {
        let fault = self.circuit.as_ref()?.fault()?;
        self.counts.circuit_refused.add(1);
        Some(fault)
    }

    /// Asks the store, and takes note of how it went.
    async fn ask(self: &Arc<Self>, list: List<'_>) -> Outcomes {
        let within = list.within;
        let answer = self.store.take(list).outcomes().await;
        self.note(answer.as_ref().err(), within);
        answer
    }

    fn note(self: &Arc<Self>, fault: Option<&Fault>, within: Duration) {
        self.counts.asked.add(1);
        let failed = fault.filter(|fault| is_outage(fault.kind));
        self.counts.faults.add(u64::from(failed.is_some()));
        let Some(circuit) = &self.circuit else { return };
        match failed {
            // Whoever had spent nearly all of its time before it came here would have run out of it at any store.
            Some(fault) if fault.kind == FaultKind::Timeout && within < self.patience / 2 => (),
            Some(fault) if circuit.note_failure(fault) => self.probe(circuit, fault),
            Some(_) => (),
            None => circuit.note_answer(),
        }
    }

    /// Answers a list that the store could not take, or passes its fault on.
    fn stand_in(&self, terms: &Terms, list: List<'_>, fault: Fault) -> Outcomes {
        // A list that makes no sense makes none here.
        let stands_in =
            terms.on_store_fault.answer_charges() && (is_outage(fault.kind) || fault.kind == FaultKind::Poisoned);
        if !stands_in {
            return Err(fault);
        }
        let outcomes = self.local.answer(list, &terms.on_store_fault, &self.counts)?;
        if let Some(place) = list.fault {
            // If there was one already, that is as good.
            let _ = place.set(fault);
        }
        Ok(outcomes)
    }
}

/// Whether it is the store that fails, and not one counter or one list.
const fn is_outage(kind: FaultKind) -> bool {
    match kind {
        FaultKind::Unavailable | FaultKind::Timeout | FaultKind::Refused | FaultKind::Denied => true,
        FaultKind::Poisoned | FaultKind::Invalid | FaultKind::OverBudget => false,
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("store", &self.core.store).field("terms", &self.terms).finish_non_exhaustive()
    }
}
