//! A guard over a store whose faults the test chooses. The time of tokio stands still but where a test waits.

mod carry;
mod leases;
mod shared;

use std::num::NonZeroU32;

use self::shared::{Handle, Shared};
use super::*;
use crate::counter::{Algorithm, Mode};
use crate::model::{Charge, Limit, OnStoreFault, Precision, PrecisionRules, Quota, StoreFaultRules};
use crate::time::{ManualClock, Timestamp};

const SOON: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_secs(60);

struct Bench {
    shared: Arc<Shared>,
    clock: ManualClock,
    guard: Guard,
}

impl Bench {
    fn new(hosts: u32) -> Self {
        let clock = ManualClock::at(Timestamp::from_micros(1_700_000_040_000_000));
        let shared = Arc::new(Shared::new(Arc::new(clock.clone())));
        let options =
            GuardOptions { hosts: NonZeroU32::new(hosts).unwrap(), patience: SOON, ..GuardOptions::default() };
        let guard = Guard::new(Arc::new(Handle(Arc::clone(&shared))), Arc::new(clock.clone()), options);
        Self { shared, clock, guard }
    }

    fn with_rules(self, rules: impl Into<StoreFaultRules>) -> Self {
        let guard = self.guard.with_terms(Terms { on_store_fault: rules.into(), ..Terms::default() });
        Self { guard, ..self }
    }

    async fn take(&self, charges: &[Charge]) -> Outcomes {
        self.guard.charge(charges, SOON).outcomes().await
    }

    /// Whether each of so many charges of 1 is admitted: how many are.
    async fn admitted(&self, charge: &Charge, times: u64) -> u64 {
        let mut admitted = 0;
        for _ in 0..times {
            admitted +=
                self.take(std::slice::from_ref(charge)).await.map_or(0, |outcomes| u64::from(outcomes[0].allowed));
        }
        admitted
    }

    /// What is left of a counter in the shared store.
    fn left(&self, charge: &Charge) -> u64 {
        self.shared.left(charge)
    }

