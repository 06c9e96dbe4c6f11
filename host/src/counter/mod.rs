//! The arithmetic of limits, pure and exact: the specification that every store is held to.
//!
//! This module imports nothing of the crate, so that the SDK of policy authors can carry the very same files.

use std::fmt;
use std::time::Duration;

/// How a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// A count that begins anew at each multiple of the window since the Unix epoch.
    FixedWindow,
    /// Two adjacent fixed windows, the earlier weighted by how much of it the sliding window still covers.
    SlidingWindow,
    /// A bucket that refills at `max` per window and holds at most `burst` (GCRA).
    TokenBucket,
}

impl Algorithm {
    /// The name in configuration and answers: `fixed-window`, `sliding-window`, `token-bucket`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FixedWindow => "fixed-window",
            Self::SlidingWindow => "sliding-window",
            Self::TokenBucket => "token-bucket",
        }
    }

    /// The name in keys: the algorithm and the version of its stored state. A new form of the state gets a new number.
    #[must_use]
    pub const fn key_tag(self) -> &'static str {
        match self {
            Self::FixedWindow => "f1",
            Self::SlidingWindow => "s1",
            Self::TokenBucket => "b1",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An algorithm with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How it counts.
    pub algorithm: Algorithm,
    /// How much passes per window, 1 to 1,000,000,000.
    pub max: u64,
    /// The window in microseconds, 1 millisecond to 366 days.
    pub window_us: u64,
    /// How much a full token bucket holds, 1 to 1,000,000,000. The window algorithms ignore it.
    pub burst: u64,
}

impl Rule {
    /// What makes the rule impossible to count exactly, with what is accepted; none if it is sound.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        None
    }
}

/// What a charge does to its counter and to its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Takes the cost, or refuses the whole list.
    Enforce,
    /// Takes the cost if it fits; never refuses the list. If the list is refused, takes nothing.
    Shadow,
    /// Takes nothing and never refuses the list: its outcome says what [`Enforce`](Self::Enforce) would have said.
    Peek,
}

/// What came of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the limit had room for the cost. In a refused list nothing was taken, whatever this says.
    pub allowed: bool,
    /// What is left after the charge, in the unit of the limit.
    pub remaining: u64,
    /// How long until the counter is as if unused.
    pub reset_after: Duration,
    /// How long until the same cost would pass, if nothing else is charged meanwhile. None if allowed, and where no waiting helps: the
    /// cost exceeds what the limit can ever give.
    pub retry_after: Option<Duration>,
}
