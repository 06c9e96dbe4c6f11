//! Which rule a counter follows, and which rules can be counted exactly.

use std::fmt;
use std::ops::RangeInclusive;

use super::OnChange;

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
    /// A token bucket that also admits what would pass within the rule's longest wait, and tells how long that is.
    Delay,
    /// A count that begins anew with each day, week or month of a calendar: [`Rule::period`] says when.
    Calendar,
    /// At most `max` slots at a time, each held for a window unless it is renewed or given back before.
    Concurrency,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] =
        [Self::FixedWindow, Self::SlidingWindow, Self::TokenBucket, Self::Delay, Self::Calendar, Self::Concurrency];

    /// The name in configuration and answers: `fixed-window`, `sliding-window`, `token-bucket`, `delay`, `calendar`, `concurrency`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FixedWindow => "fixed-window",
            Self::SlidingWindow => "sliding-window",
            Self::TokenBucket => "token-bucket",
            Self::Delay => "delay",
            Self::Calendar => "calendar",
            Self::Concurrency => "concurrency",
        }
    }

    /// The name in keys: the form of the stored state and its version. A new form of the state gets a new number.
    ///
    /// A bucket with a longest wait is a bucket still, so a limit that gets or loses the wait keeps its count.
    #[must_use]
    pub const fn key_tag(self) -> &'static str {
        match self {
            Self::FixedWindow => "f1",
            Self::SlidingWindow => "s1",
            Self::TokenBucket | Self::Delay => "b1",
            Self::Calendar => "c1",
            Self::Concurrency => "n1",
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
    /// How much passes per window, 1 to 1,000,000,000; of a concurrency limit how many slots there are, 1 to 1,000.
    pub max: u64,
    /// The window in microseconds, 1 millisecond to 366 days; of a concurrency limit how long a slot is held unless it is renewed.
    pub window_us: u64,
    /// How much a full bucket holds, 1 to 1,000,000,000. Only the two buckets heed it.
    pub burst: u64,
    /// How long a charge may have to wait before it passes, in microseconds, up to an hour. Only [`Algorithm::Delay`] heeds it.
    pub longest_wait_us: u64,
    /// The period of a calendar limit, as of now. The other algorithms have none.
    pub period: Option<Period>,
    /// For how long a charge can be given back, in microseconds, up to [`HELD_AT_MOST_US`](super::HELD_AT_MOST_US); 0 if it is final. Windows give
    /// back without it, as long as they count.
    pub hold_us: u64,
    /// What becomes of the count when the numbers change.
    pub on_change: OnChange,
}

/// The period of a calendar that a moment lies in, and the end of the one that follows, in microseconds since the Unix epoch.
///
/// Whoever asks works it out for a clock of its own. The store's clock decides: before `end_us` it counts in the first period, from then on in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// When the period began.
    pub start_us: u64,
    /// When it ends and the next begins.
    pub end_us: u64,
    /// When the next ends.
    pub next_end_us: u64,
}

const AMOUNTS: RangeInclusive<u64> = 1..=1_000_000_000;
const SLOTS: RangeInclusive<u64> = 1..=Rule::MAX_SLOTS;
const DAY_US: u64 = 24 * 60 * 60 * 1_000_000;
const WINDOWS_US: RangeInclusive<u64> = 1_000..=366 * DAY_US;
// With it, every moment that a script adds up stays below 2^53 until the year 2112 and far beyond.
const LONGEST_REFILL_DAYS: u64 = 3_660;

impl Rule {
    /// The most slots of a concurrency limit: each is kept by name.
    pub const MAX_SLOTS: u64 = 1_000;
    /// The longest that a charge of [`Algorithm::Delay`] waits, in microseconds: an hour.
    pub const LONGEST_WAIT_US: u64 = 60 * 60 * 1_000_000;

    /// One per second and no more at once, counted by `algorithm`: what remains to be said is named, and this says the rest.
    #[must_use]
    pub const fn of(algorithm: Algorithm) -> Self {
        Self {
            algorithm,
            max: 1,
            window_us: 1_000_000,
            burst: 1,
            longest_wait_us: 0,
            period: None,
            hold_us: 0,
            on_change: OnChange::Keep,
        }
    }

    /// The most that passes at once on an unused counter. A larger cost never fits.
    #[must_use]
    pub fn most(&self) -> u64 {
        match self.algorithm {
            Algorithm::TokenBucket => self.burst,
            Algorithm::Delay => {
                let waited = u128::from(self.longest_wait_us) * u128::from(self.max) / u128::from(self.window_us);
                self.burst.saturating_add(u64::try_from(waited).unwrap_or(u64::MAX))
            }
            Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::Calendar | Algorithm::Concurrency => {
                self.max
            }
        }
    }

    /// What makes the rule impossible to count exactly, with what is accepted; none if it is sound.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self { algorithm, max, window_us, .. } = *self;
        if algorithm == Algorithm::Concurrency && !SLOTS.contains(&max) {
            return Some(format!("max {max} is not 1 to {} slots", Self::MAX_SLOTS));
        }
        if !AMOUNTS.contains(&max) {
            return Some(format!("max {max} is not 1 to 1000000000"));
        }
        if !WINDOWS_US.contains(&window_us) {
            return Some(format!("window {} is not 1ms to 366d", Window(window_us)));
        }
        match algorithm {
            Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::Concurrency => None,
            Algorithm::TokenBucket => self.bucket_problem(),
            Algorithm::Delay => self.bucket_problem().or_else(|| self.delay_problem()),
            Algorithm::Calendar => self.calendar_problem(),
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

    fn delay_problem(&self) -> Option<String> {
        let wait_us = self.longest_wait_us;
        (wait_us > Self::LONGEST_WAIT_US).then(|| format!("a longest wait of {} is over 1h", Window(wait_us)))
    }

    fn calendar_problem(&self) -> Option<String> {
        match self.period {
            None => Some("a calendar limit needs to know its period".to_owned()),
            Some(Period { start_us, end_us, next_end_us }) => (start_us >= end_us || end_us >= next_end_us)
                .then(|| format!("a period from {start_us} to {end_us} and to {next_end_us} does not go forward")),
        }
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
                let rule = Rule { max, window_us, ..Rule::of(Algorithm::TokenBucket) };
                let exact = u128::from(LONGEST_REFILL_DAYS * DAY_US) * u128::from(max) / u128::from(window_us);
                assert_eq!(rule.longest_refill(), u64::try_from(exact).unwrap_or(u64::MAX), "{max} per {window_us}us");
            }
        }
    }
}
