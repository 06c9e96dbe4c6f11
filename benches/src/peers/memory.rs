//! Limiters that count in the memory of the process.

#![expect(clippy::disallowed_methods, reason = "a peer that is not told the time reads the clock")]

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use governor::Quota;
use limitador::limit::{Context, Limit, Namespace};
use throttlecrab::PeriodicStore;

use crate::load::Check;

/// What [`Algorithm::limit`](crate::Algorithm::limit) says of a token bucket.
const BURST: NonZeroU32 = NonZeroU32::new(30_000_000).expect("it is not 0");
const REFUSED: &str = "a decision that had to pass did not";
const INTERVAL: Duration = Duration::from_secs(10);

/// governor, keyed by the subject: one atomic for each, in a `DashMap`.
///
/// # Panics
///
/// Panics if the quota is not one.
#[must_use]
pub fn governor() -> Box<Check> {
    let quota = Quota::with_period(INTERVAL).expect("the interval is not 0").allow_burst(BURST);
    let limiter = governor::RateLimiter::keyed(quota);
    Box::new(move |subject| assert!(limiter.check_key(subject).is_ok(), "{REFUSED}"))
}

/// throttlecrab behind a mutex, since it decides by `&mut`.
#[must_use]
pub fn throttlecrab() -> Box<Check> {
    let limiter = Mutex::new(throttlecrab::RateLimiter::new(PeriodicStore::new()));
    Box::new(move |subject| {
        let mut limiter = limiter.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = limiter.rate_limit(subject, i64::from(BURST.get()), 6, 60, 1, SystemTime::now());
        assert!(matches!(answer, Ok((true, _))), "{REFUSED}");
    })
}

/// limitador with one fixed window for each subject, which is all it has.
///
/// # Panics
///
/// Panics if the limit is not one.
#[must_use]
pub fn limitador(counters: u64) -> Box<Check> {
    let limiter = limitador::RateLimiter::new(counters);
    let variable = "subject".try_into().expect("a name is an expression");
    limiter.add_limit(Limit::new("acme", 1_000_000_000, 3_600, [], [variable]));
    let namespace = Namespace::from("acme");
    Box::new(move |subject| {
        let context = Context::from(HashMap::from([("subject".to_owned(), subject.to_owned())]));
        let answer = limiter.check_rate_limited_and_update(&namespace, &context, 1);
        assert!(matches!(answer, Ok(result) if !result.limited), "{REFUSED}");
    })
}
