//! Callers that are kept out: the program on two servers and one real Redis.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Client;
use serde_json::{Value, json};
use tollgate_tests::{RedisServer, Server, command};

const TOKEN: &str = "token-of-oscar-7f3a";

fn server(redis: &RedisServer) -> Result<Server> {
    let tokens = format!("oscar:operate:{TOKEN}");
    Server::start([
        ("REDIS_URL", redis.url().as_str()),
        ("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
        ("TOLLGATE_ADMIN_TOKENS", &tokens),
    ])
}

async fn check(server: &Server, question: &Value) -> Result<(u16, Option<u64>, Value)> {
    let sent = Client::new().post(format!("{}/v1/check", server.url)).body(question.to_string()).send().await?;
    let wait = sent.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Ok((sent.status().as_u16(), wait, sent.json().await?))
}

async fn status(server: &Server, question: &Value) -> Result<u16> {
    check(server, question).await.map(|(status, ..)| status)
}

async fn becomes(server: &Server, question: &Value, expected: u16) -> Result<()> {
    let heard = async {
        while status(server, question).await? != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(10), heard).await.context("it is not heard")?
}

/// Runs a command of the operator, and answers what it prints in JSON.
fn run(server: &Server, words: &[&str]) -> Result<Value> {
    let url = server.admin_url()?;
    let variables = [("TOLLGATE_ADMIN_URL", url.as_str()), ("TOLLGATE_ADMIN_TOKEN", TOKEN)];
    let ran = command(variables)?.args(words).arg("--json").output()?;
    anyhow::ensure!(ran.status.success(), "{words:?}: {}", String::from_utf8_lossy(&ran.stderr));
    Ok(serde_json::from_slice(&ran.stdout)?)
}

fn from(address: &str) -> Value {
    json!({ "api_key": "demo-pro", "address": address })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_blocked_is_kept_out_by_every_server_until_let_in() -> Result<()> {
    let redis = RedisServer::start()?;
    let (one, two) = (server(&redis)?, server(&redis)?);
    run(&one, &["block", "203.0.113.0/24", "--seconds", "600", "--reason", "scrapes"])?;
    let (answer, wait, problem) = check(&one, &from("203.0.113.9")).await?;
    assert_eq!((answer, problem["allowed"].as_bool()), (429, Some(false)), "{problem}");
    assert!(problem["type"].as_str().unwrap().ends_with("#abnormal-usage-detected"), "{problem}");
    assert!(wait.is_some_and(|wait| (590..=600).contains(&wait)), "{wait:?}");
    assert!(!problem.to_string().contains("scrapes"), "whoever is blocked is not told what for");
    becomes(&two, &from("203.0.113.9"), 429).await?;
    assert_eq!(status(&two, &from("203.0.114.9")).await?, 200, "nobody beside it");
    for (address, expected) in [("203.0.113.9", 429), ("203.0.114.9", 200)] {
        // A gateway on the loopback is trusted to say who called it.
        let asked = Client::new().get(format!("{}/v1/auth?tier=free", two.url)).header("x-forwarded-for", address);
        assert_eq!(asked.send().await?.status().as_u16(), expected, "{address}");
    }
    // A blocked address is refused before anybody looks whose key it shows.
    assert_eq!(status(&two, &json!({ "api_key": "nobody", "address": "203.0.113.9" })).await?, 429);
    assert_eq!(status(&two, &from("here")).await?, 400);

    let subject = json!({ "tenant": "acme", "tier": "free", "subject": "bob" });
    assert_eq!(status(&two, &subject).await?, 200);
    run(&two, &["block", "--tenant", "acme", "--subject", "bob", "--seconds", "60"])?;
    becomes(&one, &subject, 429).await?;
    let listed = run(&one, &["blocks"])?;
    let listed = listed["blocks"].as_array().unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    let found = listed.iter().find(|block| block["address"] == "203.0.113.0/24").unwrap();
    assert_eq!((&found["by"], &found["reason"]), (&json!("oscar"), &json!("scrapes")));

    run(&one, &["unblock", "--tenant", "acme", "--subject", "bob"])?;
    run(&two, &["unblock", "203.0.113.0/24"])?;
    becomes(&two, &subject, 200).await?;
    becomes(&one, &from("203.0.113.9"), 200).await?;
    let again = run(&one, &["unblock", "203.0.113.0/24"]).unwrap_err().to_string();
    assert!(again.contains("is not blocked by itself"), "{again}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_or_away_lets_nobody_in() -> Result<()> {
    let redis = RedisServer::start()?;
    let (one, two) = (server(&redis)?, server(&redis)?);
    run(&one, &["block", "203.0.113.9", "--seconds", "600"])?;
    becomes(&two, &from("203.0.113.9"), 429).await?;
    let _: String = redis.run(&["FLUSHALL"])?;
    // They bring it back: whoever comes later knows of it.
    let kept = || -> Result<bool> { Ok(redis.run::<Vec<String>>(&["HKEYS", "ratelimit:{fleet}:blocks"])?.len() == 1) };
    let back = async {
        while !kept()? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(10), back).await.context("it is not brought back")??;
    for server in [&one, &two, &server(&redis)?] {
        assert_eq!(status(server, &from("203.0.113.9")).await?, 429);
    }
    redis.stop()?;
    for server in [&one, &two] {
        assert_eq!(status(server, &from("203.0.113.9")).await?, 429, "what is known is known");
    }
    redis.cont()?;
    Ok(())
}

#[test]
fn the_handbooks_commands_are_commands() -> Result<()> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/blocks.md"))?;
    let (_, block) = page.split_once("```sh\n").context("the page has commands")?;
    let (block, _) = block.split_once("```").context("they end")?;
    let redis = RedisServer::start()?;
    let server = server(&redis)?;
    for line in block.lines() {
        let words: Vec<&str> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        run(&server, words.get(1..).context("a command has words")?)?;
    }
    assert_eq!(run(&server, &["blocks"])?["blocks"].as_array().map(Vec::len), Some(1));
    Ok(())
}
