//! Timelines: `@when cost -> allow remaining`, `-> delay wait` or `-> deny retry-after`, read from left to right on one counter.

mod given_back;
mod migrate;
mod slots;

use std::time::Duration;

use super::*;

const DAY_US: u64 = 86_400_000_000;
// A midnight: every window that divides a day begins here.
const ORIGIN_US: u64 = 20_000 * DAY_US;

/// Runs a timeline on `rule`, which reads like `fixed-window 3 per 10s`, `token-bucket 5 per 10s burst 8` or `delay 5 per 10s burst 8 wait 4s`.
fn check(rule: &str, timeline: &str) {
    let rule = parse_rule(rule);
    assert_eq!(rule.problem(), None);
    let mut state = None;
    let words: Vec<&str> = timeline.split_whitespace().collect();
    for step in words.chunks(5) {
        let [when, cost, "->", "allow" | "delay" | "deny", _] = *step else {
            panic!("`{step:?}` is no step of a timeline")
        };
        let (after, outcome) =
            apply(&rule, state, cost.parse().unwrap(), ORIGIN_US + micros(when.trim_start_matches('@')));
        state = after;
        let answer = match (outcome.allowed, outcome.retry_after) {
            (true, None) => format!("allow {}", outcome.remaining),
            (false, Some(wait)) => format!("deny {}", in_words(wait)),
            (false, None) => "deny never".to_owned(),
            (true, Some(wait)) => format!("delay {}", in_words(wait)),
        };
        assert_eq!(format!("{when} {cost} -> {answer}"), step.join(" "), "in: {timeline}");
    }
}

fn parse_rule(text: &str) -> Rule {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [name, max, "per", window, ref more @ ..] = *words else { panic!("`{text}` is no rule") };
    let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name).unwrap();
    let max = max.parse().unwrap();
    let mut rule = Rule { max, window_us: micros(window), burst: max, ..Rule::of(algorithm) };
    for more in more.chunks(2) {
        match *more {
            ["burst", burst] => rule.burst = burst.parse().unwrap(),
            ["wait", wait] => rule.longest_wait_us = micros(wait),
            ["hold", hold] => rule.hold_us = micros(hold),
            _ => panic!("`{text}` is no rule"),
        }
    }
    rule
}

fn micros(text: &str) -> u64 {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number: f64 = text.trim_end_matches(unit).parse().unwrap();
    let unit_us = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "d" => 86_400e6,
        _ => panic!("`{text}` is no time"),
    };
    (number * unit_us).round() as u64
}

fn in_words(wait: Duration) -> String {
    if wait.subsec_micros() == 0 { format!("{}s", wait.as_secs()) } else { format!("{}us", wait.as_micros()) }
}

fn rule(text: &str) -> Rule {
    parse_rule(text)
}

fn item(rule: &str, cost: u64, mode: Mode, slot: usize) -> Item {
    // Not the one that `apply` charges for.
    Item { rule: parse_rule(rule), cost, mode, slot, holder: 1 }
}

fn summary(outcomes: &[Outcome]) -> Vec<(bool, u64)> {
    outcomes.iter().map(|outcome| (outcome.allowed, outcome.remaining)).collect()
}

#[test]
fn a_fixed_window_begins_anew_at_each_multiple() {
    check(
        "fixed-window 3 per 10s",
        "@4s 2 -> allow 1  @4s 2 -> deny 6s  @9s 1 -> allow 0  @9.999999s 1 -> deny 1us  @10s 3 -> allow 0",
    );
}

#[test]
fn a_sliding_window_weighs_the_window_before() {
    // At 15 s half of the four is covered, at 15.000001 s a little less: but a unit is a unit.
    check(
        "sliding-window 4 per 10s",
        "@9s 4 -> allow 0  @10s 1 -> deny 2500000us  @12.5s 1 -> allow 0  @15s 1 -> allow 0",
    );
    check(
        "sliding-window 4 per 10s",
        "@9s 4 -> allow 0  @15s 3 -> deny 2500000us  @17.5s 3 -> allow 0  @30s 4 -> allow 0",
    );
}

#[test]
fn a_sliding_window_tells_a_wait_that_ends_in_a_later_window() {
    // Only at 20 s is this the window before, and only at 22.5 s a quarter of it gone.
    check(
        "sliding-window 4 per 10s",
        "@1s 4 -> allow 0  @1s 1 -> deny 11500000us  @12.499999s 1 -> deny 1us  @12.5s 1 -> allow 0",
    );
    check("sliding-window 4 per 10s", "@1s 4 -> allow 0  @1s 4 -> deny 19s  @20s 4 -> allow 0");
}

