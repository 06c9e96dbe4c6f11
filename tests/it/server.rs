//! The program as its users meet it: real HTTP, real processes, real signals.

mod receipts;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tollgate_tests::{RedisServer, Server, Setting, command, free_port};

struct Reply {
    status: StatusCode,
    headers: BTreeMap<String, String>,
    body: Value,
}

async fn post(client: &Client, server: &Server, body: impl Into<String>) -> Result<Reply> {
    let sent = client.post(format!("{}/v1/check", server.url)).body(body.into()).send().await?;
    let status = sent.status();
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap_or("").to_owned();
    let headers = sent.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Ok(Reply { status, headers, body: sent.json().await? })
}

async fn check(client: &Client, server: &Server, question: &Value) -> Result<Reply> {
    post(client, server, question.to_string()).await
}

fn remaining(reply: &Reply, id: &str) -> u64 {
    let limits = reply.body["limits"].as_array().unwrap();
    limits.iter().find(|limit| limit["id"] == id).unwrap()["remaining"].as_u64().unwrap()
}

#[tokio::test]
async fn three_tiers_get_what_they_pay_for() -> Result<()> {
    let server = Server::start([])?;
    let client = Client::new();
    let free = json!({ "api_key": "demo-free" });
    let mut passed = 0;
    let mut refusal = None;
    for _ in 0..30 {
        let reply = check(&client, &server, &free).await?;
        assert_eq!(reply.headers["ratelimit-policy"], r#""second";q=10;w=10, "day";q=1000;w=86400"#);
        match reply.status {
            StatusCode::OK => {
                passed += 1;
                assert!(!reply.headers.contains_key("retry-after"));
                assert!(
                    reply.headers["ratelimit"]
                        .starts_with(&format!(r#""second";r={};t="#, remaining(&reply, "second")))
                );
            }
            status => {
                assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                refusal = Some(reply);
            }
        }
    }
    // Ten at once, and one a second while the thirty took their time.
    assert!((10..=13).contains(&passed), "{passed} passed");
    let refusal = refusal.context("nothing was refused")?;
    assert_eq!(refusal.headers["content-type"], "application/problem+json");
    assert_eq!(refusal.body["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(refusal.body["violated-policies"], json!(["second"]));
    assert_eq!(refusal.body["binding"], "second");

    for _ in 0..30 {
        assert_eq!(check(&client, &server, &json!({ "api_key": "demo-pro" })).await?.status, StatusCode::OK);
    }

    let wait: u64 = refusal.headers["retry-after"].parse()?;
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(check(&client, &server, &free).await?.status, StatusCode::OK, "after the wait that it named");
    Ok(())
}

#[tokio::test]
async fn a_bad_question_is_refused_by_field_and_charges_nothing() -> Result<()> {
    let server = Server::start([])?;
    let client = Client::new();
    let huge = "k".repeat(1_000_000);
    let free = |more: Value| {
        let mut question = json!({ "api_key": "demo-free" });
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        question.to_string()
    };
    let cases = [
        ("not json".to_owned(), 400, None),
        ("[]".to_owned(), 400, None),
        ("{} {}".to_owned(), 400, None),
        (" ".repeat(10_000_000), 413, None),
        ("{}".to_owned(), 400, Some("api_key")),
        (json!({ "api_key": 7 }).to_string(), 400, Some("api_key")),
        (json!({ "api_key": null, "tenant": [] }).to_string(), 400, Some("tenant")),
        (json!({ "api_key": "" }).to_string(), 400, Some("api_key")),
        (json!({ "api_key": "demo\u{0}free" }).to_string(), 400, Some("api_key")),
        (json!({ "api_key": "demo\nfree" }).to_string(), 400, Some("api_key")),
        (json!({ "api_key": &huge[..60_000] }).to_string(), 400, Some("api_key")),
        (json!({ "api_key": huge }).to_string(), 413, None),
        (json!({ "api_key": "guess" }).to_string(), 401, Some("api_key")),
        (free(json!({ "cost": 0 })), 400, Some("cost")),
        (free(json!({ "cost": -1 })), 400, Some("cost")),
        (free(json!({ "cost": 1.5 })), 400, Some("cost")),
        (free(json!({ "cost": u64::MAX })), 400, Some("cost")),
        (free(json!({ "cost": "5" })), 400, Some("cost")),
        (free(json!({ "route": "a\u{0}b" })), 400, Some("route")),
        (free(json!({ "route": "r".repeat(257) })), 400, Some("route")),
        (free(json!({ "subject": "a\nb" })), 400, Some("subject")),
        (free(json!({ "subject": "" })), 400, Some("subject")),
        (free(json!({ "subject": "s".repeat(129) })), 400, Some("subject")),
        (free(json!({ "tier": "pro" })), 400, Some("tier")),
        (free(json!({ "tenant": "acme" })), 400, Some("tenant")),
        (free(json!({ "costs": 1 })), 400, Some("costs")),
        (free(json!({ "attributes": { "name": 1 } })), 400, Some("attributes.name")),
        (json!({ "tenant": "acme" }).to_string(), 400, Some("tenant")),
        (json!({ "tenant": "a{b}", "tier": "pro" }).to_string(), 400, Some("tenant")),
        (json!({ "tenant": "acme", "tier": "gold" }).to_string(), 400, Some("tier")),
    ];
    for (question, status, field) in cases {
        let shown: String = question.chars().take(80).collect();
        let reply = post(&client, &server, question).await?;
        assert_eq!(reply.status.as_u16(), status, "{shown}: {}", reply.body);
        assert_eq!(reply.body["field"].as_str(), field, "{shown}: {}", reply.body);
        assert_eq!(reply.headers["content-type"], "application/problem+json", "{shown}");
        assert!(reply.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{shown}");
    }
    let untouched = check(&client, &server, &json!({ "api_key": "demo-free" })).await?;
    assert_eq!(remaining(&untouched, "second"), 9, "a bad question was charged");
    assert_eq!(remaining(&untouched, "day"), 999, "a bad question was charged");
    Ok(())
}

#[tokio::test]
async fn a_misplaced_key_is_not_repeated() -> Result<()> {
    let server = Server::start([("LOG_LEVEL", "trace")])?;
    let client = Client::new();
    for question in [
        json!({ "api_key": "demo-free", "cost": "canary-7f3a" }),
        json!({ "api_key": "canary-7f3a" }),
        json!({ "api_key": "demo-free", "tenant": "canary-7f3a" }),
        json!({ "tenant": "\u{0}canary-7f3a", "tier": "free" }),
    ] {
        let reply = check(&client, &server, &question).await?;
        assert!(!reply.body.to_string().contains("canary-7f3a"), "{}", reply.body);
    }
    check(&client, &server, &json!({ "api_key": "demo-pro" })).await?;
    server.signal("TERM")?;
    let (_, output) = server.wait()?;
    assert!(!output.contains("canary-7f3a"), "{output}");
    Ok(())
}

#[tokio::test]
async fn only_a_trusted_caller_names_tenants() -> Result<()> {
    let server = Server::start([("TOLLGATE_CALLER_TOKEN", "a-long-enough-token")])?;
    let client = Client::new();
    let url = format!("{}/v1/check", server.url);
    let question = json!({ "tenant": "acme", "tier": "pro", "subject": "alice" }).to_string();
    for (token, status) in [(None, 403), (Some("a-long-enough-tokex"), 401), (Some("a-long-enough-token"), 200)] {
        let mut asked = client.post(&url).body(question.clone());
        if let Some(token) = token {
            asked = asked.bearer_auth(token);
        }
        assert_eq!(asked.send().await?.status().as_u16(), status, "{token:?}");
    }
    for (question, status) in [
        (json!({ "api_key": "demo-free" }), 200),
        // Each new subject would have limits of its own.
        (json!({ "api_key": "demo-free", "subject": "another" }), 403),
    ] {
        // Another scheme, as a proxy may add it, is no claim to trust.
        let asked = client.post(&url).basic_auth("proxy", Some("password")).body(question.to_string());
        assert_eq!(asked.send().await?.status().as_u16(), status, "{question}");
    }
    Ok(())
}

/// Tiers of 100 for 300 days each, so that no refill and no new window falls into a test.
const EXACTLY_100: &str = r#"
[tiers.fixed]
policy = "tiered"
config.limits = [{ id = "fixed", limit = "100/300d" }]
[tiers.sliding]
policy = "tiered"
config.limits = [{ id = "sliding", limit = "100/300d sliding" }]
[tiers.bucket]
policy = "tiered"
config.limits = [{ id = "bucket", limit = "100/300d burst 100" }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_redis_admit_exactly_the_limit() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url();
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("tollgate.toml");
    std::fs::write(&config, EXACTLY_100)?;
    let variables = [("REDIS_URL", url.as_str()), ("TOLLGATE_CONFIG", config.to_str().unwrap())];
    let servers = [Server::start(variables)?, Server::start(variables)?];
    let client = Client::new();
    for tier in ["fixed", "sliding", "bucket"] {
        let clients = (0..64).map(|number: usize| {
            let (client, url) = (client.clone(), format!("{}/v1/check", servers[number % 2].url));
            let question = json!({ "tenant": "acme", "tier": tier, "subject": "alice" }).to_string();
            tokio::spawn(async move {
                let mut passed = 0;
                for _ in 0..5 {
                    let reply = client.post(&url).body(question.clone()).send().await?;
                    let body: Value = serde_json::from_str(&reply.text().await?)?;
                    assert_eq!(body["source"], "policy", "{body}");
                    passed += usize::from(body["allowed"] == true);
                }
                Ok::<_, anyhow::Error>(passed)
            })
        });
        let mut passed = 0;
        for client in clients.collect::<Vec<_>>() {
            passed += client.await??;
        }
        assert_eq!(passed, 100, "{tier}: 320 asked");
    }
    Ok(())
}

#[tokio::test]
async fn every_key_expires_and_none_holds_an_api_key() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url();
    let server = Server::start([("REDIS_URL", url.as_str()), ("LOG_LEVEL", "trace")])?;
    let client = Client::new();
    for key in ["demo-free", "demo-basic", "demo-pro"] {
        assert_eq!(check(&client, &server, &json!({ "api_key": key })).await?.status, StatusCode::OK);
    }
    // Beside the counters there is what the fleet shares, which stays.
    let mut keys: Vec<String> = redis.run(&["KEYS", "*"])?;
    keys.retain(|key| !key.starts_with("ratelimit:{fleet}:"));
    let days = keys.iter().filter(|key| key.starts_with("ratelimit:{tenant-") && key.contains(":day:")).count();
    assert_eq!(days, 3, "one limit a day for each of three keys: {keys:?}");
    for key in &keys {
        assert!(key.starts_with("ratelimit:"), "{key}");
        let ttl: i64 = redis.run(&["PTTL", key])?;
        // -1 is a key that stays for ever; -2 one that is gone already.
        assert!(ttl > 0 || ttl == -2, "{key} has the expiry {ttl}");
    }
    server.signal("TERM")?;
    let (_, output) = server.wait()?;
    let logged = output.lines().filter(|line| !line.contains("curl ")).collect::<String>();
    for secret in ["demo-free", "demo-basic", "demo-pro"] {
        assert!(!keys.iter().any(|key| key.contains(secret)), "{keys:?}");
        assert!(!logged.contains(secret), "{logged}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_hangs_under_load_delays_nobody_past_the_deadline() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url();
    let variables =
        [("REDIS_URL", url.as_str()), ("TOLLGATE_DEADLINE_MS", "100"), ("TOLLGATE_ON_STORE_FAULT", "allow")];
    let server = Server::start(variables)?;
    let client = Client::new();
    let pro = json!({ "api_key": "demo-pro" });
    assert_eq!(check(&client, &server, &pro).await?.body["source"], "policy");
    redis.stop()?;
    let url = format!("{}/v1/check", server.url);
    let clients: Vec<_> = (0..64)
        .map(|_| {
            let (client, url, question) = (client.clone(), url.clone(), pro.to_string());
            tokio::spawn(async move {
                for _ in 0..3 {
                    let asked = Instant::now();
                    let reply = client.post(&url).body(question.clone()).send().await?;
                    let (status, took) = (reply.status(), asked.elapsed());
                    let body: Value = serde_json::from_str(&reply.text().await?)?;
                    assert_eq!((status, &body["source"]), (StatusCode::OK, &json!("store-fault")), "{body}");
                    // The deadline, and what 64 HTTP clients on a busy machine add to it; a store that is waited for would take for ever.
                    assert!(took < Duration::from_secs(2), "{took:?}: {body}");
                }
                Ok::<_, anyhow::Error>(())
            })
        })
        .collect();
    for client in clients {
        client.await??;
    }
    let ready = client.get(format!("{}/readyz", server.url)).send().await?;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    redis.cont()?;
    let recovering = Instant::now();
    while check(&client, &server, &pro).await?.body["source"] != "policy" {
        assert!(recovering.elapsed() < Duration::from_secs(5), "it did not recover by itself");
    }
    let ready = client.get(format!("{}/readyz", server.url)).send().await?;
    let ready: Value = serde_json::from_str(&ready.text().await?)?;
    assert_eq!((&ready["store"]["healthy"], &ready["store"]["shared"]), (&json!(true), &json!(true)), "{ready}");
    assert!(ready["store"]["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{ready}");
    Ok(())
}

#[tokio::test]
async fn a_decision_of_two_limits_costs_one_round_trip() -> Result<()> {
    let redis = RedisServer::start()?;
    let server = Server::start([("REDIS_URL", redis.url().as_str())])?;
    let client = Client::new();
    let calls = || -> Result<u64> {
        let stats: String = redis.run(&["INFO", "commandstats"])?;
        let of = |command: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
            line.and_then(|rest| rest.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
        };
        // What the fleet shares is written by EVAL.
        Ok(of("evalsha"))
    };
    check(&client, &server, &json!({ "api_key": "demo-pro" })).await?;
    let before = calls()?;
    for _ in 0..10 {
        let reply = check(&client, &server, &json!({ "api_key": "demo-pro" })).await?;
        assert_eq!(reply.body["limits"].as_array().map(Vec::len), Some(2), "{}", reply.body);
    }
    assert_eq!(calls()? - before, 10);
    Ok(())
}

#[tokio::test]
async fn a_broken_store_denies_where_the_rule_says_so() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url();
    let server = Server::start([("REDIS_URL", url.as_str()), ("TOLLGATE_ON_STORE_FAULT", "deny")])?;
    drop(redis);
    let reply = check(&Client::new(), &server, &json!({ "api_key": "demo-pro" })).await?;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.body["type"], "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity");
    assert_eq!((&reply.body["allowed"], &reply.body["source"]), (&json!(false), &json!("store-fault")));
    Ok(())
}

#[tokio::test]
async fn a_request_under_way_ends_when_the_server_stops() -> Result<()> {
    let server = Server::start([])?;
    let body = r#"{"api_key": "demo-free"}"#;
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (first, second) = body.split_at(10);
    write!(
        stream,
        "POST /v1/check HTTP/1.1\r\nhost: tollgate\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    // The server asks for the body once it has begun to read it: from here on the request is under way.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked)?;
    assert!(asked.starts_with(b"HTTP/1.1 100"));
    stream.write_all(first.as_bytes())?;
    server.signal("TERM")?;
    // It has stopped accepting when a new connection is refused.
    let address = server.url.trim_start_matches("http://").to_owned();
    while TcpStream::connect(&address).is_ok() {
        tokio::task::yield_now().await;
    }
    stream.write_all(second.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (status, output) = server.wait()?;
    assert!(status.success(), "{output}");
    Ok(())
}

#[test]
fn production_without_a_safe_redis_says_everything_that_is_wrong() -> Result<()> {
    let ended = command([("NODE_ENV", "production"), ("REDIS_URL", "redis://:redis_password@localhost:6379")])?
        .arg("serve")
        .output()?;
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr)?;
    for part in ["REDIS_PASSWORD", "16 characters", "demo keys"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("redis_password@"), "{said}");
    Ok(())
}

#[test]
fn production_fails_to_start_without_its_redis() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("tollgate.toml");
    std::fs::write(
        &config,
        "[[keys]]\nkey = \"a-key-of-a-customer\"\ntenant = \"acme\"\ntier = \"free\"\nid = \"key-1\"\n",
    )?;
    let dead = free_port()?;
    let url = format!("redis://:a-password-of-20-chars@127.0.0.1:{dead}");
    let ended =
        command([("NODE_ENV", "production"), ("REDIS_URL", &url), ("TOLLGATE_CONFIG", config.to_str().unwrap())])?
            .arg("serve")
            .output()?;
    let said = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains(&dead.to_string()) && said.contains("refused"), "{said}");
    assert!(!said.contains("a-password-of-20-chars"), "{said}");
    Ok(())
}

#[tokio::test]
async fn development_counts_in_memory_when_its_redis_is_not_there() -> Result<()> {
    let dead = free_port()?;
    let server = Server::start([("REDIS_URL", format!("redis://127.0.0.1:{dead}").as_str())])?;
    let reply = check(&Client::new(), &server, &json!({ "api_key": "demo-free" })).await?;
    assert_eq!((reply.status, &reply.body["source"]), (StatusCode::OK, &json!("policy")));
    assert!(server.output().contains("counting in the memory of this process"), "{}", server.output());
    Ok(())
}

#[tokio::test]
async fn the_command_line_asks_a_server_or_decides_here() -> Result<()> {
    let server = Server::start([("TOLLGATE_X_RATELIMIT", "true")])?;
    let url = server.url.clone();
    for place in [vec!["--server", url.as_str()], vec![]] {
        let asked = command([])?.args(["check", "demo-free", "--json", "--cost", "10"]).args(&place).output()?;
        let answer: Value = serde_json::from_slice(&asked.stdout)?;
        assert_eq!((asked.status.code(), &answer["allowed"]), (Some(0), &json!(true)), "{answer}");
        let asked = command([])?.args(["check", "demo-free", "--json", "--cost", "11"]).args(&place).output()?;
        let answer: Value = serde_json::from_slice(&asked.stdout)?;
        assert_eq!((asked.status.code(), &answer["retry_after_ms"]), (Some(1), &Value::Null), "{answer}");
    }
    let asked = command([])?.args(["check", "nobody", "--server", &url]).output()?;
    assert_eq!(asked.status.code(), Some(2));
    assert!(String::from_utf8(asked.stderr)?.contains("`api_key` is not known"));
    let reply = check(&Client::new(), &server, &json!({ "api_key": "demo-free" })).await?;
    assert_eq!(reply.headers["x-ratelimit-limit"], "10");
    let sound = command([])?.args(["config", "check", "--json"]).output()?;
    let found: Value = serde_json::from_slice(&sound.stdout)?;
    assert_eq!(found["tiers"], json!(["basic", "classes", "free", "pro"]), "{found}");
    Ok(())
}

#[tokio::test]
async fn the_classes_of_routes_follow_the_environment() -> Result<()> {
    let server = Server::start([("RATE_LIMIT_AUTH", "3,86400")])?;
    let client = Client::new();
    let ask = async |route: &str| {
        let question = json!({ "tenant": "vibewell", "tier": "classes", "subject": "203.0.113.9", "route": route });
        check(&client, &server, &question).await
    };
    for left in [2, 1, 0] {
        assert_eq!(remaining(&ask("/api/auth/login").await?, "auth"), left);
    }
    assert_eq!(ask("/api/auth/login").await?.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(remaining(&ask("/api/products").await?, "general"), 119);
    Ok(())
}

#[tokio::test]
async fn the_files_of_deploy_give_a_redis_that_serves() -> Result<()> {
    let deploy = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").canonicalize()?;
    let setting = Setting {
        config: Some(deploy.join("redis.conf")),
        users: Some(deploy.join("users.acl")),
        ..Setting::default()
    };
    let redis = RedisServer::start_with(setting)?;
    let url = format!("redis://tollgate@127.0.0.1:{}", redis.port());
    let server = Server::start([("REDIS_URL", url.as_str()), ("REDIS_PASSWORD", "change-this-password")])?;
    let client = Client::new();
    for left in [999, 998] {
        let reply = check(&client, &server, &json!({ "api_key": "demo-free" })).await?;
        assert_eq!(reply.body["source"], "policy", "{}", reply.body);
        assert_eq!(remaining(&reply, "day"), left);
    }
    let ready = client.get(format!("{}/readyz", server.url)).send().await?;
    let ready: Value = serde_json::from_str(&ready.text().await?)?;
    assert_eq!(ready["store"]["shared"], true, "development fell back to memory: {}", server.output());
    assert!(!server.output().contains("are kept in this process"), "{}", server.output());
    Ok(())
}
