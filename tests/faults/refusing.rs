//! Rows 19 to 26, 36 and 37: the server answers, and refuses.

use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::Connection;
use tollgate::FaultKind;
use tollgate_tests::{Proxy, free_port};

use crate::down::url;
use crate::load::{Load, Shape};
use crate::outage::{self, Aftermath, Outage};
use crate::server::{self, Server};
use crate::trial::Trial;

/// Row 19.
pub(crate) fn too_many_clients(trial: &mut Trial) -> Result<()> {
    let server = Server::start()?;
    let proxy = Proxy::start(server.port())?;
    let load = Load::start(&url(&proxy))?;
    let mut connection = server.connect()?;
    let mut admin = |words: &[&str]| server::run::<()>(&mut connection, words);
    let full = load.now();
    admin(&["CONFIG", "SET", "maxclients", "1"])?;
    load.runs(Duration::from_millis(500));
    // Whoever is in stays in; whoever is thrown out does not get in again.
    let thrown_out = load.now();
    let before = proxy.accepted();
    admin(&["CLIENT", "KILL", "TYPE", "normal"])?;
    load.runs(Duration::from_secs(2));
    let attempts = proxy.accepted() - before;
    admin(&["CONFIG", "SET", "maxclients", "100"])?;
    let healed = load.now();
    load.recovers(healed, Duration::from_secs(5));
    let log = outage::end(trial, load)?;
    trial.unfelt(&log, full, thrown_out);
    trial.felt(&log, thrown_out, healed);
    trial.recovered(&log, healed, Duration::from_secs(1));
    trial.note(format!("{attempts} connections tried in 2 s"));
    trial.must(attempts <= 100, || format!("{attempts} connections tried in 2 s: no back-off"));
    trial.counted(&log, &server)
}

/// Row 21.
pub(crate) fn idle_disconnect(trial: &mut Trial) -> Result<()> {
    let server = Server::with(&["--timeout", "1"])?;
    // Longer than the server lets a client be idle, even one that it looks at late.
    let shape = Shape { callers: 1, pause: Duration::from_millis(2_500), ..Shape::default() };
    let load = Load::at(&server.target()?, shape)?;
    load.runs(Duration::from_millis(5_500));
    let log = load.end()?;
    trial.answered(&log);
    trial.unfelt(&log, crate::log::Moment(0), log.ended);
    trial.counted(&log, &server)
}

/// Row 22.
pub(crate) fn out_of_memory(trial: &mut Trial) -> Result<()> {
    refused(trial, &[], &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"])
}

/// Row 24.
pub(crate) fn disk_broken(trial: &mut Trial) -> Result<()> {
    let server = Server::with(&["--save", "3600", "1", "--dbfilename", "dump"])?;
    let mut connection = server.connect()?;
    let load = Load::start(&server.url())?;
    // A file cannot take the place of a folder that has something in it.
    std::fs::create_dir_all(server.folder().join("dump/full"))?;
    let outage = Outage::of(load, 1_000, 100);
    let after = outage.suffer(
        trial,
        || {
            server::run::<()>(&mut connection, &["BGSAVE"])?;
            await_stat(&mut connection, "persistence", "rdb_bgsave_in_progress", 0.0)
        },
        || server.run(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]),
    )?;
    names(trial, &after, FaultKind::Refused);
    trial.dark(&after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// Row 25.
pub(crate) fn loading(trial: &mut Trial) -> Result<()> {
    // Loads as slowly as a large file would.
    let slowly =
        ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no"];
    let server = std::cell::RefCell::new(Server::with(&slowly)?);
    server.borrow().run::<()>(&["DEBUG", "POPULATE", "2000", "key", "64"])?;
    let load = Load::start(&server.borrow().url())?;
    let outage = Outage::of(load, 0, 100);
    let after = outage.suffer(
        trial,
        || {
            server.borrow().run::<()>(&["SAVE"])?;
            server.borrow_mut().kill()?;
            server.borrow_mut().restart()
        },
        || server.borrow_mut().await_ready(),
    )?;
    names(trial, &after, FaultKind::Refused);
    // What came after the file was saved is forgotten.
    trial.note("what was counted between the saving and the end is gone, as without an append-only file it is");
    Ok(())
}

/// Row 26.
pub(crate) fn busy(trial: &mut Trial) -> Result<()> {
    let server = Server::with(&["--busy-reply-threshold", "100"])?;
    let mut neighbour = server.connect()?;
    let outage = Outage::of(Load::start(&server.url())?, 2_000, 100);
    let (after, spins) = std::thread::scope(|scope| {
        let spins = std::cell::RefCell::new(None);
        let after = outage.suffer(
            trial,
            || {
                let spin = move || server::run::<()>(&mut neighbour, &["EVAL", "while true do end", "0"]);
                *spins.borrow_mut() = Some(scope.spawn(spin));
                Ok(())
            },
            || server.run(&["SCRIPT", "KILL"]),
        );
        (after, spins.into_inner().map(std::thread::ScopedJoinHandle::join))
    });
    trial.must(matches!(spins, Some(Ok(Err(_)))), || "the neighbour's script was not killed".to_owned());
    let after = after?;
    names(trial, &after, FaultKind::Refused);
    trial.dark(&after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// Row 36, on one server.
pub(crate) fn demoted(trial: &mut Trial) -> Result<()> {
    // A master that is not there: the counters stay as they are.
    let nowhere = free_port()?.to_string();
    refused(trial, &[], &["REPLICAOF", "127.0.0.1", &nowhere], &["REPLICAOF", "NO", "ONE"])
}

/// Row 37, on one server.
pub(crate) fn without_replicas(trial: &mut Trial) -> Result<()> {
    let fewest = |count| ["CONFIG", "SET", "min-replicas-to-write", count];
    refused(trial, &[], &fewest("1"), &fewest("0"))
}

/// A second of refusals that begin with one command and end with another.
fn refused(trial: &mut Trial, arguments: &[&str], begin: &[&str], heal: &[&str]) -> Result<()> {
    let server = Server::with(arguments)?;
    let outage = Outage::of(Load::start(&server.url())?, 1_500, 100);
    let after = outage.suffer(trial, || server.run(begin), || server.run(heal))?;
    names(trial, &after, FaultKind::Refused);
    trial.dark(&after.log, after.began, after.healed);
    trial.counted(&after.log, &server)
}

/// The decisions during the fault name a fault of this kind.
pub(crate) fn names(trial: &mut Trial, after: &Aftermath, kind: FaultKind) {
    let wanted = tollgate::Source::StoreFault(kind);
    let named = after.log.between(after.began, after.healed).filter(|record| record.source == wanted).count();
    trial.must(named > 0, || format!("no decision says `{}`", kind.name()));
}

/// A figure of `INFO`; 0 if it is not there.
pub(crate) fn stat(connection: &mut Connection, section: &str, name: &str) -> Result<f64> {
    let info: String = server::run(connection, &["INFO", section])?;
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    // A command's line reads `calls=12,usec=…`.
    let figure = line.map_or("0", |line| line.trim_start_matches("calls=").split(',').next().unwrap_or(line));
    figure.trim().parse().with_context(|| format!("`{figure}` of {name} is no number"))
}

fn await_stat(connection: &mut Connection, section: &str, name: &str, wanted: f64) -> Result<()> {
    for _ in 0..5_000 {
        if stat(connection, section, name)? == wanted {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    anyhow::bail!("{name} did not become {wanted} within 5 s")
}
