//! A user who may call no script: counted all the same, and never over a limit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tollgate::config::{Config, ConfigFile, RedisTarget, Secret, WithoutScripts};
use tollgate::store::{List, Redis, RedisOptions, RedisTime, Store};
use tollgate::{
    Action, Algorithm, Charge, Clock, FaultKind, Held, Limit, ManualClock, Mode, Outcome, Quota, Settled, Settlement,
    SystemClock, Timestamp, Tollgate,
};
use tollgate_tests::RedisServer;

use super::eviction::Lines;
use super::{SOON, YEAR, limit};

const PREFIX: &str = "cfkanban:ratelimit";
/// What CF-Kanban grants.
const KANBAN: [&str; 9] = [
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
const WINDOWS: [Algorithm; 2] = [Algorithm::FixedWindow, Algorithm::SlidingWindow];

fn user(server: &RedisServer) -> Result<RedisTarget> {
    let mut words = vec!["ACL", "SETUSER", "kanban"];
    words.extend(KANBAN);
    server.run::<()>(&words)?;
    let password = Some(Secret::new("kanban-password-1"));
    Ok(RedisTarget { username: Some("kanban".to_owned()), password, ..server.target() })
}

fn options() -> RedisOptions {
    RedisOptions { prefix: PREFIX.to_owned(), without_scripts: WithoutScripts::Allow, ..RedisOptions::default() }
}

async fn at(target: &RedisTarget, clock: &Arc<ManualClock>) -> Result<Redis> {
    let time = RedisTime::Given(Arc::clone(clock) as Arc<dyn Clock>);
    Ok(Redis::connect(target, RedisOptions { time, ..options() }).await?)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp::from_micros(1_700_000_000_000_123)))
}

fn charge(name: &str, limit: &Limit) -> Charge {
    Charge { key: format!("{PREFIX}:{name}"), limit: limit.clone(), cost: 1, mode: Mode::Enforce, holder: 0 }
}

/// What is left of a counter, looked at without taking anything.
async fn left(store: &Redis, charge: &Charge) -> Result<u64> {
    Ok(take(store, &[Charge { cost: 0, ..charge.clone() }]).await?[0].remaining)
}

async fn take(store: &Redis, charges: &[Charge]) -> Result<Vec<Outcome>> {
    Ok(store.charge(charges, SOON).outcomes().await?)
}

