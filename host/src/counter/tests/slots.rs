//! Timelines of a concurrency limit: `@when holder cost -> allow remaining` or `-> deny retry-after`.

use super::*;

fn check(limit: &str, timeline: &str) {
    let rule = parse_rule(&format!("concurrency {limit}"));
    assert_eq!(rule.problem(), None);
    let mut states = [None];
    let words: Vec<&str> = timeline.split_whitespace().collect();
    for step in words.chunks(6) {
        let [when, holder, cost, "->", "allow" | "deny", _] = *step else { panic!("`{step:?}` is no step") };
        let holder_id = u64::from(holder.as_bytes()[0]);
        let item = Item { rule, cost: cost.parse().unwrap(), mode: Mode::Enforce, slot: 0, holder: holder_id };
        let now_us = ORIGIN_US + micros(when.trim_start_matches('@'));
        let (_, outcomes) = charge_all(&[item], &mut states, now_us);
        let answer = match (outcomes[0].allowed, outcomes[0].retry_after) {
            (true, None) => format!("allow {}", outcomes[0].remaining),
            (false, Some(wait)) => format!("deny {}", in_words(wait)),
            (false, None) => "deny never".to_owned(),
            (true, Some(_)) => panic!("allowed, and told to wait"),
        };
        assert_eq!(format!("{when} {holder} {cost} -> {answer}"), step.join(" "), "in: {timeline}");
    }
}

#[test]
fn so_many_hold_slots_at_a_time_and_a_lease_ends_by_itself() {
    check(
        "2 per 30s",
        "@0s a 1 -> allow 1  @10s b 1 -> allow 0  @10s c 1 -> deny 20s  @29.999999s c 1 -> deny 1us  @30s c 1 -> allow 0",
    );
}

#[test]
fn a_holder_takes_a_slot_once_and_renews_it() {
    check(
        "2 per 30s",
        "@0s a 1 -> allow 1  @20s a 1 -> allow 1  @20s b 1 -> allow 0  @30s c 1 -> deny 20s  @50s c 2 -> allow 0",
    );
}

#[test]
fn a_holder_may_take_several_slots_and_renews_them_together() {
    check(
        "5 per 30s",
        "@0s a 3 -> allow 2  @1s a 1 -> allow 2  @1s b 3 -> deny 30s  @1s b 6 -> deny never  @1s a 5 -> allow 0  @1s b 1 -> deny 30s",
    );
}

#[test]
fn what_is_held_stays_held_where_there_are_fewer_slots_than_before() {
    let (many, few) = (rule("concurrency 3 per 30s"), rule("concurrency 1 per 30s"));
    let item = |rule, holder| Item { rule, cost: 1, mode: Mode::Enforce, slot: 0, holder };
    let mut states = [None];
    assert!(charge_all(&[item(many, 1), item(many, 2)], &mut states, ORIGIN_US).0);
    let (admitted, _) = charge_all(&[item(few, 2)], &mut states, ORIGIN_US + 1_000_000);
    assert!(admitted, "its own slot can be renewed");
    let (admitted, outcomes) = charge_all(&[item(few, 3)], &mut states, ORIGIN_US + 1_000_000);
    assert_eq!((admitted, outcomes[0].remaining), (false, 0));
    assert_eq!(outcomes[0].retry_after, Some(Duration::from_secs(30)), "both must be gone");
}

#[test]
fn a_lease_from_far_ahead_is_cut_and_one_from_a_little_ahead_stands() {
    check("1 per 30s", "@25s a 1 -> allow 0  @5s b 1 -> deny 50s  @55s b 1 -> allow 0");
    check("1 per 30s", "@9d a 1 -> allow 0  @5s b 1 -> deny 30s  @36s b 1 -> allow 0");
}

#[test]
fn charges_of_one_holder_in_one_list_take_the_slot_once() {
    let item = |cost| Item { rule: rule("concurrency 2 per 30s"), cost, mode: Mode::Enforce, slot: 0, holder: 7 };
    let mut states = [None];
    let (admitted, outcomes) = charge_all(&[item(1), item(2)], &mut states, ORIGIN_US);
    assert_eq!((admitted, summary(&outcomes)), (true, vec![(true, 1), (true, 0)]));
    assert_eq!(states[0].as_ref().unwrap().to_string(), "1728000030000000.7.2");
}

#[test]
fn a_thousand_slots_are_kept_and_not_one_more() {
    let rule = rule("concurrency 1000 per 30s");
    let mut states = [None];
    for holder in 0..1_200 {
        let item = Item { rule, cost: 1, mode: Mode::Enforce, slot: 0, holder: u64::MAX - holder };
        assert_eq!(charge_all(&[item], &mut states, ORIGIN_US + holder).0, holder < 1_000);
    }
    let text = states[0].as_ref().unwrap().to_string();
    assert_eq!(State::parse(Algorithm::Concurrency, &text), states[0]);
    assert!(text.len() <= 1_000 * 34, "{}", text.len());
}
