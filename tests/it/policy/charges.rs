//! What a guest may charge, and what it is told when it may not.

use tollgate::PolicyFaultKind::{self, Budget, Nonsense};
use tollgate::store::Memory;
use tollgate::{Decision, OnFault, Request, Source, SystemClock, TierPlan, Tollgate, Verdict};
use tollgate_tests::guests::Guest;

use super::{contains, gates, request};

/// A guest that changes an honest charge, whose address is in `$at`, before it makes it.
fn charging(change: &str) -> String {
    format!("(local.set $at (call $charge (i32.const 0))) {change} (return (call $decided (i32.const 1)))")
}

/// A charge changed like this is a fault of this kind, and the guest is told exactly this.
async fn refuses(change: &str, fault: PolicyFaultKind, told: &str) {
    refuses_all(&charging(change), fault, told).await;
}

async fn refuses_all(evil: &str, fault: PolicyFaultKind, told: &str) {
    let guest = Guest { name: "evil", pages: "32", evil, ..Guest::HONEST };
    contains(&guest.tier(OnFault::Deny), fault).await;
    for gate in gates(&guest).await {
        // The guest reads out what it is told instead of failing by it.
        let decision = gate.decide(&request("denies", "/evil").with_cost(2).unwrap()).await;
        assert_eq!((decision.source, decision.reason.as_str()), (Source::Policy, told));
    }
}

#[tokio::test]
async fn a_limit_that_cannot_be_counted_is_nonsense() {
    let limits = [
        ("(i64.store offset=24 (local.get $at) (i64.const 0))", "limit `limit`: max 0 is not 1 to 1000000000"),
        (
            "(i64.store offset=24 (local.get $at) (i64.const -1))",
            "limit `limit`: max 18446744073709551615 is not 1 to 1000000000",
        ),
        ("(i64.store offset=32 (local.get $at) (i64.const 0))", "limit `limit`: window 0s is not 1ms to 366d"),
        (
            "(i64.store offset=32 (local.get $at) (i64.const -1))",
            "limit `limit`: window 18446744073709551615us is not 1ms to 366d",
        ),
    ];
    for (change, problem) in limits {
        refuses(change, Nonsense, problem).await;
    }
}

#[tokio::test]
async fn a_limit_without_a_proper_id_is_nonsense() {
    refuses(
        "(i32.store offset=4 (local.get $at) (i32.const 0))",
        Nonsense,
        "limit id `` is not 1 to 64 of A-Z a-z 0-9 . _ -",
    )
    .await;
    let braces = "(i32.store (i32.const 3000) (i32.const 0x7d2a7b)) (i32.store (local.get $at) (i32.const 3000)) \
                  (i32.store offset=4 (local.get $at) (i32.const 3))";
    refuses(braces, Nonsense, "limit id `{*}` is not 1 to 64 of A-Z a-z 0-9 . _ -").await;
}

#[tokio::test]
async fn a_way_of_counting_that_the_host_does_not_know_is_nonsense() {
    let other = "(i32.store8 offset=8 (local.get $at) (i32.const 5)) (i32.store (i32.const 3000) (i32.const 0x1b6965))
        (i32.store offset=12 (local.get $at) (i32.const 3000)) (i32.store offset=16 (local.get $at) (i32.const 3))";
    refuses(other, Nonsense, "algorithm: this host does not know `ei\\u{1b}`").await;
}

#[tokio::test]
async fn a_mode_that_the_host_does_not_know_is_nonsense() {
    let other = "(i32.store8 offset=64 (local.get $at) (i32.const 3))
        (i32.store offset=68 (local.get $at) (i32.const 2312)) (i32.store offset=72 (local.get $at) (i32.const 3))";
    refuses(other, Nonsense, "mode: this host does not know `key`").await;
}

