//! Hosts that draw shares of one limit. All time is tokio's, which stands still but where a test waits.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};
use tokio::time::{advance, sleep};

use super::shared::oracle;
use super::*;
use crate::counter::State;
use crate::time::micros;

/// The time of tokio, which tests let pass, by a host's clock that is wrong by so much.
#[derive(Clone, Copy, Debug)]
struct Paused {
    origin: Instant,
    ahead_us: u64,
}

impl Clock for Paused {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_040_000_000 + self.ahead_us + micros(self.origin.elapsed()))
    }
}

/// Hosts that share a store, each with a clock that is wrong by an hour more than the one before.
struct Fleet {
    shared: Arc<Shared>,
    clock: Paused,
    hosts: Vec<Guard>,
}

impl Fleet {
    fn new(hosts: u32, precision: Precision) -> Self {
        let clock = Paused { origin: Instant::now(), ahead_us: 0 };
        let shared = Arc::new(Shared::new(Arc::new(clock)));
        let guard = |host: u32| {
            let options = GuardOptions {
                hosts: NonZeroU32::new(hosts).unwrap(),
                refusal_memory: false,
                ..GuardOptions::default()
            };
            let clock = Paused { ahead_us: u64::from(host) * 3_600_000_000, ..clock };
            let guard = Guard::new(Arc::new(Handle(Arc::clone(&shared))), Arc::new(clock), options);
            guard.with_terms(Terms { precision: precision.into(), ..Terms::default() })
        };
        Self { hosts: (0..hosts).map(guard).collect(), shared, clock }
    }

    fn now_us(&self) -> u64 {
        self.clock.now().as_micros()
    }

    fn stats(&self, of: impl Fn(StoreStats) -> u64) -> u64 {
        self.hosts.iter().map(|host| of(host.stats())).sum()
    }
}

async fn admits(host: &Guard, charge: &Charge) -> bool {
    host.charge(std::slice::from_ref(charge), SOON).outcomes().await.unwrap()[0].allowed
}

fn limit(algorithm: Algorithm, max: u64, window: Duration) -> Charge {
    let limit = Limit::new("a", algorithm, Quota { max, window, burst: max }).unwrap();
    Charge { key: "r:{t}:a".to_owned(), limit, cost: 1, mode: Mode::Enforce, holder: 0 }
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket];

/// So many charges by a host, of this cost each, and how long all wait then.
type Burst = (usize, u64, u64, u64);

/// Whatever the hosts admit, one who saw every admission at its moment would have admitted, too.
async fn never_over(charge: &Charge, latency: Duration, bursts: &[Burst]) -> TestCaseResult {
    let fleet = Fleet::new(3, Precision::Leased);
    fleet.shared.is_slow(latency);
    let mut exact: Option<State> = None;
    for (host, times, cost, wait_us) in bursts {
        let charge = Charge { cost: *cost, ..charge.clone() };
        for _ in 0..*times {
            let (host, list) = (&fleet.hosts[host % 3], [charge.clone()]);
            let (allowed, at_us) = match host.charge(&list, SOON) {
                Reply::Ready(outcomes) => (outcomes.unwrap()[0].allowed, fleet.now_us()),
                Reply::Pending(outcomes) => (outcomes.await.unwrap()[0].allowed, fleet.shared.enforced_us()),
            };
            prop_assert!(!allowed || oracle(&mut exact, &charge, at_us), "too many at {at_us} of {charge:?}");
        }
        advance(Duration::from_micros(*wait_us)).await;
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

#[test]
fn hosts_with_shares_never_admit_more_than_one_who_sees_all() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // Now and then long enough for shares to be given back.
    let waits = prop_oneof![4 => 0..120_000_u64, 1 => 100_000..700_000_u64];
    let bursts = prop::collection::vec((0..3_usize, 1..60_u64, 1..4_u64, waits), 1..60);
    let algorithms = (0..3_usize).prop_map(|index| ALGORITHMS[index]);
    let inputs = (algorithms, 20..400_u64, 100..3_000_u64, 0..3_u64, bursts);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(600) });
    let check = |(algorithm, max, window_ms, latency_ms, bursts): (Algorithm, u64, u64, u64, Vec<Burst>)| {
        let charge = limit(algorithm, max, Duration::from_millis(window_ms));
        runtime().block_on(never_over(&charge, Duration::from_millis(latency_ms * 2), &bursts))
    };
    runner.run(&inputs, check).unwrap_or_else(|error| panic!("{error}"));
}

