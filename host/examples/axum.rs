//! An axum server that limits callers by their API keys, and everybody else by address.
//!
//! `cargo run --example axum --features axum`, and then:
//!
//! ```sh
//! curl -i localhost:3000/hello                              # two a minute by address
//! curl -i -H 'x-api-key: demo-pro' localhost:3000/export    # a hundred a minute, and an export costs ten
//! ```

#![expect(clippy::print_stderr, reason = "it says where it listens")]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::routing::get;
use axum::{Extension, Router};
use tollgate::config::KeyDigest;
use tollgate::http::{ByAddress, ByApiKey, ClientAddress, RateLimit, RateLimitLayer};
use tollgate::{ApiKeys, Decision, KeyHolder, TierPlan, Tollgate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gate = Tollgate::builder().tier("free", per_minute(2)).tier("pro", per_minute(100)).build().await?;

    let mut keys = ApiKeys::default();
    let holder = KeyHolder { tenant: "acme".to_owned(), subject: "key-1".to_owned(), tier: Some("pro".to_owned()) };
    keys.add(KeyDigest::of("demo-pro"), holder)?;
    let visitors = ByAddress::new("visitors", ClientAddress::behind(["127.0.0.1"])?).in_tier("free");

    let limit = RateLimit::new(gate, ByApiKey::new(keys).or_by(visitors))
        .cost(|head| if head.path() == "/export" { 10 } else { 1 });
    let app = Router::new()
        .route("/hello", get(hello))
        .route("/export", get(|| async { "a large file\n" }))
        .layer(RateLimitLayer::new(limit));

    let listener =
        tokio::net::TcpListener::bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000")).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?)
}

async fn hello(Extension(decision): Extension<Arc<Decision>>) -> String {
    format!("hello from the tier {}\n", decision.tier)
}

fn per_minute(max: u32) -> TierPlan {
    TierPlan::built_in("tiered", format!(r#"{{"limits": [{{"id": "minute", "limit": "{max}/m"}}]}}"#))
}
