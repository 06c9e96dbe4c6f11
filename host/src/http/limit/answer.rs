//! What the application's client is told.

use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::RateLimit;
use super::identify::Unidentified;
use super::settle::Open;
use crate::http::headers::headers;
use crate::http::refusal::{blocked, refusal};
use crate::model::{Decision, Verdict};

/// The body of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its media type.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Whether a request passes.
pub(in crate::http) enum Passage {
    Open(Open),
    Closed(Closed),
}

/// An answer in the application's place.
pub(in crate::http) struct Closed {
    pub(in crate::http) status: StatusCode,
    pub(in crate::http) headers: HeaderMap,
    pub(in crate::http) body: String,
}

const PROBLEM: &str = "application/problem+json";

impl Passage {
    pub(super) fn of(decision: Decision, limit: &RateLimit) -> Self {
        let fields = headers(&decision, limit.headers);
        let delay = match decision.verdict {
            Verdict::Allow => Duration::ZERO,
            Verdict::Delay(delay) if delay <= limit.longest_delay => delay,
            Verdict::Delay(_) | Verdict::Deny => return Self::Closed(Closed::refused(&decision, fields, limit)),
        };
        Self::Open(Open::new(Arc::new(decision), fields, delay, limit))
    }

    pub(super) fn unidentified(unidentified: &Unidentified) -> Self {
        let mut closed = Closed::problem(unidentified.status, &unidentified.detail);
        if unidentified.status == StatusCode::UNAUTHORIZED {
            closed.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if unidentified.status == StatusCode::SERVICE_UNAVAILABLE {
            closed.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Self::Closed(closed)
    }

    pub(in crate::http) fn malformed(detail: &str) -> Self {
        Self::Closed(Closed::problem(StatusCode::BAD_REQUEST, detail))
    }
}

impl Closed {
    /// The answer to whoever is blocked for so long.
    pub(super) fn blocked(remaining: Duration) -> Self {
        let (status, problem) = blocked();
        let mut closed = Self::of(status, &problem);
        let seconds = remaining.as_millis().div_ceil(1_000);
        closed
            .headers
            .extend(HeaderValue::from_str(&seconds.to_string()).map(|seconds| (header::RETRY_AFTER, seconds)));
        closed
    }

    fn refused(decision: &Decision, fields: HeaderMap, limit: &RateLimit) -> Self {
        let violated: Vec<&str> = decision.violated().map(|charged| charged.limit.id()).collect();
        let (status, problem) = refusal(decision.source, &violated, &decision.reason);
        let mut closed = Self::of(status, &problem);
        if let Some(own) = &limit.refusal {
            let Refusal { content_type, body } = own(decision);
            closed.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            closed.body = body;
        }
        closed.headers.extend(fields);
        closed
    }

    fn problem(status: StatusCode, detail: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("error");
        let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
        Self::of(status, &body)
    }

    fn of(status: StatusCode, body: &Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        Self { status, headers, body: body.to_string() }
    }
}
