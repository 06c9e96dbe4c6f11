//! Hosts on one Redis, following what is active.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tollgate::fleet::Fleet;
use tollgate::store::{Documents, RedisDocuments};
use tollgate_tests::{RedisServer, Setting};

use super::{asked, host, push, roster, within};

async fn documents(server: &RedisServer) -> Result<Arc<dyn Documents>> {
    Ok(Arc::new(RedisDocuments::connect(&server.target(), "ratelimit", Duration::from_secs(5)).await?))
}

async fn hosts(server: &RedisServer, names: &[&str]) -> Result<Vec<Fleet>> {
    let mut hosts = Vec::new();
    for name in names {
        hosts.push(host(&documents(server).await?, name).await?);
    }
    Ok(hosts)
}

/// Waits until every host runs this generation.
async fn run(hosts: &[Fleet], generation: u64, longest: Duration) -> Duration {
    let all = async || hosts.iter().all(|host| host.gate().generation() == generation);
    within(longest, &format!("all run generation {generation}"), all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_activated_on_one_host_is_active_on_all_within_a_second() -> Result<()> {
    let server = RedisServer::start()?;
    let hosts = hosts(&server, &["a", "b", "c"]).await?;
    for host in &hosts {
        assert_eq!(asked(host.gate(), "before").await?, (1, 7), "each begins with its own roster");
    }
    let policy = push(&hosts[0]).await?;
    let revision = hosts[0].propose(roster(&policy, "10/day"), "alice", "ten").await?.revision;
    assert_eq!(hosts[1].gate().generation(), 1, "what is proposed is not active");
    let active = hosts[1].activate(revision, "bob", "", None).await?;
    run(&hosts, active.generation, Duration::from_secs(1)).await;
    for host in &hosts {
        assert_eq!(asked(host.gate(), "after").await?, (active.generation, 10));
    }
    // Each says so, in time.
    let converged = async || {
        let instances = hosts[2].instances().await.unwrap();
        instances.len() == 3 && instances.iter().all(|(instance, _)| instance.generation == active.generation)
    };
    within(Duration::from_secs(3), "all say what they run", converged).await;
    for (instance, _) in hosts[0].instances().await? {
        assert_eq!(instance.tiers.len(), 1, "{instance:?}");
        assert_eq!(format!("sha256:{}", instance.tiers[0].digest), policy, "{instance:?}");
    }
    let back = hosts[2].roll_back("carol", "too many").await?;
    assert_eq!((back.revision, back.before), (0, revision));
    run(&hosts, back.generation, Duration::from_secs(1)).await;
    assert_eq!(asked(hosts[0].gate(), "back").await?.1, 7);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_hears_nothing_notices_all_the_same() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let users = folder.path().join("users.acl");
    // Whoever logs in as `deaf` may do everything but listen.
    std::fs::write(&users, "user default on nopass ~* &* +@all\nuser deaf on >deaf ~* resetchannels +@all\n")?;
    let server = RedisServer::start_with(Setting { users: Some(users), ..Setting::default() })?;
    let speaker = host(&documents(&server).await?, "speaker").await?;
    let mut target = server.target();
    target.username = Some("deaf".to_owned());
    target.password = Some(tollgate::config::Secret::new("deaf"));
    let deaf = RedisDocuments::connect(&target, "ratelimit", Duration::from_secs(5)).await?;
    let changes = deaf.changes();
    let deaf = host(&(Arc::new(deaf) as Arc<dyn Documents>), "deaf").await?;
    let known = *changes.borrow();
    let revision = speaker.propose(roster("tiered", "10/day"), "alice", "").await?.revision;
    let active = speaker.activate(revision, "alice", "", None).await?;
    run(std::slice::from_ref(&deaf), active.generation, Duration::from_secs(2)).await;
    assert_eq!(*changes.borrow(), known, "it heard of nothing");
    assert_eq!(asked(deaf.gate(), "alice").await?, (active.generation, 10));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_comes_later_begins_with_what_is_active() -> Result<()> {
    let server = RedisServer::start()?;
    let first = host(&documents(&server).await?, "first").await?;
    let policy = push(&first).await?;
    let revision = first.propose(roster(&policy, "10/day"), "alice", "").await?.revision;
    let active = first.activate(revision, "alice", "", None).await?;
    let later = host(&documents(&server).await?, "later").await?;
    assert_eq!(asked(later.gate(), "alice").await?, (active.generation, 10), "at once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lost_everything_is_given_it_back() -> Result<()> {
    let mut server = RedisServer::start()?;
    let hosts = hosts(&server, &["a", "b"]).await?;
    let policy = push(&hosts[0]).await?;
    let revision = hosts[0].propose(roster(&policy, "10/day"), "alice", "").await?.revision;
    let active = hosts[0].activate(revision, "alice", "", None).await?;
    run(&hosts, active.generation, Duration::from_secs(1)).await;
    server.kill()?;
    for host in &hosts {
        assert_eq!(asked(host.gate(), "while it is away").await?, (active.generation, 10));
    }
    server.restart()?;
    let registry = hosts[0].registry();
    let restored = async || registry.active().await.is_ok_and(|now| now.as_ref() == Some(&active));
    within(Duration::from_secs(5), "what was active is active again", restored).await;
    for host in &hosts {
        assert_eq!(asked(host.gate(), "after").await?, (active.generation, 10));
    }
    // All of it is there for one that comes now.
    let later = host(&documents(&server).await?, "later").await?;
    assert_eq!(asked(later.gate(), "alice").await?, (active.generation, 10));
    assert_eq!(format!("sha256:{}", later.registry().policies().await?[0].digest), policy);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_went_back_in_time_does_not_take_the_hosts_along() -> Result<()> {
    let server = RedisServer::start()?;
    let hosts = hosts(&server, &["a", "b"]).await?;
    let old = hosts[0].propose(roster("tiered", "10/day"), "alice", "").await?.revision;
    let old = hosts[0].activate(old, "alice", "", None).await?;
    let state: Vec<u8> = server.run(&["HGET", "ratelimit:{fleet}:state", "active"])?;
    let new = hosts[0].propose(roster("tiered", "20/day"), "alice", "").await?.revision;
    let new = hosts[0].activate(new, "alice", "", None).await?;
    run(&hosts, new.generation, Duration::from_secs(1)).await;
    server.run::<()>(&["HSET", "ratelimit:{fleet}:state", "active", std::str::from_utf8(&state)?])?;
    let registry = hosts[1].registry();
    assert!(old.generation < new.generation);
    let restored = async || registry.active().await.is_ok_and(|now| now.as_ref() == Some(&new));
    within(Duration::from_secs(5), "the newer one is active again", restored).await;
    assert_eq!(asked(hosts[0].gate(), "alice").await?, (new.generation, 20));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_was_tampered_with_is_not_run() -> Result<()> {
    let server = RedisServer::start()?;
    let fleet = host(&documents(&server).await?, "a").await?;
    let policy = push(&fleet).await?;
    let digest = policy.trim_start_matches("sha256:");
    server.run::<()>(&["HSET", "ratelimit:{fleet}:components", digest, "0 something else"])?;
    let refused = fleet.propose(roster(&policy, "10/day"), "alice", "").await.expect_err("other bytes").to_string();
    assert!(refused.contains(digest) && refused.contains("push the policy again"), "{refused}");
    Ok(())
}
