//! VibeWell's servers, with the variables of its guide and nothing else.

use anyhow::{Context as _, Result};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tollgate_tests::{RedisServer, Server, Setting};

const PASSWORD: &str = "a-password-of-sixteen-and-more";

/// `.env.production`, but for `NODE_ENV`: in production the demo keys are refused, too.
fn environment(redis: &str) -> Vec<(&'static str, String)> {
    let stated = [
        ("REDIS_ENABLED", "true"),
        ("REDIS_URL", redis),
        ("REDIS_PASSWORD", PASSWORD),
        ("REDIS_TLS", "false"),
        ("REDIS_TIMEOUT", "5000"),
        ("RATE_LIMIT_MODE", "redis"),
        ("RATE_LIMIT_GENERAL", "120,60"),
        ("RATE_LIMIT_AUTH", "30,60"),
        ("RATE_LIMIT_SENSITIVE", "10,60"),
        ("RATE_LIMIT_ADMIN", "300,60"),
        ("RATE_LIMIT_MFA", "5,60"),
        ("RATE_LIMIT_FINANCIAL", "20,60"),
    ];
    stated.map(|(name, value)| (name, value.to_owned())).to_vec()
}

fn start(redis: &RedisServer) -> Result<Server> {
    let environment = environment(&format!("redis://127.0.0.1:{}", redis.port()));
    Server::start(environment.iter().map(|(name, value)| (*name, value.as_str())))
}

/// The status, and the quota that the answer tells.
async fn ask(server: &Server, address: &str, route: &str) -> Result<(StatusCode, String)> {
    let question = json!({ "tenant": "vibewell", "tier": "classes", "subject": address, "route": route });
    let answer = Client::new().post(format!("{}/v1/check", server.url)).body(question.to_string()).send().await?;
    let quota = answer.headers().get("ratelimit-policy").context("no quota")?.to_str()?.to_owned();
    Ok((answer.status(), quota))
}

#[tokio::test]
async fn each_class_of_routes_has_its_limit_on_all_servers_together() -> Result<()> {
    let redis = RedisServer::start_with(Setting::password(PASSWORD))?;
    let servers = [start(&redis)?, start(&redis)?];
    for (route, class, most) in [
        ("/api/products", "general", 120),
        ("/api/auth/login", "auth", 30),
        ("/api/account/email", "sensitive", 10),
        ("/api/admin/users", "admin", 300),
        ("/api/mfa/verify", "mfa", 5),
        ("/api/payments", "financial", 20),
    ] {
        let (status, quota) = ask(&servers[0], "203.0.113.9", route).await?;
        assert_eq!((status, quota), (StatusCode::OK, format!("\"{class}\";q={most};w=60")));
    }
    let mut admitted = 0;
    for (_, server) in (0..8).zip(servers.iter().cycle()) {
        let (status, _) = ask(server, "198.51.100.7", "/api/mfa/verify").await?;
        admitted += usize::from(status == StatusCode::OK);
    }
    // A minute may end meanwhile.
    assert!((5..=8).contains(&admitted), "{admitted}");
    let keys: Vec<String> = redis.run(&["KEYS", "ratelimit:*198.51.100.7"])?;
    assert_eq!(keys.len(), 1, "{keys:?}");
    let ready: Value = Client::new().get(format!("{}/readyz", servers[0].url)).send().await?.json().await?;
    assert_eq!(ready["store"]["shared"], true, "{}", servers[0].output());
    Ok(())
}
