//! The header fields that tell a client of its limits.
//!
//! `RateLimit-Policy` and `RateLimit` follow draft-ietf-httpapi-ratelimit-headers-10, in the structured fields of RFC 9651;
//! `Retry-After` follows RFC 9110. Times are whole seconds, rounded up, so that a client that waits has waited long enough.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, header};
use sfv::{Integer, KeyRef, ListSerializer, StringRef};

use crate::counter::{Algorithm, Mode};
use crate::model::{Charged, Decision, Limit};

const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const SOURCE: HeaderName = HeaderName::from_static("tollgate-source");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// Which header fields are sent beside the standard ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderOptions {
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset` (seconds from now) of the binding limit, for clients of old.
    pub x_ratelimit: bool,
    /// `Tollgate-Source`: who gave the verdict, and the fault if there was one, as in `local;fault=timeout`.
    pub source: bool,
}

/// The header fields of a decision.
///
/// Each enforced limit is an item of `RateLimit-Policy` and of `RateLimit`, named by its id: `q` the quota, `w` its window in seconds,
/// `r` what remains, `t` the seconds until there is more. A token bucket of `burst` at `max` per window shows as the quota `burst` in the
/// time that the bucket takes to fill. A window that is no whole number of seconds is not shown.
#[must_use]
pub fn headers(decision: &Decision, options: HeaderOptions) -> HeaderMap {
    let mut fields = HeaderMap::new();
    if let Some((policy, state)) = structured(decision) {
        insert(&mut fields, RATELIMIT_POLICY, &policy);
        insert(&mut fields, RATELIMIT, &state);
    }
    if let Some(wait) = decision.retry_after() {
        insert(&mut fields, header::RETRY_AFTER, &seconds_up(wait).max(1).to_string());
    }
    if let Some(binding) = decision.binding().filter(|_| options.x_ratelimit) {
        insert(&mut fields, X_LIMIT, &quota(&binding.limit).to_string());
        insert(&mut fields, X_REMAINING, &binding.outcome.remaining.to_string());
        insert(&mut fields, X_RESET, &seconds_up(more_after(binding)).to_string());
    }
    if options.source {
        let fault = decision.source.fault().map_or_else(String::new, |fault| format!(";fault={fault}"));
        insert(&mut fields, SOURCE, &format!("{}{fault}", decision.source.name()));
    }
    fields
}

fn insert(fields: &mut HeaderMap, name: HeaderName, text: &str) {
    // Names of limits are ASCII, and so is all the rest.
    if let Ok(value) = HeaderValue::from_str(text) {
        fields.insert(name, value);
    }
}

fn structured(decision: &Decision) -> Option<(String, String)> {
    let (mut policy, mut state) = (ListSerializer::new(), ListSerializer::new());
    for charged in tightest(&decision.limits) {
        let name = StringRef::from_str(charged.limit.id()).ok()?;
        let item = policy.bare_item(name).parameter(key("q"), integer(quota(&charged.limit)));
        if let Some(window) = window_seconds(&charged.limit) {
            let _ = item.parameter(key("w"), integer(window));
        }
        let _ = state
            .bare_item(name)
            .parameter(key("r"), integer(charged.outcome.remaining))
            .parameter(key("t"), integer(seconds_up(more_after(charged))));
    }
    Some((policy.finish()?, state.finish()?))
}

/// The enforced limits; of several counters of one limit the one with the least left, since an item has the limit's name.
fn tightest(limits: &[Charged]) -> Vec<&Charged> {
    let mut tightest: Vec<&Charged> = Vec::with_capacity(limits.len());
    for charged in limits.iter().filter(|charged| charged.mode == Mode::Enforce) {
        match tightest.iter_mut().find(|other| other.limit.id() == charged.limit.id()) {
            Some(other) if charged.outcome.remaining < other.outcome.remaining => *other = charged,
            Some(_) => (),
            None => tightest.push(charged),
        }
    }
    tightest
}

fn key(name: &'static str) -> &'static KeyRef {
    KeyRef::from_str(name).expect("a lowercase letter is a key")
}

/// Structured integers have at most 15 digits.
fn integer(number: u64) -> Integer {
    i64::try_from(number).ok().and_then(|number| Integer::try_from(number).ok()).unwrap_or(Integer::MAX)
}

fn quota(limit: &Limit) -> u64 {
    match limit.algorithm() {
        Algorithm::TokenBucket | Algorithm::Delay => limit.rule().most(),
        Algorithm::FixedWindow | Algorithm::SlidingWindow | Algorithm::Calendar | Algorithm::Concurrency => limit.max(),
    }
}

fn window_seconds(limit: &Limit) -> Option<u64> {
    let window = limit.window();
    match limit.algorithm() {
        Algorithm::TokenBucket | Algorithm::Delay => {
            let full_us = window.as_micros() * u128::from(limit.rule().most()) / u128::from(limit.max());
            u64::try_from(full_us.div_ceil(1_000_000)).ok()
        }
        // So many at a time is no quota per window.
        Algorithm::Concurrency => None,
        _ => (window.subsec_nanos() == 0).then_some(window.as_secs()),
    }
}

/// How long until there is more than now: what `t` means. Never longer than `Retry-After`.
fn more_after(charged: &Charged) -> Duration {
    let outcome = &charged.outcome;
    match outcome.retry_after.filter(|_| !outcome.allowed) {
        Some(wait) => wait,
        None if matches!(charged.limit.algorithm(), Algorithm::TokenBucket | Algorithm::Delay) => {
            let token_us = charged.limit.window().as_micros().div_ceil(u128::from(charged.limit.max()));
            outcome.reset_after.min(Duration::from_micros(u64::try_from(token_us).unwrap_or(u64::MAX)))
        }
        // What was taken in one window stops counting in the next.
        None => outcome.reset_after.min(charged.limit.window()),
    }
}

fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::counter::Outcome;
    use crate::model::{Quota, Source, Verdict};

    fn charged(id: &str, algorithm: Algorithm, quota: Quota, outcome: Outcome) -> Charged {
        Charged { limit: Limit::new(id, algorithm, quota).unwrap(), cost: 1, mode: Mode::Enforce, outcome }
    }

    fn decision(verdict: Verdict, limits: Vec<Charged>) -> Decision {
        Decision {
            verdict,
            reason: String::new(),
            source: Source::Policy,
            limits,
            attributes: Vec::new(),
            receipt: None,
            tier: Arc::from("free"),
            policy: None,
            generation: 1,
        }
    }

    fn text(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
        fields.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_refusal_names_every_limit_and_how_long_to_wait() {
        let second = Quota { max: 1, window: Duration::from_secs(1), burst: 10 };
        let day = Quota { max: 1000, window: Duration::from_secs(86_400), burst: 1000 };
        let wait = Duration::from_millis(400);
        let full = Outcome {
            allowed: false,
            remaining: 0,
            reset_after: Duration::from_millis(9_400),
            retry_after: Some(wait),
            mark_us: 0,
        };
        let fine = Outcome {
            allowed: true,
            remaining: 990,
            reset_after: Duration::from_secs(3_600),
            retry_after: None,
            mark_us: 0,
        };
        let limits = vec![
            charged("second", Algorithm::TokenBucket, second, full),
            charged("day", Algorithm::FixedWindow, day, fine),
        ];
        let fields =
            headers(&decision(Verdict::Deny, limits), HeaderOptions { x_ratelimit: true, ..HeaderOptions::default() });
        assert_eq!(text(&fields, &RATELIMIT_POLICY).unwrap(), r#""second";q=10;w=10, "day";q=1000;w=86400"#);
        assert_eq!(text(&fields, &RATELIMIT).unwrap(), r#""second";r=0;t=1, "day";r=990;t=3600"#);
        assert_eq!(text(&fields, &header::RETRY_AFTER).unwrap(), "1");
        assert_eq!(text(&fields, &X_LIMIT).unwrap(), "10");
        assert_eq!(text(&fields, &X_RESET).unwrap(), "1");
    }

    #[test]
    fn a_cost_that_never_fits_gets_no_retry_after() {
        let quota = Quota { max: 5, window: Duration::from_millis(1_500), burst: 5 };
        let never =
            Outcome { allowed: false, remaining: 5, reset_after: Duration::ZERO, retry_after: None, mark_us: 0 };
        let fields = headers(
            &decision(Verdict::Deny, vec![charged("w", Algorithm::FixedWindow, quota, never)]),
            HeaderOptions::default(),
        );
        assert_eq!(text(&fields, &header::RETRY_AFTER), None);
        assert_eq!(text(&fields, &RATELIMIT_POLICY).unwrap(), r#""w";q=5"#);
        assert_eq!(text(&fields, &X_LIMIT), None);
    }

    #[test]
    fn a_decision_without_limits_has_no_fields() {
        let options = HeaderOptions { x_ratelimit: true, ..HeaderOptions::default() };
        assert!(headers(&decision(Verdict::Allow, Vec::new()), options).is_empty());
    }

    #[test]
    fn a_client_is_told_who_decided_if_the_operator_wants_that() {
        use crate::model::FaultKind;
        for (source, told) in [(Source::Policy, "policy"), (Source::Local(FaultKind::Timeout), "local;fault=timeout")] {
            let decision = Decision { source, ..decision(Verdict::Allow, Vec::new()) };
            let options = HeaderOptions { source: true, ..HeaderOptions::default() };
            assert_eq!(text(&headers(&decision, options), &SOURCE).unwrap(), told);
            assert!(headers(&decision, HeaderOptions::default()).is_empty());
        }
    }
}
