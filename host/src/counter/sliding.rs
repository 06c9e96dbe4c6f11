//! The sliding window: what was taken in this fixed window, and that share of the one before that the window still covers.
//!
//! The share is rounded up to whole units. Costs are whole too, so a cost fits exactly when it fits without any rounding.

use super::State;
use super::apply::{Reading, View};

pub(super) struct Sliding {
    max: u64,
    window_us: u64,
    now_us: u64,
    start_us: u64,
    earlier: u64,
    used: u64,
}

impl Sliding {
    /// How much of the window before is still covered. All of it, while the present one is yet to come.
    fn covered_us(&self) -> u64 {
        self.window_us - self.now_us.saturating_sub(self.start_us)
    }

    fn weighted(&self) -> u64 {
        if self.earlier == 0 {
            return 0;
        }
        let share = u128::from(self.earlier) * u128::from(self.covered_us());
        narrow(share.div_ceil(u128::from(self.window_us)))
    }

    /// When, after the start of a window, no more than `room` of what was taken in the window before, `spent`, is covered.
    fn covers_at_most(&self, room: u64, spent: u64) -> u64 {
        let covered_us = u128::from(room) * u128::from(self.window_us) / u128::from(spent.max(1));
        self.window_us.saturating_sub(narrow(covered_us))
    }
}

impl Reading for Sliding {
    fn read(view: &View<'_>, state: Option<&State>) -> Self {
        let View { rule, now_us, .. } = *view;
        let (max, window_us) = (rule.max, rule.window_us);
        let present_us = now_us - now_us % window_us;
        let (start_us, earlier, used) = match state {
            Some(&State::SlidingWindow { start_us, earlier, used }) => (start_us - start_us % window_us, earlier, used),
            _ => (present_us, 0, 0),
        };
        let (start_us, earlier, used) = if start_us >= present_us {
            (start_us, earlier, used)
        } else if start_us + window_us == present_us {
            (present_us, used, 0)
        } else {
            (present_us, 0, 0)
        };
        Self { max, window_us, now_us, start_us, earlier, used }
    }

    fn remaining(&self) -> u64 {
        self.max.saturating_sub(self.used).saturating_sub(self.weighted())
    }

    fn fits(&self, cost: u64) -> bool {
        cost <= self.remaining()
    }

    fn take(&mut self, cost: u64) {
        self.used += cost;
    }

    fn unused_in_us(&self) -> u64 {
        let windows = if self.used > 0 { 2 } else { u64::from(self.earlier > 0) };
        if windows == 0 { 0 } else { self.start_us.saturating_add(windows * self.window_us) - self.now_us }
    }

    fn fits_in_us(&self, cost: u64) -> Option<u64> {
        let room = self.max.checked_sub(cost)?;
        let fits_us = match room.checked_sub(self.used) {
            Some(room) => self.start_us + self.covers_at_most(room, self.earlier),
            // Even with nothing before it this window holds too much: it must become the one before.
            None => self.start_us + self.window_us + self.covers_at_most(room, self.used),
        };
        Some(fits_us - self.now_us)
    }

    fn mark_us(&self) -> u64 {
        self.start_us
    }

    fn state(self) -> State {
        State::SlidingWindow { start_us: self.start_us, earlier: self.earlier, used: self.used }
    }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
