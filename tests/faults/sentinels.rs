//! Rows 31 to 35: a master behind sentinels.

use std::time::Duration;

use anyhow::Result;
use tollgate::config::{Address, Topology};
use tollgate_tests::{FakeSentinel, RedisSentinel};

use crate::journal;
use crate::load::{Load, Shape};
use crate::log::{Log, Moment};
use crate::outage;
use crate::server;
use crate::trial::Trial;

/// How long after a switch a policy decides again at the latest.
const BOUND: Duration = Duration::from_millis(300);

/// Row 31.
pub(crate) fn master_killed(trial: &mut Trial) -> Result<()> {
    let mut sentinels = RedisSentinel::start()?;
    let load = Load::at(&sentinels.target(), Shape::default())?;
    let began = load.now();
    let old = sentinels.kill_master()?;
    let new = sentinels.replaced(old)?;
    let healed = load.now();
    load.recovers(healed, Duration::from_secs(5));
    let log = outage::end(trial, load)?;
    trial.felt(&log, began, healed);
    trial.recovered(&log, healed, BOUND);
    counted_at(trial, &log, &sentinels, new, None)
}

/// Row 32.
pub(crate) fn master_hangs_and_returns(trial: &mut Trial) -> Result<()> {
    let sentinels = RedisSentinel::start()?;
    let load = Load::at(&sentinels.target(), Shape::default())?;
    let began = load.now();
    let old = sentinels.stop_master()?;
    let new = sentinels.replaced(old)?;
    let healed = load.now();
    load.recovers(healed, Duration::from_secs(5));
    // The old one takes itself for the master until a sentinel tells it otherwise, ten seconds later.
    sentinels.server(old)?.cont()?;
    load.runs(Duration::from_secs(11));
    let log = outage::end(trial, load)?;
    trial.felt(&log, began, healed);
    trial.recovered(&log, healed, BOUND);
    counted_at(trial, &log, &sentinels, new, Some(0))
}

/// Row 33.
pub(crate) fn failover_asked_for(trial: &mut Trial) -> Result<()> {
    let sentinels = RedisSentinel::start()?;
    let load = Load::at(&sentinels.target(), Shape::default())?;
    let old = sentinels.master()?;
    let began = load.now();
    sentinels.failover()?;
    let new = sentinels.replaced(old)?;
    let healed = load.now();
    load.recovers(healed, Duration::from_secs(5));
    load.runs(Duration::from_secs(2));
    let log = outage::end(trial, load)?;
    trial.recovered(&log, healed, BOUND);
    // All that 1.2 s of the load can be.
    let rate = log.between(Moment(0), began).count() as u64 * 1_200_000 / began.0.max(1);
    counted_at(trial, &log, &sentinels, new, Some(rate))
}

/// Row 34.
pub(crate) fn most_sentinels_die(trial: &mut Trial) -> Result<()> {
    let mut sentinels = RedisSentinel::start()?;
    let load = Load::at(&sentinels.target(), Shape::default())?;
    journal::told();
    let began = load.now();
    for sentinel in sentinels.sentinels_mut().iter_mut().take(2) {
        sentinel.kill()?;
    }
    load.runs(Duration::from_secs(3));
    let log = outage::end(trial, load)?;
    trial.unfelt(&log, began, log.ended);
    let told = journal::told();
    trial.must(!told.is_empty(), || "nobody is told that sentinels are gone".to_owned());
    trial.notes.extend(told.into_iter().take(3));
    let master = sentinels.master()?;
    counted_at(trial, &log, &sentinels, master, Some(0))
}

/// Row 35.
pub(crate) fn sentinels_lie(trial: &mut Trial) -> Result<()> {
    let sentinels = RedisSentinel::start()?;
    let master = sentinels.master()?;
    let replica = sentinels.server(1 - master)?.port();
    let liars = [FakeSentinel::naming(None)?, FakeSentinel::naming(Some(replica))?];
    let mut target = sentinels.target();
    if let Topology::Sentinel { sentinels: known, .. } = &mut target.topology {
        let liars = liars.iter().map(|liar| Address { host: "127.0.0.1".to_owned(), port: liar.port() });
        known.splice(0..0, liars);
    }
    let load = Load::at(&target, Shape::default())?;
    load.runs(Duration::from_secs(2));
    let log = outage::end(trial, load)?;
    trial.must(liars.iter().all(|liar| liar.asked() > 0), || "a liar was never asked".to_owned());
    trial.unfelt(&log, Moment(0), log.ended);
    counted_at(trial, &log, &sentinels, master, Some(0))
}

/// What was admitted against what the server at `place` counted; `most` may be lost, or anything if none is given.
fn counted_at(trial: &mut Trial, log: &Log, sentinels: &RedisSentinel, place: usize, most: Option<u64>) -> Result<()> {
    let mut connection = server::connect(sentinels.server(place)?.port())?;
    let counts = trial.tally(log, |key| server::run(&mut connection, &["GET", key]))?;
    trial.note(format!("{} of {} admitted hits were lost by the switch", counts.lost, counts.acknowledged));
    trial.must(most.is_none_or(|most| counts.lost <= most), || format!("{} admitted hits were lost", counts.lost));
    Ok(())
}
