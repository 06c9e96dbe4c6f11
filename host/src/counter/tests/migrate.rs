//! Limits that change: what becomes of what was used.

use super::*;

/// Uses so much of a limit, changes it, and answers what is left and when a request of 1 would pass.
fn changed(on_change: OnChange, before: &str, used: u64, after: &str) -> (u64, Option<Duration>) {
    let [before, after] = [before, after].map(|text| Rule { on_change, ..parse_rule(text) });
    let (state, outcome) = apply(&before, None, used, ORIGIN_US);
    assert!(outcome.allowed);
    let (_, outcome) = apply(&after, state.clone(), 0, ORIGIN_US);
    (outcome.remaining, apply(&after, state, 1, ORIGIN_US).1.retry_after)
}

#[track_caller]
fn check(on_change: OnChange, before: &str, used: u64, after: &str, remaining: u64) {
    assert_eq!(changed(on_change, before, used, after).0, remaining, "{on_change:?}: {used} of {before}, then {after}");
}

const WINDOWS: [&str; 2] = ["fixed-window", "sliding-window"];

#[test]
fn keep_keeps_what_is_used() {
    for name in WINDOWS {
        check(OnChange::Keep, &format!("{name} 10 per 60s"), 6, &format!("{name} 100 per 60s"), 94);
        check(OnChange::Keep, &format!("{name} 10 per 60s"), 6, &format!("{name} 5 per 60s"), 0);
    }
    check(OnChange::Keep, "token-bucket 1 per 1s burst 10", 6, "token-bucket 1 per 1s burst 20", 14);
    // It is as long until it is full, at twice the rate twice as much.
    check(OnChange::Keep, "token-bucket 1 per 1s burst 10", 6, "token-bucket 2 per 1s burst 20", 8);
}

#[test]
fn proportional_keeps_the_share_that_is_used() {
    for name in WINDOWS {
        check(OnChange::Proportional, &format!("{name} 10 per 60s"), 6, &format!("{name} 100 per 60s"), 40);
        check(OnChange::Proportional, &format!("{name} 10 per 60s"), 6, &format!("{name} 5 per 60s"), 2);
        check(OnChange::Proportional, &format!("{name} 10 per 60s"), 1, &format!("{name} 3 per 60s"), 2);
    }
    check(OnChange::Proportional, "token-bucket 1 per 1s burst 10", 6, "token-bucket 1 per 1s burst 100", 40);
    check(OnChange::Proportional, "token-bucket 1 per 1s burst 10", 6, "token-bucket 7 per 3s burst 100", 40);
}

#[test]
fn additive_keeps_what_is_left_and_adds_what_the_limit_grew_by() {
    for name in WINDOWS {
        check(OnChange::Additive, &format!("{name} 10 per 60s"), 6, &format!("{name} 100 per 60s"), 94);
        check(OnChange::Additive, &format!("{name} 10 per 60s"), 6, &format!("{name} 5 per 60s"), 4);
        check(OnChange::Additive, &format!("{name} 10 per 60s"), 1, &format!("{name} 5 per 60s"), 5);
    }
    check(OnChange::Additive, "token-bucket 1 per 1s burst 10", 6, "token-bucket 1 per 1s burst 100", 94);
    check(OnChange::Additive, "token-bucket 1 per 1s burst 10", 6, "token-bucket 9 per 1s burst 5", 4);
}

#[test]
fn reset_begins_anew() {
    for name in WINDOWS {
        check(OnChange::Reset, &format!("{name} 10 per 60s"), 6, &format!("{name} 9 per 60s"), 9);
    }
    check(OnChange::Reset, "token-bucket 1 per 1s burst 10", 6, "token-bucket 1 per 2s burst 10", 10);
}

#[test]
fn nothing_changes_while_the_numbers_are_the_same() {
    for on_change in OnChange::ALL {
        check(on_change, "fixed-window 10 per 60s", 6, "fixed-window 10 per 60s", 4);
        check(on_change, "token-bucket 3 per 1s burst 10", 6, "token-bucket 3 per 1s burst 10", 4);
    }
}