#[tokio::test]
async fn a_reservation_out_of_its_range_is_nonsense() {
    let held = "(i32.store8 offset=80 (local.get $at) (i32.const 1))";
    refuses(held, Nonsense, "hold-ms: 0 is not 1 to 86400000").await;
    let long = format!("{held} (i64.store offset=88 (local.get $at) (i64.const 86400001))");
    refuses(&long, Nonsense, "hold-ms: 86400001 is not 1 to 86400000").await;
}

#[tokio::test]
async fn a_calendar_that_there_is_not_is_nonsense() {
    // The text is what the configuration calls the limit, `limit`.
    let calendar =
        "(i32.store8 offset=8 (local.get $at) (i32.const 4)) (i32.store offset=12 (local.get $at) (i32.const 2307))
        (i32.store offset=16 (local.get $at) (i32.const 5))";
    refuses(calendar, Nonsense, "calendar `limit` does not begin with day, week or month").await;
}

#[tokio::test]
async fn more_slots_than_are_kept_are_nonsense() {
    let slots =
        "(i32.store8 offset=8 (local.get $at) (i32.const 3)) (i64.store offset=24 (local.get $at) (i64.const 1001))";
    refuses(slots, Nonsense, "limit `limit`: max 1001 is not 1 to 1000 slots").await;
}

#[tokio::test]
async fn an_algorithm_by_name_is_known_by_its_whole_name() {
    for (text, told) in [
        ("delay", "algorithm: this host does not know `delay`"),
        ("delay x", "algorithm: this host does not know `delay x`"),
        ("delay 3600001", "limit `limit`: a longest wait of 3600001ms is over 1h"),
        ("delay 99999999999999999999", "algorithm: this host does not know `delay 99999999999999999999`"),
    ] {
        let module = format!("(data (i32.const 2400) {text:?})");
        let by_name = format!(
            "(i32.store8 offset=8 (local.get $at) (i32.const 5)) (i32.store offset=12 (local.get $at) (i32.const 2400)) \
             (i32.store offset=16 (local.get $at) (i32.const {}))",
            text.len()
        );
        let evil = charging(&by_name);
        let guest = Guest { name: "evil", evil: &evil, module: &module, ..Guest::HONEST };
        for gate in gates(&guest).await {
            let decision = gate.decide(&request("denies", "/evil").with_cost(2).unwrap()).await;
            assert_eq!((decision.source, decision.reason.as_str()), (Source::Policy, told));
        }
    }
}

#[tokio::test]
async fn a_key_over_its_length_is_nonsense() {
    let long = "(memory.fill (i32.const 8192) (i32.const 97) (i32.const 129)) (i32.store offset=48 (local.get $at) (i32.const 8192))
        (i32.store offset=52 (local.get $at) (i32.const 129))";
    refuses(long, Nonsense, "key: 129 bytes; at most 128").await;
}

#[tokio::test]
async fn a_key_with_a_control_character_is_nonsense() {
    for control in ["0x0a", "0x00", "0x1b", "0x7f"] {
        let change = format!(
            "(i32.store8 (i32.const 3000) (i32.const {control})) (i32.store offset=48 (local.get $at) (i32.const 3000)) \
             (i32.store offset=52 (local.get $at) (i32.const 1))"
        );
        refuses(&change, Nonsense, "key: holds a control character").await;
    }
}

#[tokio::test]
async fn charges_of_a_decision_are_counted() {
    let nine = "(loop $next (drop (call $charge (local.get $at)))
          (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 9))))
        (return (call $decided (i32.const 9)))";
    refuses_all(nine, Budget, "9 charges in one decision; at most 8").await;
}

#[tokio::test]
async fn calls_of_a_decision_are_counted() {
    let nine = "(loop $next (call $charge-all (i32.const 4096) (i32.const 0) (i32.const 1152))
          (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 8))))
        (return (call $decided (i32.const 0)))";
    refuses_all(nine, Budget, "more than 8 calls to charge-all in one decision").await;
}

