//! Every form of address leads to the server it means.

use anyhow::Result;
use tollgate::config::{RedisTarget, Topology};
use tollgate::store::{Redis, RedisOptions};
use tollgate::{Algorithm, Error};
use tollgate_tests::tls::TlsSetting;
use tollgate_tests::{RedisSentinel, RedisServer, Setting};

use super::{SOON, YEAR, charge, limit, outcome};

/// Counts by the store at `target`, and sees that `server` has the counter.
async fn reaches(target: &RedisTarget, server: &RedisServer) -> Result<()> {
    let store = Redis::connect(target, RedisOptions::default()).await?;
    outcome(&store, &charge("places:a", &limit(Algorithm::FixedWindow, 9, YEAR)), SOON).await?;
    let found: usize = server.run(&["EXISTS", "places:a"])?;
    anyhow::ensure!(found == 1, "{target} led elsewhere");
    Ok(())
}

async fn refusal(target: &RedisTarget) -> String {
    let error: Error = Redis::connect(target, RedisOptions::default()).await.expect_err("nobody can have been let in");
    format!("{error:#}")
}

#[tokio::test]
async fn one_server_by_every_form_of_its_url() -> Result<()> {
    let server = RedisServer::start()?;
    let port = server.port();
    reaches(&format!("redis://127.0.0.1:{port}").parse()?, &server).await?;
    reaches(&format!("valkey://localhost:{port}/0").parse()?, &server).await?;
    let server = RedisServer::start_with(Setting::password("p/w+d="))?;
    let port = server.port();
    reaches(&server.url().parse()?, &server).await?;
    reaches(&format!("redis://default:p/w+d=@127.0.0.1:{port}").parse()?, &server).await?;
    server.run::<()>(&["ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all"])?;
    reaches(&format!("redis://app:pw@127.0.0.1:{port}").parse()?, &server).await
}

#[tokio::test]
async fn one_server_by_tls() -> Result<()> {
    let server = RedisServer::start_with(Setting::tls(TlsSetting::default()))?;
    let target: RedisTarget = server.url().parse()?;
    anyhow::ensure!(target.to_string().starts_with("rediss://"), "{target}");
    reaches(&RedisTarget { tls: server.target().tls, ..target }, &server).await
}

#[tokio::test]
async fn one_server_by_its_socket() -> Result<()> {
    let server = RedisServer::start_with(Setting { password: Some("pw".to_owned()), ..Setting::socket() })?;
    reaches(&server.url().parse()?, &server).await?;
    let missing: RedisTarget = "unix:///no/such/socket".parse()?;
    let text = refusal(&missing).await;
    assert!(text.contains("redis at /no/such/socket: nothing listens there"), "{text}");
    Ok(())
}

#[tokio::test]
async fn the_master_by_its_sentinels() -> Result<()> {
    let mut all = RedisSentinel::start_with(1, &Setting::password("open sesame"), Some("to sentinels"))?;
    let place = all.master()?;
    reaches(&all.target(), all.server(place)?).await?;
    let without_login: RedisTarget = all.url().parse()?;
    let text = refusal(&without_login).await;
    assert!(text.contains("they ask for a password; set REDIS_SENTINEL_PASSWORD"), "{text}");
    let Topology::Sentinel { sentinels, login, .. } = all.target().topology else { anyhow::bail!("no sentinels") };
    let unknown = Topology::Sentinel { master: "nobody".to_owned(), sentinels, login };
    let text = refusal(&RedisTarget { topology: unknown, ..all.target() }).await;
    assert!(text.contains("names a master `nobody`: they know none of this name"), "{text}");
    // One sentinel dead, one hung; and the master replaced.
    let old = all.kill_master()?;
    let new = all.replaced(old)?;
    if let [dead, hung, _] = all.sentinels_mut() {
        dead.kill()?;
        hung.stop()?;
    }
    all.restart(old)?;
    reaches(&all.target(), all.server(new)?).await
}

#[tokio::test]
async fn the_master_by_its_sentinels_and_tls() -> Result<()> {
    let all = RedisSentinel::start_with(1, &Setting::tls(TlsSetting { asks: true, ..TlsSetting::default() }), None)?;
    reaches(&all.target(), all.server(all.master()?)?).await
}
