//! The laws of counting, whatever is charged and when.

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate::counter::{Item, State, apply, charge_all};
use tollgate::{Algorithm, Mode, Rule};

const ORIGIN_US: u64 = 1_700_000_000_000_000;

/// A rule of any algorithm: small and large, even and odd.
pub(crate) fn rules() -> impl Strategy<Value = Rule> {
    let algorithms =
        prop_oneof![Just(Algorithm::FixedWindow), Just(Algorithm::SlidingWindow), Just(Algorithm::TokenBucket)];
    let amounts =
        prop_oneof![4 => 1..20_u64, 1 => 1..1_000_000_000_u64, 1 => Just(999_999_937), 1 => Just(1_000_000_000)];
    let windows = prop_oneof![
        1_000..10_000_u64,
        Just(1_000_000),
        Just(60_000_000),
        Just(86_400_000_001),
        Just(31_622_400_000_000),
        1_000..31_622_400_000_000_u64,
    ];
    (algorithms, amounts.clone(), windows, amounts)
        .prop_map(|(algorithm, max, window_us, burst)| Rule { algorithm, max, window_us, burst })
        .prop_filter("a rule that can be counted", |rule| rule.problem().is_none())
}

/// The most that a rule gives at once.
pub(crate) fn capacity(rule: &Rule) -> u64 {
    if rule.algorithm == Algorithm::TokenBucket { rule.burst } else { rule.max }
}

/// A share of something, in eighths, give or take a little.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    eighths: u64,
    more: i64,
}

impl Share {
    pub(crate) fn of(self, whole: u64) -> u64 {
        (whole / 8 * self.eighths).saturating_add_signed(self.more)
    }
}

pub(crate) fn shares() -> impl Strategy<Value = Share> {
    (0..=20_u64, -1..=1_i64).prop_map(|(eighths, more)| Share { eighths, more })
}

/// Costs, mostly of one or a share of the capacity, and how much of the window passes before each.
fn histories() -> impl Strategy<Value = Vec<(Share, Share)>> {
    vec((shares(), shares()), 1..40)
}

