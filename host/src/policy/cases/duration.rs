//! Durations as people write them.

use std::time::Duration;

/// Every unit with its names and its length in milliseconds. No month and no year: they have no length.
const UNITS: [(&[&str], u64); 6] = [
    (&["ms"], 1),
    (&["s", "sec", "second", "seconds"], 1_000),
    (&["m", "min", "minute", "minutes"], 60_000),
    (&["h", "hour", "hours"], 3_600_000),
    (&["d", "day", "days"], 86_400_000),
    (&["w", "week", "weeks"], 604_800_000),
];

/// The duration that `text` says: numbers with units without spaces, such as `500ms`, `7s` or `1h30m`. None if it says none.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let (number, after) = split(rest, |byte| byte.is_ascii_digit());
        let (unit, after) = split(after, |byte| byte.is_ascii_alphabetic());
        total_ms = total_ms.checked_add(number.parse::<u64>().ok()?.checked_mul(unit_ms(unit)?)?)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_millis(total_ms))
}

/// The length of the unit called `name`, in milliseconds.
pub(crate) fn unit_ms(name: &str) -> Option<u64> {
    UNITS.iter().find(|(names, _)| names.contains(&name)).map(|(_, ms)| *ms)
}

/// The longest head of `text` whose bytes are all `wanted`, and the rest. `wanted` accepts ASCII only.
fn split(text: &str, wanted: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(|byte| !wanted(byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        for (text, expected_ms) in [
            ("500ms", Some(500)),
            ("7s", Some(7_000)),
            ("1h30m", Some(5_400_000)),
            ("2days", Some(172_800_000)),
            ("0s", Some(0)),
            ("", None),
            ("s", None),
            ("7", None),
            ("7 s", None),
            ("1month", None),
            ("-1s", None),
            ("7é", None),
            ("99999999999999999999s", None),
            ("18446744073709551615w", None),
        ] {
            assert_eq!(parse(text), expected_ms.map(Duration::from_millis), "{text}");
        }
    }
}
