//! Guests that answer and charge by noise: pointers, lengths, discriminants, texts.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{TestError, TestRunner};
use tollgate_tests::guests::Guest;

use super::{Trial, config, kept, save};

/// Where `tests/guests/policy.wat` keeps its decision, and how long that is.
const DECISION: (u32, u32) = (1024, 40);
/// Where it keeps its list of charges; and how long each is.
const CHARGES: (u32, u32) = (4096, 96);
/// Some room for texts.
const TEXTS: u32 = 3000;

/// A word that may be taken for a pointer, a length, or a discriminant.
fn words() -> impl Strategy<Value = u32> {
    let edges = vec![
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        16,
        17,
        64,
        65,
        128,
        129,
        255,
        256,
        257,
        512,
        513,
        1024,
        2307,
        TEXTS,
        4096,
        65_528,
        65_535,
        65_536,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_fff8,
        0xffff_ffff,
    ];
    prop_oneof![4 => select(edges), 1 => any::<u32>(), 2 => 0..64_u32]
}

/// Stores words, bytes and doubles over what lies at a place.
fn stores((begin, length): (u32, u32)) -> impl Strategy<Value = String> {
    let store = (0..length / 4, 0..3_u8, words(), words()).prop_map(move |(at, width, low, high)| {
        let at = begin + 4 * at;
        match width {
            0 => format!("(i32.store8 (i32.const {at}) (i32.const {}))", low & 0xff),
            1 => format!("(i32.store (i32.const {at}) (i32.const {}))", low as i32),
            _ => format!(
                "(i64.store (i32.const {}) (i64.const {}))",
                at & !7,
                (u64::from(high) << 32 | u64::from(low)) as i64
            ),
        }
    });
    vec(store, 0..5).prop_map(|stores| stores.join("\n"))
}

/// What a guest does when it is asked about a route.
fn guests() -> impl Strategy<Value = String> {
    let texts = vec(any::<u8>(), 8).prop_map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    let count = prop_oneof![3 => 0..10_u32, 1 => words()];
    let [list, outcomes, answer] = [4096, 1152, 1024].map(|usual| prop_oneof![6 => Just(usual), 1 => words()]);
    let charging = (stores(CHARGES), stores((CHARGES.0 + CHARGES.1, CHARGES.1)), list, count, outcomes);
    (texts, charging, any::<bool>(), stores(DECISION), 0..3_u32, answer).prop_map(
        |(text, (first, second, list, count, outcomes), charges, decision, verdict, answer)| {
            let [list, count, outcomes, answer] = [list, count, outcomes, answer].map(|word| word as i32);
            let charges = if charges { format!(
                "(drop (call $charge (i32.const 0))) (drop (call $charge (i32.const 1)))\n{first}\n{second}\n\
                 (call $charge-all (i32.const {list}) (i32.const {count}) (i32.const {outcomes}))\n"
            ) } else { String::new() };
            format!(
                "(i64.store (i32.const {TEXTS}) (i64.const {}))\n{charges}\
                 (drop (call $verdict (i32.const {verdict}) (i32.const {TEXTS}) (i32.const 4)))\n{decision}\n(return (i32.const {answer}))",
                text as i64
            )
        },
    )
}

fn bytes(evil: &str) -> Vec<u8> {
    Guest { name: "noise", evil, ..Guest::HONEST }.bytes()
}

#[test]
fn a_guest_that_answers_and_charges_by_noise_is_contained() {
    let trial = Trial::new();
    for file in kept("wat") {
        let evil = fs::read_to_string(&file).unwrap();
        trial.tries(&bytes(&evil)).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
    }
    let tried = TestRunner::new(config(2)).run(&guests(), |evil| {
        let came_to = trial.tries(&bytes(&evil)).map_err(TestCaseError::fail)?;
        // It describes itself well, so it is always loaded.
        prop_assert!(came_to.iter().all(|what| what.starts_with("loaded")), "{came_to:?}");
        Ok(())
    });
    if let Err(TestError::Fail(problem, evil)) = tried {
        panic!("{problem}; {}", save(evil.as_bytes(), "wat"));
    }
}
