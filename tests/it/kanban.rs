//! Two instances of a server in the manner of CF-Kanban, on one Redis.

use std::time::Duration;

use anyhow::{Result, bail};
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tollgate_tests::{Example, RedisServer};

/// What CF-Kanban grants its application.
const GRANTS: [&str; 9] = [
    "on",
    ">kanban-password-1",
    "resetchannels",
    "~cfkanban:*",
    "+@read",
    "+@write",
    "+@connection",
    "-@admin",
    "-@dangerous",
];

/// A server whose user `kanban` may do what CF-Kanban grants, and `more`; and the user's URL.
fn redis(more: &[&str]) -> Result<(RedisServer, String)> {
    let server = RedisServer::start()?;
    let words = [&["ACL", "SETUSER", "kanban"], &GRANTS[..], more].concat();
    server.run::<()>(&words)?;
    let url = format!("redis://kanban:kanban-password-1@127.0.0.1:{}", server.port());
    Ok((server, url))
}

async fn boards(instance: &Example, user: &str) -> Result<StatusCode> {
    let request = Client::new().get(format!("{}/api/boards", instance.url)).header("x-user-id", user);
    Ok(request.send().await?.status())
}

/// The refusals that an instance knows of, as soon as there are so many.
async fn events(instance: &Example, count: usize) -> Result<Vec<Value>> {
    for _ in 0..100 {
        let events: Vec<Value> = Client::new().get(format!("{}/events", instance.url)).send().await?.json().await?;
        if events.len() >= count {
            return Ok(events);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("waited, and there are not {count} events")
}

async fn ask(instances: &[Example; 2], user: &str, times: usize) -> Result<usize> {
    let mut admitted = 0;
    for (_, instance) in (0..times).zip(instances.iter().cycle()) {
        admitted += usize::from(boards(instance, user).await? == StatusCode::OK);
    }
    Ok(admitted)
}

#[tokio::test]
async fn instances_share_limits_and_hear_of_each_others_refusals() -> Result<()> {
    let scripts = ["+eval", "+evalsha", "+time", "+publish", "+subscribe", "&cfkanban:*"];
    let (server, url) = redis(&scripts)?;
    let start = || Example::start_in("kanban", [("REDIS_URL", url.as_str())]);
    let instances = [start()?, start()?];
    assert_eq!(ask(&instances, "u-17", 12).await?, 10);
    assert_eq!(boards(&instances[0], "u-18").await?, StatusCode::OK, "another user has limits of its own");
    assert_eq!(Client::new().get(format!("{}/api/boards", instances[0].url)).send().await?.status(), 401);
    for instance in &instances {
        let events = events(instance, 2).await?;
        assert!(events.iter().all(|event| event["user"] == "u-17" && event["endpoint"] == "/api/boards"), "{events:?}");
    }
    let keys: Vec<String> = server.run(&["KEYS", "*{u-17}*"])?;
    let [key] = &keys[..] else { bail!("one counter, not {keys:?}") };
    assert!(key.starts_with("cfkanban:ratelimit:{u-17}:tiered:minute:") && key.ends_with(":/api/boards"), "{key}");
    Ok(())
}

#[tokio::test]
async fn with_the_rights_of_the_guide_alone_limits_hold_all_the_same() -> Result<()> {
    let (server, url) = redis(&[])?;
    let start = || Example::start_in("kanban", [("REDIS_URL", url.as_str())]);
    let instances = [start()?, start()?];
    assert_eq!(ask(&instances, "u-17", 14).await?, 10);
    let kept: Vec<String> = server.run(&["KEYS", "*"])?;
    assert!(kept.iter().all(|key| key.starts_with("cfkanban:ratelimit:")), "{kept:?}");
    assert!(kept.iter().any(|key| key.starts_with("cfkanban:ratelimit:{u-17}:")), "{kept:?}");
    for instance in &instances {
        assert_eq!(events(instance, 2).await?.len(), 2, "it may not publish, and knows its own");
    }
    Ok(())
}
