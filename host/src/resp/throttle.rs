//! `CL.THROTTLE`: one decision of the tier `throttle`.

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::Service;
use super::reply::{Reply, shown};
use crate::config::RespConfig;
use crate::counter::Algorithm;
use crate::error::Error;
use crate::model::{Charged, Decision, Limit, Quota, Request, Source};

/// The tenant of everything that is asked here.
const TENANT: &str = "resp";
const ROUTE: &str = "CL.THROTTLE";
const USAGE: &str = "ERR wrong number of arguments: CL.THROTTLE key max_burst count_per_period period [quantity]";

/// What a command asks for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    max_burst: u64,
    count: u64,
    period: u64,
    quantity: u64,
}

impl Asked {
    fn read(numbers: &[Bytes]) -> Result<Self, String> {
        let (max_burst, count, period, quantity) = match numbers {
            [max_burst, count, period] => (max_burst, count, period, None),
            [max_burst, count, period, quantity] => (max_burst, count, period, Some(quantity)),
            _ => return Err(USAGE.to_owned()),
        };
        let asked = Self {
            max_burst: number("max_burst", max_burst)?,
            count: number("count_per_period", count)?,
            period: number("period", period)?,
            quantity: quantity.map_or(Ok(1), |quantity| number("quantity", quantity))?,
        };
        asked.limit().map_err(|problem| format!("ERR {problem}"))?;
        if asked.quantity > Request::MAX_COST {
            return Err(format!("ERR quantity {} is not 0 to {}", asked.quantity, Request::MAX_COST));
        }
        Ok(asked)
    }

    /// The limit, which the policy makes as well: here it is told more clearly why there is none.
    fn limit(&self) -> Result<Limit, Error> {
        let Self { max_burst, count, period, .. } = *self;
        let quota = Quota { max: count, window: Duration::from_secs(period), burst: max_burst.saturating_add(1) };
        Limit::new(RespConfig::TIER, Algorithm::TokenBucket, quota)
    }
}

fn number(name: &str, text: &[u8]) -> Result<u64, String> {
    let number: Option<i64> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| format!("ERR {name} `{}` is not an integer", shown(text)))?;
    u64::try_from(number).map_err(|_| format!("ERR {name} {number} is negative"))
}

/// Answers `CL.THROTTLE` with these arguments.
pub(super) async fn throttle(service: &Service, arguments: &[Bytes]) -> Reply {
    let Some((key, numbers)) = arguments.split_first() else { return Reply::error(USAGE) };
    let asked = match Asked::read(numbers) {
        Ok(asked) => asked,
        Err(problem) => return Reply::error(&problem),
    };
    match decide(service, &subject(key), &asked).await {
        Ok(decision) => reply(&asked, &decision),
        Err(problem) => Reply::error(&problem),
    }
}

async fn decide(service: &Service, subject: &str, asked: &Asked) -> Result<Decision, String> {
    let Asked { max_burst, count, period, quantity } = asked;
    let numbers = [max_burst, count, period, quantity].map(ToString::to_string);
    let [max_burst, count, period, quantity] = &numbers;
    let attributes = [
        ("max_burst", max_burst.as_str()),
        ("count", count.as_str()),
        ("period", period.as_str()),
        ("quantity", quantity.as_str()),
    ];
    let request = Request::new(TENANT, subject)
        .and_then(|request| request.with_tier(RespConfig::TIER)?.with_route(ROUTE)?.with_cost(asked.quantity.max(1)))
        .and_then(|request| request.with_attributes(&attributes))
        .map_err(|problem| format!("ERR {problem}"))?;
    if !service.gate.has_tier(&request) {
        return Err(format!("ERR this server has no tier `{}`", RespConfig::TIER));
    }
    Ok(service.gate.decide(&request).await)
}

/// The key as a subject. What is longer than a subject, or no text, is counted under its digest.
fn subject(key: &[u8]) -> String {
    let is_subject = |text: &&str| Request::new(TENANT, text).is_ok();
    match std::str::from_utf8(key).ok().filter(is_subject) {
        Some(text) => text.to_owned(),
        None => Sha256::digest(key).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")),
    }
}

/// Limited or not, the limit, what remains, and in how many seconds it passes and is as if unused.
fn reply(asked: &Asked, decision: &Decision) -> Reply {
    let refused = i64::from(!decision.is_allowed());
    match (decision.binding(), decision.source) {
        (Some(Charged { limit, outcome, .. }), _) => {
            let most = match limit.algorithm() {
                Algorithm::TokenBucket | Algorithm::Delay => limit.burst(),
                _ => limit.max(),
            };
            let wait = decision.retry_after().map_or(-1, seconds);
            Reply::numbers([refused, whole(most), whole(outcome.remaining), wait, seconds(outcome.reset_after)])
        }
        // The rule for a broken store lets it pass: of what remains nothing is known.
        (None, _) if decision.is_allowed() => Reply::numbers([0, whole(asked.max_burst + 1), 0, -1, 0]),
        (None, Source::Policy) => Reply::error(&format!("ERR {}", decision.reason)),
        (None, _) => Reply::error(&format!("TRYAGAIN {}", decision.reason)),
    }
}

/// Whole seconds, rounded up: who waits so long has waited long enough.
fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_micros().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Asked, String> {
        let words: Vec<Bytes> = text.split_whitespace().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        Asked::read(&words)
    }

    #[test]
    fn numbers_are_read_or_refused_by_name() {
        assert_eq!(read("15 30 60"), Ok(Asked { max_burst: 15, count: 30, period: 60, quantity: 1 }));
        assert_eq!(read("0 1 1 0"), Ok(Asked { max_burst: 0, count: 1, period: 1, quantity: 0 }));
        for (text, expected) in [
            ("15 30", "wrong number of arguments"),
            ("15 30 60 1 1", "wrong number of arguments"),
            ("fifteen 30 60", "max_burst `fifteen` is not an integer"),
            ("1.5 30 60", "max_burst `1.5` is not an integer"),
            ("-1 30 60", "max_burst -1 is negative"),
            ("15 -30 60", "count_per_period -30 is negative"),
            ("15 0 60", "max 0 is not 1 to 1000000000"),
            ("15 30 0", "window 0s is not 1ms to 366d"),
            ("15 30 60 -1", "quantity -1 is negative"),
            ("15 30 60 1000000001", "quantity 1000000001 is not 0 to 1000000000"),
            ("9223372036854775807 30 60", "burst 9223372036854775808 is not 1 to 1000000000"),
            ("9223372036854775808 30 60", "is not an integer"),
            ("999999999 1 31622400", "3660"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.starts_with("ERR ") && refused.contains(expected), "{text}: {refused}");
        }
    }

    #[test]
    fn any_key_is_a_subject_of_its_own() {
        assert_eq!(subject(b"user123"), "user123");
        let (long, binary) = (subject(&[b'k'; 129]), subject(b"\xff\x00"));
        assert!(long.starts_with("sha256:") && long.len() == 71, "{long}");
        assert_ne!(long, subject(&[b'k'; 130]));
        assert_ne!(binary, subject(b"\xff\x01"));
        assert_ne!(subject(b""), subject(b" "));
    }
}
