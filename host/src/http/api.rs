//! The routes of the public listener.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::answer::{answer, tell_receipt};
use super::auth::{Gateways, auth};
use super::body::{QUESTION, read};
use super::headers::{HeaderOptions, headers};
use super::health;
use super::problem::{Problem, problem_json};
use super::question::Question;
use super::receipts;
use super::refusal::{blocked, refusal};
use crate::blocks::{Block, Blocks};
use crate::config::Secret;
use crate::gate::Tollgate;
use crate::keys::Keys;
use crate::model::Verdict;

/// Everything that the public listener needs to answer.
#[derive(Debug)]
pub struct Front {
    /// What decides.
    pub gate: Tollgate,
    /// Whose word counts where gateways ask.
    pub gateways: Gateways,
    /// Whose API keys are known.
    pub keys: Keys,
    /// Who is kept out.
    pub blocks: Blocks,
    /// Which header fields are sent.
    pub headers: HeaderOptions,
    /// The token of trusted callers. Without one, `trust_all` decides.
    pub caller_token: Option<Secret>,
    /// Whether every caller may name tenants: so only where none but the application can reach the listener.
    pub trust_all: bool,
    /// Set when the server stops, so that balancers look elsewhere.
    pub stopping: AtomicBool,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// May name tenants and tiers.
    Trusted,
    /// May only show an API key.
    Unknown,
}

const ROUTES: &str =
    "there are POST /v1/check, /v1/settle, /v1/refund and /v1/extend, /v1/auth, GET /livez and /readyz";

/// The routes: `POST /v1/check`, `/v1/settle`, `/v1/refund` and `/v1/extend`, `/v1/auth` by any method, `GET /livez` and `/readyz`.
pub fn router(front: Arc<Front>) -> Router {
    Router::new()
        .route("/v1/check", post(check))
        .route("/v1/settle", post(receipts::settle))
        .route("/v1/refund", post(receipts::refund))
        .route("/v1/extend", post(receipts::extend))
        .route("/v1/auth", any(auth))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, format!("no such route; {ROUTES}")) })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("no such method; {ROUTES}"))
        })
        .with_state(front)
}

async fn ready(State(front): State<Arc<Front>>) -> Response {
    health::ready(&front.gate, front.stopping.load(Ordering::Relaxed)).await
}

async fn check(State(front): State<Arc<Front>>, request_headers: HeaderMap, body: Body) -> Result<Response, Problem> {
    let caller = front.caller(&request_headers)?;
    let question = Question::read(&read(body, QUESTION).await?)?;
    if let Some(block) = question.address()?.and_then(|address| front.blocks.of_address(address)) {
        return Ok(kept_out(&front.blocks, &block));
    }
    let asked = question.asked(&front, &caller).await?;
    let attributes = asked.attributes();
    let request = asked.request(&attributes)?;
    if let Some(block) = front.blocks.of_request(&request) {
        return Ok(kept_out(&front.blocks, &block));
    }
    if !front.gate.has_tier(&request) {
        return Err(front.no_tier(request.tier()));
    }
    let decision = front.gate.decide(&request).await;
    let mut answer = answer(&decision, request.tenant());
    if let Some(receipt) = &decision.receipt {
        tell_receipt(&mut answer, &front.gate.seal(receipt), receipt.until());
    }
    let mut response = match decision.verdict {
        Verdict::Deny => {
            let violated: Vec<&str> = decision.violated().map(|charged| charged.limit.id()).collect();
            let (status, problem) = refusal(decision.source, &violated, &decision.reason);
            problem_json(status, joined(problem, answer))
        }
        Verdict::Allow | Verdict::Delay(_) => Json(answer).into_response(),
    };
    response.headers_mut().extend(headers(&decision, front.headers));
    Ok(response)
}

/// The answer to whoever is blocked.
fn kept_out(blocks: &Blocks, block: &Block) -> Response {
    let remaining = blocks.remaining(block).as_millis();
    let (status, problem) = blocked();
    let told = json!({ "allowed": false, "verdict": "deny", "source": "block", "reason": "this caller is blocked for a time",
        "retry_after_ms": u64::try_from(remaining).unwrap_or(u64::MAX) });
    let mut response = problem_json(status, joined(problem, told));
    let seconds = HeaderValue::from_str(&remaining.div_ceil(1_000).to_string());
    response.headers_mut().extend(seconds.map(|seconds| (header::RETRY_AFTER, seconds)));
    response
}

impl Front {
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        self.caller_showing(headers.get(header::AUTHORIZATION).and_then(|value| bearer(value.as_bytes())))
    }

    /// Who shows this token, or none.
    pub(super) fn caller_showing(&self, token: Option<&[u8]>) -> Result<Caller, Problem> {
        let Some(expected) = &self.caller_token else {
            return Ok(if self.trust_all { Caller::Trusted } else { Caller::Unknown });
        };
        let Some(given) = token else { return Ok(Caller::Unknown) };
        // Digests are compared, so that the time taken tells nothing of the token.
        if Sha256::digest(given) == Sha256::digest(expected.reveal()) {
            Ok(Caller::Trusted)
        } else {
            Err(Problem::new(StatusCode::UNAUTHORIZED, "the token is not the TOLLGATE_CALLER_TOKEN of this server"))
        }
    }

    fn no_tier(&self, tier: Option<&str>) -> Problem {
        let tiers = self.gate.tiers().join(", ");
        match tier {
            Some(tier) => Problem::field(
                StatusCode::BAD_REQUEST,
                "tier",
                &format!("`{tier}` is not known; the tiers are {tiers}"),
            ),
            None => {
                let problem = format!("has no tier; list it in the configuration or give `tier`, one of {tiers}");
                Problem::field(StatusCode::BAD_REQUEST, "tenant", &problem)
            }
        }
    }
}

/// The token of an `Authorization` of the scheme `Bearer`. Another scheme is somebody else's business.
pub(super) fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// The members of both objects.
fn joined(mut first: Value, second: Value) -> Value {
    if let (Some(members), Value::Object(more)) = (first.as_object_mut(), second) {
        members.extend(more);
    }
    first
}
