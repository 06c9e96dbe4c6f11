//! What connecting says when it fails.

use std::time::Duration;

use anyhow::{Context, Result};
use tollgate::config::{Address, RedisTarget, Secret, Tls, Topology};
use tollgate::store::{Redis, RedisOptions};
use tollgate_tests::{RedisServer, Setting};

use super::{SOON, connect};

/// What connecting says.
async fn refusal(target: &RedisTarget, connect_timeout: Duration) -> String {
    let options = RedisOptions { connect_timeout, ..RedisOptions::default() };
    let error = Redis::connect(target, options).await.expect_err("nobody can have been let in");
    format!("{error:#}")
}

#[tokio::test]
async fn a_server_that_lets_nobody_in_says_why() -> Result<()> {
    let server = RedisServer::start_with(Setting::password("open sesame"))?;
    Redis::connect(&server.target(), RedisOptions::default()).await?;
    let port = server.port();
    let none = RedisTarget { password: None, ..server.target() };
    let text = refusal(&none, SOON).await;
    assert!(
        text.starts_with(&format!(
            "cannot count in redis at 127.0.0.1:{port}: it asks for a password; set REDIS_PASSWORD"
        )),
        "{text}"
    );
    let wrong = RedisTarget { password: Some(Secret::new("wrong one")), ..server.target() };
    let text = refusal(&wrong, SOON).await;
    assert!(
        text.contains("it does not accept the user or the password; check the user in REDIS_URL and REDIS_PASSWORD"),
        "{text}"
    );
    assert!(!text.contains("wrong one"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_user_without_rights_is_told_which() -> Result<()> {
    let server = RedisServer::start()?;
    server.run::<()>(&[
        "ACL",
        "SETUSER",
        "app",
        "on",
        ">pw",
        "~other:*",
        "+eval",
        "+evalsha",
        "+get",
        "+mget",
        "+set",
        "+setrange",
        "+time",
    ])?;
    let user = RedisTarget { username: Some("app".to_owned()), password: Some(Secret::new("pw")), ..server.target() };
    let text = refusal(&user, SOON).await;
    let grant = "ACL SETUSER app ~ratelimit:* +eval +evalsha +get +mget +set +setrange +time";
    assert!(text.contains(grant), "{text}");
    server.run::<()>(&grant.split(' ').collect::<Vec<_>>())?;
    Redis::connect(&user, RedisOptions::default()).await?;
    server.run::<()>(&["ACL", "SETUSER", "app", "-set"])?;
    let text = refusal(&user, SOON).await;
    assert!(text.contains(grant), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_says_so() -> Result<()> {
    let mut server = RedisServer::start()?;
    let tls = RedisTarget { tls: Some(Tls::default()), ..server.target() };
    let text = refusal(&tls, SOON).await;
    assert!(text.contains("that port speaks no TLS; give the port that does"), "{text}");
    server.stop()?;
    let text = refusal(&server.target(), Duration::from_millis(200)).await;
    assert!(
        text.contains("it does not answer; check the address, the firewall and REDIS_TIMEOUT: no answer within 200ms"),
        "{text}"
    );
    server.kill()?;
    let text = refusal(&server.target(), SOON).await;
    assert!(text.contains("nothing listens there; start the server, or correct the address"), "{text}");
    let host = Address { host: "no-such-host.invalid".to_owned(), port: 6379 };
    let text = refusal(&RedisTarget { topology: Topology::Single(host.clone()), ..server.target() }, SOON).await;
    assert!(text.contains("no such host; check the name in the address"), "{text}");
    let text = refusal(&RedisTarget { topology: Topology::Cluster(vec![host]), ..server.target() }, SOON).await;
    assert!(text.contains("no such host; check the name in the address"), "{text}");
    Ok(())
}

#[tokio::test]
async fn nothing_shows_the_password() -> Result<()> {
    let server = RedisServer::start_with(Setting::password("open sesame"))?;
    let store = connect(&server).await.context("the password is right")?;
    assert!(!format!("{store:?}").contains("sesame"), "{store:?}");
    Ok(())
}
