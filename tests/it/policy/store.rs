//! Stores that must be waited for, some of them in vain.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tollgate::store::{List, Memory, Reply, Store};
use tollgate::{
    Fault, FaultKind, OnFault, PolicyFaultKind, Request, Settled, Settlement, Source, SystemClock, Tollgate, Verdict,
};
use tollgate_tests::guests::{Guest, named};

use super::{in_time, request};

/// A store that keeps its caller waiting.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    counters: Arc<Memory>,
    manner: Arc<AtomicU8>,
}

const ANSWERS: u8 = 0;
const TIMES_OUT: u8 = 1;
const HANGS: u8 = 2;

impl Remote {
    /// One that answers by `counters` when it is waited for.
    pub(crate) fn answering(counters: Memory) -> Self {
        Self { counters: Arc::new(counters), manner: Arc::new(AtomicU8::new(ANSWERS)) }
    }

    fn set(&self, manner: u8) {
        self.manner.store(manner, Ordering::Relaxed);
    }
}

impl Store for Remote {
    fn take<'a>(&'a self, list: List<'a>) -> Reply<'a> {
        let within = list.within;
        Reply::Pending(match self.manner.load(Ordering::Relaxed) {
            ANSWERS => Box::pin(async move {
                tokio::task::yield_now().await;
                self.counters.take(list).outcomes().await
            }),
            TIMES_OUT => Box::pin(async move {
                tokio::time::sleep(within).await;
                Err(Fault::new(FaultKind::Timeout, "no answer"))
            }),
            _ => Box::pin(pending()),
        })
    }

    fn settle<'a>(&'a self, settlement: &'a Settlement, within: Duration) -> Reply<'a, Settled> {
        self.counters.settle(settlement, within)
    }
}

async fn honest_gate(store: &Remote) -> Tollgate {
    let (denies, allows) = (Guest::HONEST.tier(OnFault::Deny), Guest::HONEST.tier(OnFault::Deny));
    Tollgate::builder()
        .deadline(super::DEADLINE)
        .store(store.clone())
        .tier("denies", tollgate::TierPlan { on_store_fault: OnFault::Deny.into(), ..denies })
        .tier("allows", tollgate::TierPlan { on_store_fault: OnFault::Allow.into(), ..allows })
        .build()
        .await
        .unwrap()
}

fn remote() -> Remote {
    Remote::answering(Memory::new(SystemClock::new()))
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_answered_for_in_time() {
    let store = remote();
    let gate = honest_gate(&store).await;
    store.set(TIMES_OUT);
    for (tier, verdict) in [("denies", Verdict::Deny), ("allows", Verdict::Allow)] {
        let decision = in_time(&gate, tier, "").await;
        assert_eq!((decision.source, decision.verdict), (Source::StoreFault(FaultKind::Timeout), verdict));
    }
    store.set(ANSWERS);
    super::decides_honestly(&gate, "denies", 0).await;
}

#[tokio::test]
async fn a_guest_that_asks_a_slow_store_again_and_again_is_answered_in_time() {
    let store = remote();
    let builder = Tollgate::builder().deadline(super::DEADLINE).store(store.clone());
    let gate = builder.tier("slow", named("holds-the-fiber").tier(OnFault::Deny)).build().await.unwrap();
    store.set(TIMES_OUT);
    let decision = in_time(&gate, "slow", "/again").await;
    // After some decisions that were late the gate asks such a store no more.
    assert!(matches!(decision.source, Source::StoreFault(FaultKind::Timeout | FaultKind::Unavailable)), "{decision:?}");
}

#[tokio::test]
async fn a_decision_that_is_given_up_leaves_the_gate_as_it_was() {
    let store = remote();
    let gate = honest_gate(&store).await;
    store.set(HANGS);
    for _ in 0..100 {
        let request = request("denies", "");
        let mut decision = Box::pin(gate.decide(&request));
        assert!(decision.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    store.set(ANSWERS);
    super::decides_honestly(&gate, "denies", 0).await;
}

/// Decides by a guest whose instance counts how often it is called: `cost` is what it charges by that.
async fn counting(cost: &str) -> (Tollgate, tollgate::Decision) {
    let module = "(global $seen (mut i32) (i32.const 0))";
    let evil = format!(
        "(global.set $seen (i32.add (global.get $seen) (i32.const 1)))
        (i64.store offset=56 (call $charge (i32.const 0)) (i64.extend_i32_u {cost})) (return (call $decided (i32.const 1)))"
    );
    let guest = Guest { module, evil: &evil, ..Guest::HONEST };
    let builder = Tollgate::builder().deadline(super::DEADLINE).store(remote());
    let gate = builder.tier("counting", guest.tier(OnFault::Deny)).build().await.unwrap();
    let decision = in_time(&gate, "counting", "/count").await;
    (gate, decision)
}

#[tokio::test]
async fn a_guest_that_asks_for_something_else_when_it_is_called_again_is_nonsense() {
    let (_, decision) = counting("(global.get $seen)").await;
    assert_eq!(decision.source, Source::PolicyFault(PolicyFaultKind::Nonsense), "{decision:?}");
    assert_eq!(decision.verdict, Verdict::Deny);
}

#[tokio::test]
async fn a_guest_is_called_again_when_the_store_has_answered_and_charges_once() {
    let (gate, decision) = counting("(i32.add (i32.mul (global.get $seen) (i32.const 0)) (i32.const 7))").await;
    assert_eq!((decision.source, decision.verdict), (Source::Policy, Verdict::Allow), "{decision:?}");
    let before = decision.limits[0].outcome.remaining;
    let decision = gate.decide(&request("counting", "/count")).await;
    assert_eq!(decision.limits[0].outcome.remaining, before - 7);
}

#[tokio::test]
async fn a_decision_moves_between_threads() {
    fn movable<T: Send>(future: T) -> T {
        future
    }
    let gate = honest_gate(&remote()).await;
    let request = Request::new("acme", "alice").unwrap().with_tier("denies").unwrap();
    assert!(movable(gate.decide(&request)).await.is_allowed());
}
