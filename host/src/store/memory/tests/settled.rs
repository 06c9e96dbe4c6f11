//! Receipts and repeated lists.

use super::*;
use crate::counter::Rule;
use crate::model::{Action, Fault, FaultKind, Held};

const MINUTE: Duration = Duration::from_secs(60);

/// A charge that is held for a minute.
fn charge(key: &str, max: u64, window: Duration) -> Charge {
    let charge = super::charge(key, max, window);
    let rule = Rule { hold_us: 60_000_000, ..*charge.limit.rule() };
    Charge { limit: Limit::with_rule("test", rule).unwrap(), ..charge }
}

fn slots(key: &str, max: u64, holder: u64) -> Charge {
    let quota = Quota { max, window: MINUTE, burst: max };
    Charge { limit: Limit::new("slots", Algorithm::Concurrency, quota).unwrap(), holder, ..charge(key, max, MINUTE) }
}

fn taken(store: &Memory, charges: &[Charge], once: Option<&str>) -> Result<Vec<Outcome>, Fault> {
    let Reply::Ready(outcomes) = store.take(List { charges, within: Duration::ZERO, once, fault: None }) else {
        panic!("memory never waits")
    };
    outcomes
}

/// Takes the charges, and answers what gives them all back within a minute.
fn held(store: &Memory, charges: &[Charge]) -> Settlement {
    let outcomes = taken(store, charges, None).unwrap();
    let held = charges.iter().zip(outcomes).map(|(charge, outcome)| Held {
        key: charge.key.clone(),
        limit: charge.limit.clone(),
        taken: charge.cost,
        unused: charge.cost,
        mark_us: outcome.mark_us,
        holder: charge.holder,
    });
    let until = store.clock.now().plus(MINUTE);
    let held = held.collect();
    Settlement { marker: Some("marker".to_owned()), until, remembered_us: 0, action: Action::Settle, held }
}

fn settle(store: &Memory, settlement: &Settlement) -> Settled {
    let Reply::Ready(settled) = store.settle(settlement, Duration::ZERO) else { panic!("memory never waits") };
    settled.unwrap()
}

fn remaining(store: &Memory, charge: &Charge) -> u64 {
    let look = Charge { cost: 0, ..charge.clone() };
    outcomes(store, &[look])[0].1
}

#[test]
fn a_settlement_is_done_once() {
    let store = Memory::new(ManualClock::at(NOW));
    let (bucket, day) = (charge("a", 5, MINUTE), charge("b", 5, MINUTE));
    let (bucket, day) = (Charge { cost: 4, ..bucket }, Charge { cost: 4, ..day });
    let mut settlement = held(&store, &[bucket.clone(), day.clone()]);
    settlement.held[1].unused = 1;
    assert_eq!(settle(&store, &settlement), Settled::Done);
    assert_eq!((remaining(&store, &bucket), remaining(&store, &day)), (5, 2));
    taken(&store, std::slice::from_ref(&bucket), None).unwrap();
    assert_eq!(settle(&store, &settlement), Settled::Already);
    assert_eq!((remaining(&store, &bucket), remaining(&store, &day)), (1, 2));
}

#[test]
fn a_settlement_that_comes_late_changes_nothing() {
    let clock = ManualClock::at(NOW);
    let store = Memory::new(clock.clone());
    let bucket = Charge { cost: 4, ..charge("a", 5, Duration::from_secs(86_400)) };
    let settlement = held(&store, std::slice::from_ref(&bucket));
    clock.advance(MINUTE);
    clock.advance(Duration::from_micros(1));
    assert_eq!(settle(&store, &settlement), Settled::Late);
    assert_eq!(remaining(&store, &bucket), 1);
    clock.set(NOW.plus(MINUTE));
    assert_eq!(settle(&store, &settlement), Settled::Done);
}

#[test]
fn what_is_given_back_altogether_is_not_kept() {
    let store = Memory::new(ManualClock::at(NOW));
    let settlement = held(&store, &[charge("a", 5, MINUTE), slots("b", 2, 7)]);
    assert_eq!(store.len(), 2);
    settle(&store, &settlement);
    assert!(store.is_empty());
}

#[test]
fn a_slot_is_free_when_it_is_given_back_and_when_its_lease_ends() {
    let clock = ManualClock::at(NOW);
    let store = Memory::new(clock.clone());
    let (first, second, third) = (slots("a", 2, 1), slots("a", 2, 2), slots("a", 2, 3));
    let settlement = held(&store, std::slice::from_ref(&first));
    assert_eq!(outcomes(&store, &[second]), [(true, 0)]);
    assert_eq!(outcomes(&store, std::slice::from_ref(&third)), [(false, 0)]);
    settle(&store, &settlement);
    assert_eq!(outcomes(&store, &[third]), [(true, 0)]);
    clock.advance(MINUTE);
    assert_eq!(remaining(&store, &first), 2);
}

