//! What is told of the cache: lines of the log, and counts.

use metrics::{Counter, counter};

use super::hash::KeyHash;

/// `tollgate_key_cache_total`, by result.
pub(super) struct Meters {
    hit: Counter,
    miss: Counter,
    set: Counter,
    invalidate: Counter,
    negative: Counter,
    stale: Counter,
    refused: Counter,
    failed: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        let result = |result: &'static str| counter!("tollgate_key_cache_total", "result" => result);
        Self {
            hit: result("hit"),
            miss: result("miss"),
            set: result("set"),
            invalidate: result("invalidate"),
            negative: result("negative"),
            stale: result("stale"),
            refused: result("refused"),
            failed: result("failed"),
        }
    }

    /// A holder is known, here or to the fleet.
    pub(super) fn hit(&self, hash: &KeyHash) {
        self.hit.increment(1);
        tracing::debug!("[Cache HIT] {hash}");
    }

    /// It is known that nobody knows the key.
    pub(super) fn negative(&self) {
        self.negative.increment(1);
    }

    /// The source is asked.
    pub(super) fn miss(&self, hash: &KeyHash) {
        self.miss.increment(1);
        tracing::info!("[Cache MISS] {hash}");
    }

    pub(super) fn set(&self, hash: &KeyHash, seconds: u64) {
        self.set.increment(1);
        tracing::info!("[Cache SET] {hash} (TTL: {seconds}s)");
    }

    pub(super) fn invalidate(&self, what: &str) {
        self.invalidate.increment(1);
        tracing::info!("[Cache INVALIDATE] {what}:*");
    }

    /// An older answer stands in for one that cannot be had.
    pub(super) fn stale(&self) {
        self.stale.increment(1);
    }

    /// Nobody is asked, since too many are.
    pub(super) fn refused(&self) {
        self.refused.increment(1);
    }

    /// The source could not say.
    pub(super) fn failed(&self) {
        self.failed.increment(1);
    }
}
