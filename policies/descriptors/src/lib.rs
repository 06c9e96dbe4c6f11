//! The limits that a request brings along, all or nothing: what Envoy's rate limit service asks.
//!
//! The host finds the limit of each descriptor in the files of the operator, and gives it as an attribute of the request: its name is the id of the
//! limit, its value the mode, the cost, the limit as count and seconds, and the counter's key.
//!
//! ```text
//! message_type.to_number = enforce 1 5,86400 message_type=marketing;to_number=2061111111
//! ```
//!
//! So a file may change at any time: no instance is configured anew, and every counter goes on.

use serde::Deserialize;
use tollgate_guest::{Charge, Config, Counters, Decision, Fault, Limit, Mode, Policy, Problems, Request, Rule};

/// Charges every limit that the request brings, or none.
pub struct Descriptors;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {}

/// The subject of all for whom the tenant has no room: they share one counter of each limit.
const OVERFLOW: &str = "~overflow";

/// A limit of the request, as its attribute says.
struct Brought<'a> {
    limit: Limit,
    mode: Mode,
    cost: u64,
    key: &'a str,
}

impl Policy for Descriptors {
    const NAME: &'static str = "descriptors";
    const SCHEMA: &'static str = include_str!("../schema.json");

    fn configure(config: &Config) -> Result<Self, Problems> {
        config.parse::<Settings>().map(|Settings {}| Self)
    }

    fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault> {
        let brought: Vec<Brought<'_>> = request.attributes.iter().map(brought).collect::<Result<_, Fault>>()?;
        let charges = brought.iter().map(|Brought { limit, mode, cost, key }| {
            let key = if request.subject == OVERFLOW { OVERFLOW } else { key };
            Charge { mode: *mode, ..limit.charge(key, *cost) }
        });
        Ok(counters.charge(&charges.collect::<Vec<_>>())?.into())
    }
}

fn brought((id, value): &(String, String)) -> Result<Brought<'_>, Fault> {
    let wrong = || Fault::Other(format!("attribute `{id}` is not `MODE COST COUNT,SECONDS KEY`: `{value}`"));
    let mut words = value.splitn(4, ' ');
    let mut next = || words.next().ok_or_else(wrong);
    let mode = match next()? {
        "enforce" => Mode::Enforce,
        "shadow" => Mode::Shadow,
        "peek" => Mode::Peek,
        _ => return Err(wrong()),
    };
    let cost = next()?.parse().map_err(|_| wrong())?;
    let rule: Rule = next()?.parse().map_err(|problems: Problems| Fault::Other(problems.to_string()))?;
    let limit = Limit::new(id.as_str(), rule).map_err(|problems| Fault::Other(problems.to_string()))?;
    Ok(Brought { limit, mode, cost, key: next()? })
}

tollgate_guest::export!(Descriptors);

#[cfg(test)]
mod tests {
    use super::*;

    tollgate_guest::scenarios!(Descriptors);

    fn request(subject: &str, attributes: &[(&str, &str)]) -> Request {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Request { attributes, ..Request::of(subject) }
    }

    #[track_caller]
    fn check(subject: &str, attributes: &[(&str, &str)], counters: &impl Counters, expected: &Decision) {
        assert_eq!(Descriptors.decide(&request(subject, attributes), counters), Ok(expected.clone()));
    }

    #[test]
    fn every_limit_is_charged_or_none() {
        let counters = tollgate_guest::testing::counters();
        let (day, minute) = (("day", "enforce 1 2,86400 to=a b"), ("minute", "enforce 1 5,60 to=a b"));
        check("s", &[day, minute], &counters, &Decision::allow());
        check("s", &[day, minute], &counters, &Decision::allow());
        check("s", &[day, minute], &counters, &Decision::deny("limit `day` has 0 left and 1 was asked"));
        check("s", &[("minute", "enforce 3 5,60 to=a b")], &counters, &Decision::allow());
        check("s", &[("day", "enforce 2 2,86400 to=another")], &counters, &Decision::allow());
    }

    #[test]
    fn a_shadow_and_a_look_refuse_nobody() {
        let counters = tollgate_guest::testing::counters();
        for mode in ["shadow", "peek"] {
            for _ in 0..3 {
                check("s", &[("day", &format!("{mode} 1 1,86400 k"))], &counters, &Decision::allow());
            }
        }
    }

    #[test]
    fn those_for_whom_there_is_no_room_share_a_counter() {
        let counters = tollgate_guest::testing::counters();
        check(OVERFLOW, &[("day", "enforce 1 1,86400 a")], &counters, &Decision::allow());
        let refused = Decision::deny("limit `day` has 0 left and 1 was asked");
        check(OVERFLOW, &[("day", "enforce 1 1,86400 b")], &counters, &refused);
    }

    #[test]
    fn an_attribute_that_is_no_limit_is_a_fault() {
        let counters = tollgate_guest::testing::counters();
        for (attribute, expected) in [
            (("day", "5"), "attribute `day` is not `MODE COST COUNT,SECONDS KEY`: `5`"),
            (("day", "later 1 5,60 k"), "attribute `day` is not `MODE COST COUNT,SECONDS KEY`: `later 1 5,60 k`"),
            (("day", "peek 1 0,60 k"), "limit `0,60`: max 0 is not 1 to 1000000000"),
            (("a b", "peek 1 5,60 k"), "limit id `a b` is not 1 to 64 of A-Z a-z 0-9 . _ -"),
        ] {
            let told = Descriptors.decide(&request("s", &[attribute]), &counters);
            assert_eq!(told, Err(Fault::Other(expected.to_owned())));
        }
    }

    #[test]
    fn there_is_nothing_to_configure() {
        assert!(Descriptors::configure(&Config::new("{}")).is_ok());
        let problems = Descriptors::configure(&Config::new(r#"{"limits": []}"#)).map(|_| ()).unwrap_err();
        assert!(problems.to_string().starts_with("unknown field `limits`"), "{problems}");
    }
}
