//! A rule: what a limit counts, and its text form.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::counter::{self, Period};
use crate::{Algorithm, Problems, duration};

/// How a limit counts, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How it counts.
    pub algorithm: Algorithm,
    /// How much passes per window, 1 to 1,000,000,000; of a concurrency limit how many slots there are, 1 to 1,000.
    pub max: u64,
    /// The window in microseconds, 1 millisecond to 366 days; of a concurrency limit how long a slot is held unless it is renewed. A calendar
    /// limit has its period instead.
    pub window_us: u64,
    /// How much a full bucket holds, 1 to 1,000,000,000. Only the two buckets heed it.
    pub burst: u64,
    /// How long a charge may have to wait before it passes, in microseconds, up to an hour. Only [`Algorithm::Delay`] heeds it.
    pub longest_wait_us: u64,
    /// The period of a calendar limit: `day`, `week` or `month`, and the name of a time zone if it is not UTC, as in `month Europe/Berlin`.
    pub calendar: Option<&'static str>,
}

impl Rule {
    /// One per second and no more at once, counted by `algorithm`: what remains to be said is named.
    #[must_use]
    pub const fn of(algorithm: Algorithm) -> Self {
        Self { algorithm, max: 1, window_us: 1_000_000, burst: 1, longest_wait_us: 0, calendar: None }
    }

    /// At most `max` for each period of the calendar called `calendar`, such as `month Europe/Berlin`.
    ///
    /// The name is kept for as long as the program runs: a policy reads its configuration once.
    #[must_use]
    pub fn calendar(max: u64, calendar: &str) -> Self {
        let calendar: &'static str = Box::leak(calendar.into());
        Self { max, burst: max, calendar: Some(calendar), ..Self::of(Algorithm::Calendar) }
    }

    /// What makes the rule impossible to count exactly, with what is accepted; none if it is sound.
    ///
    /// Whether a time zone exists is known to the host alone, and to tests.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let calendar = self.calendar.unwrap_or_default();
        if self.algorithm == Algorithm::Calendar && !is_calendar(calendar) {
            return Some(format!("calendar `{calendar}` is not day, week or month, with a time zone or without"));
        }
        self.counted(Some(ANY_PERIOD)).problem()
    }

    /// The rule as counters take it, in the present period if it has one.
    pub(crate) const fn counted(&self, period: Option<Period>) -> counter::Rule {
        let &Self { algorithm, max, window_us, burst, longest_wait_us, .. } = self;
        counter::Rule { max, window_us, burst, longest_wait_us, period, ..counter::Rule::of(algorithm) }
    }
}

const ANY_PERIOD: Period = Period { start_us: 0, end_us: 1, next_end_us: 2 };

fn is_calendar(text: &str) -> bool {
    let (unit, zone) = text.split_once(' ').unwrap_or((text, "UTC"));
    let in_zone = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'+');
    matches!(unit, "day" | "week" | "month") && (1..=64).contains(&zone.len()) && zone.bytes().all(in_zone)
}

/// Reads the text form of a rule.
///
/// | text | meaning |
/// |---|---|
/// | `10/s burst 20` | a token bucket that holds 20 and refills at 10 a second |
/// | `10/s burst 20 delay 2s` | the same, and what would pass within 2 seconds waits |
/// | `1000/day` | a fixed window of a day |
/// | `100/10s` | a fixed window of ten seconds |
/// | `100/m sliding` | a sliding window of a minute |
/// | `120,60` | a fixed window: count, seconds |
/// | `5 at once for 30s` | five slots, each held for 30 seconds unless it is renewed or given back |
/// | `1000/calendar-month Europe/Berlin` | a month as it stands in the calendar of a time zone; without one, of UTC |
///
/// Units are `ms`, `s`, `m`, `h`, `d` and `w`, or their names. A `calendar-day`, `calendar-week` (from Monday on) or `calendar-month` is as long
/// as it is, when clocks change too; a `day` has 24 hours and begins at midnight UTC.
///
/// # Example
///
/// ```
/// use tollgate_guest::{Algorithm, Rule};
///
/// let rule: Rule = "10/s burst 20".parse()?;
/// assert_eq!((rule.algorithm, rule.max, rule.burst), (Algorithm::TokenBucket, 10, 20));
///
/// let problem = "1000/fortnight".parse::<Rule>().unwrap_err().to_string();
/// assert!(problem.starts_with("`1000/fortnight` is not a limit: write `10/s burst 20`"));
/// # Ok::<(), tollgate_guest::Problems>(())
/// ```
impl FromStr for Rule {
    type Err = Problems;

