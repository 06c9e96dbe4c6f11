//! What we ask to be granted is what we need, and enough.

use anyhow::Result;
use tollgate::Algorithm;
use tollgate::config::{RedisTarget, Secret, WithoutScripts};
use tollgate::store::{Redis, RedisOptions};
use tollgate_tests::{RedisCluster, RedisSentinel, RedisServer, Setting};

use super::{SOON, YEAR, charge, limit, outcome};

/// A user with the rights of this line, on all servers.
fn grant(servers: &[RedisServer], line: &str) -> Result<()> {
    for server in servers {
        server.run::<()>(&["ACL", "SETUSER", "app", "reset", "on", ">pw"])?;
        server.run::<()>(&line.split(' ').collect::<Vec<_>>())?;
    }
    Ok(())
}

fn as_app(target: RedisTarget) -> RedisTarget {
    RedisTarget { username: Some("app".to_owned()), password: Some(Secret::new("pw")), ..target }
}

/// The line that is asked for, which is then enough to count `key`.
async fn is_enough(servers: &[RedisServer], target: &RedisTarget, options: RedisOptions, line: &str) -> Result<()> {
    grant(servers, line)?;
    let store = Redis::connect(target, options).await?;
    let counter = charge("ratelimit:{a}:x", &limit(Algorithm::FixedWindow, 5, YEAR));
    assert_eq!(outcome(&store, &counter, SOON).await?.remaining, 4, "{line}");
    Ok(())
}

async fn refusal(target: &RedisTarget, options: RedisOptions) -> String {
    format!("{:#}", Redis::connect(target, options).await.expect_err("the user may not count"))
}

fn allow() -> RedisOptions {
    RedisOptions { without_scripts: WithoutScripts::Allow, ..RedisOptions::default() }
}

#[tokio::test]
async fn a_user_of_a_cluster_needs_what_we_say() -> Result<()> {
    let cluster = RedisCluster::start(3, 0)?;
    let target = as_app(cluster.target());
    let line = "ACL SETUSER app ~ratelimit:* +eval +evalsha +get +mget +set +setrange +time +cluster|slots +cluster|info +asking";
    grant(cluster.nodes(), "ACL SETUSER app +ping")?;
    let text = refusal(&target, RedisOptions::default()).await;
    assert!(text.contains(line) && !text.contains("TOLLGATE_WITHOUT_SCRIPTS"), "{text}");
    let plain = "ACL SETUSER app ~ratelimit:* +incrby +decrby +pexpire +get +set +cluster|slots";
    grant(cluster.nodes(), plain)?;
    let text = refusal(&target, allow()).await;
    assert!(text.contains("a cluster is counted in by scripts only") && text.contains(line), "{text}");
    is_enough(cluster.nodes(), &target, RedisOptions::default(), line).await
}

#[tokio::test]
async fn a_user_of_a_master_behind_sentinels_needs_what_we_say() -> Result<()> {
    let all = RedisSentinel::start_with(1, &Setting::default(), None)?;
    let target = as_app(all.target());
    grant(all.servers(), "ACL SETUSER app +role")?;
    let text = refusal(&target, RedisOptions::default()).await;
    let scripts = "ACL SETUSER app ~ratelimit:* +eval +evalsha +get +mget +set +setrange +time +role";
    let plain = "ACL SETUSER app ~ratelimit:* +incrby +decrby +pexpire +get +set +role";
    assert!(text.contains(scripts) && text.contains(plain), "{text}");
    is_enough(all.servers(), &target, allow(), plain).await?;
    all.server(all.master()?)?.run::<()>(&["FLUSHALL"])?;
    is_enough(all.servers(), &target, RedisOptions::default(), scripts).await
}
