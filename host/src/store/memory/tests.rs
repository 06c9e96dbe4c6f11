mod settled;

use std::sync::Arc;

use super::*;
use crate::counter::{Algorithm, Mode};
use crate::model::{Limit, Quota};
use crate::time::{ManualClock, Timestamp};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn charge(key: &str, max: u64, window: Duration) -> Charge {
    let quota = Quota { max, window, burst: max };
    let limit = Limit::new("test", Algorithm::TokenBucket, quota).unwrap();
    Charge { key: key.to_owned(), limit, cost: 1, mode: Mode::Enforce, holder: 0 }
}

fn outcomes(store: &Memory, charges: &[Charge]) -> Vec<(bool, u64)> {
    let Reply::Ready(outcomes) = store.charge(charges, Duration::ZERO) else { panic!("memory never waits") };
    outcomes.unwrap().iter().map(|outcome| (outcome.allowed, outcome.remaining)).collect()
}

#[test]
fn a_refused_list_takes_nothing() {
    let store = Memory::new(ManualClock::at(NOW));
    let minute = Duration::from_secs(60);
    let list = [charge("a", 3, minute), charge("b", 1, minute)];
    assert_eq!(outcomes(&store, &list), [(true, 2), (true, 0)]);
    assert_eq!(outcomes(&store, &list), [(true, 2), (false, 0)]);
    assert_eq!(outcomes(&store, &list[..1]), [(true, 1)]);
}

#[test]
fn charges_on_one_key_see_one_another() {
    let store = Memory::new(ManualClock::at(NOW));
    let one = charge("a", 2, Duration::from_secs(60));
    assert_eq!(outcomes(&store, &[one.clone(), one.clone()]), [(true, 1), (true, 0)]);
    assert_eq!(store.len(), 1);
}

#[test]
fn one_key_has_one_algorithm() {
    let store = Memory::new(ManualClock::at(NOW));
    let bucket = charge("a", 2, Duration::from_secs(60));
    let quota = Quota { max: 2, window: Duration::from_secs(60), burst: 2 };
    let window = Charge { limit: Limit::new("test", Algorithm::FixedWindow, quota).unwrap(), ..bucket.clone() };
    let Reply::Ready(Err(fault)) = store.charge(&[bucket, window], Duration::ZERO) else { panic!("not refused") };
    assert_eq!(
        fault.to_string(),
        "invalid: one list charges `a` as token-bucket and as fixed-window; give each algorithm a key of its own"
    );
}

#[test]
fn an_empty_list_has_no_outcomes() {
    let store = Memory::new(ManualClock::at(NOW));
    assert_eq!(outcomes(&store, &[]), []);
}

#[test]
fn a_refused_or_free_charge_is_not_kept() {
    let store = Memory::new(ManualClock::at(NOW));
    for cost in [0, 4] {
        outcomes(&store, &[Charge { cost, ..charge("a", 3, Duration::from_secs(60)) }]);
    }
    assert!(store.is_empty());
}

#[test]
fn counters_that_are_as_if_unused_make_room() {
    let clock = ManualClock::at(NOW);
    let store = Memory::with_capacity(clock.clone(), 100_000);
    for round in 0..10 {
        for subject in 0..2_000 {
            outcomes(&store, &[charge(&format!("{round}:{subject}"), 1, Duration::from_millis(10))]);
        }
        clock.advance(Duration::from_secs(2));
    }
    assert!(store.len() < 5_000, "{} of 20000 are left, and 2000 were used of late", store.len());
}

#[test]
fn a_clock_that_goes_back_a_little_finds_what_was_spent() {
    let clock = ManualClock::at(NOW);
    let store = Memory::with_capacity(clock.clone(), 100);
    let spent = charge("spent", 1, Duration::from_secs(10));
    assert_eq!(outcomes(&store, std::slice::from_ref(&spent)), [(true, 0)]);
    clock.advance(Duration::from_millis(10_500));
    for subject in 0..50 {
        outcomes(&store, &[charge(&format!("other:{subject}"), 1, Duration::from_secs(10))]);
    }
    clock.set(NOW);
    assert_eq!(outcomes(&store, &[spent]), [(false, 0)]);
}

#[test]
fn a_flood_stays_within_the_capacity_and_spares_a_lasting_counter() {
    for capacity in [100, 20_000] {
        let clock = ManualClock::at(NOW);
        let store = Memory::with_capacity(clock.clone(), capacity);
        let lasting = charge("lasting", 5, Duration::from_secs(86_400));
        for _ in 0..5 {
            outcomes(&store, std::slice::from_ref(&lasting));
        }
        for subject in 0..100_000 {
            outcomes(&store, &[charge(&format!("flood:{subject}"), 1, Duration::from_secs(60))]);
            clock.advance(Duration::from_micros(1));
        }
        assert!(store.len() <= capacity, "{} of {capacity}", store.len());
        assert!(store.len() > capacity / 2, "only {} of {capacity}", store.len());
        assert_eq!(outcomes(&store, &[lasting]), [(false, 0)]);
    }
}

#[test]
fn threads_together_admit_exactly_the_limit() {
    let store = Arc::new(Memory::new(ManualClock::at(NOW)));
    let day = Duration::from_secs(86_400);
    // Half of the threads lists in one order, half in the other: none may wait for another.
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let store = Arc::clone(&store);
            let mut list =
                vec![charge("a", 1_000, day), charge("b", 3_000, day), charge(&format!("own {thread}"), 9_999, day)];
            list.rotate_left(thread % 3);
            std::thread::spawn(move || {
                let admitted = |_: &u32| outcomes(&store, &list).iter().all(|(allowed, _)| *allowed);
                (0..500).filter(admitted).count()
            })
        })
        .collect();
    let admitted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(admitted, 1_000);
    assert_eq!(outcomes(&store, &[charge("b", 3_000, day)]), [(true, 1_999)]);
}

#[test]
fn a_lock_left_by_a_panic_is_taken_over() {
    let store = Memory::with_capacity(ManualClock::at(NOW), 1);
    let panicked = std::thread::scope(|scope| {
        let hold = || {
            let _held = lock(&store.shards[0]);
            panic!("while the lock is held");
        };
        scope.spawn(hold).join()
    });
    assert!(panicked.is_err());
    assert_eq!(outcomes(&store, &[charge("a", 2, Duration::from_secs(1))]), [(true, 1)]);
}