fn keys_expire(server: &RedisServer) -> Result<()> {
    let keys: Vec<String> = server.run(&["KEYS", "*"])?;
    anyhow::ensure!(!keys.is_empty(), "there are no counters");
    for key in keys {
        anyhow::ensure!(key.starts_with(PREFIX), "`{key}` is not ours");
        let ttl_ms: i64 = server.run(&["PTTL", &key])?;
        anyhow::ensure!(ttl_ms > 0 || ttl_ms == -2, "`{key}` has a ttl of {ttl_ms} ms");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_without_scripts_never_admit_more_than_the_limit() -> Result<()> {
    const MAX: u64 = 300;
    let server = RedisServer::start()?;
    let user = user(&server)?;
    let hosts = [Arc::new(Redis::connect(&user, options()).await?), Arc::new(Redis::connect(&user, options()).await?)];
    for algorithm in WINDOWS {
        let wide = charge(&format!("wide:{algorithm}"), &limit(algorithm, MAX, YEAR));
        let narrow = |tenth: usize| charge(&format!("narrow:{algorithm}:{tenth}"), &limit(algorithm, 25, YEAR));
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let store = Arc::clone(&hosts[task % 2]);
                let (list, shadow) = ([narrow(task % 10), wide.clone()], Charge { mode: Mode::Shadow, ..wide.clone() });
                tokio::spawn(async move {
                    let mut admitted = 0;
                    for round in 0..16 {
                        let list = if round % 4 == 0 { &[list[0].clone(), shadow.clone()] } else { &list };
                        let outcomes = take(&store, list).await?;
                        admitted += u64::from(outcomes[0].allowed && outcomes[1].allowed);
                    }
                    anyhow::Ok(admitted)
                })
            })
            .collect();
        let mut admitted = 0;
        for task in tasks {
            admitted += task.await??;
        }
        assert!(admitted <= MAX, "{algorithm}: {admitted} of {MAX}");
        // Who came first found room; only while others gave back may one be refused early.
        assert!(admitted > MAX / 2, "{algorithm}: {admitted} of {MAX}");
        // All that was refused is given back, by the other host in a moment.
        let given_back = async {
            while left(&hosts[0], &wide).await? != MAX - admitted {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(SOON, given_back).await.context("the rest is not given back")??;
        while take(&hosts[0], std::slice::from_ref(&wide)).await?[0].allowed {
            admitted += 1;
        }
        assert_eq!(admitted, MAX, "{algorithm}");
    }
    keys_expire(&server)
}

#[tokio::test]
async fn a_list_refused_without_scripts_leaves_nothing_taken() -> Result<()> {
    let server = RedisServer::start()?;
    let store = Redis::connect(&user(&server)?, options()).await?;
    let minute = charge("minute", &limit(Algorithm::SlidingWindow, 5, YEAR));
    let day = charge("day", &limit(Algorithm::FixedWindow, 1, YEAR));
    let mut remaining = Vec::new();
    for _ in 0..3 {
        remaining.push(take(&store, &[minute.clone(), day.clone()]).await?[0].remaining);
    }
    assert_eq!(remaining, [4, 4, 4]);
    let large = Charge { cost: 9, ..minute.clone() };
    assert_eq!(take(&store, &[large]).await?[0].retry_after, None, "no waiting helps");
    assert_eq!(take(&store, &[Charge { mode: Mode::Peek, ..minute.clone() }]).await?[0].remaining, 3, "what would be");
    let shadow = Charge { mode: Mode::Shadow, ..day.clone() };
    assert!(!take(&store, &[minute.clone(), shadow]).await?[1].allowed);
    assert_eq!((left(&store, &minute).await?, left(&store, &day).await?), (3, 0));
    // Whoever leaves before the answer leaves nothing taken that was refused.
    for _ in 0..20 {
        let within = Duration::from_micros(300);
        let _ = tokio::time::timeout(within, store.charge(&[minute.clone(), day.clone()], within).outcomes()).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(left(&store, &minute).await?, 3);
    keys_expire(&server)
}

#[tokio::test]
async fn windows_end_and_slide_without_scripts_as_the_arithmetic_says() -> Result<()> {
    let (server, clock) = (RedisServer::start()?, clock());
    let user = user(&server)?;
    let memory = tollgate::store::Memory::new(Arc::clone(&clock));
    let store = at(&user, &clock).await?;
    let limits = WINDOWS.map(|algorithm| {
        Limit::new("test", algorithm, Quota { max: 7, window: Duration::from_secs(10), burst: 7 }).expect("it is sound")
    });
    for step in 0..200_u64 {
        let costs = [step % 3, (step * 7) % 4];
        let list: Vec<Charge> = limits
            .iter()
            .zip(costs)
            .map(|(limit, cost)| Charge { cost, ..charge(&format!("slide:{}", limit.algorithm()), limit) })
            .collect();
        let ours = take(&store, &list).await?;
        assert_eq!(ours, memory.charge(&list, SOON).outcomes().await?, "step {step}");
        clock.advance(Duration::from_millis(step * 37 % 2_900));
    }
    keys_expire(&server)
}

#[tokio::test]
async fn a_host_whose_clock_is_behind_sees_the_next_window() -> Result<()> {
    let (server, behind, ahead) = (RedisServer::start()?, clock(), clock());
    let user = user(&server)?;
    ahead.advance(Duration::from_secs(10));
    let (early, late) = (at(&user, &behind).await?, at(&user, &ahead).await?);
    let quota = Quota { max: 4, window: Duration::from_secs(10), burst: 4 };
    let sliding = charge("skew", &Limit::new("test", Algorithm::SlidingWindow, quota)?);
    for _ in 0..4 {
        assert!(take(&late, std::slice::from_ref(&sliding)).await?[0].allowed);
    }
    assert!(!take(&early, std::slice::from_ref(&sliding)).await?[0].allowed, "the window that follows is full");
    // What the host sends next comes after what it gave back.
    left(&early, &sliding).await?;
    let cells: Vec<String> = server.run(&["KEYS", "*skew*"])?;
    let mut counts = Vec::new();
    for cell in cells {
        counts.push(server.run::<u64>(&["GET", &cell])?);
    }
    counts.sort_unstable();
    assert_eq!(counts, [0, 4], "the host behind gave back all");
    Ok(())
}

#[tokio::test]
async fn what_takes_a_script_fails_and_says_what_to_grant() -> Result<()> {
    let server = RedisServer::start()?;
    let store = Redis::connect(&user(&server)?, options()).await?;
    let grant = "ACL SETUSER kanban ~cfkanban:ratelimit:* +eval +evalsha +get +mget +set +setrange +time";
    let window = charge("window", &limit(Algorithm::FixedWindow, 5, YEAR));
    for algorithm in [Algorithm::TokenBucket, Algorithm::Concurrency] {
        let list = [window.clone(), charge("other", &limit(algorithm, 5, Duration::from_secs(60)))];
        let fault = store.charge(&list, SOON).outcomes().await.expect_err("no command does that");
        assert_eq!(fault.kind, FaultKind::Invalid, "{fault}");
        assert!(fault.message.contains(grant) && fault.message.contains(algorithm.name()), "{fault}");
    }
    assert_eq!(left(&store, &window).await?, 5);
    server.run::<()>(&["SET", &format!("{PREFIX}:text:0"), "hello", "PX", "60000"])?;
    let epoch = ManualClock::at(Timestamp::from_micros(5));
    let store = at(&user(&server)?, &Arc::new(epoch)).await?;
    let list = [window.clone(), charge("text", &limit(Algorithm::FixedWindow, 5, YEAR))];
    let fault = store.charge(&list, SOON).outcomes().await.expect_err("nobody can count there");
    assert_eq!(fault.kind, FaultKind::Poisoned, "{fault}");
    assert!(fault.message.contains("text:0"), "{fault}");
    assert_eq!(left(&store, &window).await?, 5, "the failed list took nothing");
    Ok(())
}

#[tokio::test]
async fn what_was_taken_without_scripts_is_given_back_once_and_while_its_window_lasts() -> Result<()> {
    let (server, clock) = (RedisServer::start()?, clock());
    let store = at(&user(&server)?, &clock).await?;
    for algorithm in WINDOWS {
        let quota = Quota { max: 9, window: Duration::from_secs(3_600), burst: 9 };
        let charge = Charge { cost: 5, ..charge(&format!("back:{algorithm}"), &Limit::new("test", algorithm, quota)?) };
        let settle = |name: &str, unused, mark_us| Settlement {
            marker: Some(format!("{PREFIX}:{algorithm}:{name}")),
            until: clock.now().plus(Duration::from_secs(7_200)),
            remembered_us: 0,
            action: Action::Settle,
            held: vec![Held {
                key: charge.key.clone(),
                limit: charge.limit.clone(),
                taken: unused,
                unused,
                mark_us,
                holder: 0,
            }],
        };
        let mark_us = take(&store, std::slice::from_ref(&charge)).await?[0].mark_us;
        let receipt = settle("receipt", 3, mark_us);
        assert_eq!(store.settle(&receipt, SOON).answer().await?, Settled::Done);
        assert_eq!(store.settle(&receipt, SOON).answer().await?, Settled::Already);
        assert_eq!(left(&store, &charge).await?, 7);
        let renewal = Settlement { action: Action::Renew { until: receipt.until }, ..receipt.clone() };
        let fault = store.settle(&renewal, SOON).answer().await.expect_err("no command does that");
        assert_eq!(fault.kind, FaultKind::Denied, "{fault}");
        let over = settle("over", 2, mark_us);
        clock.advance(Duration::from_secs(7_200));
        assert_eq!(store.settle(&over, SOON).answer().await?, Settled::Done, "with nothing to give back to");
        assert_eq!(left(&store, &charge).await?, 9);
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.settle(&settle("late", 2, mark_us), SOON).answer().await?, Settled::Done);
        let late = Settlement { until: clock.now(), ..settle("later", 2, mark_us) };
        clock.advance(Duration::from_secs(1));
        assert_eq!(store.settle(&late, SOON).answer().await?, Settled::Late);
    }
    keys_expire(&server)
}

#[tokio::test]
async fn a_list_that_may_be_repeated_takes_again_without_scripts() -> Result<()> {
    let server = RedisServer::start()?;
    let store = Redis::connect(&user(&server)?, options()).await?;
    let charges = [charge("once", &limit(Algorithm::FixedWindow, 5, YEAR))];
    for left in [4, 3] {
        let outcomes = store
            .take(List { charges: &charges, within: SOON, once: Some("cfkanban:token"), fault: None })
            .outcomes()
            .await?;
        assert_eq!(outcomes[0].remaining, left);
    }
    Ok(())
}

#[tokio::test]
async fn who_does_not_allow_it_is_told_what_to_grant() -> Result<()> {
    let server = RedisServer::start()?;
    let user = user(&server)?;
    let refuse = RedisOptions { without_scripts: WithoutScripts::Refuse, ..options() };
    let error = Redis::connect(&user, refuse.clone()).await.expect_err("it may call no script");
    let text = format!("{error:#}");
    let grant = "ACL SETUSER kanban ~cfkanban:ratelimit:* +eval +evalsha +get +mget +set +setrange +time";
    assert!(text.contains(grant) && text.contains("set TOLLGATE_WITHOUT_SCRIPTS=allow"), "{text}");
    let plain = "ACL SETUSER kanban ~cfkanban:ratelimit:* +incrby +decrby +pexpire +get +set";
    assert!(text.contains(plain), "{text}");
    // Either line is enough, for a user who may do nothing else.
    for (line, options) in [(plain, options()), (grant, refuse)] {
        server.run::<()>(&["ACL", "SETUSER", "kanban", "reset", "on", ">kanban-password-1"])?;
        Redis::connect(&user, options.clone()).await.expect_err("it may do nothing");
        server.run::<()>(&line.split(' ').collect::<Vec<_>>())?;
        let store = Redis::connect(&user, options).await?;
        take(&store, &[charge("granted", &limit(Algorithm::FixedWindow, 5, YEAR))]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn production_does_not_start_without_scripts_unless_it_is_told_to() -> Result<()> {
    let server = RedisServer::start()?;
    let user = user(&server)?;
    let url = format!("redis://kanban@127.0.0.1:{}", server.port());
    let build = async |more: &[(&str, &str)]| {
        let text = "[[keys]]\nkey = 'mine'\nid = 'me'\ntenant = 't'\ntier = 'free'";
        let file = ConfigFile { path: std::path::Path::new("t.toml"), text };
        let password = user.password.as_ref().map_or("", Secret::reveal);
        let base = [("REDIS_URL", url.as_str()), ("REDIS_PASSWORD", password), ("TOLLGATE_KEY_PREFIX", PREFIX)];
        let env = base.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Tollgate::from_config(&Config::load(Some(file), env)?).await
    };
    let error = build(&[("TOLLGATE_ENV", "production")]).await.expect_err("production wants scripts");
    assert!(error.to_string().contains("+evalsha"), "{error}");
    let allowed = [("TOLLGATE_ENV", "production"), ("TOLLGATE_WITHOUT_SCRIPTS", "allow")];
    assert!(build(&allowed).await.context("it is allowed")?.has_shared_store());
    let lines = Lines::default();
    let guard = lines.watch();
    assert!(build(&[]).await.context("development allows it")?.has_shared_store());
    assert_eq!((lines.count("lists are not taken whole"), lines.count("WARN")), (1, 1));
    drop(guard);
    let refused = build(&[("TOLLGATE_WITHOUT_SCRIPTS", "refuse")]).await.context("memory is left")?;
    assert!(!refused.has_shared_store());
    Ok(())
}

#[tokio::test]
async fn a_connection_lost_without_scripts_is_opened_again() -> Result<()> {
    let mut server = RedisServer::start()?;
    let store = Redis::connect(&user(&server)?, options()).await?;
    let charge = charge("again", &limit(Algorithm::FixedWindow, 1_000, YEAR));
    take(&store, std::slice::from_ref(&charge)).await?;
    server.kill()?;
    server.restart()?;
    user(&server)?;
    let clock = SystemClock::new();
    let began = clock.now();
    while store.charge(std::slice::from_ref(&charge), SOON).outcomes().await.is_err() {
        anyhow::ensure!(clock.now().since(began) < Duration::from_secs(3), "it is not found again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