#[test]
fn what_does_not_say_its_numbers_is_kept() {
    let (before, after) = (rule("fixed-window 10 per 60s"), rule("fixed-window 100 per 60s"));
    let after = Rule { on_change: OnChange::Proportional, ..after };
    let (state, _) = apply(&before, None, 6, ORIGIN_US);
    assert_eq!(apply(&after, state, 0, ORIGIN_US).1.remaining, 94);
    // And what was migrated by a limit that keeps goes on without numbers.
    let (state, _) = apply(&Rule { on_change: OnChange::Reset, ..before }, None, 6, ORIGIN_US);
    assert_eq!(state.as_ref().unwrap().to_string(), "1728000000000000:6/10:0");
    let (state, outcome) = apply(&before, state, 1, ORIGIN_US);
    assert_eq!((state.unwrap().to_string().as_str(), outcome.remaining), ("1728000000000000:7", 3));
}

#[test]
fn a_smaller_bucket_never_keeps_waiting_for_longer_than_when_it_is_empty() {
    let day = "token-bucket 1000 per 1d burst";
    for (before, after) in [(1000, 900), (1000, 10), (900, 1000)] {
        let (before, after) = (format!("{day} {before}"), format!("{day} {after}"));
        let (remaining, wait) = changed(OnChange::Keep, &before, 900, &after);
        let second = Duration::from_secs(1);
        assert!(
            wait.is_none_or(|wait| wait <= Duration::from_micros(86_400_000) + second),
            "{before} {after}: {wait:?}"
        );
        assert!(remaining <= 100);
    }
    let (_, wait) =
        changed(OnChange::Keep, "token-bucket 999999937 per 1d burst 7", 7, "token-bucket 1 per 1d burst 7");
    assert_eq!(wait, None, "a part of a microsecond is no more than that by another rate");
}

#[test]
fn what_is_held_is_final_once_its_limit_was_migrated() {
    for (text, larger) in [
        ("fixed-window 10 per 60s", "fixed-window 20 per 60s"),
        ("token-bucket 1 per 1s burst 10 hold 60s", "token-bucket 1 per 1s burst 20 hold 60s"),
    ] {
        let [before, after] = [text, larger].map(|text| Rule { on_change: OnChange::Proportional, ..parse_rule(text) });
        let (state, outcome) = apply(&before, None, 6, ORIGIN_US);
        let back = GiveBack { taken: 6, amount: 6, mark_us: outcome.mark_us, holder: 0 };
        assert_eq!(give_back(&before, state.clone(), &back, ORIGIN_US), None);
        let (state, _) = apply(&after, state, 1, ORIGIN_US);
        let state = give_back(&before, state, &back, ORIGIN_US);
        assert_eq!(apply(&after, state, 0, ORIGIN_US).1.remaining, 7);
    }
}

#[test]
fn numbers_are_read_as_they_are_written() {
    use Algorithm::{Concurrency, FixedWindow, SlidingWindow, TokenBucket};
    for (algorithm, text) in [(FixedWindow, "1:2/3:0"), (SlidingWindow, "1:2:3/4:0"), (TokenBucket, "1+2+3:4:5:6/7:8")]
    {
        assert_eq!(State::parse(algorithm, text).unwrap().to_string(), text);
    }
    for (algorithm, text) in [
        (FixedWindow, "1:2/"),
        (FixedWindow, "1:2/3"),
        (FixedWindow, "1:2/0:0"),
        (FixedWindow, "1:2/1000000001:0"),
        (FixedWindow, "1:2/3:0/4:0"),
        (FixedWindow, "/3:0"),
        (Concurrency, "1.a/3:0"),
    ] {
        assert_eq!(State::parse(algorithm, text), None, "{text}");
    }
}
