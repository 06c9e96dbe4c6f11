//! A server in the manner of Profwise: answers that are dear are cached in the Redis that counts the limits, and the hit ratio is shown.
//!
//! `REDIS_URL=redis://localhost cargo run --example profwise --features axum`, and then:
//!
//! ```sh
//! curl -i localhost:3000/professors/17             # the first is dear, the next is not
//! curl -i -X DELETE localhost:3000/cache/17        # after a change
//! curl localhost:3000/cache                        # {"hits":1,"misses":1,"hit_ratio":0.5}
//! ```
//!
//! `REDIS_DEFAULT_TTL` is how many seconds an answer stays, an hour if it is not set; `ENABLE_REDIS_CACHE=false` does without the cache and keeps the
//! limits. While Redis is away, answers are dear and right.

#![expect(clippy::print_stderr, reason = "it logs as Profwise does")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde_json::{Value, json};
use tollgate::Tollgate;
use tollgate::config::{Config, ConfigFile, StoreConfig, env};
use tollgate::http::{ByAddress, ClientAddress, RateLimit, RateLimitLayer};
use tollgate::store::{Expiring, RedisDocuments};

const CONFIG: &str = r#"
default_tier = "student"

[tiers.student]
policy = "tiered"
config.limits = [{ id = "minute", limit = "120/m sliding" }]
"#;
/// How long a request waits for Redis before it asks the database instead.
const PATIENCE: Duration = Duration::from_millis(200);

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Desk = State<Arc<Cache>>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let environment = env::process()?;
    let wanted = env::value(&environment, "ENABLE_REDIS_CACHE") != Some("false");
    let ttl = env::value(&environment, "REDIS_DEFAULT_TTL").map_or(Ok(3_600), str::parse)?;
    let config = Config::load(Some(ConfigFile { path: Path::new("profwise.toml"), text: CONFIG }), environment)?;
    let gate = Tollgate::from_config(&config).await?;
    let cache = Arc::new(Cache::of(&config, wanted, Duration::from_secs(ttl)).await?);
    let visitors = ByAddress::new("visitors", ClientAddress::direct());
    let professors = Router::new()
        .route("/professors/{id}", get(professor))
        .layer(RateLimitLayer::new(RateLimit::new(gate, visitors)));
    let app = professors
        .route("/cache", get(|State(cache): Desk| async move { Json(cache.figures()) }))
        .route("/cache/{id}", delete(forget))
        .with_state(cache);
    let address = std::env::args().nth(1);
    let listener = tokio::net::TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:3000")).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<std::net::SocketAddr>()).await?)
}

async fn professor(State(cache): Desk, Segment(id): Segment<u32>) -> Response {
    let name = format!("professor.{id}");
    if let Some(answer) = cache.recall(&name).await {
        return Json(answer).into_response();
    }
    let answer = look_up(id).await;
    cache.keep(&name, &answer).await;
    Json(answer).into_response()
}

/// A query that takes the database a while.
async fn look_up(id: u32) -> Value {
    tokio::time::sleep(Duration::from_millis(100)).await;
    json!({ "id": id, "name": format!("Professor {id}"), "ratings": id % 50 })
}

async fn forget(State(cache): Desk, Segment(id): Segment<u32>) -> StatusCode {
    cache.forget(&format!("professor.{id}")).await;
    StatusCode::NO_CONTENT
}

/// Answers that are shared by all servers, if there is a Redis and it is wanted.
struct Cache {
    shared: Option<RedisDocuments>,
    ttl: Duration,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Cache {
    async fn of(config: &Config, wanted: bool, ttl: Duration) -> Result<Self, Failure> {
        let shared = match &config.store {
            StoreConfig::Redis(redis) if wanted => {
                Some(RedisDocuments::connect(&redis.target, "profwise", PATIENCE).await?)
            }
            _ => None,
        };
        Ok(Self { shared, ttl, hits: AtomicU64::new(0), misses: AtomicU64::new(0) })
    }

    async fn recall(&self, name: &str) -> Option<Value> {
        let kept = self.shared.as_ref()?.recall(name).await;
        let answer = kept.ok().flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let (count, word) = if answer.is_some() { (&self.hits, "HIT") } else { (&self.misses, "MISS") };
        count.fetch_add(1, Ordering::Relaxed);
        eprintln!("[Cache {word}] {name}");
        answer
    }

    async fn keep(&self, name: &str, answer: &Value) {
        let Some(shared) = &self.shared else { return };
        match shared.keep(name, answer.to_string().as_bytes(), self.ttl).await {
            Ok(()) => eprintln!("[Cache SET] {name} (TTL: {}s)", self.ttl.as_secs()),
            Err(error) => eprintln!("[Cache] {name} is not kept: {error}"),
        }
    }

    async fn forget(&self, name: &str) {
        let Some(shared) = &self.shared else { return };
        match shared.forget(name).await {
            Ok(()) => eprintln!("[Cache INVALIDATE] {name}"),
            Err(error) => eprintln!("[Cache] {name} stays until it expires: {error}"),
        }
    }

    fn figures(&self) -> Value {
        let [hits, misses] = [&self.hits, &self.misses].map(|count| count.load(Ordering::Relaxed));
        let asked = hits + misses;
        json!({ "hits": hits, "misses": misses, "hit_ratio": if asked > 0 { hits as f64 / asked as f64 } else { 0.0 } })
    }
}
