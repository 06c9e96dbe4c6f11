//! The laws of giving back: a counter is never better off than if less had been charged from the start.

use proptest::collection::vec;
use proptest::prelude::*;
use tollgate::counter::{GiveBack, Item, State, charge_all, give_back};
use tollgate::{Algorithm, Rule};

use super::{ORIGIN_US, Share, at, capacity, charge, histories, item, rules, run, shares};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A charge of this share of the capacity.
    Charge(Share),
    /// One of the charges that were admitted is settled: which, and at how many eighths.
    Settle(usize, u64),
}

fn events() -> impl Strategy<Value = Vec<(Share, Event)>> {
    let charge = shares().prop_map(Event::Charge);
    let settle = (0..40_usize, 0..8_u64).prop_map(|(which, eighths)| Event::Settle(which, eighths));
    vec((shares(), prop_oneof![3 => charge, 2 => settle]), 1..60)
}

/// A charge that was admitted: when, at what it stands now, and where it lies; no mark once it is settled.
struct Admitted {
    at_us: u64,
    cost: u64,
    mark_us: Option<u64>,
}

/// What would be left, had the same charges been taken at what they were settled at.
fn room(rule: &Rule, admitted: &[Admitted], now_us: u64) -> u128 {
    let most = u128::from(capacity(rule));
    let within = |start_us: u64, end_us: u64| {
        let inside = admitted.iter().filter(|admitted| (start_us..end_us).contains(&admitted.at_us));
        inside.map(|admitted| u128::from(admitted.cost)).sum::<u128>()
    };
    let window_us = rule.window_us;
    match rule.algorithm {
        Algorithm::SlidingWindow => {
            let start_us = now_us - now_us % window_us;
            let covered = u128::from(window_us - (now_us - start_us));
            let earlier = (within(start_us - window_us, start_us) * covered).div_ceil(u128::from(window_us));
            most.saturating_sub(earlier + within(start_us, now_us + 1))
        }
        Algorithm::TokenBucket | Algorithm::Delay => {
            let (mut missing, mut before_us) = (0_u128, ORIGIN_US);
            for Admitted { at_us, cost, .. } in admitted {
                missing = missing.saturating_sub(u128::from(at_us - before_us) * u128::from(rule.max));
                missing += u128::from(*cost) * u128::from(window_us);
                before_us = *at_us;
            }
            missing = missing.saturating_sub(u128::from(now_us - before_us) * u128::from(rule.max));
            let wait_us = if rule.algorithm == Algorithm::Delay { rule.longest_wait_us } else { 0 };
            let reach = u128::from(rule.burst) * u128::from(window_us) + u128::from(wait_us) * u128::from(rule.max);
            reach.saturating_sub(missing) / u128::from(window_us)
        }
        Algorithm::Concurrency => {
            let held = admitted.iter().filter(|admitted| admitted.at_us + window_us > now_us);
            let held = held.filter(|admitted| admitted.mark_us.is_some());
            most.saturating_sub(held.map(|admitted| u128::from(admitted.cost)).sum())
        }
        _ => {
            let start_us = at(rule, now_us).period.map_or(now_us - now_us % window_us, |period| period.start_us);
            most.saturating_sub(within(start_us, now_us + 1))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_settled_counter_has_no_more_room_than_one_that_was_charged_the_actual_costs(rule in rules(), hold in shares(), events in events()) {
        let rule = Rule { hold_us: hold.of(rule.window_us / 8), ..rule };
        let (mut state, mut now_us): (Option<State>, u64) = (None, ORIGIN_US);
        let mut admitted: Vec<Admitted> = Vec::new();
        for (wait, event) in events {
            now_us += wait.of(rule.window_us / 20);
            match event {
                Event::Charge(cost) => {
                    let cost = cost.of(capacity(&rule) / 4).max(1);
                    let mut states = [state];
                    let holder = admitted.len() as u64;
                    let (_, outcomes) = charge_all(&[Item { holder, ..item(at(&rule, now_us), cost) }], &mut states, now_us);
                    [state] = states;
                    if outcomes[0].allowed {
                        admitted.push(Admitted { at_us: now_us, cost, mark_us: Some(outcomes[0].mark_us) });
                    }
                }
                Event::Settle(which, eighths) => {
                    let count = admitted.len().max(1);
                    let Some(settled) = admitted.get_mut(which % count) else { continue };
                    let Some(mark_us) = settled.mark_us.take() else { continue };
                    let actual = settled.cost / 8 * eighths;
                    let back = GiveBack { taken: settled.cost, amount: settled.cost - actual, mark_us, holder: (which % count) as u64 };
                    settled.cost = actual;
                    state = give_back(&at(&rule, now_us), state, &back, now_us);
                }
            }
            let remaining = charge(&at(&rule, now_us), state.clone(), 0, now_us).1.remaining;
            let room = room(&rule, &admitted, now_us);
            prop_assert!(u128::from(remaining) <= room, "{remaining} of {room} at {now_us}: {state:?}");
            if matches!(rule.algorithm, Algorithm::FixedWindow | Algorithm::Calendar | Algorithm::Concurrency) {
                prop_assert_eq!(u128::from(remaining), room, "windows and slots give everything back");
            }
        }
    }

    #[test]
    fn what_is_given_back_at_once_was_never_charged(rule in rules(), history in histories(), cost in shares()) {
        let (_, state, now_us) = run(&rule, &history);
        let rule = Rule { hold_us: 1, ..at(&rule, now_us) };
        let cost = cost.of(capacity(&rule) / 2).max(1);
        let (charged, outcome) = charge(&rule, state.clone(), cost, now_us);
        if !outcome.allowed {
            return Ok(());
        }
        let back = GiveBack { taken: cost, amount: cost, mark_us: outcome.mark_us, holder: u64::MAX };
        let given = give_back(&rule, charged, &back, now_us);
        let look = |state| charge(&rule, state, 0, now_us).1;
        prop_assert_eq!((look(given.clone()).remaining, look(given.clone()).reset_after), (look(state.clone()).remaining, look(state).reset_after), "{:?}", given);
    }

    #[test]
    fn never_more_is_given_back_than_was_taken(rule in rules(), history in histories(), cost in shares(), later in shares()) {
        let (_, state, now_us) = run(&rule, &history);
        let cost = cost.of(capacity(&rule) / 2).max(1);
        let rule = Rule { hold_us: rule.window_us, ..rule };
        let (charged, outcome) = charge(&at(&rule, now_us), state, cost, now_us);
        if !outcome.allowed {
            return Ok(());
        }
        let later_us = now_us + later.of(rule.window_us / 4);
        let rule = at(&rule, later_us);
        let left = |state| charge(&rule, state, 0, later_us).1.remaining;
        let back = GiveBack { taken: cost, amount: cost, mark_us: outcome.mark_us, holder: u64::MAX };
        let (before, after) = (left(charged.clone()), left(give_back(&rule, charged, &back, later_us)));
        // A part of a unit was left before, and another is given back.
        prop_assert!((before..=before + cost + 1).contains(&after), "{before} {after}");
    }
}

#[test]
fn a_bucket_of_many_open_charges_gives_nearly_everything_back() {
    // A call reserves 40 and uses 10; 24 are under way at a time, settled in no order.
    let rule =
        Rule { max: 100, window_us: 6_000_000, burst: 1_000, hold_us: 600_000_000, ..Rule::of(Algorithm::TokenBucket) };
    let (mut state, mut now_us, mut refused) = (None, ORIGIN_US, 0);
    let mut open = Vec::new();
    for number in 0..2_000_u64 {
        now_us += 600_000;
        let (after, outcome) = charge(&rule, state, 40, now_us);
        state = after;
        if outcome.allowed {
            open.push(outcome.mark_us);
        } else {
            refused += 1;
        }
        if open.len() >= 24 {
            let mark_us = open.swap_remove(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) as usize % 24);
            state = give_back(&rule, state, &GiveBack { taken: 40, amount: 30, mark_us, holder: 0 }, now_us);
        }
    }
    assert_eq!(refused, 0, "10 refill while a call uses 10");
}