/// Runs a history, and answers what was admitted and when, the state at the end, and the moment.
fn run(rule: &Rule, history: &[(Share, Share)]) -> (Vec<(u64, u64)>, Option<State>, u64) {
    let (mut admitted, mut state, mut now_us) = (Vec::new(), None, ORIGIN_US);
    for (wait, cost) in history {
        // A tenth, or most charges would find everything unused.
        now_us += wait.of(rule.window_us / 10);
        let cost = cost.of(capacity(rule)).max(1);
        let (after, outcome) = apply(rule, state, cost, now_us);
        state = after;
        if outcome.allowed {
            admitted.push((now_us, cost));
        }
    }
    (admitted, state, now_us)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_fixed_window_admits_more_than_its_limit(rule in rules(), history in histories()) {
        let rule = Rule { algorithm: Algorithm::FixedWindow, ..rule };
        let (admitted, ..) = run(&rule, &history);
        for (start_us, _) in &admitted {
            let window = start_us / rule.window_us;
            let inside = admitted.iter().filter(|(at_us, _)| at_us / rule.window_us == window);
            prop_assert!(inside.map(|(_, cost)| cost).sum::<u64>() <= rule.max);
        }
    }

    #[test]
    fn a_sliding_window_admits_exactly_what_its_weights_say(rule in rules(), history in histories(), cost in shares()) {
        let rule = Rule { algorithm: Algorithm::SlidingWindow, ..rule };
        let (admitted, state, now_us) = run(&rule, &history);
        let cost = cost.of(rule.max).max(1);
        let window = now_us / rule.window_us;
        let spent_in = |window| admitted.iter().filter(|(at_us, _)| at_us / rule.window_us == window).map(|(_, cost)| u128::from(*cost)).sum::<u128>();
        let whole = u128::from(rule.window_us);
        let covered = whole - u128::from(now_us % rule.window_us);
        let fits = (spent_in(window) + u128::from(cost)) * whole + spent_in(window - 1) * covered <= u128::from(rule.max) * whole;
        prop_assert_eq!(apply(&rule, state, cost, now_us).1.allowed, fits);
    }

    #[test]
    fn a_bucket_admits_no_more_than_its_burst_and_what_refilled(rule in rules(), history in histories()) {
        prop_assume!(Rule { algorithm: Algorithm::TokenBucket, ..rule }.problem().is_none());
        let rule = Rule { algorithm: Algorithm::TokenBucket, ..rule };
        let (admitted, ..) = run(&rule, &history);
        for first in 0..admitted.len() {
            let mut spent = 0_u128;
            for (at_us, cost) in &admitted[first..] {
                spent += u128::from(*cost);
                let refilled = u128::from(at_us - admitted[first].0) * u128::from(rule.max);
                prop_assert!(spent * u128::from(rule.window_us) <= u128::from(rule.burst) * u128::from(rule.window_us) + refilled);
            }
        }
    }

    #[test]
    fn what_remains_passes_and_no_more(rule in rules(), history in histories()) {
        let (_, state, now_us) = run(&rule, &history);
        let remaining = apply(&rule, state, 0, now_us).1.remaining;
        prop_assert!(apply(&rule, state, remaining, now_us).1.allowed);
        prop_assert!(!apply(&rule, state, remaining + 1, now_us).1.allowed);
    }

    #[test]
    fn the_told_wait_is_enough_and_needed(rule in rules(), history in histories(), cost in shares()) {
        let (_, state, now_us) = run(&rule, &history);
        let cost = cost.of(capacity(&rule)).max(1);
        let (after, outcome) = apply(&rule, state, cost, now_us);
        if outcome.allowed {
            prop_assert_eq!(outcome.retry_after, None);
        } else {
            prop_assert_eq!(after, state);
            prop_assert_eq!(outcome.retry_after.is_none(), cost > capacity(&rule));
        }
        if let Some(wait) = outcome.retry_after {
            let at_us = now_us + u64::try_from(wait.as_micros())?;
            prop_assert!(apply(&rule, state, cost, at_us).1.allowed);
            prop_assert!(!apply(&rule, state, cost, at_us - 1).1.allowed);
        }
    }

    #[test]
    fn after_the_reset_a_counter_is_as_if_unused(rule in rules(), history in histories()) {
        let (_, state, now_us) = run(&rule, &history);
        let reset_us = u64::try_from(apply(&rule, state, 0, now_us).1.reset_after.as_micros())?;
        let everything = capacity(&rule);
        prop_assert_eq!(apply(&rule, state, 0, now_us + reset_us).1.remaining, everything);
    }

    #[test]
    fn many_small_charges_take_what_a_large_one_takes(rule in rules(), history in histories(), costs in vec(1..5_u64, 1..10)) {
        let (_, state, now_us) = run(&rule, &history);
        let item = |cost| Item { rule, cost, mode: Mode::Enforce, slot: 0 };
        let (mut split, mut whole) = ([state], [state]);
        let small: Vec<Item> = costs.iter().map(|cost| item(*cost)).collect();
        let (split_admitted, _) = charge_all(&small, &mut split, now_us);
        let (whole_admitted, _) = charge_all(&[item(costs.iter().sum())], &mut whole, now_us);
        prop_assert_eq!((split_admitted, split), (whole_admitted, whole));
    }

    #[test]
    fn a_refused_list_takes_nothing(rule in rules(), history in histories(), costs in vec(shares(), 1..6)) {
        let (_, state, now_us) = run(&rule, &history);
        let items: Vec<Item> = costs
            .iter()
            .enumerate()
            .map(|(index, cost)| Item { rule, cost: cost.of(capacity(&rule) / 2), mode: Mode::Enforce, slot: index % 2 })
            .collect();
        let mut states = [state, None];
        let (admitted, outcomes) = charge_all(&items, &mut states, now_us);
        prop_assert_eq!(admitted, outcomes.iter().all(|outcome| outcome.allowed));
        if !admitted {
            prop_assert_eq!(states, [state, None]);
        }
    }

    #[test]
    fn no_clock_freezes_a_limit_for_more_than_a_window_beyond_its_own(rule in rules(), history in histories(), back in shares()) {
        let (_, state, now_us) = run(&rule, &history);
        let before_us = now_us.saturating_sub(back.of(rule.window_us)).max(rule.window_us);
        let mut states = [state];
        let reset = charge_all(&[Item { rule, cost: 0, mode: Mode::Enforce, slot: 0 }], &mut states, before_us).1[0].reset_after;
        let own_us = match rule.algorithm {
            Algorithm::FixedWindow => rule.window_us,
            Algorithm::SlidingWindow => 2 * rule.window_us,
            _ => u64::try_from((u128::from(rule.burst) * u128::from(rule.window_us)).div_ceil(u128::from(rule.max)))?,
        };
        prop_assert!(reset.as_micros() <= u128::from(own_us + rule.window_us));
        if back.of(rule.window_us) <= rule.window_us {
            let remaining = |state, at_us| apply(&rule, state, 0, at_us).1.remaining;
            prop_assert!(remaining(states[0], before_us) <= remaining(state, now_us));
        }
    }
}
