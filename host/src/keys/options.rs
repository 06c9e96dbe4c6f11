//! How much is kept of keys, and for how long.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The bounds of a cache of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyCacheOptions {
    /// How long a holder is believed: 1 h.
    pub ttl: Duration,
    /// How long it is believed longer where the source fails: 10 minutes.
    pub grace: Duration,
    /// How long a key that nobody knows is not asked for again: 30 s.
    pub unknown_ttl: Duration,
    /// How many holders this host remembers: 100,000.
    pub holders: NonZeroUsize,
    /// How many keys that nobody knows it remembers: 10,000.
    pub unknowns: NonZeroUsize,
    /// How many look-ups are under way at a time: 32.
    pub lookups: NonZeroUsize,
    /// How many look-ups a second may end without a holder, and twice as many at once: 100.
    pub vain_lookups_per_second: NonZeroUsize,
    /// How long the source may take: 3 s.
    pub patience: Duration,
}

const fn at_least_one(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("it is not zero")
}

impl Default for KeyCacheOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(3600),
            grace: Duration::from_secs(600),
            unknown_ttl: Duration::from_secs(30),
            holders: at_least_one(100_000),
            unknowns: at_least_one(10_000),
            lookups: at_least_one(32),
            vain_lookups_per_second: at_least_one(100),
            patience: Duration::from_secs(3),
        }
    }
}
