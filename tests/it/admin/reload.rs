//! Policies replaced over the admin API while the public listener decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tollgate_tests::RedisServer;

use super::*;

/// Two policies of one name, and what the limit of each allows.
const MAX: [u64; 2] = [2_000_000, 1_000_000];
/// Each token may call so often; with so many, a thousand activations take seconds.
const OPERATORS: usize = 12;

fn tokens() -> String {
    let operators = (0..OPERATORS).map(|number| format!("op-{number}:operate:token-of-operator-{number}"));
    operators.chain([TOKENS.to_owned()]).collect::<Vec<_>>().join(",")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_activations_fail_no_request_and_mix_none() -> Result<()> {
    let tokens = tokens();
    let admin = Arc::new(Admin::start([("TOLLGATE_ADMIN_TOKENS", tokens.as_str())])?);
    let own = tollgate::policy::built_in("tiered")?;
    let mut revisions = Vec::new();
    let mut whole: HashMap<String, u64> = HashMap::new();
    for (max, component) in MAX.into_iter().zip([own.to_vec(), crate::policy::renamed_section(own)]) {
        let name = admin.push(component).await?.body["digest"].as_str().unwrap().to_owned();
        let config = json!({ "limits": [{ "id": "only", "limit": format!("{max}/300d") }] });
        let roster = json!({ "tiers": { "gold": { "policy": format!("sha256:{name}"), "config": config } } });
        let proposed = admin.done("POST", "roster/revisions", &json!({ "roster": roster })).await?;
        revisions.push(proposed["revision"].clone());
        whole.insert(name, max);
    }
    admin.done("POST", "roster/activate", &json!({ "revision": revisions[0] })).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let askers: Vec<_> = (0..2)
        .map(|_| {
            let (admin, stop, whole) = (Arc::clone(&admin), Arc::clone(&stop), whole.clone());
            tokio::spawn(async move {
                let mut asked = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let decision = admin.decide("acme", "gold").await?;
                    assert_eq!(
                        (&decision["allowed"], &decision["source"]),
                        (&json!(true), &json!("policy")),
                        "{decision}"
                    );
                    let digest = decision["policy"]["digest"].as_str().unwrap();
                    assert_eq!(decision["limits"][0]["max"], json!(whole[digest]), "of two rosters: {decision}");
                    asked += 1;
                }
                anyhow::Ok(asked)
            })
        })
        .collect();
    for number in 1..=1_000 {
        let token = format!("token-of-operator-{}", number % OPERATORS);
        let body = json!({ "revision": revisions[number % 2] });
        loop {
            let reply = admin.ask(&token, "POST", "roster/activate", &body).await?;
            match reply.status {
                200 => break,
                // The API limits its callers, too.
                429 => tokio::time::sleep(Duration::from_millis(20)).await,
                status => panic!("{status}: {}", reply.body),
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut asked = 0;
    for asker in askers {
        asked += asker.await??;
    }
    assert!(asked > 100, "only {asked} requests were decided meanwhile");
    let last = admin.decide("acme", "gold").await?;
    let used = last["limits"][0]["max"].as_u64().unwrap() - left(&last);
    assert_eq!(used, asked + 1, "each decision was counted, once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_follow_within_a_second_and_outlive_their_redis() -> Result<()> {
    let mut redis = RedisServer::start()?;
    let url = redis.url();
    let start = |name: &str| Admin::start([("REDIS_URL", url.as_str()), ("TOLLGATE_INSTANCE", name)]);
    let mut fleet = vec![start("one")?, start("two")?, start("three")?];
    let digest = fleet[0].push(guest("mine")).await?.body["digest"].take();
    let tier = json!({ "policy": format!("sha256:{}", digest.as_str().unwrap()) });
    fleet[0].done("PUT", "tiers/gold", &tier).await?;
    let activated = Instant::now();
    for admin in &fleet {
        while admin.decide("acme", "gold").await?["policy"]["digest"] != digest {
            assert!(activated.elapsed() < Duration::from_secs(1), "{}", admin.server.output());
        }
    }
    redis.kill()?;
    for admin in &fleet {
        // The counters are gone, the roster is not.
        assert_eq!(admin.decide("acme", "gold").await?["policy"]["digest"], digest);
    }
    redis.restart()?;
    let restarted = Instant::now();
    loop {
        let reply = fleet[1].ask(RITA, "GET", "roster", &Value::Null).await?;
        let known = redis.run::<Option<Vec<u8>>>(&["HGET", "ratelimit:{fleet}:state", "active"])?;
        if reply.status == 200 && known.is_some() {
            break;
        }
        assert!(restarted.elapsed() < Duration::from_secs(10), "{}", reply.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    fleet.push(start("late")?);
    for admin in &fleet {
        assert_eq!(admin.decide("acme", "gold").await?["policy"]["digest"], digest, "{}", admin.server.output());
    }
    Ok(())
}
