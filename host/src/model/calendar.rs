//! Calendar periods: days, weeks and months as people live them, in a time zone.
//!
//! Also carried by the SDK of policy authors, so that their tests count as the host does.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan};

use crate::counter::Period;

/// A day, a week or a month in a time zone.
#[derive(Clone, Debug)]
struct Calendar {
    unit: Unit,
    zone: TimeZone,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    Day,
    /// From Monday on, as ISO 8601 has it.
    Week,
    Month,
}

impl Calendar {
    /// Reads `day`, `week` or `month`, and after a space the name of a time zone if it is not UTC.
    fn parse(text: &str) -> Result<Self, String> {
        let (unit, zone) = text.split_once(' ').unwrap_or((text, "UTC"));
        let unit = match unit {
            "day" => Unit::Day,
            "week" => Unit::Week,
            "month" => Unit::Month,
            _ => return Err(format!("calendar `{}` does not begin with day, week or month", text.escape_debug())),
        };
        // Names are read whatever their case; but each is to be written in one way only.
        match TimeZone::get(zone) {
            Ok(found) if found.iana_name() == Some(zone) && !found.is_unknown() => Ok(Self { unit, zone: found }),
            _ => Err(format!(
                "calendar `{}`: no such time zone; write a name of the IANA database as it stands there, such as `Europe/Berlin`",
                text.escape_debug()
            )),
        }
    }

    /// The period that the moment lies in, and the end of the next; none if the calendar does not go so far.
    fn period(&self, now_us: u64) -> Option<Period> {
        let now = Timestamp::from_microsecond(i64::try_from(now_us).ok()?).ok()?;
        let today = now.to_zoned(self.zone.clone()).date();
        let first = match self.unit {
            Unit::Day => today,
            Unit::Week => today.checked_sub(i64::from(today.weekday().to_monday_zero_offset()).days()).ok()?,
            Unit::Month => today.first_of_month(),
        };
        let start_us = self.begins_us(first)?;
        let (second, end_us) = self.next(first, start_us)?;
        let (_, next_end_us) = self.next(second, end_us)?;
        Some(Period { start_us, end_us, next_end_us })
    }

    /// When the day begins: at midnight, or as soon after as there is a time at all.
    fn begins_us(&self, day: Date) -> Option<u64> {
        let begins = day.to_zoned(self.zone.clone()).ok()?;
        u64::try_from(begins.timestamp().as_microsecond()).ok()
    }

    /// The first day of the next period, and when it begins. A zone that leaped over the date line has a day less.
    fn next(&self, first: Date, begins_us: u64) -> Option<(Date, u64)> {
        let mut day = first;
        for _ in 0..2 {
            day = day.checked_add(self.length()).ok()?;
            let next_us = self.begins_us(day)?;
            if next_us > begins_us {
                return Some((day, next_us));
            }
        }
        None
    }

    fn length(&self) -> Span {
        match self.unit {
            Unit::Day => 1.day(),
            Unit::Week => 1.week(),
            Unit::Month => 1.month(),
        }
    }
}

/// Calendars by their text, each with its period of late: as long as that lasts, nobody works it out again.
#[derive(Debug, Default)]
pub(crate) struct Calendars(Vec<Known>);

#[derive(Debug)]
struct Known {
    text: Box<str>,
    calendar: Calendar,
    period: Period,
}

impl Calendars {
    /// How many are kept. A policy has as many limits as a decision has charges, or a few times as many.
    const KEPT: usize = 32;

    /// The period of the calendar called `text`, such as `month Europe/Berlin`, that the moment lies in.
    ///
    /// # Errors
    ///
    /// Fails with what is accepted if there is no such calendar.
    pub(crate) fn period(&mut self, text: &str, now_us: u64) -> Result<Period, String> {
        let lasts = |period: &Period| (period.start_us..period.end_us).contains(&now_us);
        if let Some(known) = self.0.iter_mut().find(|known| *known.text == *text) {
            if !lasts(&known.period) {
                known.period = known.calendar.period(now_us).ok_or_else(|| beyond(text))?;
            }
            return Ok(known.period);
        }
        let calendar = Calendar::parse(text)?;
        let period = calendar.period(now_us).ok_or_else(|| beyond(text))?;
        if self.0.len() >= Self::KEPT {
            self.0.swap_remove(0);
        }
        self.0.push(Known { text: text.into(), calendar, period });
        Ok(period)
    }
}

