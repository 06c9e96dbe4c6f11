//! What stands between a decision and a Redis that fails.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use tollgate::store::{Guard, GuardOptions, Redis, RedisOptions, Store, Terms};
use tollgate::{
    Algorithm, Charge, Decision, Fault, Limit, Mode, OnStoreFault, Precision, Quota, Request, Source, StoreFaultRules,
    SystemClock, TierPlan, Tollgate, Verdict,
};
use tollgate_tests::RedisServer;

const DEADLINE: Duration = Duration::from_millis(50);

/// A gate over `server` with a tier of 20 a day for each subject, and these rules for it.
async fn gate(server: &RedisServer, rules: impl Into<StoreFaultRules>, hosts: u32) -> Result<Tollgate> {
    let plan = TierPlan::built_in("tiered", r#"{"limits": [{"id": "day", "limit": "20/day"}]}"#);
    let gate = Tollgate::builder()
        .store(Redis::connect(&server.target(), RedisOptions::default()).await?)
        .deadline(DEADLINE)
        .hosts(NonZeroU32::new(hosts).unwrap())
        .tier("tier", TierPlan { on_store_fault: rules.into(), ..plan })
        .default_tier("tier")
        .build()
        .await?;
    Ok(gate)
}

async fn decide(gate: &Tollgate, subject: &str) -> Decision {
    gate.decide(&Request::new("acme", subject).unwrap()).await
}

/// How many of so many requests pass.
async fn admitted(gate: &Tollgate, times: u32) -> u32 {
    let mut admitted = 0;
    for _ in 0..times {
        admitted += u32::from(decide(gate, "alice").await.is_allowed());
    }
    admitted
}

/// Waits until the store is asked again and knows all that this host counted.
async fn recovered(gate: &Tollgate) -> Result<Duration> {
    let began = Instant::now();
    let back = async {
        while gate.store_stats().is_some_and(|stats| stats.circuit_open || stats.owed_counters > 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), back).await?;
    Ok(began.elapsed())
}

#[tokio::test]
async fn a_host_whose_redis_hangs_counts_by_itself_and_tells_it_later() -> Result<()> {
    let server = RedisServer::start()?;
    let gate = gate(&server, OnStoreFault::Local, 2).await?;
    assert_eq!(admitted(&gate, 4).await, 4);
    server.stop()?;
    let (mut passed, mut slow) = (0, 0);
    for _ in 0..20 {
        let began = Instant::now();
        let decision = decide(&gate, "alice").await;
        slow += u32::from(began.elapsed() >= DEADLINE / 2);
        passed += u32::from(decision.is_allowed());
        assert!(matches!(decision.source, Source::Local(_)), "{decision:?}");
        assert_eq!(decision.limits.len(), 1, "the policy knows what is left");
    }
    assert_eq!(passed, 10, "half of the limit, for one of two hosts");
    assert!(slow <= 6, "{slow} decisions waited for a store that hangs");
    server.cont()?;
    let took = recovered(&gate).await?;
    assert!(took < Duration::from_millis(500), "{took:?}");
    // What timed out was taken when the server went on, and may count twice.
    let left = admitted(&gate, 20).await;
    assert!((1..=6).contains(&left), "{left} of 20 - 4 - 10");
    assert_eq!(decide(&gate, "bob").await.source, Source::Policy);
    Ok(())
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_told_what_was_counted_here() -> Result<()> {
    let mut server = RedisServer::start()?;
    let gate = gate(&server, OnStoreFault::Local, 1).await?;
    server.kill()?;
    let mut counted = 0;
    while !gate.store_stats().unwrap().circuit_open {
        counted += admitted(&gate, 1).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!((5..20).contains(&counted), "{counted}");
    server.restart()?;
    let began = Instant::now();
    while gate.store_stats().unwrap().circuit_open {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = began.elapsed();
    // The client connects again by a schedule of its own.
    assert!(took < Duration::from_secs(2), "{took:?}");
    recovered(&gate).await?;
    assert_eq!(admitted(&gate, 20).await, 20 - counted, "the server is empty but for what this host told it");
    Ok(())
}

#[tokio::test]
async fn each_rule_answers_as_it_says() -> Result<()> {
    let mut server = RedisServer::start()?;
    let rules = [
        (StoreFaultRules::from(OnStoreFault::Allow), Verdict::Allow, "store-fault", 0),
        (OnStoreFault::Deny.into(), Verdict::Deny, "store-fault", 0),
        (OnStoreFault::Local.into(), Verdict::Allow, "local", 1),
        (StoreFaultRules::from(OnStoreFault::Allow).with("day", OnStoreFault::Deny), Verdict::Deny, "local", 1),
        (StoreFaultRules::from(OnStoreFault::Deny).with("day", OnStoreFault::Allow), Verdict::Allow, "local", 1),
    ];
    let mut gates = Vec::new();
    for (rules, verdict, source, limits) in rules {
        gates.push((gate(&server, rules.clone(), 1).await?, rules, verdict, source, limits));
    }
    server.kill()?;
    for (gate, rules, verdict, source, limits) in gates {
        let decision = decide(&gate, "alice").await;
        assert_eq!(
            (decision.verdict, decision.source.name(), decision.limits.len()),
            (verdict, source, limits),
            "{rules:?}"
        );
        assert_eq!(decision.source.fault(), Some("unavailable"), "{rules:?}");
    }
    Ok(())
}

const HOSTS: u32 = 4;

/// Hosts that share a server and lease its limits.
async fn hosts(server: &RedisServer) -> Result<Vec<Guard>> {
    let mut hosts = Vec::new();
    for _ in 0..HOSTS {
        let store = Arc::new(Redis::connect(&server.target(), RedisOptions::default()).await?);
        let options = GuardOptions { hosts: NonZeroU32::new(HOSTS).unwrap(), ..GuardOptions::default() };
        let guard = Guard::new(store, Arc::new(SystemClock::new()), options);
        hosts.push(guard.with_terms(Terms { precision: Precision::Leased.into(), ..Terms::default() }));
    }
    Ok(hosts)
}

fn leased(algorithm: Algorithm, max: u64, window: Duration) -> Charge {
    let limit = Limit::new("leased", algorithm, Quota { max, window, burst: max }).unwrap();
    Charge { key: format!("test:{{acme}}:leased:{algorithm}"), limit, cost: 1, mode: Mode::Enforce, holder: 0 }
}

/// Charges 1 to 3 again and again for so long, now and then with a pause, or until nothing was admitted for a second: how much was.
async fn spend(host: Guard, charge: Charge, seed: u64, time: Duration) -> u64 {
    let (began, mut random, mut admitted, mut refused) = (Instant::now(), seed, 0, 0);
    while began.elapsed() < time && refused < 50 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let list = [Charge { cost: 1 + (random >> 33) % 3, ..charge.clone() }];
        let outcomes = host.charge(&list, Duration::from_secs(5)).outcomes().await.unwrap();
        if !outcomes[0].allowed {
            refused += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        refused = 0;
        admitted += list[0].cost;
        match (random >> 40) % 64 {
            0 => tokio::time::sleep(Duration::from_millis((random >> 50) % 40)).await,
            _ => tokio::task::yield_now().await,
        }
    }
    admitted
}

/// What hosts with random demand admit in so long.
async fn admitted_by(hosts: &[Guard], charge: &Charge, time: Duration) -> Result<u64> {
    let tasks: Vec<_> = (0..hosts.len() * 4)
        .map(|task| tokio::spawn(spend(hosts[task % hosts.len()].clone(), charge.clone(), task as u64, time)))
        .collect();
    let mut admitted = 0;
    for task in tasks {
        admitted += task.await?;
    }
    Ok(admitted)
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_with_shares_use_the_limit_and_no_more() -> Result<()> {
    const MAX: u64 = 40_000;
    let server = RedisServer::start()?;
    for algorithm in [Algorithm::FixedWindow, Algorithm::SlidingWindow] {
        let hosts = hosts(&server).await?;
        let charge = leased(algorithm, MAX, Duration::from_secs(366 * 86_400));
        let admitted = admitted_by(&hosts, &charge, Duration::from_secs(30)).await?;
        let stats: Vec<_> = hosts.iter().map(Guard::stats).collect();
        // A share that is not spent is out of reach for the others for a second or two.
        assert!((MAX * 95 / 100..=MAX).contains(&admitted), "{algorithm}: {admitted} of {MAX}: {stats:?}");
        let answered: u64 = stats.iter().map(|stats| stats.lease_answers).sum();
        assert!(answered * 2 > admitted / 2, "{algorithm}: most are answered without asking: {stats:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_leased_fills_no_faster() -> Result<()> {
    const PER_SECOND: u64 = 2_000;
    let server = RedisServer::start()?;
    let hosts = hosts(&server).await?;
    let began = Instant::now();
    let charge = leased(Algorithm::TokenBucket, PER_SECOND, Duration::from_secs(1));
    let admitted = admitted_by(&hosts, &charge, Duration::from_secs(2)).await?;
    let most = PER_SECOND + u64::try_from(began.elapsed().as_millis())? * PER_SECOND / 1_000;
    assert!((most * 9 / 10..=most).contains(&admitted), "{admitted} of {most}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_takes_no_more_than_its_share_along() -> Result<()> {
    const MAX: u64 = 20_000;
    let server = RedisServer::start()?;
    let mut hosts = hosts(&server).await?;
    let charge = leased(Algorithm::FixedWindow, MAX, Duration::from_secs(366 * 86_400));
    let before = admitted_by(&hosts, &charge, Duration::from_millis(30)).await?;
    let killed = hosts.remove(0);
    let share = killed.stats().shares_held;
    drop(killed);
    let admitted = before + admitted_by(&hosts, &charge, Duration::from_secs(30)).await?;
    assert!((MAX - share - MAX / 20..=MAX).contains(&admitted), "{admitted} of {MAX}, {share} lost");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_do_not_spend_is_theirs_no_longer() -> Result<()> {
    const MAX: u64 = 100_000;
    let server = RedisServer::start()?;
    let hosts = hosts(&server).await?;
    let charge = leased(Algorithm::FixedWindow, MAX, Duration::from_secs(366 * 86_400));
    let admitted = admitted_by(&hosts, &charge, Duration::from_millis(200)).await?;
    hosts[0].give_back().await;
    // One who did not take part sees nothing but what was admitted, as soon as the others have noticed that they are idle.
    let look = [Charge { mode: Mode::Peek, cost: 0, ..charge }];
    let other = Redis::connect(&server.target(), RedisOptions::default()).await?;
    let back = async {
        loop {
            let left = other.charge(&look, Duration::from_secs(5)).outcomes().await?[0].remaining;
            let lost: u64 = hosts.iter().map(|host| host.stats().shares_lost).sum();
            if left == MAX - admitted - lost {
                return Ok::<u64, Fault>(lost);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let lost = tokio::time::timeout(Duration::from_secs(5), back).await??;
    assert!(lost <= MAX / 100, "{lost}");
    Ok(())
}