#[test]
fn a_token_bucket_refills_steadily_up_to_its_burst() {
    check(
        "token-bucket 5 per 10s burst 8",
        "@0s 8 -> allow 0  @0s 1 -> deny 2s  @1.999999s 1 -> deny 1us  @2s 1 -> allow 0  @60s 8 -> allow 0",
    );
}

#[test]
fn a_bucket_with_a_longest_wait_lets_wait_what_would_pass_in_time() {
    // One a second: five at once, and what refills in three seconds later.
    check(
        "delay 1 per 1s burst 5 wait 3s",
        "@0s 4 -> allow 4  @0s 2 -> delay 1s  @0s 2 -> delay 3s  @0s 1 -> deny 1s  @1s 1 -> delay 3s  @9s 1 -> allow 7",
    );
    check("delay 1 per 1s burst 5 wait 3s", "@0s 7 -> delay 2s  @2s 1 -> delay 1s  @0s 9 -> deny never");
    check("delay 3 per 1s burst 1 wait 1s", "@0s 1 -> allow 3  @0s 1 -> delay 333334us  @0s 2 -> delay 1s");
    check("delay 1 per 1s burst 2", "@0s 2 -> allow 0  @0s 1 -> deny 1s  @0s 3 -> deny never");
}

#[test]
fn a_bucket_keeps_its_count_when_it_gets_or_loses_a_longest_wait() {
    let (plain, waits) = (rule("token-bucket 1 per 1s burst 5"), rule("delay 1 per 1s burst 5 wait 3s"));
    let (state, _) = apply(&plain, None, 4, ORIGIN_US);
    let (state, outcome) = apply(&waits, state, 4, ORIGIN_US);
    assert_eq!((outcome.allowed, outcome.retry_after), (true, Some(Duration::from_secs(3))));
    let (_, outcome) = apply(&plain, state, 1, ORIGIN_US);
    assert_eq!((outcome.allowed, outcome.retry_after), (false, Some(Duration::from_secs(1))), "no worse than empty");
    assert_eq!(Algorithm::Delay.key_tag(), Algorithm::TokenBucket.key_tag());
}

/// A calendar whose periods have 10 s, 7 s and 12 s, as the first is known.
fn calendar() -> Rule {
    let period = Period { start_us: ORIGIN_US, end_us: ORIGIN_US + 10_000_000, next_end_us: ORIGIN_US + 17_000_000 };
    Rule { max: 3, window_us: 10_000_000, period: Some(period), ..Rule::of(Algorithm::Calendar) }
}

#[test]
fn a_calendar_period_is_chosen_by_the_time_of_the_store() {
    let at = |state, cost, second: u64| apply(&calendar(), state, cost, ORIGIN_US + second * 1_000_000);
    let (state, outcome) = at(None, 2, 9);
    assert_eq!((outcome.remaining, outcome.reset_after), (1, Duration::from_secs(1)));
    let (state, outcome) = at(state, 2, 9);
    assert_eq!((outcome.allowed, outcome.retry_after), (false, Some(Duration::from_secs(1))));
    // The host that knows the first period only comes a little late.
    let (state, outcome) = at(state, 2, 10);
    assert_eq!((outcome.remaining, outcome.reset_after), (1, Duration::from_secs(7)));
    // A clock that goes back finds what was spent ahead of it.
    let (_, outcome) = at(state, 2, 9);
    assert_eq!((outcome.allowed, outcome.retry_after), (false, Some(Duration::from_secs(8))));
}

#[test]
fn a_calendar_state_from_far_ahead_is_pulled_to_the_present() {
    let far = State::FixedWindow { start_us: ORIGIN_US + 17_000_000, used: 2 };
    let (_, outcome) = apply(&calendar(), Some(far), 0, ORIGIN_US + 4_000_000);
    assert_eq!((outcome.remaining, outcome.reset_after), (1, Duration::from_secs(6)));
    let late = State::FixedWindow { start_us: ORIGIN_US + 17_000_000, used: 2 };
    let (_, outcome) = apply(&calendar(), Some(late), 0, ORIGIN_US + 11_000_000);
    assert_eq!(outcome.remaining, 1, "nothing that was spent is forgotten");
}

