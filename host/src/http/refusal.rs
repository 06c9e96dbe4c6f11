//! How a refusal reads, as problem details (RFC 9457).

use ::http::StatusCode;
use serde_json::{Value, json};

use crate::model::Source;

const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";
const REDUCED_CAPACITY: &str = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity";
#[cfg(any(feature = "tower", feature = "actix"))]
const ABNORMAL_USAGE: &str = "https://iana.org/assignments/http-problem-types#abnormal-usage-detected";

/// The status and the members of the problem that whoever is blocked is told: not what for.
#[cfg(any(feature = "tower", feature = "actix"))]
pub(super) fn blocked() -> (StatusCode, Value) {
    let status = StatusCode::TOO_MANY_REQUESTS;
    let members = json!({
        "type": ABNORMAL_USAGE,
        "title": "Abnormal usage detected",
        "status": status.as_u16(),
        "detail": "this caller is blocked for a time",
        "violated-policies": [],
    });
    (status, members)
}

/// The status of a refusal, and the members that make `answer` a problem.
///
/// A policy's refusal is 429 `quota-exceeded`; a refusal by rule, because something on our side is broken, is 503
/// `temporary-reduced-capacity`: the caller did nothing wrong.
pub(super) fn refusal(source: Source, violated: &[&str], reason: &str) -> (StatusCode, Value) {
    let (status, kind, title) = match source {
        Source::Policy | Source::Local(_) => (StatusCode::TOO_MANY_REQUESTS, QUOTA_EXCEEDED, "Quota exceeded"),
        Source::StoreFault(_) | Source::PolicyFault(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, REDUCED_CAPACITY, "Temporary reduced capacity")
        }
    };
    let members = json!({ "type": kind, "title": title, "status": status.as_u16(), "detail": reason, "violated-policies": violated });
    (status, members)
}
