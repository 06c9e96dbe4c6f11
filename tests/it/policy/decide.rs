//! What a guest does while it decides.

use std::time::Duration;

use tokio::task::JoinSet;
use tollgate::PolicyFaultKind::{self, Budget, Error, Nonsense, Stack, Time, Trap};
use tollgate::store::Memory;
use tollgate::{OnFault, Source, SystemClock, Tollgate, Verdict};

use super::guest::Guest;
use super::store::Remote;
use super::{contains, contains_guest, decides_honestly, request};

const SPIN: &str = "(loop $again (br $again))";
/// Asks what is left, having noted at 3000 that the room the host asks for next is for the outcomes.
const ASKS_AND_REMEMBERS: &str = "(i32.store (i32.const 3000) (i32.const 1))
    (i64.store offset=56 (call $charge (i32.const 0)) (i64.const 0)) (return (call $decided (i32.const 1)))";
/// With room for more than may be copied.
const ROOMY: Guest<'static> = Guest { name: "evil", pages: "32", ..Guest::HONEST };

#[tokio::test]
async fn an_endless_loop_ends_with_its_time() {
    contains(SPIN, Time).await;
}

#[tokio::test]
async fn a_loop_of_bulk_instructions_ends_with_its_time() {
    let evil = "(loop $again (memory.fill (i32.const 65536) (i32.const 1) (i32.const 2000000)) (br $again))";
    contains_guest(&Guest { evil, ..ROOMY }, Time).await;
}

#[tokio::test]
async fn a_loop_of_host_calls_ends_with_its_time() {
    contains("(loop $again (call $write (i32.const 0) (i32.const 0) (i32.const 0)) (br $again))", Time).await;
}

#[tokio::test]
async fn a_guest_that_spins_when_it_has_answered_ends_with_its_time() {
    let guest = Guest {
        name: "evil",
        evil: "(global.set $spins (i32.const 1)) (return (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))",
        module: "(global $spins (mut i32) (i32.const 0))",
        after: "(if (global.get $spins) (then (loop $again (br $again))))",
        ..Guest::HONEST
    };
    contains_guest(&guest, Time).await;
}

#[tokio::test]
async fn a_guest_that_spins_when_the_host_hands_over_outcomes_ends_with_its_time() {
    let evil = ASKS_AND_REMEMBERS;
    let realloc = "(if (i32.load (i32.const 3000)) (then (loop $again (br $again))))";
    contains_guest(&Guest { name: "evil", evil, realloc, ..Guest::HONEST }, Time).await;
}

#[tokio::test]
async fn endless_recursion_ends_with_its_stack() {
    let module = "(func $recurse (param i64) (result i64) (i64.add (call $recurse (local.get 0)) (i64.const 1)))";
    let evil = "(drop (call $recurse (i64.const 1)))";
    contains_guest(&Guest { name: "evil", evil, module, ..Guest::HONEST }, Stack).await;
}

#[tokio::test]
async fn memory_ends_at_its_bound() {
    contains(
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (unreachable)",
        PolicyFaultKind::Memory,
    )
    .await;
}

#[tokio::test]
async fn memory_that_is_asked_for_at_once_is_not_given() {
    contains(
        "(drop (memory.grow (i32.const 65000))) (i32.store8 (i32.const 4194304) (i32.const 1))",
        PolicyFaultKind::Memory,
    )
    .await;
}

#[tokio::test]
async fn a_guest_that_makes_do_with_its_memory_decides() {
    let evil = "(drop (memory.grow (i32.const 65000)))";
    let gate = gate(&Guest { name: "thrifty", evil, ..Guest::HONEST }).await;
    assert_eq!(gate.decide(&request("denies", "/evil")).await.source, Source::Policy);
}

#[tokio::test]
async fn tables_end_at_their_bound() {
    let module = "(table $hoard 1 funcref)";
    let evil = "(loop $again (br_if $again (i32.ne (table.grow $hoard (ref.null func) (i32.const 100)) (i32.const -1)))) (unreachable)";
    contains_guest(&Guest { name: "evil", evil, module, ..Guest::HONEST }, PolicyFaultKind::Memory).await;
}

#[tokio::test]
async fn handles_end_at_their_bound() {
    let evil = "(loop $next (drop (call $token (i32.const 1)))
        (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 65))))";
    contains(evil, Trap).await;
}

