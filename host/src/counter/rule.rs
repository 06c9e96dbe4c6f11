//! Which rule a counter follows, and which rules can be counted exactly.

use std::fmt;
use std::ops::RangeInclusive;

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

const AMOUNTS: RangeInclusive<u64> = 1..=1_000_000_000;
const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;
const WINDOWS_US: RangeInclusive<u64> = 1_000..=366 * DAY_US;
// With it, every moment that a script adds up stays below 2^53 until the year 2112 and far beyond.
const LONGEST_REFILL_DAYS: u64 = 3_660;

impl Rule {
    /// What makes the rule impossible to count exactly, with what is accepted; none if it is sound.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if !AMOUNTS.contains(&self.max) {
            return Some(format!("max {} is not 1 to 1000000000", self.max));
        }
        if !WINDOWS_US.contains(&self.window_us) {
            return Some(format!("window {} is not 1ms to 366d", Window(self.window_us)));
        }
        match self.algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow => None,
            Algorithm::TokenBucket => self.bucket_problem(),
        }
    }

    fn bucket_problem(&self) -> Option<String> {
        if !AMOUNTS.contains(&self.burst) {
            return Some(format!("burst {} is not 1 to 1000000000", self.burst));
        }
        let most = self.longest_refill();
        (self.burst > most).then(|| {
            let Self { max, window_us, burst, .. } = self;
            format!(
                "a bucket of {burst} at {max} per {} takes longer than {LONGEST_REFILL_DAYS} days to fill; choose a burst of at most {most}",
                Window(*window_us)
            )
        })
    }

    /// How much the bucket takes in [`LONGEST_REFILL_DAYS`], or [`u64::MAX`]. A long division by hand: 128 bits would weigh on every component.
    fn longest_refill(&self) -> u64 {
        let seconds = self.max * LONGEST_REFILL_DAYS * (DAY_US / 1_000_000);
        let (mut quotient, mut rest) = (seconds / self.window_us, seconds % self.window_us);
        for _ in 0..2 {
            quotient = quotient.saturating_mul(1_000).saturating_add(rest * 1_000 / self.window_us);
            rest = rest * 1_000 % self.window_us;
        }
        quotient
    }
}

/// A window as people write it: in the largest unit that says it whole.
struct Window(u64);

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us if us % 1_000_000 == 0 => write!(f, "{}s", us / 1_000_000),
            us if us % 1_000 == 0 => write!(f, "{}ms", us / 1_000),
            us => write!(f, "{us}us"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_refill_is_the_exact_quotient() {
        for window_us in [1_000, 1_001, 999_983, 1_000_000, 86_400_000_000, 31_536_000_000_000 - 1, 366 * DAY_US] {
            for max in [1, 2, 999_999_937, 1_000_000_000] {
                let rule = Rule { algorithm: Algorithm::TokenBucket, max, window_us, burst: 1 };
                let exact = u128::from(LONGEST_REFILL_DAYS * DAY_US) * u128::from(max) / u128::from(window_us);
                assert_eq!(rule.longest_refill(), u64::try_from(exact).unwrap_or(u64::MAX), "{max} per {window_us}us");
            }
        }
    }
}
