//! The fixed window and the calendar period: a count that begins anew at set moments.

use super::apply::{Reading, View};
use super::{Algorithm, Period, Rule, State};

/// The window that a moment lies in, and the end of the next.
pub(super) struct Bounds {
    pub(super) start_us: u64,
    pub(super) end_us: u64,
    pub(super) next_end_us: u64,
}

impl Bounds {
    pub(super) fn at(rule: &Rule, now_us: u64) -> Self {
        match rule.period {
            Some(period) if rule.algorithm == Algorithm::Calendar => Self::of(period, now_us),
            _ => {
                let start_us = now_us - now_us % rule.window_us;
                let end_us = start_us.saturating_add(rule.window_us);
                Self { start_us, end_us, next_end_us: end_us.saturating_add(rule.window_us) }
            }
        }
    }

    /// A clock behind the one that worked the period out counts in the period still, one ahead of it in the next.
    fn of(period: Period, now_us: u64) -> Self {
        let Period { start_us, end_us, next_end_us } = period;
        if now_us < end_us {
            return Self { start_us, end_us, next_end_us };
        }
        // Only a state from ahead asks where the next but one ends, and then only about.
        Self { start_us: end_us, end_us: next_end_us, next_end_us: next_end_us.saturating_add(next_end_us - end_us) }
    }

    /// The window that a state of this beginning counts in, with what was used in it, or the present one if that is over.
    ///
    /// A changed window may begin elsewhere: the count goes to the window that now holds its beginning.
    fn of_state(self, start_us: u64, used: u64) -> (u64, u64, u64) {
        let Self { start_us: present_us, end_us, next_end_us } = self;
        match start_us {
            _ if start_us >= end_us => (end_us, next_end_us, used),
            _ if start_us >= present_us => (present_us, end_us, used),
            _ => (present_us, end_us, 0),
        }
    }
}

pub(super) struct Fixed {
    max: u64,
    now_us: u64,
    start_us: u64,
    end_us: u64,
    used: u64,
}

impl Fixed {
    fn ends_in_us(&self) -> u64 {
        self.end_us.saturating_sub(self.now_us)
    }
}

impl Reading for Fixed {
    fn read(view: &View<'_>, state: Option<&State>) -> Self {
        let &View { rule, now_us, .. } = view;
        let present = Bounds::at(rule, now_us);
        let (start_us, end_us, used) = match state {
            Some(State::FixedWindow { start_us, used }) => present.of_state(*start_us, *used),
            _ => (present.start_us, present.end_us, 0),
        };
        Self { max: rule.max, now_us, start_us, end_us, used }
    }

    fn remaining(&self) -> u64 {
        self.max.saturating_sub(self.used)
    }

    fn fits(&self, cost: u64) -> bool {
        cost <= self.remaining()
    }

    fn take(&mut self, cost: u64) {
        self.used += cost;
    }

    fn unused_in_us(&self) -> u64 {
        if self.used == 0 { 0 } else { self.ends_in_us() }
    }

    fn fits_in_us(&self, cost: u64) -> Option<u64> {
        (cost <= self.max).then(|| self.ends_in_us())
    }

    fn mark_us(&self) -> u64 {
        self.start_us
    }

    fn state(self) -> State {
        State::FixedWindow { start_us: self.start_us, used: self.used }
    }
}
