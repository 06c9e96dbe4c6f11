//! A bucket of which the caller names the numbers: what `CL.THROTTLE` counts by.
//!
//! A request says in attributes how much may come at once beyond the first (`max_burst`), and how much comes back (`count`) in how many seconds
//! (`period`). What it does not say is taken from the configuration. A `quantity`, if there is one, is what it takes instead of its cost; 0 looks only.
//!
//! ```json
//! {"max_burst": 15, "count": 30, "period": 60}
//! ```

use std::time::Duration;

use serde::Deserialize;
use tollgate_guest::{Config, Counters, Decision, Fault, Limit, Policy, Problems, Request};

/// Charges one bucket for each subject, by the numbers of the request.
pub struct Throttle(Numbers);

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Numbers {
    max_burst: Option<u64>,
    count: Option<u64>,
    period: Option<u64>,
}

impl Numbers {
    fn limit(self) -> Result<Limit, String> {
        let given = |name: &str, number: Option<u64>| number.ok_or_else(|| format!("the request names no `{name}`"));
        let burst = given("max_burst", self.max_burst)?.saturating_add(1);
        let period = Duration::from_secs(given("period", self.period)?);
        Limit::token_bucket("throttle", given("count", self.count)?, period, burst)
            .map_err(|problem| problem.to_string())
    }
}

impl Policy for Throttle {
    const NAME: &'static str = "throttle";
    const SCHEMA: &'static str = include_str!("../schema.json");

    fn configure(config: &Config) -> Result<Self, Problems> {
        let numbers: Numbers = config.parse()?;
        if numbers.max_burst.is_some() && numbers.count.is_some() && numbers.period.is_some() {
            numbers.limit().map_err(Problems::from)?;
        }
        Ok(Self(numbers))
    }

    fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault> {
        match asked(self.0, request) {
            Ok((limit, quantity)) => Ok(counters.charge(&[limit.charge(&request.subject, quantity)])?.into()),
            Err(problem) => Ok(Decision::deny(problem)),
        }
    }
}

/// The limit that a request names, and how much it takes.
fn asked(otherwise: Numbers, request: &Request) -> Result<(Limit, u64), String> {
    let number = |name: &str, otherwise: Option<u64>| match request.attribute(name) {
        None => Ok(otherwise),
        Some(text) => text.parse().map(Some).map_err(|_| format!("`{name}` is not a whole number from 0")),
    };
    let numbers = Numbers {
        max_burst: number("max_burst", otherwise.max_burst)?,
        count: number("count", otherwise.count)?,
        period: number("period", otherwise.period)?,
    };
    Ok((numbers.limit()?, number("quantity", Some(request.cost))?.unwrap_or(request.cost)))
}

tollgate_guest::export!(Throttle);

#[cfg(test)]
mod tests {
    use super::*;

    tollgate_guest::scenarios!(Throttle);

    #[track_caller]
    fn check(config: &str, attributes: &[(&str, &str)], expected: Decision) {
        let policy = Throttle::configure(&Config::new(config)).unwrap();
        let named = attributes.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let request = Request { attributes: named.collect(), ..Request::of("alice") };
        assert_eq!(policy.decide(&request, &tollgate_guest::testing::counters()), Ok(expected), "{attributes:?}");
    }

    #[test]
    fn the_request_names_the_numbers() {
        let one = [("max_burst", "0"), ("count", "1"), ("period", "60")];
        check("{}", &one, Decision::allow());
        check(r#"{"max_burst": 5, "count": 1, "period": 1}"#, &[("quantity", "6")], Decision::allow());
        let refused = Decision::deny("limit `throttle` has 1 left and 2 was asked");
        check("{}", &[&one[..], &[("quantity", "2")]].concat(), refused);
        check("{}", &[&one[..], &[("quantity", "0")]].concat(), Decision::allow());
    }

    #[test]
    fn what_makes_no_limit_is_refused_with_the_reason() {
        let denied = |reason: &str| Decision::deny(reason);
        check("{}", &[], denied("the request names no `max_burst`"));
        check("{}", &[("max_burst", "-1")], denied("`max_burst` is not a whole number from 0"));
        let count = [("max_burst", "1"), ("count", "0"), ("period", "1")];
        check("{}", &count, denied("limit `throttle`: max 0 is not 1 to 1000000000"));
    }

    #[test]
    fn a_wrong_configuration_is_told_with_what_is_accepted() {
        for (config, expected) in [
            (r#"{"burst": 1}"#, "unknown field `burst`, expected one of `max_burst`, `count`, `period` (line 1,"),
            (r#"{"max_burst": 1, "count": 1, "period": 0}"#, "limit `throttle`: window 0s is not 1ms to 366d"),
        ] {
            let told = Throttle::configure(&Config::new(config)).map(|_| ()).unwrap_err().to_string();
            assert!(told.starts_with(expected), "{told}");
        }
    }
}
