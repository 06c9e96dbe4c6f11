//! Memory and Redis, held to the arithmetic and to what a server can do to us.

mod cluster;
mod connect;
mod equality;
mod eviction;
mod interleaving;
mod places;
mod plain;
mod rights;
mod spanning;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tollgate::store::{Redis, RedisOptions, Store};
use tollgate::{Algorithm, Charge, Clock, Fault, FaultKind, Limit, Mode, Outcome, Quota, SystemClock};
use tollgate_tests::{RedisServer, Setting};

const SOON: Duration = Duration::from_secs(5);
const YEAR: Duration = Duration::from_secs(366 * 86_400);
const ALGORITHMS: [Algorithm; 3] = [Algorithm::FixedWindow, Algorithm::SlidingWindow, Algorithm::TokenBucket];

fn limit(algorithm: Algorithm, max: u64, window: Duration) -> Limit {
    Limit::new("test", algorithm, Quota { max, window, burst: max }).expect("the test's limit is sound")
}

fn charge(key: &str, limit: &Limit) -> Charge {
    Charge { key: key.to_owned(), limit: limit.clone(), cost: 1, mode: Mode::Enforce, holder: 0 }
}

async fn connect(server: &RedisServer) -> Result<Redis> {
    Ok(Redis::connect(&server.target(), RedisOptions::default()).await?)
}

async fn outcome(store: &Redis, charge: &Charge, within: Duration) -> Result<Outcome, Fault> {
    let outcomes = store.charge(std::slice::from_ref(charge), within).outcomes().await?;
    Ok(outcomes[0])
}

/// No counter may outlive its use.
fn keys_expire(server: &RedisServer) -> Result<()> {
    let keys: Vec<String> = server.run(&["KEYS", "*:*"])?;
    anyhow::ensure!(!keys.is_empty(), "there are no counters");
    for key in keys {
        let ttl_ms: i64 = server.run(&["PTTL", &key])?;
        // Gone meanwhile is as good as about to go.
        anyhow::ensure!(ttl_ms > 0 || ttl_ms == -2, "`{key}` has a ttl of {ttl_ms} ms");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_share_a_server_admit_exactly_the_limit() -> Result<()> {
    const MAX: u64 = 500;
    let server = RedisServer::start()?;
    let hosts = [Arc::new(connect(&server).await?), Arc::new(connect(&server).await?)];
    for algorithm in ALGORITHMS {
        let list = Arc::new([charge(&format!("shared:{algorithm}"), &limit(algorithm, MAX, YEAR))]);
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let (store, list) = (Arc::clone(&hosts[task % 2]), Arc::clone(&list));
                tokio::spawn(async move {
                    let mut admitted = 0;
                    for _ in 0..16 {
                        admitted += u64::from(store.charge(&list[..], SOON).outcomes().await?[0].allowed);
                    }
                    Ok::<u64, Fault>(admitted)
                })
            })
            .collect();
        let mut admitted = 0;
        for task in tasks {
            admitted += task.await??;
        }
        assert_eq!(admitted, MAX, "{algorithm}");
    }
    keys_expire(&server)
}

#[tokio::test]
async fn a_list_refused_by_one_limit_burns_no_other() -> Result<()> {
    let server = RedisServer::start()?;
    let store = connect(&server).await?;
    let list = [
        charge("list:minute", &limit(Algorithm::SlidingWindow, 5, YEAR)),
        charge("list:day", &limit(Algorithm::FixedWindow, 1, YEAR)),
    ];
    let mut remaining = Vec::new();
    for _ in 0..3 {
        remaining.push(store.charge(&list, SOON).outcomes().await?[0].remaining);
    }
    assert_eq!(remaining, [4, 4, 4]);
    Ok(())
}

#[tokio::test]
async fn nobody_notices_that_the_server_forgot_the_script() -> Result<()> {
    let server = RedisServer::start()?;
    let store = connect(&server).await?;
    let charge = charge("script:a", &limit(Algorithm::TokenBucket, 9, YEAR));
    assert_eq!(outcome(&store, &charge, SOON).await?.remaining, 8);
    server.run::<()>(&["SCRIPT", "FLUSH"])?;
    assert_eq!(outcome(&store, &charge, SOON).await?.remaining, 7);
    Ok(())
}

