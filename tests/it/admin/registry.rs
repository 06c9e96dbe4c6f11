//! Where policies and rosters are kept, and who shares them.

use tollgate_tests::{RedisServer, Setting};

use super::*;

#[tokio::test]
async fn what_was_activated_outlives_the_process_in_a_directory() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let kept = folder.path().join("kept");
    let variables = [("TOLLGATE_REGISTRY_DIR", kept.to_str().unwrap())];
    let admin = Admin::start(variables)?;
    let digest = admin.push(guest("mine")).await?.body["digest"].take();
    admin.done("PUT", "tiers/gold", &json!({ "policy": format!("sha256:{}", digest.as_str().unwrap()) })).await?;
    admin.server.signal("TERM")?;
    assert!(admin.server.wait()?.0.success());
    let again = Admin::start(variables)?;
    let decision = again.decide("acme", "gold").await?;
    assert_eq!((&decision["policy"]["digest"], &decision["generation"]), (&digest, &json!(2)), "{decision}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_on_one_redis_decide_alike() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url();
    let [one, other] =
        ["one", "other"].map(|name| Admin::start([("REDIS_URL", url.as_str()), ("TOLLGATE_INSTANCE", name)]));
    let (one, other) = (one?, other?);
    let digest = one.push(guest("mine")).await?.body["digest"].take();
    let active =
        one.done("PUT", "tiers/gold", &json!({ "policy": format!("sha256:{}", digest.as_str().unwrap()) })).await?;
    let began = std::time::Instant::now();
    while other.decide("acme", "gold").await?["policy"]["digest"] != digest {
        assert!(began.elapsed().as_secs() < 5, "the other did not follow: {}", other.server.output());
    }
    assert_eq!(other.get("roster").await?["generation"], active["generation"]);
    let began = std::time::Instant::now();
    let fleet = loop {
        let fleet = one.get("fleet").await?;
        if fleet["converged"] == true {
            break fleet;
        }
        assert!(began.elapsed().as_secs() < 5, "{fleet}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let names: Vec<&str> =
        fleet["instances"].as_array().unwrap().iter().map(|known| known["instance"].as_str().unwrap()).collect();
    assert_eq!((names, fleet["instance"].as_str()), (vec!["one", "other"], Some("one")));
    other.server.signal("TERM")?;
    assert!(other.server.wait()?.0.success());
    assert_eq!(one.get("fleet").await?["instances"].as_array().map(Vec::len), Some(1), "whoever stops, leaves");
    Ok(())
}

/// A user who may count, and nothing else.
const COUNTS_ONLY: &str = "user default off
user tollgate on >a-password-of-20-chars ~ratelimit:* resetchannels -@all +@connection +eval +evalsha +get +mget +set +setrange +time +info
";

#[tokio::test]
async fn a_redis_that_grants_no_registry_is_told_what_to_grant() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (users, config) = (folder.path().join("users.acl"), folder.path().join("tollgate.toml"));
    std::fs::write(&users, COUNTS_ONLY)?;
    std::fs::write(
        &config,
        "[[keys]]\nkey = \"a-key-of-a-customer\"\ntenant = \"acme\"\ntier = \"free\"\nid = \"key-1\"\n",
    )?;
    let redis = RedisServer::start_with(Setting { users: Some(users), ..Setting::default() })?;
    let url = format!("redis://tollgate:a-password-of-20-chars@127.0.0.1:{}", redis.port());
    let variables = [("REDIS_URL", url.as_str()), ("TOLLGATE_CONFIG", config.to_str().unwrap())];
    let grants = "+hget +hset +hgetall +hdel +rpush +ltrim +lrange +publish +subscribe";
    let ended = command(variables)?.env("NODE_ENV", "production").arg("serve").output()?;
    let said = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("ACL SETUSER tollgate") && said.contains(grants), "{said}");
    let checked = command(variables)?.env("NODE_ENV", "production").args(["config", "check"]).output()?;
    assert!(checked.status.code() == Some(2) && String::from_utf8(checked.stderr)?.contains(grants));
    // In development it counts there all the same, and keeps the rest to itself.
    let admin = Admin::start(variables)?;
    assert_eq!(admin.decide("acme", "free").await?["source"], "policy");
    admin.done("PUT", "tiers/gold", &tiered("9/day")).await?;
    let output = admin.server.output();
    assert!(output.contains("are kept in this process") && output.contains(grants), "{output}");
    Ok(())
}

#[tokio::test]
async fn without_its_registry_a_server_decides_on_and_says_that_nothing_can_be_changed() -> Result<()> {
    let redis = RedisServer::start()?;
    let url = redis.url();
    let admin = Admin::start([("REDIS_URL", url.as_str())])?;
    let mut tier = tiered("9/day");
    tier["on_store_fault"] = json!("local");
    admin.done("PUT", "tiers/gold", &tier).await?;
    // Local counting knows a limit from the charges before.
    admin.decide("acme", "gold").await?;
    drop(redis);
    for (method, path, body) in [("GET", "roster", Value::Null), ("PUT", "tiers/gold", tiered("5/day"))] {
        let reply = admin.ask(OSCAR, method, path, &body).await?;
        assert_eq!(reply.status, 503, "{method} {path}: {}", reply.body);
        assert!(reply.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{}", reply.body);
    }
    let decision = admin.decide("acme", "gold").await?;
    assert_eq!((&decision["generation"], &decision["limits"][0]["max"]), (&json!(2), &json!(9)), "{decision}");
    Ok(())
}
