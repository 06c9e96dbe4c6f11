//! A server in the manner of Profwise: a cache of answers beside the limits, in one Redis.

use anyhow::{Result, ensure};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tollgate_tests::{Example, RedisServer};

async fn professor(server: &Example, id: u32) -> Result<Value> {
    let answer = Client::new().get(format!("{}/professors/{id}", server.url)).send().await?;
    ensure!(answer.status() == StatusCode::OK, "{answer:?}");
    Ok(answer.json().await?)
}

async fn figures(server: &Example) -> Result<Value> {
    Ok(Client::new().get(format!("{}/cache", server.url)).send().await?.json().await?)
}

fn start<const N: usize>(redis: &RedisServer, more: [(&str, &str); N]) -> Result<Example> {
    let url = redis.url();
    let environment: Vec<(&str, &str)> = [("REDIS_URL", url.as_str())].into_iter().chain(more).collect();
    Example::start_in("profwise", environment)
}

#[tokio::test]
async fn answers_are_shared_by_all_servers_until_they_change() -> Result<()> {
    let redis = RedisServer::start()?;
    let servers = [start(&redis, [("REDIS_DEFAULT_TTL", "600")])?, start(&redis, [])?];
    let limited = Client::new().get(format!("{}/professors/1", servers[0].url)).send().await?;
    assert!(limited.headers()["ratelimit"].to_str()?.starts_with("\"minute\";r=119;"), "{limited:?}");
    let first = professor(&servers[0], 17).await?;
    assert_eq!(professor(&servers[1], 17).await?, first);
    assert_eq!(figures(&servers[0]).await?, json!({"hits": 0, "misses": 2, "hit_ratio": 0.0}));
    assert_eq!(figures(&servers[1]).await?, json!({"hits": 1, "misses": 0, "hit_ratio": 1.0}));
    let cached: Vec<String> = redis.run(&["KEYS", "profwise:*professor.17"])?;
    let [key] = &cached[..] else { anyhow::bail!("one answer, not {cached:?}") };
    let ttl: i64 = redis.run(&["TTL", key])?;
    assert!((590..=600).contains(&ttl), "{ttl}");
    let changed = Client::new().delete(format!("{}/cache/17", servers[1].url)).send().await?;
    assert_eq!(changed.status(), StatusCode::NO_CONTENT);
    professor(&servers[1], 17).await?;
    assert_eq!(figures(&servers[1]).await?["misses"], 1);
    Ok(())
}

#[tokio::test]
async fn without_the_cache_or_without_redis_answers_are_dear_and_right() -> Result<()> {
    let mut redis = RedisServer::start()?;
    let [with, without] = [start(&redis, [])?, start(&redis, [("ENABLE_REDIS_CACHE", "false")])?];
    let right = professor(&without, 4).await?;
    professor(&without, 4).await?;
    assert_eq!(figures(&without).await?, json!({"hits": 0, "misses": 0, "hit_ratio": 0.0}));
    redis.kill()?;
    assert_eq!(professor(&with, 4).await?, right);
    Ok(())
}
