//! Burst, daily quota, and a penalty for those who go on after being refused.
//!
//! A subject may be refused a few times. Who is refused more often than `refusals` says is denied everything for the time of the
//! `penalty`, and then starts afresh. Every setting has this default:
//!
//! ```json
//! {"burst": "1/s burst 10", "quota": "1000/day", "refusals": "5/m", "penalty_seconds": 600}
//! ```

use std::time::Duration;

use serde::Deserialize;
use tollgate_guest::{Config, Counters, Decision, Fault, Limit, Policy, Problems, Request, Rule};

/// Charges burst and quota together, and counts its refusals.
pub struct Penalty {
    burst: Limit,
    quota: Limit,
    refusals: Limit,
    /// A bucket of one token that takes the time of the penalty to come back.
    penalty: Limit,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    burst: Option<Rule>,
    quota: Option<Rule>,
    refusals: Option<Rule>,
    penalty_seconds: Option<u64>,
}

impl Policy for Penalty {
    const NAME: &'static str = "penalty";
    const SCHEMA: &'static str = include_str!("../schema.json");

    fn configure(config: &Config) -> Result<Self, Problems> {
        let settings: Settings = config.parse()?;
        let limit = |id, given: Option<Rule>, default: &str| {
            given.map_or_else(|| default.parse(), Ok).and_then(|rule| Limit::new(id, rule))
        };
        let penalty = Duration::from_secs(settings.penalty_seconds.unwrap_or(600));
        Ok(Self {
            burst: limit("burst", settings.burst, "1/s burst 10")?,
            quota: limit("quota", settings.quota, "1000/day")?,
            refusals: limit("refusals", settings.refusals, "5/m")?,
            penalty: Limit::token_bucket("penalty", 1, penalty, 1)?,
        })
    }

    fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault> {
        let subject = request.subject.as_str();
        // Looked at first and by itself: what is denied as a penalty must not use up burst and quota.
        if !counters.charge(&[self.penalty.charge(subject, 1).peek()])?.iter().all(|outcome| outcome.allowed) {
            return Ok(Decision::deny("too many refused requests: the penalty is not over").with("penalty", "serving"));
        }
        let wanted =
            counters.charge(&[self.burst.charge(subject, request.cost), self.quota.charge(subject, request.cost)])?;
        if wanted.admitted() || counters.charge(&[self.refusals.charge(subject, 1)])?.admitted() {
            return Ok(wanted.into());
        }
        // The second charge sees the first, and so tells how long the penalty is.
        counters.charge(&[self.penalty.charge(subject, 1), self.penalty.charge(subject, 1).peek()])?;
        Ok(Decision::deny("too many refused requests: the penalty begins").with("penalty", "begins"))
    }
}

tollgate_guest::export!(Penalty);

#[cfg(test)]
mod tests {
    use super::*;

    tollgate_guest::scenarios!(Penalty);

    #[test]
    fn a_wrong_configuration_is_told_with_what_is_accepted() {
        for (config, expected) in [
            (r#"{"penalty_seconds": 0}"#, "limit `penalty`: window 0s is not 1ms to 366d"),
            (r#"{"penalty_seconds": "10m"}"#, "penalty_seconds: expected u64, found \"10m\" (line 1, column 21)"),
            (
                r#"{"penalty": "10m"}"#,
                "unknown field `penalty`, expected one of `burst`, `quota`, `refusals`, `penalty_seconds` (line 1, column 13)",
            ),
        ] {
            assert_eq!(Penalty::configure(&Config::new(config)).map(|_| ()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_decision_tells_of_the_penalty() {
        let policy = Penalty::configure(&Config::new(r#"{"burst": "1/s burst 1", "refusals": "1/m"}"#)).unwrap();
        let counters = tollgate_guest::testing::counters();
        let reasons = [(); 4].map(|()| policy.decide(&Request::of("alice"), &counters).unwrap().reason);
        assert_eq!(
            reasons,
            [
                "",
                "limit `burst` has 0 left and 1 was asked",
                "too many refused requests: the penalty begins",
                "too many refused requests: the penalty is not over",
            ]
        );
    }
}
