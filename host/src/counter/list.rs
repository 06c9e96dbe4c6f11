//! A list of charges: all of them or none.

use super::apply::{View, pull, step};
use super::{Algorithm, Mode, Outcome, Rule, State};

/// One charge of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// The rule.
    pub rule: Rule,
    /// How much, in the unit of the limit.
    pub cost: u64,
    /// What it does to its counter and to the list.
    pub mode: Mode,
    /// Which counter: an index into the states. Charges on one counter have the same.
    pub slot: usize,
    /// Who takes slots of a concurrency limit. A holder takes them once, and renews them when it charges again.
    pub holder: u64,
}

/// Makes every charge of the list at `now_us`, or none: whether the list was admitted, and one outcome for each charge, in order.
///
/// The list is refused if any [`Enforce`](Mode::Enforce) charge does not fit. Charges on one counter see one another in order: each outcome is
/// of the moment after its charge.
///
/// A refused list leaves the states as they are (but [pulls](super::pull) them to the present). Its outcomes tell what is left of the untouched counters;
/// `allowed` still says of each charge whether it fits where it stands in the list, and `retry_after` when it will, together with the charges
/// on the same counter before it.
///
/// A slot that is no index of `states` is an unused counter that forgets.
///
/// # Panics
///
/// Panics on a rule with a window of 0; see [`Rule::problem`].
#[must_use]
pub fn charge_all(items: &[Item], states: &mut [Option<State>], now_us: u64) -> (bool, Vec<Outcome>) {
    for item in items {
        if let Some(state) = states.get_mut(item.slot) {
            pull(&item.rule, state, now_us);
        }
    }
    // A refused charge leaves its own counter alone: only a list of several must be able to go back.
    let before: Vec<Option<State>> = match items {
        [_] => Vec::new(),
        items => items.iter().map(|item| states.get(item.slot).cloned().flatten()).collect(),
    };
    let outcomes: Vec<Outcome> = items.iter().map(|item| charge(item, states, now_us)).collect();
    let admitted = items.iter().zip(&outcomes).all(|(item, outcome)| outcome.allowed || item.mode != Mode::Enforce);
    if admitted || items.len() < 2 {
        return (admitted, outcomes);
    }
    for (item, before) in items.iter().zip(before) {
        if let Some(state) = states.get_mut(item.slot) {
            *state = before;
        }
    }
    (false, refusals(items, &outcomes, states, now_us))
}

fn charge(item: &Item, states: &mut [Option<State>], now_us: u64) -> Outcome {
    let slot = states.get_mut(item.slot);
    let (taken, outcome) = step(&view(item, now_us), slot.as_deref().and_then(Option::as_ref), item.cost);
    if let (Some(slot), Some(taken)) = (slot, taken)
        && item.mode != Mode::Peek
    {
        *slot = Some(taken);
    }
    outcome
}

fn view(item: &Item, now_us: u64) -> View<'_> {
    View { rule: &item.rule, holder: item.holder, now_us }
}

/// The outcomes of a refused list, from those of the attempt and from the untouched counters.
fn refusals(items: &[Item], attempts: &[Outcome], states: &[Option<State>], now_us: u64) -> Vec<Outcome> {
    let mut claimed = vec![0_u64; states.len()];
    let refusal = |(item, attempt): (&Item, &Outcome)| {
        let state = states.get(item.slot).and_then(Option::as_ref);
        let (_, untouched) = step(&view(item, now_us), state, 0);
        let mut unclaimed = 0;
        let claimed = claimed.get_mut(item.slot).unwrap_or(&mut unclaimed);
        let together = match item.rule.algorithm {
            Algorithm::Concurrency => item.cost.max(*claimed),
            _ => item.cost.saturating_add(*claimed),
        };
        if attempt.allowed && item.mode != Mode::Peek {
            *claimed = together;
        }
        let retry_after = if attempt.allowed { None } else { step(&view(item, now_us), state, together).1.retry_after };
        Outcome { allowed: attempt.allowed, retry_after, ..untouched }
    };
    items.iter().zip(attempts).map(refusal).collect()
}
