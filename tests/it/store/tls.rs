//! TLS: whom we trust, what we show, and what is said when the two do not agree.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use tollgate::config::{Address, ClientCertificate, RedisTarget, Tls, Topology};
use tollgate::store::{Redis, RedisOptions};
use tollgate::{Algorithm, Error};
use tollgate_tests::tls::{Certificate, TlsSetting, authority, client, stranger, trusting};
use tollgate_tests::{RedisServer, Setting};

use super::{SOON, YEAR, charge, limit, outcome};

async fn connect(server: &RedisServer, tls: &Tls) -> Result<Redis, Error> {
    let target = RedisTarget { tls: Some(tls.clone()), ..server.target() };
    Redis::connect(&target, RedisOptions::default()).await
}

/// Connecting fails within a second, and says so.
async fn refuses(server: &RedisServer, tls: &Tls, why: &str) {
    let began = Instant::now();
    let text = format!("{:#}", connect(server, tls).await.expect_err(why));
    assert!(text.contains(why), "{text}");
    assert!(began.elapsed() < Duration::from_secs(1), "{why}: took {:?}", began.elapsed());
}

fn trusts(ca: PathBuf) -> Tls {
    Tls { ca: Some(ca), client: None }
}

#[tokio::test]
async fn a_server_is_let_in_by_the_authority_that_vouches_for_it() -> Result<()> {
    let server = RedisServer::start_with(Setting::tls(TlsSetting::default()))?;
    let store = connect(&server, &trusts(authority())).await?;
    outcome(&store, &charge("tls:a", &limit(Algorithm::FixedWindow, 9, YEAR)), SOON).await?;
    let by_name = Topology::Single(Address { host: "localhost".to_owned(), ..server.address() });
    let target = RedisTarget { topology: by_name, tls: Some(trusts(authority())), ..server.target() };
    Redis::connect(&target, RedisOptions::default()).await?;
    let nobody = "nobody whom we trust vouches for its certificate; give its authority's in REDIS_CA_CERT";
    refuses(&server, &trusts(stranger()), nobody).await;
    refuses(&server, &Tls::default(), nobody).await;
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_is_out_of_date_or_of_place_is_named() -> Result<()> {
    let showing = |shows| RedisServer::start_with(Setting::tls(TlsSetting { shows, asks: false }));
    refuses(&showing(Certificate::Expired)?, &trusts(authority()), "its certificate has expired; renew it").await;
    refuses(&showing(Certificate::Elsewhere)?, &trusts(authority()), "its certificate is for another name").await;
    Ok(())
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_ours() -> Result<()> {
    let server = RedisServer::start_with(Setting {
        tls: Some(TlsSetting { asks: true, ..TlsSetting::default() }),
        ..Setting::password("open sesame")
    })?;
    connect(&server, &trusting()).await?;
    let why = "it hangs up on our certificate, or on having none; check REDIS_CLIENT_CERT";
    refuses(&server, &trusts(authority()), why).await;
    let open = RedisServer::start_with(Setting {
        tls: Some(TlsSetting { asks: true, ..TlsSetting::default() }),
        ..Setting::default()
    })?;
    refuses(&open, &trusts(authority()), why).await;
    Ok(())
}

#[tokio::test]
async fn a_port_that_speaks_the_other_way_is_named() -> Result<()> {
    let plain = RedisServer::start()?;
    refuses(&plain, &Tls::default(), "that port speaks no TLS; give the port that does").await;
    let locked = RedisServer::start_with(Setting::password("open sesame"))?;
    refuses(&locked, &Tls::default(), "that port speaks no TLS; give the port that does").await;
    let tls = RedisServer::start_with(Setting::tls(TlsSetting::default()))?;
    let target = RedisTarget { tls: None, ..tls.target() };
    let began = Instant::now();
    let error = Redis::connect(&target, RedisOptions::default()).await.expect_err("it speaks TLS");
    assert!(error.to_string().contains("it hangs up; check whether that port expects TLS (`rediss://`)"), "{error:#}");
    assert!(began.elapsed() < Duration::from_secs(1), "took {:?}", began.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_file_that_will_not_do_is_named_with_its_variable() -> Result<()> {
    let server = RedisServer::start_with(Setting::tls(TlsSetting::default()))?;
    let shows = |certificate, key| Tls { ca: None, client: Some(ClientCertificate { certificate, key }) };
    let ClientCertificate { certificate, key } = client();
    let missing = PathBuf::from("/no/such/file.pem");
    for (tls, why) in [
        (trusts(missing.clone()), "failed to read REDIS_CA_CERT: `/no/such/file.pem` cannot be read: No such file"),
        (trusts(key.clone()), "client.key` holds no certificate between `-----BEGIN CERTIFICATE-----`"),
        (shows(missing.clone(), key.clone()), "failed to read REDIS_CLIENT_CERT: `/no/such/file.pem` cannot be read"),
        (shows(certificate.clone(), missing), "failed to read REDIS_CLIENT_KEY: `/no/such/file.pem` cannot be read"),
        (shows(certificate.clone(), certificate), "client.pem` holds no private key that is open"),
        (shows(authority(), key), "holds no key for the certificate in REDIS_CLIENT_CERT"),
    ] {
        refuses(&server, &tls, why).await;
    }
    Ok(())
}
