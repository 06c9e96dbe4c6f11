//! Rows 49 and 50: the server does not let us in, or not trust and be trusted.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use tollgate::FaultKind;
use tollgate::config::{RedisTarget, Tls};
use tollgate::store::{Redis, RedisOptions};
use tollgate_tests::tls::{Certificate, TlsSetting, stranger, trusting};
use tollgate_tests::{RedisServer, Setting};

use crate::load::{self, Load, Shape};
use crate::log::Moment;
use crate::noise::Threads;
use crate::outage::{self, Outage};
use crate::refusing::names;
use crate::server::Server;
use crate::trial::Trial;

/// Row 49.
pub(crate) fn rights_withdrawn(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let user = |more: &[&str]| server.run::<()>(&[&["ACL", "SETUSER", "tg"], more].concat());
    user(&["on", ">open-sesame", "~ratelimit:*", "+@all", "-@dangerous", "-@admin"])?;
    let url = format!("redis://tg:open-sesame@127.0.0.1:{}", server.port());
    let kick = || server.run::<()>(&["CLIENT", "KILL", "USER", "tg"]);
    for (taken, given, also_kick) in [
        (&["-evalsha", "-eval"][..], &["+evalsha", "+eval"][..], false),
        (&["off"], &["on"], true),
        (&["resetpass", ">another"], &["resetpass", ">open-sesame"], true),
    ] {
        let outage = Outage::of(Load::start(&url)?, 1_000, 1_000);
        let begin = || user(taken).and_then(|()| if also_kick { kick() } else { Ok(()) });
        let after = outage.suffer(trial, begin, || user(given))?;
        names(trial, &after, FaultKind::Denied);
        trial.counted(&after.log, &server)?;
        server.run::<()>(&["FLUSHALL"])?;
    }
    Ok(())
}

/// Row 50.
pub(crate) fn certificates(trial: &mut Trial) -> Result<()> {
    let showing = |shows| RedisServer::start_with(Setting::tls(TlsSetting { shows, asks: false }));
    let (sound, expired, elsewhere) =
        (showing(Certificate::Server)?, showing(Certificate::Expired)?, showing(Certificate::Elsewhere)?);
    let plain = RedisServer::start()?;
    let trusts = |server: &RedisServer, ca: Option<PathBuf>| {
        let tls = Tls { ca: ca.or(trusting().ca), client: None };
        RedisTarget { tls: Some(tls), ..server.target() }
    };
    for (what, target, reason) in [
        ("an expired certificate", trusts(&expired, None), "expired"),
        ("a certificate of a stranger", trusts(&sound, Some(stranger())), "authorit"),
        ("a certificate for elsewhere", trusts(&elsewhere, None), "another name"),
        ("a server that speaks plainly", trusts(&plain, None), "TLS"),
        ("a client that speaks plainly", RedisTarget { tls: None, ..sound.target() }, "TLS"),
    ] {
        refused(trial, what, &target, reason)?;
    }
    let load = Load::at(&trusts(&sound, None), Shape::default())?;
    let log = outage::end(trial, load)?;
    trial.unfelt(&log, Moment(0), log.ended);
    Ok(())
}

/// Connecting fails within a second, and the error names the reason.
fn refused(trial: &mut Trial, what: &str, target: &RedisTarget, reason: &str) -> Result<()> {
    let runtime = load::runtime(&Threads::default())?;
    let began = Instant::now();
    let refusal = runtime.block_on(Redis::connect(target, RedisOptions::default()));
    let took = began.elapsed();
    trial.must(took <= Duration::from_secs(1), || format!("{what} is refused after {took:?}"));
    match refusal {
        Ok(_) => trial.failures.push(format!("{what} is not refused")),
        Err(error) => {
            let told = format!("{error:#}");
            trial.must(told.contains(reason), || format!("{what} is refused without naming `{reason}`"));
            trial.note(format!("{what}: {told}"));
        }
    }
    Ok(())
}
