//! What a decision holds: charges that are not final, under a name of their own.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::asked::Wanted;
use crate::counter::{Mode, Outcome};
use crate::model::Held;

/// The charges of one decision that are held.
#[derive(Debug)]
pub(crate) struct Holding {
    /// The name under which they are held.
    pub(crate) id: u128,
    /// For how long all of them are.
    pub(crate) span: Duration,
    /// The charges, at what they took.
    pub(crate) held: Vec<Held>,
}

impl Holding {
    /// Nothing yet, under a new name; a decision that may be asked for again gets the same name each time.
    pub(super) fn new(once: Option<&str>) -> Self {
        Self { id: once.map_or_else(draw, derive), span: Duration::MAX, held: Vec::new() }
    }

    /// Who takes slots for this decision.
    pub(super) fn holder(&self) -> u64 {
        u64::try_from(self.id >> 64).unwrap_or_default()
    }

    /// Keeps what was taken of a list, if it was admitted.
    pub(super) fn add(&mut self, wanted: &Wanted, outcomes: &[Outcome]) {
        let charges = || wanted.charges.iter().zip(outcomes);
        if charges().any(|(charge, outcome)| charge.mode == Mode::Enforce && !outcome.allowed) {
            return;
        }
        for (index, hold) in &wanted.holds {
            let Some((charge, outcome)) = charges().nth(*index) else { continue };
            if outcome.allowed && charge.mode != Mode::Peek && charge.cost > 0 {
                self.span = self.span.min(*hold);
                self.held.push(Held {
                    key: charge.key.clone(),
                    limit: charge.limit.clone(),
                    taken: charge.cost,
                    unused: charge.cost,
                    mark_us: outcome.mark_us,
                    holder: charge.holder,
                });
            }
        }
    }
}

/// A name that no other decision has, in this process or another.
///
/// Not a secret, and not to be foretold: two keyed hashes of a number that grows, with keys that the machine drew for this process.
fn draw() -> u128 {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let number = DRAWN.fetch_add(1, Ordering::Relaxed);
    KEYS.iter().fold(0, |name, key| name << 64 | u128::from(key.hash_one(number)))
}

/// The name that belongs to a token.
fn derive(key: &str) -> u128 {
    Sha256::digest(key).iter().take(16).fold(0, |name, byte| name << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_differ_and_fill_their_room() {
        let names: HashSet<u128> = (0..10_000).map(|_| draw()).collect();
        let holders: HashSet<u128> = names.iter().map(|name| name >> 64).collect();
        assert_eq!((names.len(), holders.len()), (10_000, 10_000));
        let (all, none) = names.iter().fold((u128::MAX, 0), |(all, none), name| (all & name, none | name));
        assert_eq!((all, none), (0, u128::MAX), "every bit is drawn");
    }

    #[test]
    fn a_token_has_one_name() {
        assert_eq!(Holding::new(Some("a")).id, Holding::new(Some("a")).id);
        assert_ne!(Holding::new(Some("a")).id, Holding::new(Some("b")).id);
    }
}
