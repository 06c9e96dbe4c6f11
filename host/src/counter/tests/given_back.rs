//! Giving back: what may be, and what may not.

use super::*;

/// A counter at some moments, in seconds.
struct Counter {
    rule: Rule,
    state: Option<State>,
}

/// Where a charge lies, and what it took.
#[derive(Clone, Copy)]
struct Mark {
    mark_us: u64,
    taken: u64,
}

impl Counter {
    fn new(rule: &str) -> Self {
        Self { rule: parse_rule(rule), state: None }
    }

    /// Charges, and answers where the charge lies.
    fn charge(&mut self, at_s: u64, cost: u64) -> Mark {
        let (state, outcome) = apply(&self.rule, self.state.take(), cost, ORIGIN_US + at_s * 1_000_000);
        assert!(outcome.allowed, "{outcome:?}");
        self.state = state;
        Mark { mark_us: outcome.mark_us, taken: cost }
    }

    fn give_back(&mut self, at_s: u64, amount: u64, mark: Mark) {
        let Mark { mark_us, taken } = mark;
        let back = GiveBack { taken, amount, mark_us, holder: 0 };
        self.state = give_back(&self.rule, self.state.take(), &back, ORIGIN_US + at_s * 1_000_000);
    }

    #[track_caller]
    fn has_left(&self, at_s: u64, remaining: u64) {
        let (_, outcome) = apply(&self.rule, self.state.clone(), 0, ORIGIN_US + at_s * 1_000_000);
        assert_eq!(outcome.remaining, remaining, "{:?}", self.state);
    }
}

#[test]
fn a_window_gives_back_as_long_as_it_counts() {
    let mut fixed = Counter::new("fixed-window 10 per 10s");
    let mark = fixed.charge(1, 8);
    fixed.charge(2, 1);
    fixed.give_back(9, 5, mark);
    fixed.has_left(9, 6);
    fixed.charge(10, 7);
    fixed.give_back(10, 3, mark);
    fixed.has_left(10, 3);
}

#[test]
fn a_sliding_window_gives_back_what_lies_in_the_window_before_too() {
    let mut sliding = Counter::new("sliding-window 10 per 10s");
    let mark = sliding.charge(5, 8);
    sliding.give_back(6, 2, mark);
    sliding.has_left(6, 4);
    sliding.charge(10, 1);
    sliding.give_back(10, 2, mark);
    sliding.has_left(10, 5);
    sliding.charge(20, 5);
    sliding.give_back(20, 4, mark);
    sliding.has_left(20, 4);
}

#[test]
fn a_bucket_gives_back_what_has_not_refilled_meanwhile() {
    let mut bucket = Counter::new("token-bucket 1 per 1s burst 20 hold 60s");
    let ten = bucket.charge(0, 10);
    bucket.give_back(5, 10, ten);
    assert_eq!(bucket.state, None, "half of it had refilled");
    let ten = bucket.charge(5, 10);
    bucket.charge(5, 10);
    bucket.give_back(6, 4, ten);
    bucket.has_left(6, 4);
}

#[test]
fn a_bucket_never_forgives_a_later_charge() {
    let mut bucket = Counter::new("token-bucket 1 per 1s burst 20 hold 60s");
    let first = bucket.charge(0, 10);
    bucket.rule.hold_us = 0;
    bucket.charge(9, 10);
    bucket.rule.hold_us = 60_000_000;
    bucket.give_back(9, 10, first);
    bucket.has_left(9, 10);
    // Half of the first is given back at 5 s, which moves the second forward: at 14 s a second of it is left.
    let mut bucket = Counter::new("token-bucket 1 per 1s burst 20 hold 60s");
    let (first, second) = (bucket.charge(0, 10), bucket.charge(0, 10));
    bucket.give_back(5, 10, first);
    bucket.has_left(5, 10);
    bucket.charge(14, 10);
    bucket.give_back(14, 10, second);
    bucket.has_left(14, 10);
}

#[test]
fn charges_on_a_bucket_are_given_back_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [0, 2, 1], [2, 0, 1], [1, 0, 2], [1, 2, 0]] {
        let mut bucket = Counter::new("token-bucket 3 per 1s burst 30 hold 60s");
        let marks = [10, 7, 5].map(|cost| (cost, bucket.charge(0, cost)));
        for index in order {
            let (cost, mark) = marks[index];
            bucket.give_back(0, cost, mark);
        }
        assert_eq!(bucket.state, None, "{order:?}");
    }
}

