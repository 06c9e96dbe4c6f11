//! A server in the manner of WasmWizard: it runs the modules that its users send, within the limits of their tiers.
//!
//! `cargo run --example wasmwizard --features axum`, and then:
//!
//! ```sh
//! curl -i -H 'x-api-key: demo-free' --data-binary @host/examples/wasmwizard/primes.wat 'localhost:3000/run?input=1000'
//! host/examples/wasmwizard/load.sh      # all three tiers under pressure
//! ```
//!
//! A request takes one of the tier's requests a minute, one of its slots, and as much computing time as a module may use at most. When it is
//! answered, the slot is free and the time that was not used is given back. Counters are in memory, or in the Redis that `REDIS_URL` names.

#![expect(clippy::print_stderr, reason = "it says where it listens")]

mod sandbox;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use sandbox::{LONGEST_RUN, Run, Sandbox};
use serde_json::json;
use tollgate::config::{Config, ConfigFile, env};
use tollgate::http::{ByApiKey, RateLimit, RateLimitLayer, Spent};
use tollgate::{ApiKeys, Tollgate};

/// A module is compiled before anything can interrupt it, so it must be small.
const LARGEST_MODULE: usize = 64 * 1024;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = ConfigFile { path: Path::new("wasmwizard.toml"), text: include_str!("wasmwizard.toml") };
    let config = Config::load(Some(file), env::process()?)?;
    let gate = Tollgate::from_config(&config).await?;
    let limit =
        RateLimit::new(gate, ByApiKey::new(ApiKeys::from_config(&config)?)).cost(|_| LONGEST_RUN.as_millis() as u64);
    let app = Router::new()
        .route("/run", post(run))
        .layer(DefaultBodyLimit::max(LARGEST_MODULE))
        .layer(RateLimitLayer::new(limit))
        .with_state(Arc::new(Sandbox::new()?));

    let listener =
        tokio::net::TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

async fn run(
    State(sandbox): State<Arc<Sandbox>>,
    Extension(decision): Extension<Arc<tollgate::Decision>>,
    Query(asked): Query<HashMap<String, i64>>,
    module: Bytes,
) -> Response {
    let input = asked.get("input").copied().unwrap_or_default();
    let Ok(Run { result, spent_ms }) = tokio::task::spawn_blocking(move || sandbox.run(&module, input)).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (status, outcome) = match result {
        Ok(result) => (StatusCode::OK, json!({ "tier": *decision.tier, "result": result, "spent_ms": spent_ms })),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "error": error, "spent_ms": spent_ms })),
    };
    // What it really cost: the rest of the reserved time is given back.
    (status, Extension(Spent(spent_ms)), Json(outcome)).into_response()
}
