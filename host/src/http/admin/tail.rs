//! Decisions as they are made, as server-sent events.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::super::answer::answer;
use super::super::problem::Problem;
use super::desk::{Desk, TAILS};
use super::question::Query;
use crate::gate::{Seen, Watching};
use crate::model::rfc3339;

/// How often something is said when there is nothing to say, so that a listener who is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// How many events wait for a slow listener, beside the thousand decisions that the gate keeps for it.
const WAITING: usize = 16;

/// What somebody wants to see.
struct Filter {
    tenant: Option<String>,
    subject: Option<String>,
    verdict: Option<String>,
}

impl Filter {
    fn of(query: &Query) -> Result<Self, Problem> {
        let text = |name| query.text(name).map(str::to_owned);
        let filter = Self { tenant: text("tenant"), subject: text("subject"), verdict: text("verdict") };
        match filter.verdict.as_deref() {
            None | Some("allow" | "deny" | "delay") => Ok(filter),
            Some(_) => {
                Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, "verdict", "is not `allow`, `deny` or `delay`"))
            }
        }
    }

    fn wants(&self, seen: &Seen) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        fits(&self.tenant, &seen.tenant)
            && fits(&self.subject, &seen.subject)
            && fits(&self.verdict, seen.decision.verdict.name())
    }
}

/// Tells decisions of the instance that answers as they are made: events `decision`, and `missed` where they came too fast.
#[utoipa::path(get, path = "/admin/v1/decisions", operation_id = "decision.tail", tag = "decisions",
    params(
        ("tenant" = Option<String>, Query, description = "Only of this tenant."),
        ("subject" = Option<String>, Query, description = "Only of this subject."),
        ("verdict" = Option<String>, Query, description = "Only `allow`, `deny` or `delay`."),
    ),
    responses(
        (status = 200, description = "Server-sent events, until the caller has enough.", body = String, content_type = "text/event-stream"),
        (status = 503, description = "Sixteen are watching already."),
    ))]
pub(super) async fn tail(State(desk): State<Arc<Desk>>, uri: Uri) -> Result<Response, Problem> {
    let filter = Filter::of(&Query::of(&uri, &["tenant", "subject", "verdict"])?)?;
    let Ok(place) = Arc::clone(&desk.tails).try_acquire_owned() else {
        let told = format!("{TAILS} are watching already; one of them has to go first");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, told));
    };
    let (sender, body) = Channel::<Bytes>::new(WAITING);
    // From here on nothing is missed: the answer has not even begun.
    let watching = desk.fleet.gate().watch();
    tokio::spawn(send(desk, watching, filter, sender, place));
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(body)).into_response())
}

/// Sends until the listener or the server is gone. The place is free again then.
async fn send(
    desk: Arc<Desk>,
    mut watching: Watching,
    filter: Filter,
    mut sender: Sender<Bytes>,
    _place: OwnedSemaphorePermit,
) {
    let mut stopping = desk.stopping();
    drop(desk);
    let mut idle = tokio::time::interval(KEEP_ALIVE);
    idle.reset();
    let mut event = ": decisions follow\n\n".to_owned();
    loop {
        let sent = tokio::select! {
            sent = sender.send_data(Bytes::from(std::mem::take(&mut event))) => sent,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        if sent.is_err() {
            return;
        }
        while event.is_empty() {
            event = tokio::select! {
                next = watching.next() => match next {
                    Some((missed, seen)) => told(missed, &seen, &filter),
                    None => return,
                },
                _ = idle.tick() => ": nothing new\n\n".to_owned(),
                _ = stopping.wait_for(|stopping| *stopping) => return,
            };
        }
    }
}

fn told(missed: u64, seen: &Seen, filter: &Filter) -> String {
    let missed = if missed == 0 { String::new() } else { event("missed", &json!({ "missed": missed })) };
    if !filter.wants(seen) {
        return missed;
    }
    let mut decision = answer(&seen.decision, &seen.tenant);
    if let Some(members) = decision.as_object_mut() {
        members.insert("at".to_owned(), rfc3339(seen.at).into());
        members.insert("subject".to_owned(), seen.subject.as_str().into());
        members.insert("route".to_owned(), seen.route.as_str().into());
    }
    missed + &event("decision", &decision)
}

/// JSON has no line breaks of its own, so an event is one line of data.
fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}
