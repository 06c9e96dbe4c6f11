//! Moments as people write them.

use crate::time::Timestamp;

/// A moment as RFC 3339 writes it, in UTC, to the millisecond.
pub(crate) fn rfc3339(moment: Timestamp) -> String {
    let ms = i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_in_utc() {
        assert_eq!(rfc3339(Timestamp::from_micros(1_700_000_000_123_000)), "2023-11-14T22:13:20.123Z");
    }
}