#[test]
fn a_token_that_is_no_whole_number_of_microseconds_is_counted_exactly() {
    // A third of a second each: rounding would lose or win a microsecond with every token.
    check(
        "token-bucket 3 per 1s burst 1",
        "@0s 1 -> allow 0  @0s 1 -> deny 333334us  @333333us 1 -> deny 1us  @333334us 1 -> allow 0",
    );
    let thirds = rule("token-bucket 3 per 1s burst 3");
    let (third, _) = apply(&thirds, None, 1, ORIGIN_US);
    assert_eq!(third, Some(State::TokenBucket { tat_us: ORIGIN_US + 333_333, part: 1, reserve: None }));
    let (whole, _) = apply(&thirds, third, 2, ORIGIN_US);
    assert_eq!(whole, Some(State::TokenBucket { tat_us: ORIGIN_US + 1_000_000, part: 0, reserve: None }));
}

#[test]
fn no_waiting_helps_a_cost_above_the_limit() {
    check("fixed-window 3 per 10s", "@0s 4 -> deny never  @0s 18446744073709551615 -> deny never  @0s 3 -> allow 0");
    check("sliding-window 3 per 10s", "@0s 4 -> deny never  @0s 18446744073709551615 -> deny never  @0s 3 -> allow 0");
    check("token-bucket 3 per 10s", "@0s 4 -> deny never  @0s 18446744073709551615 -> deny never  @0s 3 -> allow 0");
}

#[test]
fn a_cost_of_zero_takes_nothing_and_tells_the_state() {
    for algorithm in ["fixed-window", "sliding-window", "token-bucket", "delay", "concurrency"] {
        check(&format!("{algorithm} 3 per 10s"), "@0s 0 -> allow 3  @0s 3 -> allow 0  @0s 0 -> allow 0");
        assert_eq!(apply(&rule(&format!("{algorithm} 3 per 10s")), None, 0, ORIGIN_US).0, None);
    }
}

#[test]
fn a_clock_that_goes_back_a_little_neither_forgets_nor_gives() {
    check(
        "fixed-window 3 per 10s",
        "@10s 2 -> allow 1  @9s 2 -> deny 11s  @9s 1 -> allow 0  @10s 1 -> deny 10s  @20s 3 -> allow 0",
    );
    check("sliding-window 4 per 10s", "@10s 4 -> allow 0  @9s 1 -> deny 13500000us  @22.5s 1 -> allow 0");
    check("token-bucket 5 per 10s", "@10s 5 -> allow 0  @9s 1 -> deny 3s  @12s 1 -> allow 0");
}

#[test]
fn a_state_from_far_ahead_is_pulled_to_the_present() {
    check("fixed-window 3 per 10s", "@50d 2 -> allow 1  @3s 2 -> deny 7s  @3s 1 -> allow 0  @10s 3 -> allow 0");
    check("sliding-window 4 per 10s", "@50d 4 -> allow 0  @3s 1 -> deny 9500000us  @3s 0 -> allow 0");
    check("token-bucket 5 per 10s", "@50d 1 -> allow 4  @3s 1 -> deny 2s");
}

#[test]
fn a_refused_list_pulls_too_or_its_limit_would_stay_frozen() {
    for algorithm in ["fixed-window", "sliding-window", "token-bucket", "delay", "concurrency"] {
        let name = format!("{algorithm} 3 per 10s");
        let mut states = [apply(&rule(&name), None, 3, ORIGIN_US + 50 * DAY_US).0];
        for now_us in [ORIGIN_US, ORIGIN_US + 20_000_000] {
            let (admitted, _) = charge_all(&[item(&name, 1, Mode::Enforce, 0)], &mut states, now_us);
            assert_eq!(admitted, now_us > ORIGIN_US, "{name}");
        }
    }
}

#[test]
fn a_refused_list_takes_nothing_and_tells_the_untouched_counters() {
    let (minute, hour) = ("fixed-window 5 per 60s", "token-bucket 2 per 3600s");
    let mut states = [None, None];
    let list = |cost| [item(minute, 2, Mode::Enforce, 0), item(hour, cost, Mode::Enforce, 1)];
    let (admitted, outcomes) = charge_all(&list(2), &mut states, ORIGIN_US);
    assert_eq!((admitted, summary(&outcomes)), (true, vec![(true, 3), (true, 0)]));
    let before = states.clone();
    let (admitted, outcomes) = charge_all(&list(1), &mut states, ORIGIN_US);
    assert_eq!((admitted, summary(&outcomes), states), (false, vec![(true, 3), (false, 0)], before));
    assert_eq!(outcomes[1].retry_after, Some(Duration::from_secs(1800)));
}

