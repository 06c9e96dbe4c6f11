//! Carries back what this host counted by itself, when the store answers again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Core;
use super::local::{Attempt, Owed};
use crate::counter::Mode;
use crate::model::{Charge, Fault};
use crate::store::List;

/// How often one debt is tried: in full, and then by what is left, which others may take meanwhile.
const TRIES: u32 = 4;

impl Core {
    /// Tells the store what is owed on the counters of a list, so that the list is not admitted as if nothing had been.
    pub(super) async fn carry_for(self: &Arc<Self>, charges: &[Charge], within: Duration) -> Result<(), Fault> {
        for charge in charges {
            if let Some(owed) = self.local.take_owed(&charge.key) {
                self.carry(&charge.key, owed, within).await?;
            }
        }
        Ok(())
    }

    /// Tells the store in the background all that is owed, unless somebody does already.
    pub(super) fn carry_all(self: &Arc<Self>) {
        if self.local.owed_counters() == 0 || self.carrying.swap(true, Ordering::AcqRel) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return self.carrying.store(false, Ordering::Release);
        };
        let core = Arc::clone(self);
        runtime.spawn(async move {
            while let Some((key, owed)) = core.local.pop_owed() {
                if core.carry(&key, owed, core.patience).await.is_err() {
                    break;
                }
            }
            core.carrying.store(false, Ordering::Release);
        });
    }

    /// Takes in the store what is owed on one counter, as far as there is room. On a fault the rest is owed still.
    async fn carry(self: &Arc<Self>, key: &str, mut owed: Owed, within: Duration) -> Result<(), Fault> {
        for _ in 0..TRIES {
            let repeated = owed.attempt.take_if(|attempt| attempt.until > self.clock.now());
            let is_repeated = repeated.is_some();
            let Some(attempt) = repeated.or_else(|| self.attempt(key, &owed)) else { return Ok(()) };
            match self.tell(key, &owed, &attempt, within).await {
                Ok((true, _)) => {
                    self.counts.carried.add(attempt.cost);
                    owed.cost = owed.cost.saturating_sub(attempt.cost);
                    // What came to be owed after an attempt that was repeated is told by one of its own.
                    if !is_repeated {
                        return Ok(());
                    }
                }
                Ok((false, room)) => {
                    self.counts.not_carried.add(owed.cost.saturating_sub(room));
                    owed.cost = owed.cost.min(room);
                }
                Err(fault) => {
                    owed.attempt = Some(attempt);
                    self.local.put_back(key, owed, &self.counts);
                    return Err(fault);
                }
            }
        }
        self.counts.not_carried.add(owed.cost);
        Ok(())
    }

    fn attempt(&self, key: &str, owed: &Owed) -> Option<Attempt> {
        let (counts, lasts) = self.local.still_counts(key, &owed.limit);
        let cost = owed.cost.min(counts);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let once = || format!("{key}:carried:{:x}:{number}", self.nonce);
        (cost > 0).then(|| Attempt { cost, once: once(), until: self.clock.now().plus(lasts) })
    }

    /// Whether it was taken, and how much room there is.
    async fn tell(
        self: &Arc<Self>,
        key: &str,
        owed: &Owed,
        attempt: &Attempt,
        within: Duration,
    ) -> Result<(bool, u64), Fault> {
        let charge = Charge {
            key: key.to_owned(),
            limit: owed.limit.clone(),
            cost: attempt.cost,
            mode: Mode::Shadow,
            holder: 0,
        };
        let charges = [charge];
        let list = List { charges: &charges, within, once: Some(&attempt.once), fault: None };
        let outcomes = self.ask(list).await?;
        Ok(outcomes.first().map_or((false, 0), |outcome| (outcome.allowed, outcome.remaining)))
    }
}
