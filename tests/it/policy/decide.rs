//! What a guest does while it decides.

use std::time::Duration;

use tokio::task::JoinSet;
use tollgate::PolicyFaultKind::{Quarantine, Time, Trap};
use tollgate::store::Memory;
use tollgate::{OnFault, Request, Source, SystemClock, Tollgate, Verdict};
use tollgate_tests::guests::{Guest, named};

use super::store::Remote;
use super::{decides_honestly, gates_of, request};

#[tokio::test]
async fn a_guest_that_makes_do_with_its_memory_decides() {
    let evil = "(drop (memory.grow (i32.const 65000)))";
    let gate = gate(&Guest { name: "thrifty", evil, ..Guest::HONEST }).await;
    assert_eq!(gate.decide(&request("denies", "/evil")).await.source, Source::Policy);
}

#[tokio::test]
async fn a_guest_that_traps_every_other_time_is_replaced_every_time() {
    let evil = "(if (i32.eq (global.get $calls) (i32.const 2)) (then (unreachable)))";
    let gate = gate(&Guest { name: "evil", evil, ..Guest::HONEST }).await;
    for round in 0..5 {
        let sound = gate.decide(&request("denies", "/evil")).await;
        assert_eq!((sound.source, sound.verdict), (Source::Policy, Verdict::Allow), "round {round}");
        let trapped = gate.decide(&request("denies", "/evil")).await;
        assert_eq!((trapped.source, trapped.verdict), (Source::PolicyFault(Trap), Verdict::Deny), "round {round}");
    }
    decides_honestly(&gate, "honest", 0).await;
}

#[tokio::test]
async fn a_new_instance_remembers_nothing_of_one_that_trapped() {
    // Deny where the memory of an earlier instance shows through.
    let evil =
        "(if (i32.load (i32.const 40000)) (then (return (call $verdict (i32.const 2) (i32.const 0) (i32.const 0)))))
        (i32.store (i32.const 40000) (i32.const 1)) (unreachable)";
    let gate = gate(&Guest { name: "evil", evil, ..Guest::HONEST }).await;
    for _ in 0..100 {
        assert_eq!(gate.decide(&request("allows", "/evil")).await.source, Source::PolicyFault(Trap));
    }
}

#[tokio::test]
async fn a_policy_that_spins_twice_for_a_tenant_is_not_asked_for_it_a_third_time() {
    for gate in gates_of(&named("spins").tier(OnFault::Deny)).await {
        let fault = |kind| (Source::PolicyFault(kind), Verdict::Deny);
        let mut answers = Vec::new();
        // On a machine that is busy with other things, it may be late before it has spun for its time: then it is not blamed.
        while answers.last() != Some(&fault(Quarantine)) && answers.len() < 20 {
            let decision = gate.decide(&request("denies", "/evil")).await;
            answers.push((decision.source, decision.verdict));
        }
        let (last, before) = answers.split_last().unwrap();
        assert!(*last == fault(Quarantine) && before.len() >= 2, "{answers:?}");
        assert!(before.iter().all(|answer| *answer == fault(Time)), "{answers:?}");
        // Not even what would do no harm; but all that is another's.
        assert_eq!(gate.decide(&request("denies", "")).await.source, Source::PolicyFault(Quarantine));
        decides_honestly(&gate, "allows", 0).await;
        let other = Request::new("globex", "bob").unwrap().with_tier("denies").unwrap();
        assert_eq!(gate.decide(&other).await.source, Source::Policy);
    }
}

#[tokio::test]
async fn a_policy_that_traps_again_and_again_is_asked_again_and_again() {
    let gate = gate(&Guest { evil: "(unreachable)", ..Guest::HONEST }).await;
    for _ in 0..10 {
        assert_eq!(gate.decide(&request("denies", "/evil")).await.source, Source::PolicyFault(Trap));
    }
    decides_honestly(&gate, "denies", 0).await;
}

/// In batches, of which the best counts: other tests of the process take memory too.
#[tokio::test]
async fn trapping_instances_leave_no_memory_behind() {
    let evil = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 1000000)) (unreachable)";
    let gate = gate(&Guest { name: "evil", pages: "32", evil, ..Guest::HONEST }).await;
    let mut least = usize::MAX;
    for _ in 0..5 {
        let before = resident_kib();
        for _ in 0..400 {
            assert_eq!(gate.decide(&request("denies", "/evil")).await.source, Source::PolicyFault(Trap));
        }
        least = least.min(resident_kib().saturating_sub(before));
    }
    assert!(least < 2048, "400 instances left {least} KiB behind");
}

fn resident_kib() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

/// The gate over a store that answers at once.
async fn gate(guest: &Guest<'_>) -> Tollgate {
    let [gate, _] = super::gates(guest).await;
    gate
}

/// More instances than the engine holds at once: the warm ones of many policies must give way to one that is needed now.
#[tokio::test]
async fn warm_instances_of_many_policies_leave_room_for_another() {
    let tiers = 40;
    let store = Remote::answering(Memory::new(SystemClock::new()));
    let builder = Tollgate::builder().store(store).deadline(Duration::from_secs(5));
    let plan = Guest::HONEST.tier(OnFault::Deny);
    let gate =
        (0..tiers).fold(builder, |builder, tier| builder.tier(tier.to_string(), plan.clone())).build().await.unwrap();
    for tier in 0..tiers {
        let mut decisions = JoinSet::new();
        for _ in 0..64 {
            let gate = gate.clone();
            decisions.spawn(async move { gate.decide(&request(&tier.to_string(), "")).await.source });
        }
        let sources = decisions.join_all().await;
        assert!(sources.iter().all(|source| *source == Source::Policy), "tier {tier}: {sources:?}");
    }
}
