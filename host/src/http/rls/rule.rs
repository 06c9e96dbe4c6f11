//! A rule: what one descriptor may do.

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit as EnvoyUnit;

use super::yaml::{DescriptorSheet, RateLimitSheet};
use crate::model::{Limit, is_name};

/// What one descriptor may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// The id of its limit: its name if that is one, and otherwise the keys of its descriptors.
    pub(super) id: Box<str>,
    /// Its name, as the operator wrote it; may be empty.
    pub(super) name: Box<str>,
    pub(super) rate: Rate,
    pub(super) enforcement: Enforcement,
    /// The names of the rules that do not count where this one does.
    pub(super) replaces: Box<[Box<str>]>,
    /// Whether the request brought it, and no file.
    pub(super) is_given: bool,
}

/// How much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// As much as it likes.
    Unlimited,
    /// So much, in each unit since the Unix epoch. 0 refuses everything.
    Per(u32, Unit),
}

/// What comes of too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enforcement {
    /// The request is refused.
    Enforce,
    /// Nothing but a line in the metrics.
    Shadow,
    /// The request is refused if all its quotas are used up.
    Quota,
}

/// A window, which begins at each multiple of itself since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Unit {
    const ALL: [(&'static str, Self); 7] = [
        ("second", Self::Second),
        ("minute", Self::Minute),
        ("hour", Self::Hour),
        ("day", Self::Day),
        ("week", Self::Week),
        ("month", Self::Month),
        ("year", Self::Year),
    ];

    fn named(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, unit)| *unit)
    }

    /// The unit by its number in Envoy's messages, where limits of a request and of an answer number it alike.
    pub(super) fn numbered(number: i32) -> Option<Self> {
        Self::ALL.iter().find(|(_, unit)| unit.number() == number).map(|(_, unit)| *unit)
    }

    /// Its number in Envoy's messages.
    pub(super) const fn number(self) -> i32 {
        let unit = match self {
            Self::Second => EnvoyUnit::Second,
            Self::Minute => EnvoyUnit::Minute,
            Self::Hour => EnvoyUnit::Hour,
            Self::Day => EnvoyUnit::Day,
            Self::Week => EnvoyUnit::Week,
            Self::Month => EnvoyUnit::Month,
            Self::Year => EnvoyUnit::Year,
        };
        unit as i32
    }

    /// Its length. A month has 30 days and a year 365, as in envoyproxy/ratelimit.
    pub(super) const fn seconds(self) -> u64 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
            Self::Week => 7 * 86_400,
            Self::Month => 30 * 86_400,
            Self::Year => 365 * 86_400,
        }
    }
}

/// The most that a limit can count.
pub(super) const MOST_PER_UNIT: u32 = 1_000_000_000;

impl Rule {
    /// The rule of a descriptor whose keys, and those above it, are `path`; or what is wrong with it.
    pub(super) fn read(sheet: &RateLimitSheet, descriptor: &DescriptorSheet, path: &[&str]) -> Result<Self, String> {
        let name = sheet.name.as_deref().unwrap_or_default();
        let replaces = replaced(sheet, name)?;
        let rate = rate(sheet)?;
        let enforcement = match (descriptor.shadow_mode, descriptor.quota_mode) {
            (true, true) => return Err("has both `shadow_mode` and `quota_mode`; keep one".to_owned()),
            (true, false) => Enforcement::Shadow,
            (false, true) => Enforcement::Quota,
            (false, false) => Enforcement::Enforce,
        };
        let id = if is_name(name) { name.into() } else { id(path) };
        Ok(Self { id, name: name.into(), rate, enforcement, replaces, is_given: false })
    }

    /// The rule that a request brings itself.
    pub(super) fn given(per_unit: u32, unit: Unit, path: &[&str]) -> Self {
        let rate = Rate::Per(per_unit.min(MOST_PER_UNIT), unit);
        let (enforcement, replaces) = (Enforcement::Enforce, Box::default());
        Self { id: id(path), name: "".into(), rate, enforcement, replaces, is_given: true }
    }
}

fn rate(sheet: &RateLimitSheet) -> Result<Rate, String> {
    const UNITS: &str = "second, minute, hour, day, week, month or year";
    match (sheet.unlimited, &sheet.unit, sheet.requests_per_unit) {
        (true, Some(_), _) => Err("has `unlimited` and a `unit`; keep one".to_owned()),
        (true, None, _) => Ok(Rate::Unlimited),
        (false, None, _) => Err(format!("has no `unit`; give {UNITS}, or `unlimited: true`")),
        (false, Some(_), None) => Err("has no `requests_per_unit`; give a number, 0 to refuse everything".to_owned()),
        (false, Some(unit), Some(per_unit)) => {
            let unit =
                Unit::named(unit).ok_or_else(|| format!("has the unit `{}`; give {UNITS}", unit.escape_debug()))?;
            let per_unit =
                u32::try_from(per_unit).ok().filter(|per_unit| *per_unit <= MOST_PER_UNIT).ok_or_else(|| {
                    format!("has {per_unit} `requests_per_unit`; give at most {MOST_PER_UNIT}, or `unlimited: true`")
                })?;
            Ok(Rate::Per(per_unit, unit))
        }
    }
}

fn replaced(sheet: &RateLimitSheet, name: &str) -> Result<Box<[Box<str>]>, String> {
    let names = sheet.replaces.iter().flatten().map(|replaced| replaced.name.as_str());
    names
        .map(|replaced| match replaced {
            "" => Err("`replaces` a rule without a name; give the `name` of another".to_owned()),
            own if own == name => Err(format!("`replaces` itself, `{}`; name another", own.escape_debug())),
            other => Ok(other.into()),
        })
        .collect()
}

/// The keys with dots between them, made a name: it stands in keys of counters and in header fields, so a dash stands for what does not fit.
fn id(path: &[&str]) -> Box<str> {
    let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    // A request may name a key by nothing at all.
    let path = Some(path.join(".")).filter(|path| !path.is_empty()).unwrap_or_else(|| "-".to_owned());
    path.chars().map(fits).take(Limit::MAX_ID_BYTES).collect()
}
