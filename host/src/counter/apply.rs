//! One charge on one counter.

use std::time::Duration;

use super::bucket::Bucket;
use super::fixed::{Bounds, Fixed};
use super::migrate::migrate;
use super::sliding::Sliding;
use super::slots::{self, Slots};
use super::{Algorithm, Outcome, Rule, State};

/// Who looks at a counter, by which rule and when.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) rule: &'a Rule,
    pub(super) holder: u64,
    pub(super) now_us: u64,
}

/// A counter as it is seen at one moment. Waits are counted from that moment.
pub(super) trait Reading: Sized {
    /// Reads a state that is not further ahead than [`pull`] leaves it. What is not this algorithm's reads as unused.
    fn read(view: &View<'_>, state: Option<&State>) -> Self;

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

    /// How long what was taken has to wait before it passes; none if it passes at once.
    fn passes_in_us(&self) -> Option<u64> {
        None
    }

    /// Where in the counter lies what was last taken; see [`Outcome::mark_us`].
    fn mark_us(&self) -> u64;

    /// What to remember.
    fn state(self) -> State;
}

/// Charges `cost` to a counter at `now_us`: what it is afterwards, and the outcome.
///
/// A cost that does not fit takes nothing. A cost of 0 is always allowed and takes nothing. A state of another algorithm counts as unused.
/// The slots of a concurrency limit go to the holder 0; [`charge_all`](super::charge_all) has a name for each.
///
/// # Panics
///
/// Panics on a rule with a window of 0; see [`Rule::problem`].
#[must_use]
pub fn apply(rule: &Rule, mut state: Option<State>, cost: u64, now_us: u64) -> (Option<State>, Outcome) {
    pull(rule, &mut state, now_us);
    let (taken, outcome) = step(&View { rule, holder: 0, now_us }, state.as_ref(), cost);
    (taken.or(state), outcome)
}

/// Brings a state that is more than a window ahead of `now_us` to the present, with all that is spent, and one that was counted by other
/// numbers to those of the rule, if the [rule](super::OnChange) says how. Leaves every other state as it is.
///
/// # Panics
///
/// Panics on a rule with a window of 0; see [`Rule::problem`].
pub fn pull(rule: &Rule, state: &mut Option<State>, now_us: u64) {
    match state {
        Some(State::Numbered(numbered)) => {
            migrate(rule, numbered, now_us);
            pull_plain(rule, &mut numbered.state, now_us);
        }
        Some(plain) => pull_plain(rule, plain, now_us),
        None => {}
    }
}

fn pull_plain(rule: &Rule, known: &mut State, now_us: u64) {
    match known {
        State::FixedWindow { start_us, .. } => {
            let present = Bounds::at(rule, now_us);
            if *start_us >= present.next_end_us {
                *start_us = present.start_us;
            }
        }
        State::SlidingWindow { start_us, .. } => {
            let present_us = now_us - now_us % rule.window_us;
            if *start_us >= present_us.saturating_add(rule.window_us.saturating_mul(2)) {
                *start_us = present_us;
            }
        }
        State::TokenBucket { .. } => {
            let mut bucket = Bucket::read(&View { rule, holder: 0, now_us }, Some(known));
            if bucket.is_far() {
                bucket.run_dry();
                *known = bucket.state();
            }
        }
        State::Slots(slots) => slots::pull(slots, rule, now_us),
        State::Numbered(_) => {}
    }
}

/// [`apply`] on a state that was pulled already: what to remember if something was taken, and the outcome.
pub(super) fn step(view: &View<'_>, state: Option<&State>, cost: u64) -> (Option<State>, Outcome) {
    match view.rule.algorithm {
        Algorithm::FixedWindow | Algorithm::Calendar => step_by::<Fixed>(view, state, cost),
        Algorithm::SlidingWindow => step_by::<Sliding>(view, state, cost),
        Algorithm::TokenBucket | Algorithm::Delay => step_by::<Bucket>(view, state, cost),
        Algorithm::Concurrency => step_by::<Slots>(view, state, cost),
    }
}

fn step_by<R: Reading>(view: &View<'_>, state: Option<&State>, cost: u64) -> (Option<State>, Outcome) {
    let mut counter = R::read(view, state.map(State::plain));
    let allowed = cost == 0 || counter.fits(cost);
    let mut retry_after_us = if allowed { None } else { counter.fits_in_us(cost) };
    let takes = allowed && cost > 0;
    if takes {
        counter.take(cost);
        retry_after_us = counter.passes_in_us();
    }
    let outcome = Outcome {
        allowed,
        remaining: counter.remaining(),
        reset_after: Duration::from_micros(counter.unused_in_us()),
        retry_after: retry_after_us.map(Duration::from_micros),
        mark_us: counter.mark_us(),
    };
    (takes.then(|| counter.state().written_by(view.rule)), outcome)
}
