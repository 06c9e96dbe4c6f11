//! Concurrency: slots with a name on each, held until given back, until renewed no more, or for one lease at most.
//!
//! So a holder that crashed keeps no slot: its lease ends by itself.

use super::apply::{Reading, View};
use super::{Rule, Slot, State};

pub(super) struct Slots {
    max: u64,
    lease_us: u64,
    now_us: u64,
    holder: u64,
    /// Those whose lease goes on, by its end.
    held: Vec<Slot>,
}

impl Slots {
    fn own(&self) -> Option<&Slot> {
        self.held.iter().find(|slot| slot.holder == self.holder)
    }

    fn others(&self) -> impl Iterator<Item = &Slot> {
        self.held.iter().filter(|slot| slot.holder != self.holder)
    }

    fn taken_by_others(&self) -> u64 {
        self.others().map(|slot| slot.count).sum()
    }

    /// Gives the holder's slots a whole lease from now on; one that goes on for longer stays as it is.
    fn put(&mut self, count: u64) {
        let own = self.held.iter().position(|slot| slot.holder == self.holder).map(|at| self.held.remove(at));
        let (until_us, before) = own.map_or((0, 0), |own| (own.until_us, own.count));
        let until_us = until_us.max(self.now_us.saturating_add(self.lease_us));
        let at = self.held.partition_point(|slot| slot.until_us <= until_us);
        self.held.insert(at, Slot { until_us, holder: self.holder, count: count.max(before) });
    }

    /// The slots with the holder's renewed; none if it has none.
    pub(super) fn renewed(mut self) -> Option<State> {
        let count = self.own()?.count;
        self.put(count);
        Some(self.state())
    }

    /// The slots without the holder's; none if it was the last.
    pub(super) fn without_own(mut self) -> Option<State> {
        self.held.retain(|slot| slot.holder != self.holder);
        (!self.held.is_empty()).then(|| self.state())
    }
}

impl Reading for Slots {
    fn read(view: &View<'_>, state: Option<&State>) -> Self {
        let &View { rule, holder, now_us } = view;
        let held = match state {
            Some(State::Slots(slots)) => slots.iter().filter(|slot| slot.until_us > now_us).copied().collect(),
            _ => Vec::new(),
        };
        Self { max: rule.max, lease_us: rule.window_us, now_us, holder, held }
    }

    fn remaining(&self) -> u64 {
        self.max.saturating_sub(self.held.iter().map(|slot| slot.count).sum())
    }

    fn fits(&self, cost: u64) -> bool {
        // What it has is its own, even where there are fewer slots than before.
        self.own().is_some_and(|own| cost <= own.count) || cost <= self.max.saturating_sub(self.taken_by_others())
    }

    fn take(&mut self, cost: u64) {
        self.put(cost);
    }

    fn unused_in_us(&self) -> u64 {
        self.held.last().map_or(0, |slot| slot.until_us - self.now_us)
    }

    fn fits_in_us(&self, cost: u64) -> Option<u64> {
        let room = self.max.checked_sub(cost)?;
        let mut taken = self.taken_by_others();
        let last = self.others().find(|slot| {
            taken -= slot.count;
            taken <= room
        });
        last.map(|slot| slot.until_us - self.now_us)
    }

    fn mark_us(&self) -> u64 {
        self.own().map_or(self.now_us, |own| own.until_us)
    }

    fn state(self) -> State {
        State::Slots(self.held.into_boxed_slice())
    }
}

/// Cuts leases that go on for longer than one lease and a window ahead of it, since they come from a clock that was ahead, and forgets those that
/// have ended. Leaves slots without such leases as they are.
pub(super) fn pull(slots: &mut Box<[Slot]>, rule: &Rule, now_us: u64) {
    let far_us = now_us.saturating_add(rule.window_us.saturating_mul(2));
    if slots.last().is_none_or(|slot| slot.until_us <= far_us) {
        return;
    }
    let cut_us = now_us.saturating_add(rule.window_us);
    let cut = |slot: &Slot| Slot { until_us: if slot.until_us > far_us { cut_us } else { slot.until_us }, ..*slot };
    *slots = slots.iter().filter(|slot| slot.until_us > now_us).map(cut).collect();
    slots.sort_by_key(|slot| slot.until_us);
}
