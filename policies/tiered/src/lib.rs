//! Any number of limits, all or nothing.
//!
//! One component serves every tier: Free, Basic and Pro differ in their configuration alone.
//!
//! ```json
//! {
//!   "limits": [
//!     {"id": "second", "limit": "1/s burst 10", "counts": "requests"},
//!     {"id": "jobs", "limit": "3 at once for 60s", "by": "tenant"},
//!     {"id": "month", "limit": "1000/calendar-month Europe/Berlin", "by": "tenant", "hold_seconds": 120}
//!   ],
//!   "costs": {"/export": 5, "/reports/*": 2}
//! }
//! ```

use std::time::Duration;

use serde::Deserialize;
use tollgate_guest::{
    Algorithm, Charge, Config, Counters, Decision, Fault, Limit, MAX_CHARGES, Policy, Problems, Request, Routes, Rule,
};

/// Charges every limit of its configuration, or none.
pub struct Tiered {
    limits: Vec<(Limit, Terms)>,
    costs: Routes<u64>,
}

/// How a limit is charged.
#[derive(Clone, Copy)]
struct Terms {
    by: By,
    counts: Counts,
    hold: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    limits: Vec<LimitSettings>,
    /// What one request to a route costs, if not 1. A request that asks for more than 1 costs so many times as much.
    #[serde(default)]
    costs: Routes<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitSettings {
    id: String,
    limit: Rule,
    #[serde(default)]
    by: By,
    #[serde(default)]
    counts: Counts,
    /// For how long the application may settle what a request really cost.
    #[serde(default)]
    hold_seconds: Option<u64>,
}

/// Whom a limit counts.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    /// Each subject for itself.
    #[default]
    Subject,
    /// All subjects of the tenant together.
    Tenant,
}

/// What a limit counts.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Counts {
    /// What requests cost.
    #[default]
    Cost,
    /// Each request as one, whatever it costs.
    Requests,
}

impl Policy for Tiered {
    const NAME: &'static str = "tiered";
    const SCHEMA: &'static str = include_str!("../schema.json");

    fn configure(config: &Config) -> Result<Self, Problems> {
        let Settings { limits: settings, costs } = config.parse()?;
        let mut problems = Problems::none();
        let mut limits: Vec<(Limit, Terms)> = Vec::with_capacity(settings.len());
        if settings.is_empty() {
            problems.push(r#"`limits` is empty; give at least one, such as {"id": "minute", "limit": "120/m"}"#);
        }
        if settings.len() > MAX_CHARGES {
            problems.push(format!("`limits` has {} entries; a decision charges at most {MAX_CHARGES}", settings.len()));
        }
        for LimitSettings { id, limit: rule, by, counts, hold_seconds } in settings {
            if hold_seconds.is_some_and(|seconds| !(1..=86_400).contains(&seconds)) {
                problems.push(format!("limit `{id}`: `hold_seconds` is not 1 to 86400"));
            }
            if limits.iter().any(|(earlier, _)| earlier.id() == id) {
                problems.push(format!("limit id `{id}` stands twice; each limit needs a counter of its own"));
            }
            let terms = Terms { by, counts, hold: hold_seconds.map(Duration::from_secs) };
            limits.extend(problems.note(Limit::new(id, rule)).map(|limit| (limit, terms)));
        }
        problems.into_result(Self { limits, costs })
    }

    fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault> {
        let cost = self.costs.find(&request.route).map_or(request.cost, |cost| request.cost.saturating_mul(*cost));
        let charges = self.limits.iter().map(|(limit, terms)| {
            let key = match terms.by {
                By::Subject => &request.subject,
                By::Tenant => "",
            };
            // A request takes one slot, whatever it costs.
            let is_one = terms.counts == Counts::Requests || limit.rule().algorithm == Algorithm::Concurrency;
            let cost = if is_one { cost.min(1) } else { cost };
            Charge { hold: terms.hold, ..limit.charge(key, cost) }
        });
        Ok(counters.charge(&charges.collect::<Vec<_>>())?.into())
    }
}

tollgate_guest::export!(Tiered);

#[cfg(test)]
mod tests {
    use super::*;

    tollgate_guest::scenarios!(Tiered);

    #[track_caller]
    fn refuses(config: &str, problems: &[&str]) {
        assert_eq!(Tiered::configure(&Config::new(config)).map(|_| ()).unwrap_err().into_list(), problems);
    }

    #[test]
    fn every_problem_of_a_configuration_is_told() {
        refuses("{}", &["missing field `limits` (line 1, column 1)"]);
        refuses(
            r#"{"limits": []}"#,
            &[r#"`limits` is empty; give at least one, such as {"id": "minute", "limit": "120/m"}"#],
        );
        refuses(
            r#"{"limits": [{"id": "a b", "limit": "1/s"}, {"id": "a", "limit": "1/s"}, {"id": "a", "limit": "1/m"}]}"#,
            &[
                "limit id `a b` is not 1 to 64 of A-Z a-z 0-9 . _ -",
                "limit id `a` stands twice; each limit needs a counter of its own",
            ],
        );
        refuses(
            r#"{"limits": [{"id": "a", "limit": "1/s", "by": "user"}]}"#,
            &["limits[0].by: unknown variant `user`, expected `subject` or `tenant` (line 1, column 47)"],
        );
        refuses(
            r#"{"limits": [{"id": "a", "limit": "1/s", "hold_seconds": 0}]}"#,
            &["limit `a`: `hold_seconds` is not 1 to 86400"],
        );
        refuses(
            r#"{"limits": [{"id": "a", "limit": "1/s"}], "costs": {"/a*b": 2}}"#,
            &["costs: pattern `/a*b` has a `*` before its end; only `/some/path/*` is understood (line 1, column 61)"],
        );
    }

    #[test]
    fn a_fault_of_the_counters_is_passed_on() {
        let policy = Tiered::configure(&Config::new(r#"{"limits": [{"id": "a", "limit": "1/s"}]}"#)).unwrap();
        let counters = tollgate_guest::testing::counters();
        counters.fail(Fault::Timeout);
        assert_eq!(policy.decide(&Request::of("alice"), &counters), Err(Fault::Timeout));
    }

    #[test]
    fn a_refusal_names_the_limit_that_takes_longest() {
        let config = r#"{"limits": [{"id": "second", "limit": "1/s"}, {"id": "day", "limit": "1/day"}]}"#;
        let policy = Tiered::configure(&Config::new(config)).unwrap();
        let counters = tollgate_guest::testing::counters();
        assert!(policy.decide(&Request::of("alice"), &counters).unwrap().is_allowed());
        let decision = policy.decide(&Request::of("alice"), &counters).unwrap();
        assert_eq!(decision, Decision::deny("limit `day` has 0 left and 1 was asked"));
    }
}