#[test]
fn charges_on_one_counter_see_one_another() {
    let three = "fixed-window 3 per 10s";
    let mut states = [None];
    let list = |costs: &[u64]| costs.iter().map(|cost| item(three, *cost, Mode::Enforce, 0)).collect::<Vec<_>>();
    let (admitted, outcomes) = charge_all(&list(&[2, 2]), &mut states, ORIGIN_US);
    assert_eq!((admitted, summary(&outcomes), states.clone()), (false, vec![(true, 3), (false, 3)], [None]));
    assert_eq!(outcomes[1].retry_after, None, "four never pass together");
    let (admitted, outcomes) = charge_all(&list(&[2, 1]), &mut states, ORIGIN_US);
    assert_eq!((admitted, summary(&outcomes)), (true, vec![(true, 1), (true, 0)]));
}

#[test]
fn a_refused_list_waits_for_all_its_charges_on_a_counter() {
    let three = "fixed-window 3 per 10s";
    let mut states = [apply(&rule(three), None, 1, ORIGIN_US).0];
    let list = [item(three, 2, Mode::Enforce, 0), item(three, 1, Mode::Enforce, 0)];
    let (admitted, outcomes) = charge_all(&list, &mut states, ORIGIN_US);
    assert_eq!((admitted, summary(&outcomes)), (false, vec![(true, 2), (false, 2)]));
    assert_eq!(outcomes[1].retry_after, Some(Duration::from_secs(10)), "alone it would pass at once");
}

#[test]
fn shadow_and_peek_never_refuse_and_a_peek_takes_nothing() {
    let three = "fixed-window 3 per 10s";
    let mut states = [None, None];
    let (admitted, outcomes) =
        charge_all(&[item(three, 2, Mode::Peek, 0), item(three, 2, Mode::Shadow, 1)], &mut states, ORIGIN_US);
    assert_eq!((admitted, summary(&outcomes)), (true, vec![(true, 1), (true, 1)]));
    assert_eq!(states[0], None);
    let (admitted, outcomes) =
        charge_all(&[item(three, 2, Mode::Peek, 1), item(three, 2, Mode::Shadow, 1)], &mut states, ORIGIN_US);
    assert_eq!((admitted, summary(&outcomes)), (true, vec![(false, 1), (false, 1)]));
    let before = states.clone();
    let refused = [item(three, 1, Mode::Shadow, 1), item(three, 4, Mode::Enforce, 0)];
    assert!(!charge_all(&refused, &mut states, ORIGIN_US).0);
    assert_eq!(states, before, "a shadow charge of a refused list takes nothing");
}

#[test]
fn a_changed_limit_goes_on_with_what_is_spent() {
    let now_us = ORIGIN_US + 40_000_000;
    let (state, _) = apply(&rule("fixed-window 10 per 30s"), None, 8, now_us);
    assert_eq!(apply(&rule("fixed-window 10 per 60s"), state.clone(), 1, now_us).1.remaining, 1);
    assert_eq!(apply(&rule("fixed-window 5 per 60s"), state, 0, now_us).1.remaining, 0);
}

#[test]
fn a_state_reads_as_it_is_written() {
    use Algorithm::{Calendar, Concurrency, Delay, FixedWindow, SlidingWindow, TokenBucket};
    let slots = |slots: &[(u64, u64, u64)]| {
        State::Slots(slots.iter().map(|&(until_us, holder, count)| Slot { until_us, holder, count }).collect())
    };
    let generation = |[since_us, until_us, refill_us, refill_part]: [u64; 4]| Generation {
        since_us,
        until_us,
        refill_us,
        refill_part,
    };
    let generations = vec![generation([1, 2, 3, 4]), generation([5, 6, 7, 8])];
    let reserve = Some(Box::new(Reserved { settled_us: 5, settled_part: 6, generations }));
    let reserved = State::TokenBucket { tat_us: ORIGIN_US, part: 0, reserve };
    let states = [
        (FixedWindow, State::FixedWindow { start_us: ORIGIN_US, used: 3 }, "1728000000000000:3"),
        (Calendar, State::FixedWindow { start_us: ORIGIN_US, used: 3 }, "1728000000000000:3"),
        (SlidingWindow, State::SlidingWindow { start_us: ORIGIN_US, earlier: 0, used: 3 }, "1728000000000000:0:3"),
        (TokenBucket, State::TokenBucket { tat_us: ORIGIN_US, part: 0, reserve: None }, "1728000000000000"),
        (TokenBucket, State::TokenBucket { tat_us: ORIGIN_US, part: 7, reserve: None }, "1728000000000000:7"),
        (Delay, reserved, "1728000000000000+5:6+1:2:3:4+5:6:7:8"),
        (Concurrency, slots(&[(1, 0, 1), (1, u64::MAX, 1000 - 1)]), "1.0,1.ffffffffffffffff.999"),
    ];
    for (algorithm, state, text) in states {
        assert_eq!(state.to_string(), text);
        assert_eq!(State::parse(algorithm, text), Some(state));
    }
}

