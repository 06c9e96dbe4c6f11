//! Rows 23 and 27 to 30: what the server holds is lost or spoiled.

use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::Connection;
use tollgate::{FaultKind, Source};

use crate::journal;
use crate::load::{Load, Shape};
use crate::outage;
use crate::refusing::stat;
use crate::server::{self, Server};
use crate::trial::{self, Trial};

/// Row 23.
pub(crate) fn eviction_storm(trial: &mut Trial) -> Result<()> {
    let server = Server::with(&["--maxmemory", "32mb", "--maxmemory-policy", "volatile-ttl"])?;
    let shape = Shape { callers: 200, pause: Duration::from_millis(100), ..Shape::default() };
    let load = Load::at(&server.target()?, shape)?;
    let mut attacker = server.connect()?;
    for batch in 0..200_u32 {
        let mut writes = redis::pipe();
        for number in 0..2_000_u32 {
            let key = format!("ratelimit:{{flood}}:tiered:minute:f1:{batch}-{number}-aaaaaaaaaaaaaaaaaaaaaaaa");
            writes.cmd("SET").arg(key).arg("1700000000000000:1").arg("PX").arg(60_000).ignore();
        }
        writes.query::<()>(&mut attacker).context("the flood does not reach the server")?;
    }
    let log = outage::end(trial, load)?;
    let evicted = stat(&mut attacker, "stats", "evicted_keys")?;
    trial.must(evicted > 0.0, || "nothing was evicted, so the row has shown nothing".to_owned());
    trial.note(format!("{evicted} keys evicted, none of them a victim's if the row passes"));
    trial.counted(&log, &server)
}

/// Row 27.
pub(crate) fn script_forgotten(trial: &mut Trial) -> Result<()> {
    let again = forgotten(trial, &[&["SCRIPT", "FLUSH"]])?;
    trial.must(again > 0.0, || "the server was never taught again, so the row has shown nothing".to_owned());
    Ok(())
}

/// Row 28.
pub(crate) fn all_forgotten(trial: &mut Trial) -> Result<()> {
    let again = forgotten(trial, &[&["SCRIPT", "FLUSH"], &["FUNCTION", "FLUSH"]])?;
    let most = f64::from(2 * TIMES);
    trial
        .must(again <= most, || format!("taught again {again} times for {TIMES}: callers do not wait for one of them"));
    Ok(())
}

/// How often the server forgets.
const TIMES: u32 = 20;

/// The server forgets what the store taught it, again and again. How many times it was taught again.
fn forgotten(trial: &mut Trial, commands: &[&[&str]]) -> Result<f64> {
    let server = Server::start()?;
    let mut connection = server.connect()?;
    let load = Load::start(&server.url())?;
    let taught_before = taught(&mut connection)?;
    let began = load.now();
    for _ in 0..TIMES {
        commands.iter().try_for_each(|command| server::run::<()>(&mut connection, command))?;
        load.runs(Duration::from_millis(50));
    }
    let log = outage::end(trial, load)?;
    let again = taught(&mut connection)? - taught_before;
    trial.unfelt(&log, began, log.ended);
    trial.note(format!("taught again {again} times after {TIMES} times of forgetting"));
    trial.counted(&log, &server)?;
    Ok(again)
}

/// How many times the server was given the text of a script or a function.
fn taught(connection: &mut Connection) -> Result<f64> {
    let commands = ["cmdstat_eval", "cmdstat_script|load", "cmdstat_function|load"];
    commands.iter().map(|command| stat(connection, "commandstats", command)).sum()
}

/// Row 29.
pub(crate) fn poisoned(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let poisons: [&[&str]; 3] = [&["LPUSH", "", "a"], &["SET", "", "abc"], &["SET", "", "99999999999999999999:1"]];
    let load = Load::start(&server.url())?;
    let began = load.now();
    for (caller, poison) in (0..).zip(poisons) {
        let key = trial::key(caller);
        let words: Vec<&str> = poison.iter().map(|word| if word.is_empty() { key.as_str() } else { word }).collect();
        server.run::<()>(&["DEL", &key])?;
        server.run::<()>(&words)?;
    }
    let poisoned = load.now();
    load.runs(Duration::from_millis(500));
    let cleaned = load.now();
    for caller in 0..3 {
        server.run::<()>(&["DEL", &trial::key(caller)])?;
    }
    let healed = load.now();
    load.recovers(healed, Duration::from_secs(5));
    let log = outage::end(trial, load)?;
    trial.felt(&log, began, healed);
    trial.recovered(&log, healed, Duration::from_millis(100));
    for (caller, records) in log.callers.iter().enumerate() {
        let during = records.iter().filter(|record| (poisoned.0..cleaned.0).contains(&record.began_us));
        let of = |source: Source| during.clone().filter(|record| record.source == source).count();
        let poisoned = of(Source::StoreFault(FaultKind::Poisoned));
        let expected = if caller < 3 { during.clone().count() } else { 0 };
        trial.must(poisoned == expected, || {
            format!("caller {caller}: {poisoned} decisions name the poison, not {expected}")
        });
        let by_policy = of(Source::Policy);
        trial.must(caller < 3 || by_policy == during.count(), || format!("caller {caller} suffers from another's key"));
    }
    Ok(())
}

/// Row 30.
pub(crate) fn flushed(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let load = Load::start(&server.url())?;
    load.runs(Duration::from_millis(300));
    let began = load.now();
    journal::told();
    server.run::<()>(&["FLUSHALL"])?;
    // It is asked every two seconds.
    let told = (0..50).find_map(|_| {
        load.runs(Duration::from_millis(100));
        Some(journal::told()).filter(|told| !told.is_empty())
    });
    let told = told.unwrap_or_default();
    let log = outage::end(trial, load)?;
    trial.unfelt(&log, began, log.ended);
    trial.must(!told.is_empty(), || "nobody is told that the counters are gone".to_owned());
    trial.notes.extend(told);
    Ok(())
}
