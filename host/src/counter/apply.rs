//! One charge on one counter.

use std::time::Duration;

use super::bucket::Bucket;
use super::fixed::Fixed;
use super::sliding::Sliding;
use super::{Algorithm, Outcome, Rule, State};

/// A counter as a rule reads it at one moment. Waits are counted from that moment.
pub(super) trait Reading: Sized {
    /// Reads a state that is not further ahead than [`pull`] leaves it. What is not this algorithm's reads as unused.
    fn read(rule: &Rule, state: Option<State>, now_us: u64) -> Self;

    /// What is left. Never more than the limit gives at once.
    fn remaining(&self) -> u64;

    /// Whether that is enough for `cost`.
    fn fits(&self, cost: u64) -> bool;

    /// Takes a cost that fits.
    fn take(&mut self, cost: u64);

    /// How long until the counter is as if unused.
    fn unused_in_us(&self) -> u64;

    /// How long until a cost that does not fit would; none if it never will.
    fn fits_in_us(&self, cost: u64) -> Option<u64>;

    /// What to remember.
    fn state(&self) -> State;
}

/// Charges `cost` to a counter at `now_us`: what it is afterwards, and the outcome.
///
/// A cost that does not fit takes nothing. A cost of 0 is always allowed and takes nothing. A state of another algorithm counts as unused.
///
/// # Panics
///
/// Panics on a rule with a window of 0; see [`Rule::problem`].
#[must_use]
pub fn apply(rule: &Rule, state: Option<State>, cost: u64, now_us: u64) -> (Option<State>, Outcome) {
    step(rule, pull(rule, state, now_us), cost, now_us)
}

/// Brings a state that is more than a window ahead of `now_us` to the present, with all that is spent. Leaves every other state as it is.
///
/// # Panics
///
/// Panics on a rule with a window of 0; see [`Rule::problem`].
#[must_use]
pub fn pull(rule: &Rule, state: Option<State>, now_us: u64) -> Option<State> {
    let present_us = now_us - now_us % rule.window_us;
    let far_us = present_us.saturating_add(rule.window_us.saturating_mul(2));
    match state? {
        State::FixedWindow { start_us, used } if start_us >= far_us => {
            Some(State::FixedWindow { start_us: present_us, used })
        }
        State::SlidingWindow { start_us, earlier, used } if start_us >= far_us => {
            Some(State::SlidingWindow { start_us: present_us, earlier, used })
        }
        State::TokenBucket { .. } if Bucket::read(rule, state, now_us).is_far() => {
            Some(Bucket::empty(rule, now_us).state())
        }
        near => Some(near),
    }
}

/// [`apply`] on a state that was pulled already.
pub(super) fn step(rule: &Rule, state: Option<State>, cost: u64, now_us: u64) -> (Option<State>, Outcome) {
    match rule.algorithm {
        Algorithm::FixedWindow => step_by::<Fixed>(rule, state, cost, now_us),
        Algorithm::SlidingWindow => step_by::<Sliding>(rule, state, cost, now_us),
        Algorithm::TokenBucket => step_by::<Bucket>(rule, state, cost, now_us),
    }
}

fn step_by<R: Reading>(rule: &Rule, state: Option<State>, cost: u64, now_us: u64) -> (Option<State>, Outcome) {
    let mut counter = R::read(rule, state, now_us);
    let allowed = cost == 0 || counter.fits(cost);
    let retry_after = if allowed { None } else { counter.fits_in_us(cost).map(Duration::from_micros) };
    let takes = allowed && cost > 0;
    if takes {
        counter.take(cost);
    }
    let reset_after = Duration::from_micros(counter.unused_in_us());
    let outcome = Outcome { allowed, remaining: counter.remaining(), reset_after, retry_after };
    (if takes { Some(counter.state()) } else { state }, outcome)
}