#[test]
fn a_renewed_receipt_and_its_slots_last_longer_for_whoever_has_the_old_one_too() {
    let clock = ManualClock::at(NOW);
    let store = Memory::new(clock.clone());
    let settlement = held(&store, &[slots("a", 1, 1)]);
    clock.advance(MINUTE / 2);
    let until = clock.now().plus(MINUTE);
    let renewal = Settlement { action: Action::Renew { until }, ..settlement.clone() };
    assert_eq!(settle(&store, &renewal), Settled::Done);
    clock.advance(MINUTE / 2 + MINUTE / 4);
    assert_eq!(outcomes(&store, &[slots("a", 1, 2)]), [(false, 0)]);
    assert_eq!(settle(&store, &settlement), Settled::Done, "75 s after the beginning");
    assert_eq!(outcomes(&store, &[slots("a", 1, 2)]), [(true, 0)]);
    assert_eq!(settle(&store, &renewal), Settled::Already);
}

#[test]
fn a_renewal_is_late_when_one_of_its_slots_is_gone() {
    let clock = ManualClock::at(NOW);
    let store = Memory::new(clock.clone());
    let short = Limit::new("short", Algorithm::Concurrency, Quota { max: 1, window: MINUTE / 4, burst: 1 }).unwrap();
    let settlement = held(&store, &[slots("a", 1, 1), Charge { limit: short, ..slots("b", 1, 1) }]);
    clock.advance(MINUTE / 2);
    let renewal = Settlement { action: Action::Renew { until: NOW.plus(MINUTE * 9) }, ..settlement.clone() };
    assert_eq!(settle(&store, &renewal), Settled::Late);
    clock.advance(MINUTE / 2);
    assert_eq!(outcomes(&store, &[slots("a", 1, 2)]), [(true, 0)], "the other slot was not renewed either");
}

#[test]
fn a_settlement_is_remembered_for_as_long_as_it_is_told() {
    let clock = ManualClock::at(NOW);
    let store = Memory::new(clock.clone());
    let settlement = Settlement { remembered_us: 600_000_000, ..held(&store, &[charge("a", 5, MINUTE)]) };
    settle(&store, &settlement);
    clock.advance(Duration::from_secs(660));
    let later = Settlement { until: NOW.plus(Duration::from_secs(900)), ..settlement };
    assert_eq!(settle(&store, &later), Settled::Already);
}

#[test]
fn a_list_that_is_asked_again_takes_nothing_more_and_is_answered_alike() {
    let clock = ManualClock::at(NOW);
    let store = Memory::new(clock.clone());
    let list = [charge("a", 3, MINUTE), charge("b", 3, MINUTE)];
    let first = taken(&store, &list, Some("token")).unwrap();
    taken(&store, &list[..1], None).unwrap();
    clock.advance(Duration::from_secs(599));
    assert_eq!(taken(&store, &list, Some("token")).unwrap(), first);
    assert_eq!(taken(&store, &list, Some("other")).unwrap()[0].remaining, 2);
    clock.advance(Duration::from_secs(1));
    taken(&store, &list, Some("token")).unwrap();
    assert_eq!(remaining(&store, &list[0]), 1, "its time is over: it was taken anew");
}

#[test]
fn a_refused_list_is_decided_anew() {
    let clock = ManualClock::at(NOW);
    let store = Memory::new(clock.clone());
    let one = [charge("a", 1, MINUTE)];
    taken(&store, &one, None).unwrap();
    assert!(!taken(&store, &one, Some("token")).unwrap()[0].allowed);
    clock.advance(MINUTE);
    assert!(taken(&store, &one, Some("token")).unwrap()[0].allowed);
    assert!(taken(&store, &one, Some("token")).unwrap()[0].allowed);
    assert_eq!(remaining(&store, &one[0]), 0);
}

#[test]
fn a_token_stands_for_one_list() {
    let store = Memory::new(ManualClock::at(NOW));
    let list = [charge("a", 3, MINUTE), charge("b", 3, MINUTE)];
    taken(&store, &list, Some("token")).unwrap();
    let fault = taken(&store, &list[..1], Some("token")).unwrap_err();
    assert_eq!(fault, Fault::new(FaultKind::Invalid, "`token` was given to another list before"));
    let settlement = Settlement { marker: Some("token".to_owned()), ..held(&store, &list) };
    let Reply::Ready(Err(fault)) = store.settle(&settlement, Duration::ZERO) else { panic!("not refused") };
    assert_eq!(fault.kind, FaultKind::Invalid);
}

#[test]
fn threads_that_settle_one_receipt_settle_it_once() {
    let store = Arc::new(Memory::new(ManualClock::at(NOW)));
    let bucket = Charge { cost: 50, ..charge("a", 100, Duration::from_secs(86_400)) };
    taken(&store, std::slice::from_ref(&bucket), None).unwrap();
    let settlement = Arc::new(held(&store, std::slice::from_ref(&bucket)));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (store, settlement) = (Arc::clone(&store), Arc::clone(&settlement));
            std::thread::spawn(move || settle(&store, &settlement))
        })
        .collect();
    let done = threads.into_iter().map(|thread| thread.join().unwrap());
    assert_eq!(done.filter(|settled| *settled == Settled::Done).count(), 1);
    assert_eq!(remaining(&store, &bucket), 50);
}
