//! A server that makes room by pushing out counters is found out.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use tollgate::config::{RedisTarget, Secret};
use tollgate::store::{Redis, RedisOptions};
use tollgate_tests::{RedisServer, Setting};

use super::connect;

/// What is logged on this thread.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    pub(super) fn watch(&self) -> tracing::subscriber::DefaultGuard {
        let lines = self.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || lines.clone()).with_ansi(false).finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(super) fn count(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(text).count()
    }
}

fn small(policy: &str) -> Result<RedisServer> {
    let arguments = ["--maxmemory", "3mb", "--maxmemory-policy", policy].map(str::to_owned).to_vec();
    RedisServer::start_with(Setting { arguments, ..Setting::default() })
}

fn flood(server: &RedisServer, from: usize) -> Result<()> {
    const FLOOD: &str =
        "for i = 1, 500 do redis.call('SET', 'flood:' .. ARGV[1] .. i, string.rep('x', 100), 'EX', 600) end";
    for round in from..from + 60 {
        server.run::<()>(&["EVAL", FLOOD, "0", &format!("{round}:")])?;
    }
    Ok(())
}

#[tokio::test]
async fn the_first_eviction_raises_an_alarm() -> Result<()> {
    let lines = Lines::default();
    let _guard = lines.watch();
    let server = small("volatile-ttl")?;
    flood(&server, 0)?;
    let store = connect(&server).await?;
    assert_eq!(lines.count("maxmemory-policy is"), 0);
    // Its first look is under way: what was pushed out before is not ours.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(store.evicted_keys(), Some(0));
    flood(&server, 1_000)?;
    let alarmed = async {
        while store.evicted_keys() == Some(0) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), alarmed).await?;
    let evicted = store.evicted_keys().expect("we may ask");
    assert!((1_000..60_000).contains(&evicted), "{evicted}");
    assert_eq!(lines.count("ERROR"), 1);
    assert_eq!(lines.count("limits that were used up may have begun anew"), 1);
    Ok(())
}

#[tokio::test]
async fn a_policy_that_pushes_out_used_up_limits_is_warned_of() -> Result<()> {
    let lines = Lines::default();
    let _guard = lines.watch();
    let server = small("allkeys-lru")?;
    connect(&server).await?;
    assert_eq!(lines.count("maxmemory-policy is `allkeys-lru`"), 1);
    assert_eq!(lines.count("set it to `volatile-ttl`"), 1);
    server.run::<()>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])?;
    connect(&server).await?;
    assert_eq!(lines.count("maxmemory-policy is"), 1);
    Ok(())
}

#[tokio::test]
async fn who_may_not_ask_for_evictions_counts_all_the_same() -> Result<()> {
    let lines = Lines::default();
    let _guard = lines.watch();
    let server = small("allkeys-lru")?;
    server.run::<()>(&[
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">pw",
        "~*",
        "+eval",
        "+evalsha",
        "+get",
        "+mget",
        "+set",
        "+setrange",
        "+time",
    ])?;
    let user = RedisTarget { username: Some("app".to_owned()), password: Some(Secret::new("pw")), ..server.target() };
    let store = Redis::connect(&user, RedisOptions::default()).await?;
    assert_eq!(store.evicted_keys(), None);
    assert_eq!((lines.count("WARN"), lines.count("ERROR")), (0, 0));
    Ok(())
}
