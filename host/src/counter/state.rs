//! What is remembered of a counter, and its text in a store.

use std::fmt;

use super::Algorithm;

/// What is remembered of a counter in use. An unused counter has none.
///
/// The text is what a shared store keeps: decimal integers joined by colons, in the order of the fields, a bucket's `part` left out where it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A count and the window it belongs to.
    FixedWindow {
        /// When the window began.
        start_us: u64,
        /// What was taken in it.
        used: u64,
    },
    /// The counts of two adjacent windows.
    SlidingWindow {
        /// When the later window began.
        start_us: u64,
        /// What was taken in the window before.
        earlier: u64,
        /// What was taken in the later window.
        used: u64,
    },
    /// When the bucket is full again: `tat_us` and `part / max` microseconds.
    TokenBucket {
        /// The whole microseconds.
        tat_us: u64,
        /// The rest, as so many parts of `max`. Always 0 where `max` divides the window.
        part: u64,
    },
}

impl State {
    /// What no moment reaches: doubles count exactly up to here.
    const MOMENTS_END: u64 = 1 << 53;
    /// The most that a limit can give, and more than any `part`.
    const LARGEST_COUNT: u64 = 1_000_000_000;

    /// Reads the text of a counter of `algorithm`; none if it is not one.
    #[must_use]
    pub fn parse(algorithm: Algorithm, text: &str) -> Option<Self> {
        let mut numbers = text.split(':').map(number);
        let moment_us = numbers.next()?.filter(|us| *us < Self::MOMENTS_END)?;
        let mut counts = numbers.map(|number| number.filter(|count| *count <= Self::LARGEST_COUNT));
        let state = match algorithm {
            Algorithm::FixedWindow => Self::FixedWindow { start_us: moment_us, used: counts.next()?? },
            Algorithm::SlidingWindow => {
                Self::SlidingWindow { start_us: moment_us, earlier: counts.next()??, used: counts.next()?? }
            }
            Algorithm::TokenBucket => Self::TokenBucket { tat_us: moment_us, part: counts.next().unwrap_or(Some(0))? },
        };
        counts.next().is_none().then_some(state)
    }

    /// Which algorithm counts like this.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::FixedWindow { .. } => Algorithm::FixedWindow,
            Self::SlidingWindow { .. } => Algorithm::SlidingWindow,
            Self::TokenBucket { .. } => Algorithm::TokenBucket,
        }
    }
}

/// A number as a script reads it: digits only.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FixedWindow { start_us, used } => write!(f, "{start_us}:{used}"),
            Self::SlidingWindow { start_us, earlier, used } => write!(f, "{start_us}:{earlier}:{used}"),
            Self::TokenBucket { tat_us, part: 0 } => write!(f, "{tat_us}"),
            Self::TokenBucket { tat_us, part } => write!(f, "{tat_us}:{part}"),
        }
    }
}
