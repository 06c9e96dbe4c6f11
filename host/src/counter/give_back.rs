//! Giving back of what a charge took, and renewing what it holds.

use super::apply::{Reading as _, View};
use super::bucket::Bucket;
use super::slots::Slots;
use super::{Algorithm, Rule, State};

/// A charge that can be given back, and how much of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiveBack {
    /// How much the charge took.
    pub taken: u64,
    /// How much of that is given back; once. The slots of a concurrency limit are given back whole.
    pub amount: u64,
    /// The charge's [`Outcome::mark_us`](super::Outcome::mark_us).
    pub mark_us: u64,
    /// The charge's [`Item::holder`](super::Item::holder).
    pub holder: u64,
}

/// The longest that a charge may be held, in microseconds: a day.
pub const HELD_AT_MOST_US: u64 = 24 * 60 * 60 * 1_000_000;

/// Gives back a part of a charge that `rule` counted: what the counter is afterwards. None if it is as if unused.
///
/// The counter is never better off than if the charge had cost so much less from the start, with everything else that was admitted as it is:
///
/// - A window gives back as long as it counts what was taken in it; a sliding window as the earlier one too. Later there is nothing to give back.
/// - A bucket gives back what it took by a rule with a [hold](Rule::hold_us). While a charge is open, its cost is set aside; when it is settled,
///   what stays of it counts as if charged then, but never for more than if it had been charged at first. So what refilled meanwhile is
///   not given back on top: of 10 taken at 0 that refill in 10 s, 5 s later only 5. The order in which charges are settled makes no difference.
/// - A concurrency limit frees the holder's slots.
///
/// What is not found in the state, because it was lost, cut or counted by another algorithm, is not given back, nor what was migrated to other
/// numbers since.
#[must_use]
pub fn give_back(rule: &Rule, state: Option<State>, back: &GiveBack, now_us: u64) -> Option<State> {
    let view = View { rule, holder: back.holder, now_us };
    match state? {
        State::Numbered(numbered) => {
            // By other numbers it was another amount.
            if numbered.by != rule.numbers() {
                return Some(State::Numbered(numbered));
            }
            let by = numbered.by;
            give_back(rule, Some(numbered.state), back, now_us).map(|state| state.numbered(by))
        }
        State::FixedWindow { start_us, used } => {
            let used = if start_us == back.mark_us { used.saturating_sub(back.amount) } else { used };
            (used > 0).then_some(State::FixedWindow { start_us, used })
        }
        State::SlidingWindow { start_us, mut earlier, mut used } => {
            if start_us == back.mark_us {
                used = used.saturating_sub(back.amount);
            } else if start_us == back.mark_us.saturating_add(rule.window_us) {
                earlier = earlier.saturating_sub(back.amount);
            }
            (earlier > 0 || used > 0).then_some(State::SlidingWindow { start_us, earlier, used })
        }
        state @ State::TokenBucket { .. } => give_back_to_bucket(&view, state, back),
        state @ State::Slots(_) => Slots::read(&view, Some(&state)).without_own(),
    }
}

fn give_back_to_bucket(view: &View<'_>, state: State, back: &GiveBack) -> Option<State> {
    let mut bucket = Bucket::read(view, Some(&state));
    let Some(mut reserve) = bucket.reserve.take() else { return Some(state) };
    let Some(generation) = reserve.generation(back.mark_us) else { return Some(state) };
    generation.parts = generation.parts.saturating_sub(bucket.cost(back.taken));
    reserve.settled += bucket.cost(back.taken.saturating_sub(back.amount));
    bucket.missing = bucket.missing.min(reserve.settled + reserve.parts());
    reserve.settled = reserve.settled.min(bucket.missing);
    bucket.reserve = Some(reserve).filter(|reserve| reserve.parts() > 0);
    (bucket.missing > 0).then(|| bucket.state())
}

/// Keeps a charge open for a whole hold from now on, and gives the slots of a concurrency limit a whole lease; none if those are lost, since
/// their lease ended.
#[must_use]
pub fn renew(rule: &Rule, state: Option<State>, back: &GiveBack, now_us: u64) -> Option<State> {
    let view = View { rule, holder: back.holder, now_us };
    if rule.algorithm == Algorithm::Concurrency {
        return Slots::read(&view, state.as_ref()).renewed();
    }
    let mut state = state?;
    let plain = match &mut state {
        State::Numbered(numbered) => &mut numbered.state,
        plain => plain,
    };
    if let State::TokenBucket { reserve: Some(reserve), .. } = plain
        && let Some(generation) = reserve.generations.iter_mut().find(|generation| generation.since_us == back.mark_us)
    {
        generation.until_us = generation.until_us.max(now_us.saturating_add(rule.hold_us));
    }
    Some(state)
}
