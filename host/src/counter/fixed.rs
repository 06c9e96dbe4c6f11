//! The fixed window: a count that begins anew at each multiple of the window since the epoch.

use super::apply::Reading;
use super::{Rule, State};

pub(super) struct Fixed {
    max: u64,
    window_us: u64,
    now_us: u64,
    start_us: u64,
    used: u64,
}

impl Fixed {
    fn ends_in_us(&self) -> u64 {
        self.start_us.saturating_add(self.window_us) - self.now_us
    }
}

impl Reading for Fixed {
    fn read(rule: &Rule, state: Option<State>, now_us: u64) -> Self {
        let &Rule { max, window_us, .. } = rule;
        let present_us = now_us - now_us % window_us;
        let (start_us, used) = match state {
            // A changed window may begin elsewhere: the count goes to the window that now holds its beginning.
            Some(State::FixedWindow { start_us, used }) => (start_us - start_us % window_us, used),
            _ => (present_us, 0),
        };
        if start_us < present_us {
            return Self { max, window_us, now_us, start_us: present_us, used: 0 };
        }
        Self { max, window_us, now_us, start_us, used }
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

    fn state(&self) -> State {
        State::FixedWindow { start_us: self.start_us, used: self.used }
    }
}
