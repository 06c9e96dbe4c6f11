//! A limit, and a charge on it.

use std::time::Duration;

use crate::{Algorithm, Mode, Problems, Rule};

/// How many charges the host takes for one decision, over all its lists.
pub const MAX_CHARGES: usize = 8;

/// A named rule: at most so much per window.
///
/// Only a limit that the host can count exactly can be made, so a mistake shows when the policy is configured.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use tollgate_guest::Limit;
///
/// let minute = Limit::fixed_window("minute", 120, Duration::from_secs(60))?;
/// assert_eq!(minute, Limit::parse("minute", "120/m")?);
/// # Ok::<(), tollgate_guest::Problems>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    id: String,
    rule: Rule,
}

impl Limit {
    /// The longest id, in bytes.
    pub const MAX_ID_BYTES: usize = 64;

    /// A limit named `id` that counts by `rule`.
    ///
    /// The id names the counter: a policy that is replaced and keeps the id keeps what was used.
    ///
    /// # Errors
    ///
    /// Fails if the id is not 1 to 64 of `A-Z a-z 0-9 . _ -`, if the window or the longest wait is not whole
    /// milliseconds, or if the rule cannot be counted exactly.
    pub fn new(id: impl Into<String>, rule: Rule) -> Result<Self, Problems> {
        let id = id.into();
        if !is_name(&id) {
            return Err(Problems::from(format!("limit id `{id}` is not 1 to 64 of A-Z a-z 0-9 . _ -")));
        }
        // The contract says times in milliseconds.
        for (what, us) in [("window", rule.window_us), ("longest wait", rule.longest_wait_us)] {
            if !us.is_multiple_of(1_000) {
                return Err(Problems::from(format!("limit `{id}`: a {what} of {us}us is not whole milliseconds")));
            }
        }
        match rule.problem() {
            None => Ok(Self { id, rule }),
            Some(problem) => Err(Problems::from(format!("limit `{id}`: {problem}"))),
        }
    }

    /// A limit named `id` in text form, such as `10/s burst 20`, `1000/day` or `5 at once for 30s`: see [`Rule`].
    ///
    /// # Errors
    ///
    /// Fails as [`Limit::new`] does, and if the text is none of these forms.
    pub fn parse(id: impl Into<String>, text: &str) -> Result<Self, Problems> {
        Self::new(id, text.parse()?)
    }

    /// At most `max` per window, counted anew at each multiple of the window since the Unix epoch.
    ///
    /// # Errors
    ///
    /// Fails as [`Limit::new`] does.
    pub fn fixed_window(id: impl Into<String>, max: u64, window: Duration) -> Result<Self, Problems> {
        Self::new(id, Rule { max, window_us: micros(window), burst: max, ..Rule::of(Algorithm::FixedWindow) })
    }

    /// At most `max` in any window, as told from two adjacent fixed windows, the earlier weighted by how much of it is still covered.
    ///
    /// # Errors
    ///
    /// Fails as [`Limit::new`] does.
    pub fn sliding_window(id: impl Into<String>, max: u64, window: Duration) -> Result<Self, Problems> {
        Self::new(id, Rule { max, window_us: micros(window), burst: max, ..Rule::of(Algorithm::SlidingWindow) })
    }

    /// A bucket that holds `burst` and refills at `max` per window.
    ///
    /// # Errors
    ///
    /// Fails as [`Limit::new`] does.
    pub fn token_bucket(id: impl Into<String>, max: u64, window: Duration, burst: u64) -> Result<Self, Problems> {
        Self::new(id, Rule { max, window_us: micros(window), burst, ..Rule::of(Algorithm::TokenBucket) })
    }

    /// At most `slots` at a time, each held for `lease` unless the application renews it or gives it back by the decision's receipt.
    ///
    /// # Errors
    ///
    /// Fails as [`Limit::new`] does.
    pub fn concurrency(id: impl Into<String>, slots: u64, lease: Duration) -> Result<Self, Problems> {
        Self::new(id, Rule { max: slots, window_us: micros(lease), burst: slots, ..Rule::of(Algorithm::Concurrency) })
    }