    /// Waits until the circuit is closed and all is carried back.
    async fn recovered(&self) {
        while self.guard.stats().circuit_open || self.guard.stats().owed_counters > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn charge(id: &str, algorithm: Algorithm, max: u64) -> Charge {
    let limit = Limit::new(id, algorithm, Quota { max, window: MINUTE, burst: max }).unwrap();
    Charge { key: format!("r:{{t}}:{id}"), limit, cost: 1, mode: Mode::Enforce, holder: 0 }
}

fn fixed(id: &str, max: u64) -> Charge {
    charge(id, Algorithm::FixedWindow, max)
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_answers_at_once_and_closes_as_soon_as_the_store_is_back() {
    let bench = Bench::new(1);
    bench.shared.fails(FaultKind::Unavailable);
    for _ in 0..5 {
        assert_eq!(bench.take(&[fixed("a", 9)]).await.unwrap_err().message, "as told");
    }
    let asked = bench.shared.asked();
    let began = Instant::now();
    let list = [fixed("a", 9)];
    let Reply::Ready(Err(fault)) = bench.guard.charge(&list, SOON) else { panic!("it asks the store") };
    assert_eq!(fault.kind, FaultKind::Unavailable);
    assert!(fault.message.starts_with("not asked: the circuit is open since 5 of 5 calls failed"), "{fault}");
    assert_eq!((bench.shared.asked(), began.elapsed()), (asked, Duration::ZERO));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let probes = bench.shared.asked() - asked;
    assert!((150..=252).contains(&probes), "{probes} probes in 10 s");
    bench.shared.fails(None);
    let back = Instant::now();
    bench.recovered().await;
    assert!(back.elapsed() <= Duration::from_millis(101), "{:?}", back.elapsed());
    assert_eq!(bench.admitted(&fixed("a", 9), 1).await, 1);
    assert_eq!((bench.guard.stats().circuit_opened, bench.guard.stats().circuit_refused), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_probe_ends_with_the_guard() {
    let Bench { shared, guard, .. } = Bench::new(1);
    shared.fails(FaultKind::Refused);
    for _ in 0..5 {
        guard.charge(&[fixed("a", 9)], SOON).outcomes().await.unwrap_err();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(guard);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let asked = shared.asked();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(shared.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn only_the_stores_own_faults_open_the_circuit() {
    for kind in [FaultKind::Poisoned, FaultKind::Invalid, FaultKind::OverBudget] {
        let bench = Bench::new(1);
        bench.shared.fails(kind);
        bench.admitted(&fixed("a", 9), 20).await;
        assert!(!bench.guard.stats().circuit_open, "{}", kind.name());
    }
    let bench = Bench::new(1);
    bench.shared.fails(FaultKind::Timeout);
    for _ in 0..20 {
        bench.guard.charge(&[fixed("a", 9)], SOON / 3).outcomes().await.unwrap_err();
    }
    assert!(!bench.guard.stats().circuit_open, "those who came late");
    bench.admitted(&fixed("a", 9), 5).await;
    assert!(bench.guard.stats().circuit_open, "those who came in time");
}

#[tokio::test(start_paused = true)]
async fn a_host_counts_by_itself_with_its_share() {
    for (max, hosts, share) in [(10, 1, 10), (10, 3, 3), (2, 5, 1)] {
        for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket] {
            let bench = Bench::new(hosts).with_rules(OnStoreFault::Local);
            bench.shared.fails(FaultKind::Unavailable);
            let admitted = bench.admitted(&charge("a", algorithm, max), 20).await;
            assert_eq!(admitted, share, "{max} by {hosts}, {algorithm}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_local_bucket_refills_at_its_share_of_the_rate() {
    let bench = Bench::new(4).with_rules(OnStoreFault::Local);
    bench.shared.fails(FaultKind::Unavailable);
    // Two a minute, for four hosts: one every two minutes each.
    let bucket = charge("a", Algorithm::TokenBucket, 2);
    let mut admitted = 0;
    for _ in 0..20 {
        admitted += bench.admitted(&bucket, 3).await;
        bench.clock.advance(MINUTE);
    }
    assert_eq!(admitted, 10);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_now_and_then_grants_no_share_each_time() {
    let bench = Bench::new(2).with_rules(OnStoreFault::Local);
    let mut admitted = 0;
    for round in 0..40 {
        bench.shared.fails((round % 4 == 0).then_some(FaultKind::Unavailable));
        admitted += bench.admitted(&fixed("a", 10), 1).await;
    }
    assert!((10..=15).contains(&admitted), "{admitted}: the limit and a share");
    bench.recovered().await;
    assert_eq!(bench.left(&fixed("a", 10)), 0);
}

#[tokio::test(start_paused = true)]
async fn each_limit_has_its_own_answer() {
    let rules = || StoreFaultRules::from(OnStoreFault::Allow).with("local", OnStoreFault::Local);
    let bench = Bench::new(1).with_rules(rules());
    bench.shared.fails(FaultKind::Unavailable);
    let list = [fixed("local", 2), fixed("allow", 1)];
    let mut told = Vec::new();
    for _ in 0..3 {
        let outcomes = bench.take(&list).await.unwrap();
        told.push((outcomes[0].allowed, outcomes[0].remaining, outcomes[1].allowed, outcomes[1].remaining));
    }
    assert_eq!(told, [(true, 1, true, 1), (true, 0, true, 1), (false, 0, true, 1)]);

    let bench = Bench::new(1).with_rules(rules().with("deny", OnStoreFault::Deny));
    bench.shared.fails(FaultKind::Unavailable);
    let list = [fixed("local", 2), fixed("deny", 1)];
    for _ in 0..3 {
        let outcomes = bench.take(&list).await.unwrap();
        assert_eq!((outcomes[0].allowed, outcomes[0].remaining), (true, 2), "a refused list takes nothing");
        assert_eq!((outcomes[1].allowed, outcomes[1].remaining), (false, 0));
        assert_eq!(outcomes[1].retry_after, Some(Duration::from_secs(1)));
    }
    assert_eq!(bench.guard.stats().owed_counters, 0);
}

#[tokio::test(start_paused = true)]
async fn who_answers_in_spite_of_a_fault_says_so() {
    let charges = [fixed("a", 9)];
    let bench = Bench::new(1).with_rules(OnStoreFault::Local);
    for kind in [None, Some(FaultKind::Refused), Some(FaultKind::Poisoned)] {
        bench.shared.fails(kind);
        let fault = std::sync::OnceLock::new();
        let list = List { charges: &charges, within: SOON, once: None, fault: Some(&fault) };
        bench.guard.take(list).outcomes().await.unwrap();
        assert_eq!(fault.get().map(|fault| fault.kind), kind);
    }
}

#[tokio::test(start_paused = true)]
async fn where_all_limits_are_answered_alike_the_fault_is_told() {
    for rule in [OnStoreFault::Allow, OnStoreFault::Deny] {
        let bench = Bench::new(1).with_rules(rule);
        bench.shared.fails(FaultKind::Denied);
        assert_eq!(bench.take(&[fixed("a", 9)]).await.unwrap_err().kind, FaultKind::Denied);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_asked_for_again_until_it_is_over() {
    let bench = Bench::new(1);
    let list = [fixed("a", 3), fixed("b", 100)];
    for _ in 0..4 {
        bench.take(&list).await.unwrap();
    }
    let asked = bench.shared.asked();
    for round in 1..=9 {
        bench.clock.advance(Duration::from_millis(100));
        let Reply::Ready(Ok(outcomes)) = bench.guard.charge(&list, SOON) else { panic!("it asks the store") };
        let told: Vec<(bool, u64)> = outcomes.iter().map(|outcome| (outcome.allowed, outcome.remaining)).collect();
        assert_eq!(told, [(false, 0), (true, 97)]);
        assert_eq!(outcomes[0].retry_after, Some(MINUTE - Duration::from_millis(100) * round));
    }
    assert_eq!((bench.shared.asked(), bench.guard.stats().refusals_answered), (asked, 9));
    bench.clock.advance(Duration::from_millis(100));
    bench.take(&list).await.unwrap();
    assert_eq!(bench.shared.asked(), asked + 1, "after a second it asks again");
    let once = List { charges: &list, within: SOON, once: Some("once"), fault: None };
    bench.guard.take(once).outcomes().await.unwrap();
    assert_eq!(bench.shared.asked(), asked + 2, "the store is to remember its answer");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_rule_is_not_remembered() {
    let bench = Bench::new(1).with_rules(StoreFaultRules::from(OnStoreFault::Allow).with("a", OnStoreFault::Deny));
    bench.shared.fails(FaultKind::Unavailable);
    assert_eq!(bench.admitted(&fixed("a", 3), 2).await, 0);
    bench.shared.fails(None);
    assert_eq!(bench.admitted(&fixed("a", 3), 1).await, 1);
}
