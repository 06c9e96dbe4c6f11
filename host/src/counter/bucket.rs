//! The token bucket as GCRA: the number kept is the moment at which the bucket is full again.
//!
//! Counted in parts, of which a microsecond refills `max` and a token costs `window_us`. So nothing is rounded, whatever the rate.
//!
//! With a longest wait, the bucket may owe what refills in that time: who takes it has to wait until the debt is paid.

use super::apply::{Reading, View};
use super::reserve::Reserve;
use super::{Algorithm, Rule, State};

pub(super) struct Bucket {
    pub(super) max: u128,
    pub(super) token: u128,
    capacity: u128,
    /// How many parts may be missing: all the bucket holds, and what refills in the longest wait.
    reach: u128,
    pub(super) now_us: u64,
    hold_us: u64,
    /// How many parts are missing from a full bucket. More than may be, if it was filled by a clock that was ahead.
    pub(super) missing: u128,
    /// What is taken for the time being only.
    pub(super) reserve: Option<Reserve>,
}

impl Bucket {
    /// By how much a clock may go back without harm: a second.
    const LITTLE_US: u128 = 1_000_000;

    /// Takes everything that can be taken, and no more than that.
    pub(super) fn run_dry(&mut self) {
        self.missing = self.reach;
    }

    /// Whether more is missing than was ever there, but for a clock that goes back a little: the clock was far ahead, or the bucket was larger.
    pub(super) fn is_far(&self) -> bool {
        self.missing > self.reach + self.max * self.token.min(Self::LITTLE_US)
    }

    /// The parts that `amount` costs.
    pub(super) fn cost(&self, amount: u64) -> u128 {
        u128::from(amount) * self.token
    }

    /// The parts that are missing from a bucket that is full at a moment and so many parts later.
    pub(super) fn missing_until(&self, moment_us: u64, part: u64) -> u128 {
        match moment_us.checked_sub(self.now_us) {
            Some(wait_us) => self.refill(wait_us, part),
            None => 0,
        }
    }

    /// The parts that refill in so many microseconds, and so many parts more: less than a microsecond, whatever `max` they are a part of.
    pub(super) fn refill(&self, us: u64, part: u64) -> u128 {
        u128::from(us) * self.max + u128::from(part).min(self.max - 1)
    }

    /// In how many whole microseconds so many parts refill, and the rest in parts.
    pub(super) fn refills_in(&self, parts: u128) -> (u64, u64) {
        divided(parts, self.max)
    }

    fn refill_us(&self, parts: u128) -> u64 {
        let (whole_us, rest) = divided(parts, self.max);
        whole_us.saturating_add(u64::from(rest > 0))
    }

    fn full(rule: &Rule, now_us: u64) -> Self {
        let (max, token) = (u128::from(rule.max), u128::from(rule.window_us));
        let capacity = u128::from(rule.burst) * token;
        let wait_us = if rule.algorithm == Algorithm::Delay { rule.longest_wait_us } else { 0 };
        let reach = capacity + u128::from(wait_us) * max;
        Self { max, token, capacity, reach, now_us, hold_us: rule.hold_us, missing: 0, reserve: None }
    }
}

impl Reading for Bucket {
    fn read(view: &View<'_>, state: Option<&State>) -> Self {
        let mut bucket = Self::full(view.rule, view.now_us);
        if let Some(State::TokenBucket { tat_us, part, reserve }) = state {
            bucket.missing = bucket.missing_until(*tat_us, *part);
            bucket.reserve = reserve.as_ref().and_then(|reserve| reserve.read(&bucket));
        }
        bucket
    }

    fn remaining(&self) -> u64 {
        divided(self.reach.saturating_sub(self.missing), self.token).0
    }

    fn fits(&self, cost: u64) -> bool {
        self.missing + self.cost(cost) <= self.reach
    }

    fn take(&mut self, cost: u64) {
        let parts = self.cost(cost);
        if self.hold_us > 0 {
            let mut reserve = self.reserve.take().unwrap_or_else(|| Reserve::new(self.missing));
            reserve.hold(parts, self.now_us, self.hold_us);
            self.reserve = Some(reserve);
        } else if let Some(reserve) = &mut self.reserve {
            reserve.settled += parts;
        }
        self.missing += parts;
    }

    fn unused_in_us(&self) -> u64 {
        self.refill_us(self.missing)
    }

    fn fits_in_us(&self, cost: u64) -> Option<u64> {
        let cost = self.cost(cost);
        (cost <= self.reach).then(|| self.refill_us(self.missing + cost - self.reach))
    }

    fn passes_in_us(&self) -> Option<u64> {
        (self.missing > self.capacity).then(|| self.refill_us(self.missing - self.capacity))
    }

    fn mark_us(&self) -> u64 {
        self.reserve.as_ref().map_or(0, Reserve::newest)
    }

    fn state(self) -> State {
        let (whole_us, part) = self.refills_in(self.missing);
        let tat_us = self.now_us.saturating_add(whole_us);
        let reserve = self.reserve.as_ref().map(|reserve| Box::new(reserve.state(&self)));
        State::TokenBucket { tat_us, part, reserve }
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
