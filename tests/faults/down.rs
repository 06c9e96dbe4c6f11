//! Rows 1 to 8: the server is gone, or as if.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tollgate::Tollgate;
use tollgate::config::{Config, StoreConfig};
use tollgate_tests::{Proxy, free_port};

use crate::journal;
use crate::load::{self, Load, Shape};
use crate::log::Moment;
use crate::noise::Threads;
use crate::outage::Outage;
use crate::server::{self, REMEMBERING, Server};
use crate::trial::Trial;

/// Row 1.
pub(crate) fn killed_for_a_second(trial: &mut Trial) -> Result<()> {
    killed(trial, 1_000)
}

/// Row 2.
pub(crate) fn killed_for_five_seconds(trial: &mut Trial) -> Result<()> {
    killed(trial, 5_000)
}

fn killed(trial: &mut Trial, lasts_ms: u64) -> Result<()> {
    let server = RefCell::new(Server::with(&REMEMBERING)?);
    let outage = Outage::of(Load::start(&server.borrow().url())?, lasts_ms, 100);
    let after = outage.suffer(
        trial,
        || server.borrow_mut().kill(),
        || {
            server.borrow_mut().restart()?;
            server.borrow_mut().await_ready()
        },
    )?;
    // The server may be up for some milliseconds before it is known to be.
    trial.dark(&after.log, after.began, Moment(after.healed.0.saturating_sub(50_000)));
    trial.counted(&after.log, &server.borrow())
}

/// Row 3.
pub(crate) fn killed_for_ten_minutes(trial: &mut Trial) -> Result<()> {
    const LASTS: Duration = Duration::from_secs(600);
    let mut server = Server::start()?;
    let proxy = Proxy::start(server.port())?;
    let shape = Shape { pause: Duration::from_millis(200), ..Shape::default() };
    let load = Load::at(&url(&proxy).parse()?, shape)?;
    let began = load.now();
    server.kill()?;
    load.runs(LASTS / 10);
    let (rss_early, accepted, told) = (rss_kb()?, proxy.accepted(), journal::warnings());
    load.runs(LASTS - LASTS / 10);
    let seconds = (LASTS - LASTS / 10).as_secs();
    let (grown_kb, attempts) = (rss_kb()?.saturating_sub(rss_early), proxy.accepted() - accepted);
    let told = journal::warnings() - told;
    server.restart()?;
    server.await_ready()?;
    let healed = load.now();
    load.recovers(healed, Duration::from_secs(10));
    let log = crate::outage::end(trial, load)?;
    trial.felt(&log, began, healed);
    trial.recovered(&log, healed, Duration::from_secs(1));
    trial.note(format!("memory grew {grown_kb} kB, {attempts} connections tried and {told} warnings in {seconds} s"));
    // The records of the load itself take most of it.
    trial.must(grown_kb < 16 * 1_024, || format!("memory grew by {grown_kb} kB"));
    trial.must(attempts <= seconds + 5, || {
        format!("{attempts} connections tried in {seconds} s, more than one a second")
    });
    trial.must(told <= 2 * seconds, || format!("{told} warnings in {seconds} s"));
    Ok(())
}

/// Row 4.
pub(crate) fn absent_at_start(trial: &mut Trial) -> Result<()> {
    let url = format!("redis://127.0.0.1:{}", free_port()?);
    let config = |is_required: bool| {
        let mut config = Config::load(None, [("REDIS_URL".to_owned(), url.clone())])?;
        if let (true, StoreConfig::Redis(redis)) = (is_required, &mut config.store) {
            redis.memory_fallback = None;
        }
        anyhow::Ok(config)
    };
    let runtime = load::runtime(&Threads::default())?;
    let began = Instant::now();
    let refused = runtime.block_on(Tollgate::from_config(&config(true)?));
    let took = began.elapsed();
    match refused {
        Ok(_) => trial.failures.push("it starts without the Redis that it must have".to_owned()),
        Err(error) => {
            let told = error.to_string();
            trial.must(told.contains("nothing listens there"), || format!("the error does not tell why: {told}"));
            trial.note(told);
        }
    }
    trial.must(took < Duration::from_secs(6), || format!("it took {took:?} to say that nothing is there"));
    let gate = runtime.block_on(Tollgate::from_config(&config(false)?));
    trial.must(gate.is_ok(), || "it does not start without the Redis that it need not have".to_owned());
    Ok(())
}

/// Row 5.
pub(crate) fn suspended(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let outage = Outage::of(Load::start(&server.url())?, 3_000, 100);
    let after = outage.suffer(trial, || server.stop(), || server.cont())?;
    trial.dark(&after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// Row 6.
pub(crate) fn suspended_long(trial: &mut Trial) -> Result<()> {
    const LASTS_S: u64 = 45;
    let server = Server::start()?;
    let proxy = Proxy::start(server.port())?;
    let outage = Outage::of(Load::start(&url(&proxy))?, LASTS_S * 1_000, 100);
    let before = proxy.accepted();
    let after = outage.suffer(trial, || server.stop(), || server.cont())?;
    let attempts = proxy.accepted() - before;
    trial.note(format!("{attempts} connections tried in {LASTS_S} s"));
    trial.must(attempts <= LASTS_S + 5, || format!("{attempts} connections tried, more than one a second"));
    trial.dark(&after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// Row 7.
pub(crate) fn clients_paused(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let mut connection = server.connect()?;
    let outage = Outage::of(Load::start(&server.url())?, 0, 100);
    let after = outage.suffer(
        trial,
        || server.run(&["CLIENT", "PAUSE", "3000", "ALL"]),
        // It is paused as well.
        || server::run::<String>(&mut connection, &["PING"]).map(drop),
    )?;
    trial.dark(&after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// Row 8.
pub(crate) fn writes_paused(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let load = Load::start(&server.url())?;
    let outage = Outage::of(load, 3_000, 100);
    let key = crate::trial::key(0);
    let mut read = Ok(None::<Vec<u8>>);
    let after = outage.suffer(
        trial,
        || {
            server.run::<()>(&["CLIENT", "PAUSE", "60000", "WRITE"])?;
            read = server.run(&["GET", &key]);
            Ok(())
        },
        || server.run(&["CLIENT", "UNPAUSE"]),
    )?;
    trial.must(matches!(read, Ok(Some(_))), || "reads do not go on".to_owned());
    trial.dark(&after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// The address of a proxy, as `REDIS_URL` gives it.
pub(crate) fn url(proxy: &Proxy) -> String {
    format!("redis://127.0.0.1:{}", proxy.port())
}

/// How much memory this process holds.
fn rss_kb() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let fields: HashMap<&str, &str> = status.lines().filter_map(|line| line.split_once(':')).collect();
    let rss = fields.get("VmRSS").and_then(|value| value.split_whitespace().next()).context("no VmRSS")?;
    Ok(rss.parse()?)
}