fn beyond(text: &str) -> String {
    format!("calendar `{text}` does not reach the present")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_microsecond()).unwrap()
    }

    /// At `now`, the period of `calendar` lasts from the first to the second moment, and the next to the third.
    #[track_caller]
    fn check(calendar: &str, now: &str, [start, end, next_end]: [&str; 3]) {
        let period = Calendar::parse(calendar).unwrap().period(us(now)).unwrap();
        let told = [period.start_us, period.end_us, period.next_end_us]
            .map(|us| Timestamp::from_microsecond(us.try_into().unwrap()).unwrap().to_string());
        assert_eq!(told, [start, end, next_end], "{calendar} at {now}");
    }

    #[test]
    fn a_month_is_as_long_as_it_is() {
        let leap = ["2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z", "2024-04-01T00:00:00Z"];
        check("month", "2024-02-29T23:59:59.999999Z", leap);
        check("month", "2024-02-01T00:00:00Z", leap);
        check(
            "month UTC",
            "2023-02-10T00:00:00Z",
            ["2023-02-01T00:00:00Z", "2023-03-01T00:00:00Z", "2023-04-01T00:00:00Z"],
        );
        check(
            "month",
            "2023-12-31T12:00:00Z",
            ["2023-12-01T00:00:00Z", "2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"],
        );
    }

    #[test]
    fn a_month_begins_at_midnight_where_it_is_counted() {
        // 1 November in Berlin is winter already, 1 October is summer still.
        let october = ["2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"];
        check("month Europe/Berlin", "2026-10-01T00:00:00+02:00", october);
        check("month Europe/Berlin", "2026-10-31T23:59:59+01:00", october);
        let kiritimati = ["2026-10-31T10:00:00Z", "2026-11-30T10:00:00Z", "2026-12-31T10:00:00Z"];
        check("month Pacific/Kiritimati", "2026-10-31T10:00:00Z", kiritimati);
        check(
            "month Pacific/Pago_Pago",
            "2026-11-01T10:59:59Z",
            ["2026-10-01T11:00:00Z", "2026-11-01T11:00:00Z", "2026-12-01T11:00:00Z"],
        );
    }

    #[test]
    fn a_day_has_23_or_25_hours_when_the_clocks_change() {
        let spring = ["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z"];
        check("day Europe/Berlin", "2026-03-29T12:00:00Z", spring);
        let autumn = ["2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", "2026-10-26T23:00:00Z"];
        check("day Europe/Berlin", "2026-10-25T00:30:00Z", autumn);
        check("day Europe/Berlin", "2026-10-25T01:30:00Z", autumn);
        check(
            "day America/New_York",
            "2026-11-01T12:00:00Z",
            ["2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", "2026-11-03T05:00:00Z"],
        );
    }

    #[test]
    fn a_day_without_a_midnight_begins_after_it() {
        // In Beirut the clocks go from 0:00 to 1:00.
        let march = ["2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z", "2026-03-30T21:00:00Z"];
        check("day Asia/Beirut", "2026-03-29T10:00:00Z", march);
        // Samoa had no 30 December 2011.
        let leap = ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"];
        check("day Pacific/Apia", "2011-12-30T09:00:00Z", leap);
    }

    #[test]
    fn a_week_begins_on_monday() {
        let week = ["2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"];
        check("week", "2026-11-16T00:00:00Z", week);
        check("week", "2026-11-22T23:59:59Z", week);
        let new_year = ["2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z"];
        check("week", "2026-01-01T00:00:00Z", new_year);
        let tokyo = ["2026-11-15T15:00:00Z", "2026-11-22T15:00:00Z", "2026-11-29T15:00:00Z"];
        check("week Asia/Tokyo", "2026-11-15T15:00:00Z", tokyo);
    }

    #[test]
    fn every_moment_of_fifty_years_lies_in_its_period_and_periods_join() {
        for text in
            ["day Europe/Berlin", "week America/Sao_Paulo", "month Australia/Lord_Howe", "day Africa/Casablanca"]
        {
            let calendar = Calendar::parse(text).unwrap();
            let mut period = calendar.period(us("1990-01-01T00:00:00Z")).unwrap();
            while period.start_us < us("2040-01-01T00:00:00Z") {
                let last = calendar.period(period.end_us - 1).unwrap();
                assert_eq!(last, period, "{text}");
                let next = calendar.period(period.end_us).unwrap();
                assert_eq!((next.start_us, next.end_us), (period.end_us, period.next_end_us), "{text}");
                period = next;
            }
        }
    }

    #[test]
    fn what_is_no_calendar_is_refused_with_what_is_accepted() {
        for text in [
            "",
            "year",
            "Month",
            "month  UTC",
            "month ",
            "day europe/berlin",
            "day Mars/Base",
            "day Etc/Unknown",
            "day UTC x",
        ] {
            let problem = Calendar::parse(text).unwrap_err();
            assert!(problem.starts_with(&format!("calendar `{text}`")), "{problem}");
        }
        assert_eq!(
            Calendar::parse("fortnight UTC").unwrap_err(),
            "calendar `fortnight UTC` does not begin with day, week or month"
        );
    }

    #[test]
    fn a_known_period_is_not_worked_out_again_until_it_is_over() {
        let mut calendars = Calendars::default();
        let (noon, tomorrow) = (us("2026-11-20T12:00:00Z"), us("2026-11-21T00:00:00Z"));
        let today = calendars.period("day", noon).unwrap();
        calendars.0[0].calendar = Calendar::parse("month").unwrap();
        assert_eq!(calendars.period("day", tomorrow - 1), Ok(today));
        assert_ne!(calendars.period("day", tomorrow), Ok(today));
        for number in 0..100 {
            let _ = calendars.period(&format!("day Etc/GMT+{}", number % 13), noon);
            let _ = calendars.period(&format!("week Etc/GMT-{}", number % 13), noon);
            let _ = calendars.period(&format!("month Etc/GMT-{}", number % 13), noon);
        }
        assert!(calendars.0.len() <= Calendars::KEPT);
    }
}
