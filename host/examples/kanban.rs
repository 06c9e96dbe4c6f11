//! A server in the manner of CF-Kanban: each user and endpoint has a limit in Redis, and all instances hear of every refusal.
//!
//! `REDIS_URL=redis://localhost cargo run --example kanban --features axum`, and then:
//!
//! ```sh
//! curl -i -H 'x-user-id: u-17' localhost:3000/api/boards     # ten a minute for each user
//! curl localhost:3000/events                                # refusals of all instances, the latest first
//! ```
//!
//! Counters are called `cfkanban:ratelimit:{u-17}:tiered:minute:…:/api/boards`. A Redis user who may call no script counts all the same; one
//! who may not publish either has each instance know its own refusals only.

#![expect(clippy::print_stderr, reason = "it says where it listens, and what it may not do")]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::StreamExt as _;
use redis::AsyncCommands as _;
use serde_json::{Value, json};
use tollgate::Tollgate;
use tollgate::config::{Config, ConfigFile, env};
use tollgate::http::{Caller, Head, RateLimit, RateLimitLayer, Unidentified};

const CHANNEL: &str = "cfkanban:pubsub:limits";
/// How many refusals an instance remembers.
const REMEMBERED: usize = 100;

const CONFIG: &str = r#"
key_prefix = "cfkanban:ratelimit"
default_tier = "member"

[tiers.member]
policy = "tiered"
config.limits = [{ id = "minute", limit = "10/m sliding" }]
"#;

type Events = Arc<Mutex<VecDeque<Value>>>;
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let environment = env::process()?;
    let url = env::value(&environment, "REDIS_URL").map(str::to_owned);
    let url = url.ok_or("REDIS_URL is not set, and instances share nothing without it")?;
    let config = Config::load(Some(ConfigFile { path: Path::new("kanban.toml"), text: CONFIG }), environment)?;
    let gate = Tollgate::from_config(&config).await?;
    let events = Events::default();
    let redis = redis::Client::open(url)?;
    tokio::spawn(tell(gate.clone(), redis.clone(), Arc::clone(&events)));
    tokio::spawn(hear(redis, Arc::clone(&events)));

    let limit = RateLimit::new(gate, caller);
    let boards = Router::new().route("/api/boards", get(|| async { "[]\n" })).layer(RateLimitLayer::new(limit));
    let app = boards.route("/events", get(latest)).with_state(events);
    let listener =
        tokio::net::TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// The user is the tenant, and the endpoint the subject. In CF-Kanban the session says who the user is; here a field does.
fn caller(head: &dyn Head) -> Result<Caller, Unidentified> {
    let Some(user) = head.field("x-user-id") else {
        let detail = "nobody is signed in; send `x-user-id`".to_owned();
        return Err(Unidentified { status: StatusCode::UNAUTHORIZED, detail });
    };
    Ok(Caller { tenant: user.to_owned(), subject: head.path().to_owned(), tier: None })
}

/// Publishes this instance's refusals. While it may not, this instance at least knows them.
async fn tell(gate: Tollgate, redis: redis::Client, events: Events) -> Result<(), Failure> {
    let mut refusals = gate.watch();
    let mut connection = redis.get_connection_manager().await?;
    while let Some((_, seen)) = refusals.next().await {
        if seen.decision.is_allowed() {
            continue;
        }
        let event = json!({ "user": seen.tenant, "endpoint": seen.subject, "reason": seen.decision.reason });
        if let Err(error) = connection.publish::<_, _, ()>(CHANNEL, event.to_string()).await {
            eprintln!("other instances do not hear of a refusal: {error}; grant `+publish +subscribe &{CHANNEL}`");
            remember(&events, event);
        }
    }
    Ok(())
}

/// Hears of the refusals of all instances, this one's included; again and again, as the connection may be lost.
async fn hear(redis: redis::Client, events: Events) {
    loop {
        if let Ok(mut channel) = redis.get_async_pubsub().await
            && channel.subscribe(CHANNEL).await.is_ok()
        {
            let mut messages = channel.on_message();
            while let Some(message) = messages.next().await {
                if let Ok(event) = serde_json::from_slice(message.get_payload_bytes()) {
                    remember(&events, event);
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn remember(events: &Events, event: Value) {
    let mut events = events.lock().unwrap_or_else(PoisonError::into_inner);
    events.push_front(event);
    events.truncate(REMEMBERED);
}

async fn latest(State(events): State<Events>) -> Json<Vec<Value>> {
    Json(events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect())
}