#[tokio::test]
async fn eight_charges_in_eight_calls_are_within_the_budget() {
    let eight = "(drop (call $charge (i32.const 0))) (loop $next (drop (call $decided (i32.const 1)))
          (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 8))))
        (return (i32.const 1024))";
    for decision in decisions(eight).await {
        let remaining: Vec<u64> = decision.limits.iter().map(|charged| charged.outcome.remaining).collect();
        assert_eq!((decision.source, remaining), (Source::Policy, (992..1000).rev().collect()));
    }
}

#[tokio::test]
async fn a_charge_that_can_never_fit_is_refused_and_takes_nothing() {
    for decision in decisions(&charging("(i64.store offset=56 (local.get $at) (i64.const -1))")).await {
        assert_eq!((decision.source, decision.verdict, decision.retry_after()), (Source::Policy, Verdict::Deny, None));
        assert_eq!(decision.limits[0].outcome.remaining, 1000);
    }
}

#[tokio::test]
async fn an_empty_key_and_one_that_looks_like_a_whole_key_are_keys_like_others() {
    let empty = "(i32.store offset=52 (local.get $at) (i32.const 0))";
    let text = "{rival}:honest:limit:f:*";
    let whole = format!(
        "(i32.store offset=48 (local.get $at) (i32.const 2400)) (i32.store offset=52 (local.get $at) (i32.const {}))",
        text.len()
    );
    let module = format!("(data (i32.const 2400) {text:?})");
    for change in [empty, &whole] {
        let evil = charging(change);
        for gate in gates(&Guest { name: "evil", evil: &evil, module: &module, ..Guest::HONEST }).await {
            let decision = gate.decide(&request("denies", "/evil")).await;
            assert_eq!((decision.source, decision.limits[0].outcome.remaining), (Source::Policy, 999));
            super::decides_honestly(&gate, "denies", 0).await;
        }
    }
}

/// The same policy, key and limit for two tenants, and a neighbour's policy with the same key and limit.
#[tokio::test]
async fn a_key_stays_with_its_tenant_and_its_policy() {
    let guest = Guest { name: "evil", ..Guest::HONEST };
    for gate in gates(&guest).await {
        super::decides_honestly(&gate, "denies", 0).await;
        super::decides_honestly(&gate, "allows", 1).await;
        super::decides_honestly(&gate, "honest", 0).await;
        let other = tollgate::Request::new("rival", "alice").unwrap().with_tier("denies").unwrap();
        assert_eq!(gate.decide(&other).await.limits[0].outcome.remaining, 999);
    }
}

#[tokio::test]
async fn charges_that_a_trap_cut_short_stay_charged() {
    let evil = "(drop (call $charge (i32.const 0))) (drop (call $decided (i32.const 1))) (unreachable)";
    for gate in gates(&Guest { name: "evil", evil, ..Guest::HONEST }).await {
        assert!(!gate.decide(&request("denies", "/evil")).await.is_allowed());
        super::decides_honestly(&gate, "denies", 1).await;
    }
}

#[tokio::test]
async fn nothing_is_charged_while_a_policy_is_configured() {
    let configure =
        "(drop (call $charge (i32.const 0))) (call $charge-all (i32.const 4096) (i32.const 1) (i32.const 1152))
        (if (i32.load8_u (i32.const 1152)) (then
          (if (i32.ne (i32.load8_u (i32.const 1156)) (i32.const 2)) (then (unreachable)))
          (return (call $problem (i32.load (i32.const 1160)) (i32.load (i32.const 1164))))))";
    let guest = Guest { name: "evil", configure, ..Guest::HONEST };
    let store = Memory::new(SystemClock::new());
    let builder = Tollgate::builder().store(store).tier("evil", guest.tier(OnFault::Deny));
    let refused = builder.build().await.unwrap_err();
    let told = "tier `evil`: failed to configure policy `evil`: a policy may charge only while it decides";
    assert_eq!(refused.to_string(), told);
}

