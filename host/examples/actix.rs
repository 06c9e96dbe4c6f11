//! An actix-web server that limits callers by their API keys, and everybody else by address.
//!
//! `cargo run --example actix --features actix`, and then:
//!
//! ```sh
//! curl -i localhost:3000/hello                              # two a minute by address
//! curl -i -H 'x-api-key: demo-pro' localhost:3000/export    # a hundred a minute, and an export costs ten
//! ```

#![expect(clippy::print_stderr, reason = "it says where it listens")]

use std::sync::Arc;

use actix_web::{App, HttpServer, web};
use tollgate::config::KeyDigest;
use tollgate::http::{ByAddress, ByApiKey, ClientAddress, RateLimit, RateLimitTransform};
use tollgate::{ApiKeys, Decision, KeyHolder, TierPlan, Tollgate};

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gate = Tollgate::builder().tier("free", per_minute(2)).tier("pro", per_minute(100)).build().await?;

    let mut keys = ApiKeys::default();
    let holder = KeyHolder { tenant: "acme".to_owned(), subject: "key-1".to_owned(), tier: Some("pro".to_owned()) };
    keys.add(KeyDigest::of("demo-pro"), holder)?;
    let visitors = ByAddress::new("visitors", ClientAddress::behind(["127.0.0.1"])?).in_tier("free");

    let limit = RateLimit::new(gate, ByApiKey::new(keys).or_by(visitors))
        .cost(|head| if head.path() == "/export" { 10 } else { 1 });
    let limit = RateLimitTransform::new(limit);
    let server = HttpServer::new(move || {
        App::new()
            .wrap(limit.clone())
            .route("/hello", web::get().to(hello))
            .route("/export", web::get().to(async || "a large file\n"))
    });

    let server = server.bind(std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:3000"))?;
    for address in server.addrs() {
        eprintln!("listening on http://{address}");
    }
    Ok(server.run().await?)
}

async fn hello(decision: web::ReqData<Arc<Decision>>) -> String {
    format!("hello from the tier {}\n", decision.tier)
}

fn per_minute(max: u32) -> TierPlan {
    TierPlan::built_in("tiered", format!(r#"{{"limits": [{{"id": "minute", "limit": "{max}/m"}}]}}"#))
}
