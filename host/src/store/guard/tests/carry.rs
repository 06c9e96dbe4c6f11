//! What a host counted by itself is told to the store when that is back.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_was_counted_here_is_taken_in_the_store_when_it_is_back() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket] {
        let bench = Bench::new(1).with_rules(OnStoreFault::Local);
        let charge = charge("a", algorithm, 10);
        assert_eq!(bench.admitted(&charge, 4).await, 4);
        bench.shared.fails(FaultKind::Unavailable);
        assert_eq!(bench.admitted(&charge, 3).await, 3);
        bench.shared.fails(None);
        assert_eq!(bench.admitted(&charge, 20).await, 3, "{algorithm}: before the first charge");
        assert_eq!((bench.guard.stats().carried, bench.guard.stats().owed_counters), (3, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_taken_even_if_nobody_asks_and_as_far_as_there_is_room() {
    let bench = Bench::new(1).with_rules(OnStoreFault::Local);
    assert_eq!(bench.admitted(&fixed("full", 10), 6).await, 6);
    bench.shared.fails(FaultKind::Unavailable);
    assert_eq!(bench.admitted(&fixed("full", 10), 7).await, 7);
    assert_eq!(bench.admitted(&fixed("other", 10), 2).await, 2);
    bench.shared.fails(None);
    bench.recovered().await;
    assert_eq!((bench.left(&fixed("full", 10)), bench.left(&fixed("other", 10))), (0, 8));
    assert_eq!((bench.guard.stats().carried, bench.guard.stats().not_carried), (6, 3));
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_over_owes_nothing() {
    let bench = Bench::new(1).with_rules(OnStoreFault::Local);
    bench.shared.fails(FaultKind::Unavailable);
    assert_eq!(bench.admitted(&fixed("a", 10), 7).await, 7);
    bench.clock.advance(MINUTE);
    assert_eq!(bench.admitted(&fixed("a", 10), 2).await, 2);
    bench.shared.fails(None);
    bench.recovered().await;
    assert_eq!(bench.left(&fixed("a", 10)), 8);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_been_taken_is_not_taken_twice() {
    let bench = Bench::new(1).with_rules(OnStoreFault::Local);
    bench.shared.fails(FaultKind::Unavailable);
    assert_eq!(bench.admitted(&fixed("a", 100), 3).await, 3);
    // What is asked from now on is taken, and nobody hears of it: each time it is the debt, before the charge.
    bench.shared.fails(FaultKind::Timeout);
    assert_eq!(bench.admitted(&fixed("a", 100), 3).await, 3);
    bench.shared.fails(None);
    bench.recovered().await;
    let left = bench.left(&fixed("a", 100));
    assert_eq!(left, 100 - 6);
}

#[tokio::test(start_paused = true)]
async fn so_much_can_be_owed_and_no_more() {
    let bench = Bench::new(1).with_rules(OnStoreFault::Local);
    bench.shared.fails(FaultKind::Unavailable);
    for number in 0..10_100 {
        let charge = Charge { key: format!("r:{{t}}:{number}"), ..fixed("a", 10) };
        bench.take(&[charge]).await.unwrap();
    }
    assert_eq!((bench.guard.stats().owed_counters, bench.guard.stats().owed_dropped), (10_000, 100));
}
