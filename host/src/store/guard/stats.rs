//! What a guard did, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a [`Guard`](super::Guard) did since it was made, and how it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Lists that the store was asked to take, those of the guard itself included.
    pub asked: u64,
    /// Lists that the store did not take, by a fault of its own.
    pub faults: u64,
    /// Whether the circuit is open, so that the store is not asked.
    pub circuit_open: bool,
    /// How often it was opened.
    pub circuit_opened: u64,
    /// Lists that were not asked for, since it was open.
    pub circuit_refused: u64,
    /// How often the store was probed while it was open.
    pub probes: u64,
    /// Lists that the rules for a broken store answered.
    pub local_answers: u64,
    /// Counters on which this host has counted what the store does not know yet.
    pub owed_counters: u64,
    /// What was brought to the store when it was back, in the units of the limits.
    pub carried: u64,
    /// What the store had no room for then: so much was admitted over the limits while it was away.
    pub not_carried: u64,
    /// Counters that were never brought to the store, since there were too many.
    pub owed_dropped: u64,
    /// Refusals that are kept in memory.
    pub refusals: u64,
    /// Lists that were refused from memory.
    pub refusals_answered: u64,
    /// What this host holds in shares of leased limits, in the units of the limits.
    pub shares_held: u64,
    /// What it drew in shares.
    pub shares_drawn: u64,
    /// What it gave back of them.
    pub shares_returned: u64,
    /// What may have been drawn and could neither be spent nor given back: the limits give so much less until their windows are over.
    pub shares_lost: u64,
    /// How often it drew.
    pub draws: u64,
    /// Lists that were answered from shares alone.
    pub lease_answers: u64,
    /// Lists with leased limits that the store refused. Those that came early, since other hosts held shares, are among them.
    pub lease_refusals: u64,
}

/// A count that many threads add to.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts behind [`StoreStats`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) asked: Count,
    pub(super) faults: Count,
    pub(super) circuit_opened: Count,
    pub(super) circuit_refused: Count,
    pub(super) probes: Count,
    pub(super) local_answers: Count,
    pub(super) carried: Count,
    pub(super) not_carried: Count,
    pub(super) owed_dropped: Count,
    pub(super) refusals_answered: Count,
    pub(super) draws: Count,
    pub(super) drawn: Count,
    pub(super) returned: Count,
    pub(super) lost: Count,
    pub(super) lease_answers: Count,
    pub(super) lease_refusals: Count,
}