    /// At most `max` for each period of a calendar, such as `month Europe/Berlin`.
    ///
    /// # Errors
    ///
    /// Fails as [`Limit::new`] does.
    pub fn calendar(id: impl Into<String>, max: u64, calendar: &str) -> Result<Self, Problems> {
        Self::new(id, Rule::calendar(max, calendar))
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

    /// A charge of `cost` on this limit's counter named `key`: usually the subject, or empty for one counter for the whole tenant.
    ///
    /// The host accepts keys of up to 128 bytes without control characters. A cost of 0 takes nothing and tells the state.
    #[must_use]
    pub const fn charge<'a>(&'a self, key: &'a str, cost: u64) -> Charge<'a> {
        Charge { limit: self, key, cost, mode: Mode::Enforce, hold: None }
    }
}

/// One limit applied to one key with one cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// The rule.
    pub limit: &'a Limit,
    /// Which counter within the tenant and the policy.
    pub key: &'a str,
    /// How much, in the unit of the limit.
    pub cost: u64,
    /// Enforce, shadow or peek.
    pub mode: Mode,
    /// For how long the application may settle what it really cost.
    pub hold: Option<Duration>,
}

impl Charge<'_> {
    /// The same charge, held for the time being: the decision comes with a receipt, by which the application says within this long, up to a day,
    /// what the request really cost, and gets the rest back. Without a word from it, the charge stays as it is.
    #[must_use]
    pub const fn hold(mut self, longest: Duration) -> Self {
        self.hold = Some(longest);
        self
    }

    /// The same charge, taken if it fits and never refusing the list: for trying a limit on live traffic.
    #[must_use]
    pub const fn shadow(mut self) -> Self {
        self.mode = Mode::Shadow;
        self
    }

    /// The same charge, which takes nothing and never refuses the list: it says what would have come of it.
    #[must_use]
    pub const fn peek(mut self) -> Self {
        self.mode = Mode::Peek;
        self
    }
}

/// Whether `text` is 1 to 64 of `A-Z a-z 0-9 . _ -`.
fn is_name(text: &str) -> bool {
    (1..=Limit::MAX_ID_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_the_host_would_refuse_cannot_be_made() {
        let long = "x".repeat(65);
        for (id, max, window_us, expected) in [
            ("", 1, 1_000, "limit id `` is not 1 to 64 of A-Z a-z 0-9 . _ -"),
            ("a:b", 1, 1_000, "limit id `a:b` is not 1 to 64 of A-Z a-z 0-9 . _ -"),
            (long.as_str(), 1, 1_000, &format!("limit id `{long}` is not 1 to 64 of A-Z a-z 0-9 . _ -")),
            ("a", 1, 1_500, "limit `a`: a window of 1500us is not whole milliseconds"),
            ("a", 0, 1_000, "limit `a`: max 0 is not 1 to 1000000000"),
            ("a", 1, 0, "limit `a`: window 0s is not 1ms to 366d"),
        ] {
            let problem = Limit::fixed_window(id, max, Duration::from_micros(window_us)).unwrap_err().to_string();
            assert_eq!(problem, expected);
        }
    }

    #[test]
    fn a_longest_wait_is_whole_milliseconds() {
        let rule = Rule { longest_wait_us: 1_500, ..Rule::of(Algorithm::Delay) };
        let problem = Limit::new("a", rule).unwrap_err().to_string();
        assert_eq!(problem, "limit `a`: a longest wait of 1500us is not whole milliseconds");
    }

    #[test]
    fn a_calendar_is_a_unit_and_perhaps_a_zone() {
        assert_eq!(Limit::calendar("a", 5, "week Asia/Tokyo"), Limit::parse("a", "5/calendar-week Asia/Tokyo"));
        let problem = Limit::calendar("a", 5, "year").unwrap_err().to_string();
        assert_eq!(problem, "limit `a`: calendar `year` is not day, week or month, with a time zone or without");
    }
}