#[tokio::test]
async fn a_hanging_server_is_a_timeout_and_then_forgotten() -> Result<()> {
    let server = RedisServer::start()?;
    let store = connect(&server).await?;
    let charge = charge("hang:a", &limit(Algorithm::TokenBucket, 1_000, YEAR));
    outcome(&store, &charge, SOON).await?;
    let clock = SystemClock::new();
    server.stop()?;
    let mut fastest = Duration::MAX;
    // More often and for longer than the store bears with one connection.
    for _ in 0..6 {
        let began = clock.now();
        let fault = outcome(&store, &charge, Duration::from_millis(250)).await.expect_err("nobody can have answered");
        assert_eq!(fault.kind, FaultKind::Timeout, "{fault}");
        fastest = fastest.min(clock.now().since(began));
    }
    // A busy machine may keep some of them waiting.
    assert!(fastest < Duration::from_millis(500), "the fastest took {fastest:?}");
    server.cont()?;
    let left = outcome(&store, &charge, SOON).await?.remaining;
    assert!((992..=998).contains(&left), "{left}: a charge that timed out may have been taken, once");
    Ok(())
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() -> Result<()> {
    let mut server = RedisServer::start()?;
    let store = connect(&server).await?;
    let charge = charge("back:a", &limit(Algorithm::FixedWindow, 1_000, YEAR));
    outcome(&store, &charge, SOON).await?;
    server.kill()?;
    for _ in 0..5 {
        let fault = outcome(&store, &charge, Duration::from_millis(250)).await.expect_err("nobody can have answered");
        assert_eq!(fault.kind, FaultKind::Unavailable, "{fault}");
    }
    server.restart()?;
    let found = async {
        while outcome(&store, &charge, SOON).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), found).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_that_let_us_out_and_in_again_is_found_again() -> Result<()> {
    let [ours, theirs] = ["ours", "theirs"].map(Setting::password);
    let mut server = RedisServer::start_with(ours.clone())?;
    let store = connect(&server).await?;
    let charge = charge("out:a", &limit(Algorithm::FixedWindow, 1_000, YEAR));
    server.kill()?;
    server.restart_with(theirs)?;
    outcome(&store, &charge, SOON).await.expect_err("the connection is gone");
    let fault = outcome(&store, &charge, SOON).await.expect_err("the password is wrong now");
    assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
    server.kill()?;
    server.restart_with(ours)?;
    // The connection is replaced at most once a second.
    let found = async {
        while outcome(&store, &charge, SOON).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, found).await?;
    Ok(())
}

#[tokio::test]
async fn a_key_that_holds_something_else_fails_its_own_list_only() -> Result<()> {
    let server = RedisServer::start()?;
    let store = connect(&server).await?;
    let limit = limit(Algorithm::SlidingWindow, 9, YEAR);
    server.run::<()>(&["RPUSH", "poison:list", "x"])?;
    server.run::<()>(&["SET", "poison:text", "hello", "PX", "60000"])?;
    for key in ["poison:list", "poison:text"] {
        let list = [charge("poison:other", &limit), charge(key, &limit)];
        let fault = store.charge(&list, SOON).outcomes().await.expect_err("nobody can count there");
        assert_eq!(fault.kind, FaultKind::Poisoned, "{fault}");
        assert!(fault.message.contains(key), "{fault}");
    }
    assert_eq!(
        outcome(&store, &charge("poison:other", &limit), SOON).await?.remaining,
        8,
        "the failed lists took nothing"
    );
    Ok(())
}

#[tokio::test]
async fn a_server_that_became_a_replica_refuses() -> Result<()> {
    let server = RedisServer::start()?;
    let store = connect(&server).await?;
    server.run::<()>(&["REPLICAOF", "127.0.0.1", "1"])?;
    refuses(&server, &store, "it is a replica; give the address of the master").await?;
    server.run::<()>(&["REPLICAOF", "NO", "ONE"])?;
    counts(&store).await
}

#[tokio::test]
async fn a_server_without_memory_refuses() -> Result<()> {
    let server = RedisServer::start()?;
    let store = connect(&server).await?;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1"])?;
    refuses(&server, &store, "its memory is full; raise maxmemory, or set maxmemory-policy to volatile-ttl").await?;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "0"])?;
    counts(&store).await
}

/// The store that is connected says that the server refuses, and connecting says what to do.
async fn refuses(server: &RedisServer, store: &Redis, advice: &str) -> Result<()> {
    let charge = charge("refuse:a", &limit(Algorithm::FixedWindow, 9, YEAR));
    let fault = outcome(store, &charge, SOON).await.expect_err("the server takes no writes");
    assert_eq!(fault.kind, FaultKind::Refused, "{fault}");
    let error =
        Redis::connect(&server.target(), RedisOptions::default()).await.expect_err("the server takes no writes");
    assert!(error.to_string().ends_with(advice), "{error}");
    Ok(())
}

async fn counts(store: &Redis) -> Result<()> {
    outcome(store, &charge("refuse:a", &limit(Algorithm::FixedWindow, 9, YEAR)), SOON).await?;
    Ok(())
}