    fn from_str(text: &str) -> Result<Self, Problems> {
        let rule = read(text).ok_or_else(|| {
            Problems::from(format!(
                "`{text}` is not a limit: write `10/s burst 20`, `10/s burst 20 delay 2s`, `1000/day`, `100/10s sliding`, `120,60` (count,seconds), \
                 `5 at once for 30s` or `1000/calendar-month Europe/Berlin`; units are ms, s, m, h, d and w"
            ))
        })?;
        match rule.problem() {
            None => Ok(rule),
            Some(problem) => Err(Problems::from(format!("limit `{text}`: {problem}"))),
        }
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn read(text: &str) -> Option<Rule> {
    if let Some((max, seconds)) = text.split_once(',') {
        let (max, seconds) = (number(max)?, number(seconds)?);
        let window_us = seconds.checked_mul(1_000_000)?;
        return Some(Rule { max, window_us, burst: max, ..Rule::of(Algorithm::FixedWindow) });
    }
    let mut words = text.split_ascii_whitespace();
    let (max, window) = words.next()?.split_once('/').unwrap_or_default();
    let mut next = || words.next().unwrap_or_default();
    let rest = [next(), next(), next(), next(), next()];
    if window.is_empty() {
        return slots(text);
    }
    let max = number(max)?;
    if let Some(unit) = window.strip_prefix("calendar-") {
        return if rest[1].is_empty() { calendar(max, unit, rest[0]) } else { None };
    }
    let mut rule = Rule { max, window_us: window_us(window)?, burst: max, ..Rule::of(Algorithm::FixedWindow) };
    match rest {
        ["", ..] => {}
        ["sliding", "", ..] => rule.algorithm = Algorithm::SlidingWindow,
        ["burst", burst, delay, wait, ""] => {
            rule.burst = number(burst)?;
            rule.algorithm = Algorithm::TokenBucket;
            if !delay.is_empty() {
                rule.algorithm = Algorithm::Delay;
                rule.longest_wait_us = time_us(wait).filter(|_| delay == "delay")?;
            }
        }
        _ => return None,
    }
    Some(rule)
}

/// `5 at once for 30s`.
fn slots(text: &str) -> Option<Rule> {
    let mut words = text.split_ascii_whitespace();
    let max = number(words.next()?)?;
    for expected in ["at", "once", "for"] {
        words.next().filter(|word| *word == expected)?;
    }
    let window_us = window_us(words.next()?)?;
    words.next().is_none().then_some(Rule { max, window_us, burst: max, ..Rule::of(Algorithm::Concurrency) })
}

fn calendar(max: u64, unit: &str, zone: &str) -> Option<Rule> {
    let mut calendar = unit.to_owned();
    if !zone.is_empty() {
        calendar.push(' ');
        calendar.push_str(zone);
    }
    is_calendar(&calendar).then(|| Rule::calendar(max, &calendar))
}

/// Digits, with spaces around them: no sign, which the standard parser would take.
fn number(text: &str) -> Option<u64> {
    let digits = text.trim_ascii();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// `day` and `10s` alike.
fn window_us(text: &str) -> Option<u64> {
    match duration::unit_ms(text) {
        Some(unit_ms) => unit_ms.checked_mul(1_000),
        None => time_us(text),
    }
}

fn time_us(text: &str) -> Option<u64> {
    u64::try_from(duration::parse(text)?.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        use Algorithm::{FixedWindow, SlidingWindow, TokenBucket};
        for (text, algorithm, max, window_us, burst) in [
            ("10/s burst 20", TokenBucket, 10, 1_000_000, 20),
            ("1/10s burst 1", TokenBucket, 1, 10_000_000, 1),
            ("1000/day", FixedWindow, 1_000, 86_400_000_000, 1_000),
            ("100/10s", FixedWindow, 100, 10_000_000, 100),
            ("100/m sliding", SlidingWindow, 100, 60_000_000, 100),
            ("5/250ms", FixedWindow, 5, 250_000, 5),
            ("120,60", FixedWindow, 120, 60_000_000, 120),
            (" 120 , 60 ", FixedWindow, 120, 60_000_000, 120),
        ] {
            assert_eq!(text.parse(), Ok(Rule { max, window_us, burst, ..Rule::of(algorithm) }), "{text}");
        }
        let shaped = Rule { max: 10, burst: 20, longest_wait_us: 2_500_000, ..Rule::of(Algorithm::Delay) };
        assert_eq!("10/s burst 20 delay 2s500ms".parse(), Ok(shaped));
        let slots = Rule { max: 5, burst: 5, window_us: 30_000_000, ..Rule::of(Algorithm::Concurrency) };
        assert_eq!("5 at once for 30s".parse(), Ok(slots));
        let month =
            Rule { max: 1_000, burst: 1_000, calendar: Some("month Europe/Berlin"), ..Rule::of(Algorithm::Calendar) };
        assert_eq!("1000/calendar-month Europe/Berlin".parse(), Ok(month));
        assert_eq!("50/calendar-day".parse(), Ok(Rule { max: 50, burst: 50, calendar: Some("day"), ..month }));
    }

    #[test]
    fn everything_else_is_refused_with_what_is_accepted() {
        for text in [
            "",
            "10",
            "10/",
            "/s",
            "10/x",
            "10/month",
            "ten/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "10/s burst",
            "10/s burst x",
            "10/s sliding 3",
            "10/s burst 20 x",
            "30;60",
            "30,",
            ",60",
            "30,60,90",
            "10/s fast",
            "99999999999999999999/s",
            "1/99999999999999999999s",
            "1,99999999999999",
            "10/s delay 2s",
            "10/s burst 20 delay",
            "10/s burst 20 delay 2",
            "10/s burst 20 delay 2s x",
            "5 at once",
            "5 at once for",
            "5 at once for 30s x",
            "5 at twice for 30s",
            "1/calendar",
            "1/calendar-",
            "1/calendar-year",
            "1/calendar-month Europe Berlin",
            "1/calendar-month Europe\\Berlin",
            "1/calendar-month sliding x",
        ] {
            let problem = text.parse::<Rule>().unwrap_err().to_string();
            assert!(
                problem.starts_with(&format!("`{text}` is not a limit: write `10/s burst 20`")),
                "{text}: {problem}"
            );
        }
    }

    #[test]
    fn a_rule_out_of_range_is_refused_with_the_range() {
        for text in [
            "0/s",
            "0,60",
            "1,0",
            "1/400d",
            "2000000000/s",
            "10/s burst 0",
            "10/s burst 1 delay 2h",
            "1001 at once for 1s",
            "0/calendar-day",
        ] {
            let problem = text.parse::<Rule>().unwrap_err().to_string();
            assert!(problem.starts_with(&format!("limit `{text}`: ")), "{problem}");
        }
    }
}
