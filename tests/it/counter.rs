//! The laws of counting, whatever is charged and when.

mod given_back;

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate::counter::{Item, Period, State, charge_all};
use tollgate::{Algorithm, Mode, Rule};

const ORIGIN_US: u64 = 1_700_000_000_000_000;

/// A rule of any algorithm: small and large, even and odd. A calendar's period is that of [`ORIGIN_US`], as [`at`] makes them.
pub(crate) fn rules() -> impl Strategy<Value = Rule> {
    let algorithms = proptest::sample::select(&Algorithm::ALL[..]);
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
    let waits = prop_oneof![Just(0), 0..5_000_000_u64, Just(Rule::LONGEST_WAIT_US)];
    (algorithms, amounts.clone(), windows, amounts, waits)
        .prop_map(|(algorithm, max, window_us, burst, longest_wait_us)| {
            let max = if algorithm == Algorithm::Concurrency { max % Rule::MAX_SLOTS + 1 } else { max };
            at(&Rule { max, window_us, burst, longest_wait_us, ..Rule::of(algorithm) }, ORIGIN_US)
        })
        .prop_filter("a rule that can be counted", |rule| rule.problem().is_none())
}

/// The rule at a moment: if it goes by a calendar, by one whose periods are a window or a half more, in turns.
pub(crate) fn at(rule: &Rule, now_us: u64) -> Rule {
    if rule.algorithm != Algorithm::Calendar {
        return *rule;
    }
    let (window_us, half_us) = (rule.window_us, rule.window_us / 2);
    let pair_us = 2 * window_us + half_us;
    let start_us = now_us - now_us % pair_us;
    let (start_us, end_us, next_end_us) = if now_us < start_us + window_us {
        (start_us, start_us + window_us, start_us + pair_us)
    } else {
        (start_us + window_us, start_us + pair_us, start_us + pair_us + window_us)
    };
    Rule { period: Some(Period { start_us, end_us, next_end_us }), ..*rule }
}

/// The most that a rule gives at once.
pub(crate) fn capacity(rule: &Rule) -> u64 {
    rule.most()
}

/// A charge on the one counter there is, by a holder of its own.
fn item(rule: Rule, cost: u64) -> Item {
    Item { rule, cost, mode: Mode::Enforce, slot: 0, holder: u64::MAX }
}

/// Charges as a holder that holds nothing yet.
fn charge(rule: &Rule, state: Option<State>, cost: u64, now_us: u64) -> (Option<State>, tollgate::Outcome) {
    let mut states = [state];
    let (_, outcomes) = charge_all(&[item(*rule, cost)], &mut states, now_us);
    let [state] = states;
    (state, outcomes[0])
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
        // Each by a holder of its own.
        let holder = admitted.len() as u64;
        let mut states = [state];
        let (allowed, _) = charge_all(&[Item { holder, ..item(at(rule, now_us), cost) }], &mut states, now_us);
        [state] = states;
        if allowed {
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
        prop_assert_eq!(charge(&rule, state, cost, now_us).1.allowed, fits);
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
        let rule = at(&rule, now_us);
        let remaining = charge(&rule, state.clone(), 0, now_us).1.remaining;
        prop_assert!(charge(&rule, state.clone(), remaining, now_us).1.allowed);
        prop_assert!(!charge(&rule, state, remaining + 1, now_us).1.allowed);
    }

    #[test]
    fn the_told_wait_is_enough_and_needed(rule in rules(), history in histories(), cost in shares()) {
        let (_, state, now_us) = run(&rule, &history);
        let cost = cost.of(capacity(&rule)).max(1);
        let (after, outcome) = charge(&at(&rule, now_us), state.clone(), cost, now_us);
        let wait = outcome.retry_after.map(|wait| u64::try_from(wait.as_micros()).unwrap());
        if outcome.allowed {
            prop_assert!(wait.is_none() || rule.algorithm == Algorithm::Delay && wait <= Some(rule.longest_wait_us));
        } else {
            prop_assert_eq!(after, state.clone());
            prop_assert_eq!(wait.is_none(), cost > capacity(&rule));
        }
        if let Some(wait_us) = wait.filter(|_| !outcome.allowed) {
            let at_us = now_us + wait_us;
            prop_assert!(charge(&at(&rule, at_us), state.clone(), cost, at_us).1.allowed);
            prop_assert!(!charge(&at(&rule, at_us - 1), state, cost, at_us - 1).1.allowed);
        }
    }

    #[test]
    fn after_the_reset_a_counter_is_as_if_unused(rule in rules(), history in histories()) {
        let (_, state, now_us) = run(&rule, &history);
        let reset_us = u64::try_from(charge(&at(&rule, now_us), state.clone(), 0, now_us).1.reset_after.as_micros())?;
        let reset_us = now_us + reset_us;
        prop_assert_eq!(charge(&at(&rule, reset_us), state, 0, reset_us).1.remaining, capacity(&rule));
    }

    #[test]
    fn many_small_charges_take_what_a_large_one_takes(rule in rules(), history in histories(), costs in vec(1..5_u64, 1..10)) {
        let (_, state, now_us) = run(&rule, &history);
        let rule = at(&rule, now_us);
        let (mut split, mut whole) = ([state.clone()], [state]);
        let small: Vec<Item> = costs.iter().map(|cost| item(rule, *cost)).collect();
        // A holder takes slots once, so the largest of its charges is what it takes.
        let together = if rule.algorithm == Algorithm::Concurrency { costs.iter().max().copied() } else { Some(costs.iter().sum()) };
        let (split_admitted, _) = charge_all(&small, &mut split, now_us);
        let (whole_admitted, _) = charge_all(&[item(rule, together.unwrap_or(0))], &mut whole, now_us);
        prop_assert_eq!((split_admitted, split), (whole_admitted, whole));
    }

    #[test]
    fn a_refused_list_takes_nothing(rule in rules(), history in histories(), costs in vec(shares(), 1..6)) {
        let (_, state, now_us) = run(&rule, &history);
        let items: Vec<Item> = costs
            .iter()
            .enumerate()
            .map(|(index, cost)| Item { slot: index % 2, ..item(at(&rule, now_us), cost.of(capacity(&rule) / 2)) })
            .collect();
        let mut states = [state.clone(), None];
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
        let mut states = [state.clone()];
        let reset = charge_all(&[item(at(&rule, before_us), 0)], &mut states, before_us).1[0].reset_after;
        let [pulled] = states;
        let own_us = match rule.algorithm {
            Algorithm::FixedWindow | Algorithm::Concurrency => rule.window_us,
            Algorithm::Calendar | Algorithm::SlidingWindow => 2 * rule.window_us,
            Algorithm::Delay => u64::try_from((u128::from(rule.burst) * u128::from(rule.window_us)).div_ceil(u128::from(rule.max)))? + rule.longest_wait_us,
            _ => u64::try_from((u128::from(rule.burst) * u128::from(rule.window_us)).div_ceil(u128::from(rule.max)))?,
        };
        prop_assert!(reset.as_micros() <= u128::from(own_us + rule.window_us));
        if back.of(rule.window_us) <= rule.window_us {
            let remaining = |state, at_us| charge(&at(&rule, at_us), state, 0, at_us).1.remaining;
            prop_assert!(remaining(pulled, before_us) <= remaining(state, now_us));
        }
    }
}