#[tokio::test]
async fn an_answer_of_a_megabyte_is_not_copied() {
    let evil = "(return (call $verdict (i32.const 0) (i32.const 65536) (i32.const 1048576)))";
    contains_guest(&Guest { evil, ..ROOMY }, Budget).await;
}

#[tokio::test]
async fn many_list_entries_of_the_same_bytes_are_copied_only_up_to_the_bound() {
    // 8,000 times the pair at 65536, whose name and value are the same 256 bytes.
    let evil = "(loop $next
          (i32.store (i32.add (i32.const 65536) (local.get $at)) (i32.const 1048576))
          (i32.store offset=4 (i32.add (i32.const 65536) (local.get $at)) (i32.const 256))
          (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 128000))))
        (drop (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))
        (i32.store (i32.const 1056) (i32.const 65536))
        (i32.store (i32.const 1060) (i32.const 8000))
        (return (i32.const 1024))";
    contains_guest(&Guest { evil, ..ROOMY }, Budget).await;
}

#[tokio::test]
async fn a_reason_over_its_length_is_nonsense() {
    contains("(return (call $verdict (i32.const 0) (i32.const 8192) (i32.const 600)))", Nonsense).await;
}

#[tokio::test]
async fn too_many_attributes_are_nonsense() {
    let evil = "(drop (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))
        (memory.fill (i32.const 8192) (i32.const 0) (i32.const 272))
        (i32.store (i32.const 1056) (i32.const 8192)) (i32.store (i32.const 1060) (i32.const 17)) (return (i32.const 1024))";
    contains(evil, Nonsense).await;
}

#[tokio::test]
async fn an_attribute_over_its_length_is_nonsense() {
    let evil = "(drop (call $verdict (i32.const 0) (i32.const 0) (i32.const 0)))
        (memory.fill (i32.const 8192) (i32.const 0) (i32.const 16)) (i32.store (i32.const 8204) (i32.const 257))
        (i32.store (i32.const 1056) (i32.const 8192)) (i32.store (i32.const 1060) (i32.const 1)) (return (i32.const 1024))";
    contains(evil, Nonsense).await;
}

#[tokio::test]
async fn a_verdict_of_a_later_version_is_nonsense() {
    let evil = "(drop (call $verdict (i32.const 3) (i32.const 0) (i32.const 0)))
        (i32.store (i32.const 1040) (i32.const 2307)) (i32.store (i32.const 1044) (i32.const 5)) (return (i32.const 1024))";
    contains(evil, Nonsense).await;
}

#[tokio::test]
async fn a_verdict_of_no_version_is_a_trap() {
    contains("(return (call $verdict (i32.const 9) (i32.const 0) (i32.const 0)))", Trap).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_a_trap() {
    let evil = "(i32.store (i32.const 3000) (i32.const 0xfffefdfc)) (return (call $verdict (i32.const 0) (i32.const 3000) (i32.const 4)))";
    contains(evil, Trap).await;
}

#[tokio::test]
async fn a_text_outside_of_memory_is_a_trap() {
    contains("(return (call $verdict (i32.const 0) (i32.const 65530) (i32.const 100)))", Trap).await;
}

#[tokio::test]
async fn an_answer_outside_of_memory_is_a_trap() {
    contains("(return (i32.const -8))", Trap).await;
}

#[tokio::test]
async fn an_answer_that_is_not_aligned_is_a_trap() {
    contains("(return (i32.const 1025))", Trap).await;
}

#[tokio::test]
async fn room_for_outcomes_outside_of_memory_is_a_trap() {
    let evil = ASKS_AND_REMEMBERS;
    let realloc = "(if (i32.load (i32.const 3000)) (then (return (i32.const 0x7ffffff0))))";
    contains_guest(&Guest { name: "evil", evil, realloc, ..Guest::HONEST }, Trap).await;
}

#[tokio::test]
async fn arithmetic_that_has_no_result_is_a_trap() {
    contains("(drop (i32.div_u (i32.const 1) (i32.const 0)))", Trap).await;
}

#[tokio::test]
async fn an_error_of_the_policy_is_a_fault() {
    contains("(return (call $fail (i32.const 2307) (i32.const 5)))", Error).await;
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

/// In batches, of which the best counts: other tests of the process take memory too.
#[tokio::test]
async fn trapping_instances_leave_no_memory_behind() {
    let evil = "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 1000000)) (unreachable)";
    let gate = gate(&Guest { evil, ..ROOMY }).await;
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
