//! The token bucket as GCRA: the one number kept is the moment at which the bucket is full again.
//!
//! Counted in parts, of which a microsecond refills `max` and a token costs `window_us`. So nothing is rounded, whatever the rate.

use super::apply::Reading;
use super::{Rule, State};

pub(super) struct Bucket {
    max: u128,
    token: u128,
    capacity: u128,
    now_us: u64,
    /// How many parts are missing from a full bucket. More than it holds, if it was filled by a clock that was ahead.
    missing: u128,
}

impl Bucket {
    /// A bucket with nothing in it.
    pub(super) fn empty(rule: &Rule, now_us: u64) -> Self {
        let mut bucket = Self::full(rule, now_us);
        bucket.missing = bucket.capacity;
        bucket
    }

    /// Whether the bucket was last taken from more than a window ahead.
    pub(super) fn is_far(&self) -> bool {
        self.missing > self.capacity + self.max * self.token
    }

    fn full(rule: &Rule, now_us: u64) -> Self {
        let token = u128::from(rule.window_us);
        Self { max: rule.max.into(), token, capacity: u128::from(rule.burst) * token, now_us, missing: 0 }
    }
}

impl Reading for Bucket {
    fn read(rule: &Rule, state: Option<State>, now_us: u64) -> Self {
        let mut bucket = Self::full(rule, now_us);
        if let Some(State::TokenBucket { tat_us, part }) = state
            && tat_us >= now_us
        {
            bucket.missing = u128::from(tat_us - now_us) * bucket.max + u128::from(part);
        }
        bucket
    }

    fn remaining(&self) -> u64 {
        divided(self.capacity.saturating_sub(self.missing), self.token).0
    }

    fn fits(&self, cost: u64) -> bool {
        self.missing + u128::from(cost) * self.token <= self.capacity
    }

    fn take(&mut self, cost: u64) {
        self.missing += u128::from(cost) * self.token;
    }

    fn unused_in_us(&self) -> u64 {
        let (whole, rest) = divided(self.missing, self.max);
        whole.saturating_add(u64::from(rest > 0))
    }

    fn fits_in_us(&self, cost: u64) -> Option<u64> {
        let cost = u128::from(cost) * self.token;
        (cost <= self.capacity).then(|| {
            let (whole, rest) = divided(self.missing + cost - self.capacity, self.max);
            whole.saturating_add(u64::from(rest > 0))
        })
    }

    fn state(&self) -> State {
        let (whole_us, part) = divided(self.missing, self.max);
        State::TokenBucket { tat_us: self.now_us.saturating_add(whole_us), part }
    }
}

/// Quotient and remainder. Nearly every bucket fits 64 bits, and a machine divides those many times faster than 128.
fn divided(number: u128, by: u128) -> (u64, u64) {
    match (u64::try_from(number), u64::try_from(by)) {
        (Ok(number), Ok(by)) => (number / by, number % by),
        _ => (narrow(number / by), narrow(number % by)),
    }
}

fn narrow(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
