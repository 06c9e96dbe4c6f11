//! A shared store that works, is slow, or fails as it is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::counter::{GiveBack, Mode, Outcome, State, charge_all, give_back};
use crate::model::{Charge, Fault, FaultKind, Held, Settled, Settlement};
use crate::store::plan::{Plan, item};
use crate::store::{List, Outcomes, Reply, Store};
use crate::time::{Clock, micros};

#[derive(Debug)]
pub(super) struct Shared {
    clock: Arc<dyn Clock>,
    counters: Mutex<HashMap<String, Option<State>>>,
    fault: Mutex<Option<FaultKind>>,
    /// How long a call is under way, there and back.
    latency_us: AtomicU64,
    asked: AtomicU64,
    enforced_us: AtomicU64,
    told: Mutex<HashMap<String, Vec<Outcome>>>,
}

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            counters: Mutex::default(),
            fault: Mutex::default(),
            latency_us: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            enforced_us: AtomicU64::new(0),
            told: Mutex::default(),
        }
    }

    pub(super) fn fails(&self, kind: impl Into<Option<FaultKind>>) {
        *self.fault.lock().unwrap() = kind.into();
    }

    pub(super) fn is_slow(&self, latency: Duration) {
        self.latency_us.store(micros(latency), Ordering::Relaxed);
    }

    /// How many lists it was asked to take.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// When it last took or refused a list for somebody who waits for it: not a share.
    pub(super) fn enforced_us(&self) -> u64 {
        self.enforced_us.load(Ordering::Relaxed)
    }

    /// What is left of a counter.
    pub(super) fn left(&self, charge: &Charge) -> u64 {
        self.charge(&[Charge { cost: 0, ..charge.clone() }]).unwrap()[0].remaining
    }

    fn charge(&self, charges: &[Charge]) -> Outcomes {
        let plan = Plan::new(charges)?;
        let mut counters = self.counters.lock().unwrap();
        let mut states: Vec<Option<State>> =
            plan.keys.iter().map(|key| counters.get(*key).cloned().flatten()).collect();
        let now_us = self.clock.now().as_micros();
        if charges.iter().any(|charge| charge.mode == Mode::Enforce) {
            self.enforced_us.store(now_us, Ordering::Relaxed);
        }
        let (_, outcomes) = charge_all(&plan.items, &mut states, now_us);
        counters.extend(plan.keys.iter().map(|key| (*key).to_owned()).zip(states));
        Ok(outcomes)
    }

    fn give_back(&self, held: &Held) {
        let mut counters = self.counters.lock().unwrap();
        let Some(state) = counters.get_mut(&held.key) else { return };
        let back = GiveBack { taken: held.taken, amount: held.unused, mark_us: held.mark_us, holder: held.holder };
        *state = give_back(held.limit.rule(), state.take(), &back, self.clock.now().as_micros());
    }

    /// Takes a list; if it is told to time out, nobody hears of it.
    async fn answer(&self, list: List<'_>) -> Outcomes {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.travel().await;
        let fault = *self.fault.lock().unwrap();
        if fault.is_some() {
            // So that some failures in a row are more than one moment's.
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
        if let Some(kind) = fault.filter(|kind| *kind != FaultKind::Timeout) {
            return Err(Fault::new(kind, "as told"));
        }
        let told = list.once.and_then(|once| self.told.lock().unwrap().get(once).cloned());
        let outcomes = match told {
            Some(told) => told,
            None => self.charge(list.charges)?,
        };
        if let Some(once) = list.once {
            self.told.lock().unwrap().insert(once.to_owned(), outcomes.clone());
        }
        if fault.is_some() {
            tokio::time::sleep(list.within).await;
            return Err(Fault::new(FaultKind::Timeout, "as told"));
        }
        self.travel().await;
        Ok(outcomes)
    }

    async fn travel(&self) {
        match self.latency_us.load(Ordering::Relaxed) / 2 {
            0 => tokio::task::yield_now().await,
            latency_us => tokio::time::sleep(Duration::from_micros(latency_us)).await,
        }
    }
}

/// The store by another name, so that a test and its guards can all have it.
#[derive(Clone, Debug)]
pub(super) struct Handle(pub(super) Arc<Shared>);

impl Store for Handle {
    fn take<'a>(&'a self, list: List<'a>) -> Reply<'a> {
        Reply::Pending(Box::pin(self.0.answer(list)))
    }

    fn settle<'a>(&'a self, settlement: &'a Settlement, _within: Duration) -> Reply<'a, Settled> {
        Reply::Pending(Box::pin(async move {
            self.0.travel().await;
            if self.0.fault.lock().unwrap().is_some() {
                return Err(Fault::new(FaultKind::Unavailable, "as told"));
            }
            settlement.held.iter().for_each(|held| self.0.give_back(held));
            self.0.travel().await;
            Ok(Settled::Done)
        }))
    }
}

/// The whole of a limit's arithmetic, to compare with.
pub(super) fn oracle(state: &mut Option<State>, charge: &Charge, now_us: u64) -> bool {
    charge_all(&[item(charge, 0)], std::slice::from_mut(state), now_us).0
}
