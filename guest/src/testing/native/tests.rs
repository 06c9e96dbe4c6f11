use std::time::Duration;

use super::*;
use crate::testing::RetryAfter;
use crate::{Limit, Problems, Rule};

/// One limit, as its configuration says.
struct Sample {
    limit: Limit,
}

impl Policy for Sample {
    const NAME: &'static str = "sample";

    fn configure(config: &Config) -> Result<Self, Problems> {
        Ok(Self { limit: Limit::new("only", config.parse::<Rule>()?)? })
    }

    fn decide(&self, request: &Request, counters: &impl Counters) -> Result<Decision, Fault> {
        Ok(counters.charge(&[self.limit.charge(&request.subject, request.cost)])?.into())
    }
}

fn run(limit: &str, steps: &str) -> Result<(), String> {
    Scenario::parse(&format!("policy sample\nconfig \"{limit}\"\n{steps}"))?.run::<Sample>()
}

#[test]
fn a_scenario_that_is_true_passes() {
    let steps = "
        # Two windows.
        @0s alice 3 -> allow remaining 0
        @3s alice -> deny 7s remaining only=0   # the window ends at 10s
        @3s alice -> deny
        @3s alice@globex /login 2 -> allow remaining 1
        @3s bob 4 -> deny never
        @10s alice -> allow remaining 2
    ";
    assert_eq!(run("3/10s", steps), Ok(()));
}

#[test]
fn a_delay_is_told_with_its_length() {
    let steps = "
        @0s alice 3 -> allow remaining 2
        @0s alice 2 -> delay 2s remaining only=0
        @0s alice -> deny 1s
        @1s alice -> delay 2s
    ";
    assert_eq!(run("1/s burst 3 delay 2s", steps), Ok(()));
    let expected = "line 3: @0s alice 4 -> delay 2s\nanswered: @0s alice 4 -> delay 1s";
    assert_eq!(run("1/s burst 3 delay 2s", "@0s alice 4 -> delay 2s"), Err(expected.to_owned()));
}

#[test]
fn every_wrong_step_is_told_with_the_line_that_would_be_right() {
    let steps = "@0s alice 3 -> allow remaining 1\n@3s alice /login 2 -> allow\n@3s alice -> deny 6s remaining only=1\n@3s alice -> deny 6s";
    let expected = "\
line 3: @0s alice 3 -> allow remaining 1
answered: @0s alice 3 -> allow remaining 0
line 4: @3s alice /login 2 -> allow
answered: @3s alice /login 2 -> deny 7s
line 5: @3s alice -> deny 6s remaining only=1
answered: @3s alice -> deny 7s remaining only=0
line 6: @3s alice -> deny 6s
answered: @3s alice -> deny 7s";
    assert_eq!(run("3/10s", steps), Err(expected.to_owned()));
}

#[test]
fn a_line_that_cannot_be_read_is_told_with_what_is_accepted() {
    for (step, problem) in [
        ("@soon alice -> allow", "`@soon` is not a time since the beginning, such as `@0s` or `@1m30s`"),
        ("@0s -> allow", "`@0s` names no subject"),
        ("@0s alice", "`@0s alice` has no `-> allow` or `-> deny`"),
        ("@0s alice -> maybe", "`maybe` is none of `allow`, `delay` and `deny`"),
        ("@0s alice -> delay soon", "`delay soon` does not say how long the delay is, as in `delay 2s`"),
        ("@0s alice -> deny soon", "`soon` is not a wait, such as `7s`, `1m30s` or `never`"),
        ("@0s alice -> allow 3", "`3` is not `remaining`, which is all that may follow"),
        ("@0s alice -> allow remaining x=y", "`x=y` is neither a number nor `LIMIT=NUMBER`"),
        ("@0s alice /a /b -> allow", "`/b` is not a cost"),
        (
            "@0s alice /a 1 2 -> allow",
            "`2` is too much; a step is `@TIME SUBJECT ROUTE COST -> EXPECTED`, route and cost may be left out",
        ),
    ] {
        assert_eq!(run("1/s", step), Err(format!("line 3: {problem}")), "{step}");
    }
    assert_eq!(
        run("1/s", "@1s a -> allow\n@0s a -> allow"),
        Err("line 4: `@0s a` is before the step above".to_owned())
    );
    assert_eq!(Scenario::parse("@0s a -> allow").unwrap_err(), "no line says `policy NAME`");
    assert_eq!(Scenario::parse("policy x").unwrap_err(), "there is no step; write one such as `@0s alice -> allow`");
}

#[test]
fn a_configuration_goes_on_over_several_lines() {
    let scenario = Scenario::parse("policy x\nconfig {\n  # why\n  \"a\": 1\n}\n\n@0s a -> allow").unwrap();
    assert_eq!(scenario.config.as_deref(), Some("{\n\"a\": 1\n}"));
}

#[test]
fn a_scenario_of_another_policy_is_refused() {
    let scenario = Scenario::parse("policy other\n@0s a -> allow").unwrap();
    assert_eq!(scenario.run::<Sample>(), Err("the scenario is of policy `other`, not of `sample`".to_owned()));
}

#[test]
fn common_windows_begin_with_the_scenario() {
    for days in [1, 7, 30, 210, 365] {
        assert_eq!(Scenario::BASE_MS % (days * 86_400_000), 0, "{days} days");
    }
}

#[test]
fn a_shadow_makes_nobody_wait() {
    let outcome =
        |retry_after| Outcome { allowed: false, remaining: 0, reset_after: Duration::ZERO, retry_after, mark_us: 0 };
    let charged = [
        ("shadowed".to_owned(), Mode::Shadow, outcome(None)),
        ("looked at".to_owned(), Mode::Peek, outcome(Some(Duration::from_secs(2)))),
        ("enforced".to_owned(), Mode::Enforce, outcome(Some(Duration::from_secs(1)))),
    ];
    let answer = |charged| Answer::new(&Decision::deny(""), charged).retry_after;
    assert_eq!(answer(&charged), Some(RetryAfter::After(Duration::from_secs(2))));
    assert_eq!(answer(&[]), Some(RetryAfter::Never));
}
