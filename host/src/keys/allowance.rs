//! How many look-ups may be in vain.

use std::sync::{Mutex, PoisonError};

use crate::time::Timestamp;

/// A bucket: a look-up takes from it, and one that found a holder gives back. So bogus keys use it up, and good ones do not.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// In millionths of a look-up.
    left: u64,
    at: Timestamp,
}

const ONE: u64 = 1_000_000;

impl Allowance {
    /// A full one.
    pub(super) fn new(per_second: usize, now: Timestamp) -> Self {
        let per_second = u64::try_from(per_second).unwrap_or(u64::MAX).min(1_000_000);
        Self { per_second, state: Mutex::new(State { left: per_second * 2 * ONE, at: now }) }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&self, now: Timestamp) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = u64::try_from(now.since(state.at).as_micros()).unwrap_or(u64::MAX);
        state.left = state.left.saturating_add(passed.saturating_mul(self.per_second)).min(self.most());
        state.at = state.at.max(now);
        let enough = state.left >= ONE;
        state.left -= if enough { ONE } else { 0 };
        enough
    }

    /// Gives one back.
    pub(super) fn give_back(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.left = (state.left + ONE).min(self.most());
    }

    const fn most(&self) -> u64 {
        self.per_second * 2 * ONE
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_given_back_or_waited_for_can_be_taken_again() {
        let mut now = Timestamp::from_micros(5);
        let allowance = Allowance::new(2, now);
        let taken = |now| (0..100).filter(|_| allowance.take(now)).count();
        assert_eq!(taken(now), 4);
        allowance.give_back();
        assert_eq!(taken(now), 1);
        now = now.plus(Duration::from_millis(500));
        assert_eq!(taken(now), 1);
        assert_eq!(taken(now.plus(Duration::from_secs(60))), 4);
        assert_eq!(taken(now), 0, "a clock that goes back gives nothing");
    }
}
