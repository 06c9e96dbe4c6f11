//! What others would use, each as its documentation shows it.

mod fred;
mod memory;
mod raw;
mod redis;

pub use self::fred::Fred;
pub use self::memory::{governor, limitador, throttlecrab};
pub use self::raw::{Command, Raw};
pub use self::redis::Multiplexed;

use crate::gate::Algorithm;

/// The usual script for one decision: fifteen lines that a good engineer writes in an afternoon.
#[must_use]
pub const fn script(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Gcra => include_str!("gcra.lua"),
        Algorithm::Window => include_str!("window.lua"),
    }
}

/// Its arguments, for the limit that [`Algorithm::limit`] says.
#[must_use]
pub const fn arguments(algorithm: Algorithm) -> &'static [u64] {
    match algorithm {
        // Microseconds for one, the capacity, the cost.
        Algorithm::Gcra => &[10_000_000, 30_000_000, 1],
        // The limit, milliseconds of the window, the cost.
        Algorithm::Window => &[1_000_000_000, 3_600_000, 1],
    }
}

/// The key of a counter, as long as ours.
fn key(client: &str, algorithm: Algorithm, subject: &str) -> String {
    format!("ratelimit:{{acme}}:{client}:limit-0:{}:{subject}", algorithm.name())
}