#[test]
fn a_charge_that_is_not_held_is_not_given_back_by_a_bucket() {
    let mut bucket = Counter::new("token-bucket 1 per 1s burst 20");
    let mark = bucket.charge(0, 10);
    bucket.give_back(0, 10, mark);
    bucket.has_left(0, 10);
}

#[test]
fn a_bucket_that_was_lost_or_full_meanwhile_gives_nothing_back() {
    let mut bucket = Counter::new("token-bucket 1 per 1s burst 20 hold 60s");
    let mark = bucket.charge(0, 10);
    bucket.state = None;
    bucket.charge(1, 3);
    bucket.give_back(1, 10, mark);
    bucket.has_left(1, 17);
    bucket.charge(10, 10);
    bucket.give_back(10, 10, mark);
    bucket.has_left(10, 10);
}

#[test]
fn what_is_never_settled_counts_as_settled_when_its_time_is_over() {
    // Always busy: 1 a second is charged, as much as refills.
    let mut bucket = Counter::new("token-bucket 1 per 1s burst 100 hold 10s");
    let lost = bucket.charge(0, 50);
    let reserved = |bucket: &Counter| match &bucket.state {
        Some(State::TokenBucket { reserve: Some(reserve), .. }) => {
            reserve.generations.iter().map(|generation| generation.refill_us).sum::<u64>() / 1_000_000
        }
        _ => 0,
    };
    for second in 1..60 {
        bucket.charge(second, 1);
        assert!(reserved(&bucket) <= if second <= 20 { 70 } else { 20 }, "{second}: {:?}", bucket.state);
    }
    bucket.give_back(60, 50, lost);
    bucket.has_left(60, 51);
    let last = bucket.charge(60, 30);
    bucket.give_back(60, 30, last);
    // All but the ten that are set aside still, since 50 s.
    bucket.has_left(60, 41);
}

#[test]
fn a_renewed_charge_stays_open() {
    let mut bucket = Counter::new("token-bucket 1 per 1s burst 100 hold 10s");
    let mark = bucket.charge(0, 80);
    let back = GiveBack { taken: 80, amount: 0, mark_us: mark.mark_us, holder: 0 };
    for second in [5, 14, 23] {
        let state = bucket.state.take();
        bucket.state = renew(&bucket.rule, state, &back, ORIGIN_US + second * 1_000_000);
        bucket.charge(second, 10);
    }
    bucket.give_back(30, 80, mark);
    // The thirty of the others are set aside.
    bucket.has_left(30, 70);
}

#[test]
fn a_bucket_that_lets_wait_takes_back_what_was_admitted_beyond_its_burst() {
    let mut bucket = Counter::new("delay 1 per 1s burst 5 wait 5s hold 60s");
    let mark = bucket.charge(0, 8);
    bucket.has_left(0, 2);
    bucket.give_back(0, 4, mark);
    bucket.has_left(0, 6);
}

#[test]
fn slots_are_given_back_by_name_and_renewed_while_they_are_held() {
    let rule = rule("concurrency 2 per 30s");
    let item = |holder| Item { rule, cost: 1, mode: Mode::Enforce, slot: 0, holder };
    let mut states = [None];
    assert!(charge_all(&[item(1), item(2)], &mut states, ORIGIN_US).0);
    let [state] = states;
    let later_us = ORIGIN_US + 20_000_000;
    let slots = |holder| GiveBack { taken: 1, amount: 0, mark_us: 0, holder };
    let renewed = renew(&rule, state, &slots(2), later_us).unwrap();
    assert_eq!(renewed.to_string(), "1728000030000000.1,1728000050000000.2");
    assert_eq!(renew(&rule, Some(renewed.clone()), &slots(3), later_us), None);
    assert_eq!(renew(&rule, Some(renewed.clone()), &slots(1), ORIGIN_US + 30_000_000), None, "its lease is over");
    assert_eq!(renew(&rule, None, &slots(2), later_us), None);
    let state = give_back(&rule, Some(renewed), &slots(1), later_us);
    assert_eq!(state.as_ref().unwrap().to_string(), "1728000050000000.2");
    assert_eq!(give_back(&rule, state, &slots(2), later_us), None);
}
