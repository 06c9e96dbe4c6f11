//! A rule in text form, as configuration says it.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::{Algorithm, Problems, Rule, duration};

/// Reads the text form of a rule.
///
/// | text | meaning |
/// |---|---|
/// | `10/s burst 20` | a token bucket that holds 20 and refills at 10 a second |
/// | `1000/day` | a fixed window of a day |
/// | `100/10s` | a fixed window of ten seconds |
/// | `100/m sliding` | a sliding window of a minute |
/// | `120,60` | a fixed window: count, seconds |
///
/// Units are `ms`, `s`, `m`, `h`, `d` and `w`, or their names.
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
                "`{text}` is not a limit: write `10/s burst 20`, `1000/day`, `100/10s sliding` or `120,60` (count,seconds); \
                 units are ms, s, m, h, d and w"
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
        return Some(Rule {
            algorithm: Algorithm::FixedWindow,
            max,
            window_us: seconds.checked_mul(1_000_000)?,
            burst: max,
        });
    }
    let mut words = text.split_ascii_whitespace();
    let (max, window) = words.next()?.split_once('/')?;
    let max = number(max)?;
    let (algorithm, burst) = match (words.next(), words.next()) {
        (None, _) => (Algorithm::FixedWindow, max),
        (Some("sliding"), None) => (Algorithm::SlidingWindow, max),
        (Some("burst"), Some(burst)) => (Algorithm::TokenBucket, number(burst)?),
        _ => return None,
    };
    words.next().is_none().then_some(())?;
    Some(Rule { algorithm, max, window_us: window_us(window)?, burst })
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
        None => u64::try_from(duration::parse(text)?.as_micros()).ok(),
    }
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
            assert_eq!(text.parse(), Ok(Rule { algorithm, max, window_us, burst }), "{text}");
        }
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
        for text in ["0/s", "0,60", "1,0", "1/400d", "2000000000/s", "10/s burst 0"] {
            let problem = text.parse::<Rule>().unwrap_err().to_string();
            assert!(problem.starts_with(&format!("limit `{text}`: ")), "{problem}");
        }
    }
}