#[tokio::test]
async fn a_denied_decision_holds_no_slot() {
    // It takes the only slot there is, and denies all the same.
    let denies = "(local.set $at (call $charge (i32.const 0))) (i32.store8 offset=8 (local.get $at) (i32.const 3))
        (i64.store offset=24 (local.get $at) (i64.const 1)) (drop (call $decided (i32.const 1)))
        (return (call $verdict (i32.const 2) (i32.const 0) (i32.const 0)))";
    for gate in gates(&Guest { name: "evil", evil: denies, ..Guest::HONEST }).await {
        for _ in 0..3 {
            let decision = gate.decide(&request("denies", "/evil")).await;
            assert_eq!((decision.verdict, decision.limits[0].outcome.allowed), (Verdict::Deny, true));
            assert_eq!(decision.receipt, None);
        }
    }
}

#[tokio::test]
async fn a_slot_that_a_trap_cut_short_is_free_if_denied_and_held_if_allowed() {
    let traps = "(local.set $at (call $charge (i32.const 0))) (i32.store8 offset=8 (local.get $at) (i32.const 3))
        (i64.store offset=24 (local.get $at) (i64.const 1)) (drop (call $decided (i32.const 1))) (unreachable)";
    for gate in gates(&Guest { name: "evil", evil: traps, ..Guest::HONEST }).await {
        let receipts = [
            gate.decide(&request("denies", "/evil")).await.receipt,
            gate.decide(&request("allows", "/evil")).await.receipt,
        ];
        assert_eq!(receipts.map(|receipt| receipt.is_some()), [false, true]);
        let decision = gate.decide(&request("allows", "/evil")).await;
        assert!(!decision.limits[0].outcome.allowed, "the slot is held");
    }
}

/// The decision of a guest that does `evil`, over each kind of store.
async fn decisions(evil: &str) -> Vec<Decision> {
    let mut decisions = Vec::new();
    for gate in gates(&Guest { name: "evil", evil, ..Guest::HONEST }).await {
        decisions.push(gate.decide(&request("denies", "/evil")).await);
    }
    decisions
}

#[tokio::test]
async fn a_flood_of_keys_displaces_no_neighbours_counter() {
    // Eight new keys a decision, each for the longest window: a number of the decision's and one of the charge's, as letters.
    let letter = |shift: u32| {
        format!(
            "(i64.shl (i64.extend_i32_u (i32.and (i32.shr_u (global.get $calls) (i32.const {shift})) (i32.const 15))) (i64.const {}))",
            8 + 2 * shift
        )
    };
    let number = (0..3)
        .map(|digit| letter(4 * digit))
        .fold("(i64.extend_i32_u (local.get $at))".to_owned(), |all, digit| format!("(i64.or {all} {digit})"));
    let evil = format!(
        "(loop $next (local.set $route (call $charge (local.get $at)))
          (local.set $subject (i32.add (i32.const 3000) (i32.mul (local.get $at) (i32.const 8))))
          (i64.store (local.get $subject) (i64.or (i64.const 0x4040404040404040) {number}))
          (i32.store offset=48 (local.get $route) (local.get $subject)) (i32.store offset=52 (local.get $route) (i32.const 8))
          (i64.store offset=32 (local.get $route) (i64.const 31622400000))
          (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 8))))
        (return (call $decided (i32.const 8)))"
    );
    let floods = Guest { name: "floods", evil: &evil, ..Guest::HONEST };
    let store = Memory::with_capacity(SystemClock::new(), 1_000);
    let neighbour = TierPlan::built_in("tiered", r#"{"limits": [{"id": "hits", "limit": "5/day"}]}"#);
    let builder =
        Tollgate::builder().store(store).tier("floods", floods.tier(OnFault::Deny)).tier("neighbour", neighbour);
    let gate = builder.build().await.unwrap();
    let asked = Request::new("rival", "bob").unwrap().with_tier("neighbour").unwrap();
    let mut admitted = 0;
    for round in 0..1_000 {
        assert_eq!(gate.decide(&request("floods", "/evil")).await.limits.len(), 8);
        if round % 50 == 0 {
            admitted += u32::from(gate.decide(&asked).await.is_allowed());
        }
    }
    assert_eq!(admitted, 5);
}
