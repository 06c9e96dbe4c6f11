//! Components that were damaged on the way.

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestError, TestRunner};
use tollgate::policy::built_in;
use tollgate_tests::guests::Guest;

use super::{Trial, config, kept, save};

/// One damage.
#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Delete(Index, usize),
    Insert(Index, Vec<u8>),
    /// Bytes of another place, put here.
    Splice(Index, Index, usize),
    Cut(Index),
}

fn edits() -> impl Strategy<Value = Edit> {
    // What ends something in a binary: small numbers, the largest of a byte, what a number goes on with.
    let bytes = prop_oneof![any::<u8>(), select(vec![0, 1, 2, 0x0b, 0x40, 0x7f, 0x80, 0xff])];
    let at = any::<Index>;
    prop_oneof![
        6 => (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        6 => (at(), bytes.clone()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        2 => (at(), 1..64_usize).prop_map(|(at, length)| Edit::Delete(at, length)),
        2 => (at(), vec(bytes, 1..32)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        2 => (at(), any::<Index>(), 1..256_usize).prop_map(|(at, from, length)| Edit::Splice(at, from, length)),
        1 => at().prop_map(Edit::Cut),
    ]
}

fn damaged(whole: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for edit in edits {
        if bytes.is_empty() {
            break;
        }
        let length = bytes.len();
        match edit {
            Edit::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Edit::Set(at, byte) => bytes[at.index(length)] = *byte,
            Edit::Delete(at, count) => drop(bytes.drain(at.index(length)..(at.index(length) + count).min(length))),
            Edit::Insert(at, more) => drop(bytes.splice(at.index(length)..at.index(length), more.iter().copied())),
            Edit::Splice(at, from, count) => {
                let from = from.index(length);
                let piece = bytes[from..(from + count).min(length)].to_vec();
                drop(bytes.splice(at.index(length)..at.index(length), piece));
            }
            Edit::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

fn wholes() -> Vec<Vec<u8>> {
    let honest = Guest::HONEST.bytes();
    // The small one more often: in it a damage hits something that matters more often.
    let mut wholes = vec![honest; 5];
    wholes.extend(["tiered", "penalty", "route-classes", "descriptors"].map(|name| built_in(name).unwrap().to_vec()));
    wholes
}

#[test]
fn a_damaged_component_is_refused_or_decides_within_its_bounds() {
    let trial = Trial::new();
    for file in kept("wasm") {
        trial.tries(&fs::read(&file).unwrap()).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
    }
    let cases = (select(wholes()), vec(edits(), 1..4)).prop_map(|(whole, edits)| damaged(&whole, &edits));
    let tried =
        TestRunner::new(config(2)).run(&cases, |bytes| trial.tries(&bytes).map(drop).map_err(TestCaseError::fail));
    if let Err(TestError::Fail(problem, bytes)) = tried {
        panic!("{problem}; {}", save(&bytes, "wasm"));
    }
}