#[test]
fn what_is_no_state_is_not_read() {
    let texts = [
        "",
        ":",
        "1",
        "1:",
        ":1",
        "1:2:3",
        "1:-2",
        "1:+2",
        "1: 2",
        "1:2.0",
        "1:1e3",
        "9007199254740992:1",
        "1:1000000001",
        "99999999999999999999:1",
        "hello",
    ];
    for text in texts {
        assert_eq!(State::parse(Algorithm::FixedWindow, text), None, "{text}");
    }
    assert_eq!(State::parse(Algorithm::SlidingWindow, "1:2"), None);
    for text in [
        "1:2:3",
        "1:1000000001",
        "9007199254740992",
        "1:",
        "1:2:",
        "1+2",
        "1+2+",
        "1+2+3:4:5",
        "1+2+3:4:5:6:7",
        "1+2+3:4:5:1000000001",
        "1+2+1:1:1:1+1:1:1:1+1:1:1:1",
    ] {
        assert_eq!(State::parse(Algorithm::TokenBucket, text), None, "{text}");
    }
    let slots = [
        "",
        ",",
        "1",
        "1.",
        ".1",
        "1.a,",
        "1.A",
        "1.0a",
        "1.10000000000000000",
        "1.+a",
        "1.a.1",
        "1.a.0",
        "1.a.1001",
        "1.a.2.3",
        "2.a,1.b",
    ];
    for text in slots.into_iter().chain(["9007199254740992.a", "1.a.600,2.b.600", "1:2"]) {
        assert_eq!(State::parse(Algorithm::Concurrency, text), None, "{text}");
    }
}

#[test]
fn a_rule_that_cannot_be_counted_says_why() {
    let sound = rule("token-bucket 10 per 1s");
    let cases = [
        (Rule { max: 0, ..sound }, "max 0 is not 1 to 1000000000"),
        (Rule { max: 1_000_000_001, ..sound }, "max 1000000001 is not 1 to 1000000000"),
        (Rule { window_us: 999, ..sound }, "window 999us is not 1ms to 366d"),
        (Rule { window_us: 367 * DAY_US, ..sound }, "window 31708800s is not 1ms to 366d"),
        (Rule { burst: 0, ..sound }, "burst 0 is not 1 to 1000000000"),
        (
            Rule { max: 1, window_us: DAY_US, burst: 3_661, ..sound },
            "a bucket of 3661 at 1 per 86400s takes longer than 3660 days to fill; choose a burst of at most 3660",
        ),
    ];
    for (rule, problem) in cases {
        assert_eq!(rule.problem().as_deref(), Some(problem));
    }
    let other = |algorithm| Rule { algorithm, ..sound };
    let slots = other(Algorithm::Concurrency);
    let backwards = Period { start_us: 5, end_us: 5, next_end_us: 6 };
    for (rule, problem) in [
        (Rule { max: 1_001, ..slots }, "max 1001 is not 1 to 1000 slots"),
        (Rule { max: 0, ..slots }, "max 0 is not 1 to 1000 slots"),
        (Rule { window_us: 1, ..slots }, "window 1us is not 1ms to 366d"),
        (
            Rule { longest_wait_us: 3_600_000_001, ..other(Algorithm::Delay) },
            "a longest wait of 3600000001us is over 1h",
        ),
        (Rule { burst: 0, ..other(Algorithm::Delay) }, "burst 0 is not 1 to 1000000000"),
        (other(Algorithm::Calendar), "a calendar limit needs to know its period"),
        (Rule { period: Some(backwards), ..calendar() }, "a period from 5 to 5 and to 6 does not go forward"),
    ] {
        assert_eq!(rule.problem().as_deref(), Some(problem));
    }
    assert_eq!(Rule { max: 1_000, burst: 0, longest_wait_us: u64::MAX, ..slots }.problem(), None);
    assert_eq!(calendar().problem(), None);
    assert_eq!(Rule { algorithm: Algorithm::FixedWindow, burst: 0, ..sound }.problem(), None);
    assert_eq!(Rule { max: 99_999_989, window_us: DAY_US, burst: 99_999_989, ..sound }.problem(), None);
}
