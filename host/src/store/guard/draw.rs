//! Draws shares from the store, and gives back what is not spent of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::leases::{Draw, Parcel, Return, Spending};
use super::{Core, Terms};
use crate::counter::{Mode, Outcome};
use crate::model::{Action, Charge, Fault, Held, Settled, Settlement};
use crate::store::{List, Outcomes};
use crate::time::Timestamp;

/// How often the shares are looked through for those that nobody spends.
const SWEEP: Duration = Duration::from_millis(100);

impl Core {
    /// Spends from this host's shares what they have of the list, and sees to the next shares.
    pub(super) fn spend(self: &Arc<Self>, terms: &Terms, list: List<'_>) -> Option<Spending> {
        // The store is to remember the answer to a list that may be repeated.
        if list.once.is_some() || !terms.precision.any_leased() {
            return None;
        }
        let mut spending = self.leases.spend(list.charges, &terms.precision, self.clock.now())?;
        spending.draws.drain(..).for_each(|draw| self.draw(draw));
        self.return_soon(std::mem::take(&mut spending.returns));
        Some(spending)
    }

    /// Asks the store for what the shares do not have of the list.
    pub(super) async fn ask_rest(self: &Arc<Self>, list: List<'_>, spending: &Spending) -> Outcomes {
        let asked = self.clock.now();
        let missing = list.charges.iter().zip(&spending.spent).filter(|(_, spent)| spent.is_none());
        let rest: Vec<Charge> = missing.map(|(charge, _)| charge.clone()).collect();
        let answer = self.ask(List { charges: &rest, ..list }).await;
        let Ok(outcomes) = answer else {
            self.unspend(list.charges, spending);
            return answer;
        };
        for (charge, outcome) in rest.iter().zip(&outcomes) {
            self.leases.told(&charge.key, *outcome, asked);
        }
        let refused =
            rest.iter().zip(&outcomes).any(|(charge, outcome)| !outcome.allowed && charge.mode == Mode::Enforce);
        if refused {
            self.counts.lease_refusals.add(1);
            self.unspend(list.charges, spending);
        }
        let mut asked = outcomes.into_iter();
        let told = list.charges.iter().zip(&spending.spent).filter_map(|(charge, spent)| match spent {
            Some(spent) if refused => {
                Some(Outcome { remaining: spent.outcome.remaining.saturating_add(charge.cost), ..spent.outcome })
            }
            Some(spent) => Some(spent.outcome),
            None => asked.next(),
        });
        Ok(told.collect())
    }

    /// Gives back to the shares what was spent of them for a list that is not admitted.
    pub(super) fn unspend(&self, charges: &[Charge], spending: &Spending) {
        for (charge, spent) in charges.iter().zip(&spending.spent) {
            if let Some(spent) = spent
                && !self.leases.unspend(charge, *spent)
            {
                self.counts.lost.add(charge.cost);
            }
        }
    }

    /// Draws a share in the background.
    fn draw(self: &Arc<Self>, draw: Draw) {
        let runtime = tokio::runtime::Handle::try_current().ok().filter(|_| !self.is_cut_off());
        let Some(runtime) = runtime else {
            self.leases.drawn(&draw, None);
            return;
        };
        let core = Arc::clone(self);
        runtime.spawn(async move {
            let parcel = core.drawn(&draw).await;
            if let Some(late) = core.leases.drawn(&draw, parcel) {
                core.give_back(late).await;
            }
        });
        self.sweep();
    }

    /// The share, if the store has so much.
    async fn drawn(self: &Arc<Self>, draw: &Draw) -> Option<Parcel> {
        let Draw { key, limit, units } = draw;
        let asked = self.clock.now();
        let charges = [Charge { key: key.clone(), limit: limit.clone(), cost: *units, mode: Mode::Shadow, holder: 0 }];
        self.counts.draws.add(1);
        let list = List { charges: &charges, within: self.patience, once: None, fault: None };
        let Ok(outcomes) = self.ask(list).await else {
            // It may have been taken. Then it counts as spent until its window is over.
            self.counts.lost.add(*units);
            return None;
        };
        let outcome = *outcomes.first()?;
        self.leases.told(key, outcome, asked);
        if !outcome.allowed {
            return None;
        }
        self.counts.drawn.add(*units);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Some(Parcel::new(number, *units, limit, outcome, asked))
    }

    /// Looks through the shares in the background, as long as there are any.
    fn sweep(self: &Arc<Self>) {
        if self.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return self.sweeping.store(false, Ordering::Release);
        };
        let core = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(core) = core.upgrade() else { return };
                core.give_all_back(core.leases.sweep(core.clock.now())).await;
                if core.leases.len() == 0 {
                    // Whoever comes from now on begins anew.
                    return core.sweeping.store(false, Ordering::Release);
                }
            }
        });
    }

    fn return_soon(self: &Arc<Self>, returns: Vec<Return>) {
        if returns.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let core = Arc::clone(self);
            runtime.spawn(async move { core.give_all_back(returns).await });
        }
    }

    pub(super) async fn give_all_back(self: &Arc<Self>, returns: Vec<Return>) {
        for share in returns {
            self.give_back(share).await;
        }
    }

    /// Gives back what is left of a share. What cannot be given back counts as spent until its window is over, or the bucket has refilled it: a
    /// share of a bucket always, since other hosts know from what was missing beneath theirs when theirs melt.
    async fn give_back(self: &Arc<Self>, share: Return) {
        let Return { key, limit, parcel } = share;
        let now = self.clock.now();
        let unused = parcel.usable(&limit, now);
        if unused == 0 || parcel.melts {
            return self.counts.lost.add(unused);
        }
        let settlement = Settlement {
            // It is tried once. If nobody hears whether it was done, it counts as lost.
            marker: None,
            until: Timestamp::default(),
            remembered_us: 0,
            action: Action::Settle,
            held: vec![Held { key, limit, taken: unused, unused, mark_us: parcel.told.mark_us, holder: 0 }],
        };
        match self.settled(&settlement, self.patience).await {
            Ok(Settled::Done | Settled::Already) => self.counts.returned.add(unused),
            Ok(Settled::Late) | Err(_) => self.counts.lost.add(unused),
        }
    }

    /// Settles in the store, unless it is cut off.
    pub(super) async fn settled(self: &Arc<Self>, settlement: &Settlement, within: Duration) -> Result<Settled, Fault> {
        if let Some(fault) = self.cut_off() {
            return Err(fault);
        }
        let answer = self.store.settle(settlement, within).answer().await;
        if let Some(refusals) = &self.refusals {
            settlement.held.iter().for_each(|held| refusals.forget(&held.key));
        }
        self.note(answer.as_ref().err(), within);
        answer
    }
}
