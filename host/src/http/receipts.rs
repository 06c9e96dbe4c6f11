//! `POST /v1/settle`, `/v1/refund` and `/v1/extend`: what becomes of a receipt.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::answer::tell_receipt;
use super::api::Front;
use super::body::{QUESTION, read};
use super::problem::Problem;
use crate::gate::Extension;
use crate::model::{Fault, Receipt, Request, Settled};

/// The body of `POST /v1/settle`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settlement {
    receipt: String,
    cost: u64,
}

/// The body of `POST /v1/refund` and `POST /v1/extend`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    receipt: String,
}

pub(super) async fn settle(
    State(front): State<Arc<Front>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Settlement { receipt, cost } = body_of(&front, &headers, body, "`receipt` and `cost`").await?;
    if cost > Request::MAX_COST {
        return Err(Problem::field(
            StatusCode::BAD_REQUEST,
            "cost",
            &format!("is {cost}; give 0 to {}", Request::MAX_COST),
        ));
    }
    settled(front.gate.settle(&opened(&front, &receipt)?, cost).await)
}

pub(super) async fn refund(
    State(front): State<Arc<Front>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Given { receipt } = body_of(&front, &headers, body, "`receipt`").await?;
    settled(front.gate.refund(&opened(&front, &receipt)?).await)
}

pub(super) async fn extend(
    State(front): State<Arc<Front>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Given { receipt } = body_of(&front, &headers, body, "`receipt`").await?;
    match front.gate.extend(&opened(&front, &receipt)?).await.map_err(|fault| unsettled(&fault))? {
        Extension::Extended(receipt) => {
            let mut answer = json!({ "extended": true });
            tell_receipt(&mut answer, &front.gate.seal(&receipt), receipt.until());
            Ok(Json(answer).into_response())
        }
        Extension::Settled => {
            Err(Problem::new(StatusCode::CONFLICT, "the receipt was settled before: there is nothing to extend"))
        }
        Extension::Late => Err(late()),
    }
}

/// Whoever has a receipt may settle it; only who shows a wrong token is sent away.
async fn body_of<T: for<'de> Deserialize<'de>>(
    front: &Front,
    headers: &HeaderMap,
    body: Body,
    wanted: &str,
) -> Result<T, Problem> {
    front.caller(headers)?;
    // The error repeats nothing of the body: a receipt is as good as a key.
    let wrong =
        |_| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not one JSON object with {wanted} alone"));
    serde_json::from_slice(&read(body, QUESTION).await?).map_err(wrong)
}

fn opened(front: &Front, sealed: &str) -> Result<Receipt, Problem> {
    front.gate.unseal(sealed).map_err(|error| {
        let problem = error.message().strip_prefix("the receipt ").unwrap_or("cannot be read").to_owned();
        Problem::field(StatusCode::FORBIDDEN, "receipt", &problem)
    })
}

fn settled(answer: Result<Settled, Fault>) -> Result<Response, Problem> {
    let already = match answer.map_err(|fault| unsettled(&fault))? {
        Settled::Done => false,
        Settled::Already => true,
        Settled::Late => return Err(late()),
    };
    Ok(Json(json!({ "settled": true, "already": already })).into_response())
}

fn late() -> Problem {
    Problem::new(StatusCode::GONE, "the receipt's time is over: it settled by itself, at what was charged")
}

fn unsettled(fault: &Fault) -> Problem {
    tracing::warn!("a receipt was not settled: {fault}");
    let detail = format!("the counters cannot be reached ({}); ask again with the same receipt", fault.kind.name());
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}