#[tokio::test(start_paused = true)]
async fn a_busy_limit_is_seldom_asked_for() {
    for algorithm in ALGORITHMS {
        let fleet = Fleet::new(1, Precision::Leased);
        fleet.shared.is_slow(Duration::from_millis(2));
        let charge = limit(algorithm, 1_000_000, MINUTE);
        for _ in 0..10_000 {
            assert!(admits(&fleet.hosts[0], &charge).await);
            advance(Duration::from_micros(100)).await;
        }
        let stats = fleet.hosts[0].stats();
        assert!(stats.lease_answers >= 9_800, "{algorithm}: {stats:?}");
        assert!(stats.draws <= 60, "{algorithm}: {stats:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_limit_is_used_by_hosts_that_want_more() {
    for algorithm in ALGORITHMS {
        let fleet = Fleet::new(4, Precision::Leased);
        fleet.shared.is_slow(Duration::from_millis(1));
        let charge = limit(algorithm, 2_000, MINUTE);
        let mut admitted = 0;
        for _ in 0..1_000 {
            for host in &fleet.hosts {
                admitted += u64::from(admits(host, &charge).await);
            }
        }
        let lost = fleet.stats(|stats| stats.shares_held);
        assert!((1_950..=2_400).contains(&admitted), "{algorithm}: {admitted}, {lost} held");
        assert!(fleet.stats(|stats| stats.lease_answers) > 1_000, "{algorithm}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_host_does_not_spend_fills_no_bucket_that_another_has_a_share_of() {
    let fleet = Fleet::new(3, Precision::Leased);
    // One token refills in a millisecond.
    let charge = limit(Algorithm::TokenBucket, 2_000, Duration::from_secs(2));
    let mut exact: Option<State> = None;
    let mut spend = async |host: usize, times: u64| {
        for _ in 0..times {
            let admitted = admits(&fleet.hosts[host], &charge).await;
            assert!(
                !admitted || oracle(&mut exact, &charge, fleet.now_us()),
                "{:?}",
                Duration::from_micros(fleet.now_us())
            );
        }
    };
    // The first one has a share, and the second one on top of it; then the first one has nothing to do.
    spend(0, 600).await;
    spend(1, 100).await;
    for _ in 0..11 {
        sleep(Duration::from_millis(75)).await;
        spend(1, 1).await;
    }
    assert!(fleet.hosts[1].stats().shares_held > 0);
    spend(2, 2_500).await;
    spend(1, 200).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_spent_is_given_back() {
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let fleet = Fleet::new(2, Precision::Leased);
        let charge = limit(algorithm, 1_000, MINUTE);
        for _ in 0..100 {
            assert!(admits(&fleet.hosts[0], &charge).await);
            advance(Duration::from_micros(100)).await;
        }
        assert!(fleet.stats(|stats| stats.shares_held) > 0, "{algorithm}");
        assert!(fleet.shared.left(&charge) < 900, "{algorithm}");
        sleep(Duration::from_millis(500)).await;
        assert_eq!((fleet.stats(|stats| stats.shares_held), fleet.shared.left(&charge)), (0, 900), "{algorithm}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stops_gives_back_and_one_that_is_killed_loses_its_share() {
    let fleet = Fleet::new(2, Precision::Leased);
    let charge = limit(Algorithm::FixedWindow, 1_000, MINUTE);
    for host in &fleet.hosts {
        for _ in 0..100 {
            assert!(admits(host, &charge).await);
            advance(Duration::from_micros(100)).await;
        }
    }
    let Fleet { shared, mut hosts, .. } = fleet;
    let (killed, stops) = (hosts.remove(0), hosts.remove(0));
    let lost = killed.stats().shares_held;
    drop(killed);
    stops.give_back().await;
    assert!((1..=200).contains(&lost), "{lost}");
    assert_eq!((stops.stats().shares_held, shared.left(&charge)), (0, 800 - lost));
    sleep(MINUTE).await;
    assert_eq!(shared.left(&charge), 1_000, "the next window knows nothing of it");
}

#[tokio::test(start_paused = true)]
async fn near_the_limit_every_charge_asks() {
    let fleet = Fleet::new(4, Precision::Leased);
    let charge = limit(Algorithm::FixedWindow, 30, MINUTE);
    for _ in 0..30 {
        assert!(admits(&fleet.hosts[0], &charge).await);
    }
    assert!(!admits(&fleet.hosts[0], &charge).await);
    assert_eq!(fleet.stats(|stats| stats.draws), 0, "30 is less than 2 for each of 4 hosts, and three times that");
}

#[tokio::test(start_paused = true)]
async fn a_list_spends_shares_and_asks_for_the_rest_and_is_whole() {
    let fleet = Fleet::new(1, Precision::Leased);
    let host = fleet.hosts[0].with_terms(Terms {
        precision: PrecisionRules::from(Precision::Exact).with("a", Precision::Leased),
        ..Terms::default()
    });
    let (leased, exact) = (limit(Algorithm::FixedWindow, 10_000, MINUTE), fixed("day", 300));
    let list = [leased.clone(), exact.clone()];
    let mut admitted = 0;
    for _ in 0..400 {
        let outcomes = host.charge(&list, SOON).outcomes().await.unwrap();
        assert_eq!(outcomes.len(), 2);
        admitted += u64::from(outcomes.iter().all(|outcome| outcome.allowed));
    }
    assert_eq!(admitted, 300);
    host.give_back().await;
    assert_eq!((fleet.shared.left(&leased), fleet.shared.left(&exact)), (9_700, 0), "refused lists took nothing");
    let stats = host.stats();
    assert!((stats.draws > 0, stats.lease_refusals) == (true, 100), "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_share_lasts_while_the_store_fails() {
    let fleet = Fleet::new(1, Precision::Leased);
    let charge = limit(Algorithm::FixedWindow, 10_000, MINUTE);
    for _ in 0..100 {
        assert!(admits(&fleet.hosts[0], &charge).await);
        advance(Duration::from_micros(100)).await;
    }
    let held = fleet.stats(|stats| stats.shares_held);
    fleet.shared.fails(FaultKind::Unavailable);
    let mut answered = 0;
    for _ in 0..1_000 {
        answered += u64::from(fleet.hosts[0].charge(std::slice::from_ref(&charge), SOON).outcomes().await.is_ok());
    }
    assert!(held > 10 && answered == held, "{answered} of {held}");
}
