//! A limit: at most so much per window.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::counter::{Algorithm, Rule};
use crate::error::{Error, ErrorKind, Result};
use crate::time::micros;

/// A rule: at most [`max`](Self::max) per [`window`](Self::window).
///
/// Only a limit that can be counted exactly can be made.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tollgate::{Algorithm, Limit, Quota};
///
/// let minute = Limit::new("minute", Algorithm::FixedWindow, Quota { max: 120, window: Duration::from_secs(60), burst: 120 })?;
/// assert_eq!(minute.max(), 120);
/// # Ok::<(), tollgate::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    id: Box<str>,
    rule: Rule,
}

/// The numbers of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How much passes per window, 1 to 1,000,000,000.
    pub max: u64,
    /// How long the window is, 1 millisecond to 366 days.
    pub window: Duration,
    /// How much a full token bucket holds, 1 to 1,000,000,000. The window algorithms ignore it.
    pub burst: u64,
}

impl Limit {
    /// The longest id, in bytes.
    pub const MAX_ID_BYTES: usize = 64;

    /// A limit named `id` that counts by `algorithm`.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] if the id is not 1 to 64 of `A-Z a-z 0-9 . _ -`, if a number is out of its range, or if a
    /// token bucket cannot be counted exactly in 53 bits.
    pub fn new(id: impl Into<Box<str>>, algorithm: Algorithm, quota: Quota) -> Result<Self> {
        let Quota { max, window, burst } = quota;
        Self::with_rule(id, Rule { max, window_us: micros(window), burst, ..Rule::of(algorithm) })
    }

    /// A limit named `id` that counts by `rule`, which may say more than a [`Quota`]: a longest wait, a calendar period.
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new) does.
    pub fn with_rule(id: impl Into<Box<str>>, rule: Rule) -> Result<Self> {
        let id = id.into();
        if !is_name(&id) {
            return Err(invalid(format!("limit id `{}` is not 1 to 64 of A-Z a-z 0-9 . _ -", id.escape_debug())));
        }
        match rule.problem() {
            None => Ok(Self { id, rule }),
            Some(problem) => Err(invalid(format!("limit `{id}`: {problem}"))),
        }
    }

    /// The same limit, whose charges can be given back for so long, or for longer if they can already.
    #[cfg(feature = "redis")]
    pub(crate) fn held_for(mut self, hold: Duration) -> Self {
        self.rule.hold_us = self.rule.hold_us.max(micros(hold));
        self
    }

    /// The limit's name within its policy.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it counts, with its numbers.
    #[must_use]
    pub const fn rule(&self) -> &Rule {
        &self.rule
    }

    /// How it counts.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.rule.algorithm
    }

    /// How much passes per window.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.rule.max
    }

    /// How long the window is.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_micros(self.rule.window_us)
    }

    /// How much a full token bucket holds.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.rule.burst
    }
}

impl Limit {
    /// The part of this limit that each of so many hosts may spend by itself: at least 1, and together no more than the limit, or than one for each
    /// host.
    pub(crate) fn share(&self, hosts: NonZeroU32) -> Self {
        let hosts = u64::from(hosts.get());
        let part = |amount: u64| (amount / hosts).max(1);
        let rule = match self.rule.algorithm {
            // A rate is divided exactly by stretching its window; rounding would make it another rate.
            Algorithm::TokenBucket | Algorithm::Delay => {
                Rule { burst: part(self.rule.burst), window_us: self.rule.window_us.saturating_mul(hosts), ..self.rule }
            }
            _ => Rule { max: part(self.rule.max), ..self.rule },
        };
        Self { id: self.id.clone(), rule }
    }
}

/// Whether `text` is 1 to 64 of `A-Z a-z 0-9 . _ -`: the form of every name that stands in keys, headers and files.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=Limit::MAX_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Config, message)
}
