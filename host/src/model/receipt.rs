//! The handle of an admission whose charges are not final yet.

use std::time::Duration;

use super::{Action, Held, KeySpace, Settlement};
use crate::counter::{Algorithm, HELD_AT_MOST_US};
use crate::time::{Timestamp, micros};

/// What a decision holds for the time being, and who may end it: whoever has the receipt.
///
/// A decision has one if its policy took slots of a concurrency limit or charged with a hold. The [gate](crate::Tollgate) that gave it settles it,
/// gives it back or extends it; without any of these it settles by itself when its time is over: charges stay as they were taken, slots
/// become free. It cannot be made, so whoever has one was admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Two receipts of one id are of one decision.
    pub(crate) id: u128,
    pub(crate) tenant: Box<str>,
    /// The space of the policy's counters.
    pub(crate) space: Box<str>,
    /// What the request cost, in its own unit.
    pub(crate) cost: u64,
    pub(crate) born: Timestamp,
    pub(crate) until: Timestamp,
    /// For how long an extension goes.
    pub(crate) span: Duration,
    /// How much longer than it is open it must be remembered that it is settled, since the same decision may be asked for again.
    pub(crate) repeatable_for: Duration,
    /// The charges, at what they took.
    pub(crate) held: Vec<Held>,
}

impl Receipt {
    /// Whose account paid.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Until when it is open, by the gate's clock.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// What the request cost: the most that it can be settled at.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.cost
    }

    /// The limits that it holds something of, in the order of the charges.
    pub fn limits(&self) -> impl Iterator<Item = &super::Limit> {
        self.held.iter().map(|held| &held.limit)
    }

    /// What settles it at `actual` instead of its cost. Of each charge stays the same share, rounded up.
    pub(crate) fn settled_at(&self, actual: u64, prefix: &str) -> Settlement {
        let (actual, cost) = (actual.min(self.cost), self.cost.max(1));
        let unused = |taken: u64| {
            let used = (u128::from(taken) * u128::from(actual)).div_ceil(u128::from(cost));
            taken.saturating_sub(u64::try_from(used).unwrap_or(u64::MAX))
        };
        let held = self.held.iter().map(|held| Held { unused: unused(held.taken), ..held.clone() });
        self.settlement(Action::Settle, held.collect(), prefix)
    }

    /// The receipt as it is once extended at `now`, and what extends it. What is counted in amounts is held for a day at most.
    pub(crate) fn extended(&self, now: Timestamp, prefix: &str) -> (Self, Settlement) {
        let only_slots = self.limits().all(|limit| limit.algorithm() == Algorithm::Concurrency);
        let last =
            if only_slots { now.plus(self.span) } else { self.born.plus(Duration::from_micros(HELD_AT_MOST_US)) };
        let until = now.plus(self.span).min(last).max(self.until);
        let settlement = self.settlement(Action::Renew { until }, self.held.clone(), prefix);
        (Self { until, ..self.clone() }, settlement)
    }

    fn settlement(&self, action: Action, held: Vec<Held>, prefix: &str) -> Settlement {
        let marker = KeySpace::new(prefix, &self.tenant, &self.space).receipt(self.id);
        Settlement { marker: Some(marker), until: self.until, action, held, remembered_us: micros(self.repeatable_for) }
    }
}
