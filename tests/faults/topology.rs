//! Rows 38 to 48: a cluster.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tollgate::TierPlan;
use tollgate_tests::RedisCluster;

use crate::load::{self, Load, Shape, tenant};
use crate::log::Log;
use crate::noise::Threads;
use crate::outage;
use crate::server;
use crate::trial::{Trial, key};

/// How long after a failover a policy decides again at the latest.
const BOUND: Duration = Duration::from_millis(300);
const CALLERS: u64 = 32;

/// Row 38.
pub(crate) fn master_killed(trial: &mut Trial) -> Result<()> {
    master_gone(trial, |cluster| cluster.kill(0), |_| Ok(()))
}

/// Row 39.
pub(crate) fn master_hangs(trial: &mut Trial) -> Result<()> {
    // Before its counters can be read, it must answer again.
    master_gone(trial, |cluster| cluster.stop(0), |cluster| cluster.cont(0).and_then(|()| cluster.settle()))
}

/// The first master does not answer any more, and the cluster replaces it.
fn master_gone(
    trial: &mut Trial,
    harm: impl FnOnce(&mut RedisCluster) -> Result<()>,
    mend: impl FnOnce(&mut RedisCluster) -> Result<()>,
) -> Result<()> {
    let mut cluster = RedisCluster::start(3, 1)?;
    let (replica, harmed) = (cluster.replica(0)?, callers_of(&cluster, 0)?);
    let load = Load::at(&cluster.target(), Shape::default())?;
    let began = load.now();
    harm(&mut cluster)?;
    cluster.promoted(replica)?;
    let healed = load.now();
    load.recovers_for(&harmed, healed, Duration::from_secs(10));
    mend(&mut cluster)?;
    let log = outage::end(trial, load)?;
    let (harmed, others) = log.split(&harmed);
    trial.felt(&harmed, began, healed);
    trial.recovered(&harmed, healed, BOUND);
    trial.unfelt(&others, began, others.ended);
    tells_losses(trial, &log, &cluster, None)
}

/// Row 40.
pub(crate) fn replica_hangs(trial: &mut Trial) -> Result<()> {
    let cluster = RedisCluster::start(3, 1)?;
    let load = Load::at(&cluster.target(), Shape::default())?;
    let (began, replica) = (load.now(), cluster.replica(0)?);
    cluster.stop(replica)?;
    load.runs(Duration::from_secs(4));
    let log = outage::end(trial, load)?;
    cluster.cont(replica)?;
    trial.unfelt(&log, began, log.ended);
    tells_losses(trial, &log, &cluster, Some(0))
}

/// Row 41.
pub(crate) fn failover_asked_for(trial: &mut Trial) -> Result<()> {
    let cluster = RedisCluster::start(3, 1)?;
    let load = Load::at(&cluster.target(), Shape::default())?;
    let began = load.now();
    cluster.failover(cluster.replica(0)?)?;
    let log = outage::end(trial, load)?;
    trial.unfelt(&log, began, log.ended);
    tells_losses(trial, &log, &cluster, Some(0))
}

/// Row 42.
pub(crate) fn takeover(trial: &mut Trial) -> Result<()> {
    let cluster = RedisCluster::start(3, 1)?;
    let (replica, harmed) = (cluster.replica(0)?, callers_of(&cluster, 0)?);
    let load = Load::at(&cluster.target(), Shape::default())?;
    let began = load.now();
    cluster.node(replica)?.run::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"])?;
    cluster.promoted(replica)?;
    let healed = load.now();
    load.recovers_for(&harmed, healed, Duration::from_secs(5));
    let log = outage::end(trial, load)?;
    let (harmed, others) = log.split(&harmed);
    trial.recovered(&harmed, healed, BOUND);
    trial.unfelt(&others, began, others.ended);
    tells_losses(trial, &log, &cluster, None)
}

/// Row 43.
pub(crate) fn slot_moves(trial: &mut Trial) -> Result<()> {
    let cluster = RedisCluster::start(3, 0)?;
    let load = Load::at(&cluster.target(), Shape::default())?;
    let began = load.now();
    for caller in 0..4 {
        let slot = cluster.slot(&key(caller))?;
        let from = cluster.owner(slot)?;
        let to = (from + 1) % 3;
        cluster.begin_migration(slot, from, to)?;
        load.runs(Duration::from_millis(300));
        cluster.move_keys(slot, from, to)?;
        load.runs(Duration::from_millis(300));
        cluster.end_migration(slot, from, to)?;
        load.runs(Duration::from_millis(300));
    }
    let log = outage::end(trial, load)?;
    trial.unfelt(&log, began, log.ended);
    tells_losses(trial, &log, &cluster, Some(0))
}

/// Row 44.
pub(crate) fn half_a_list_moves(trial: &mut Trial) -> Result<()> {
    let cluster = RedisCluster::start(3, 0)?;
    let threads = Threads::default();
    let runtime = load::runtime(&threads)?;
    let limits =
        r#"{"limits": [{"id": "hits", "limit": "1000000000/30d"}, {"id": "more", "limit": "1000000000/30d"}]}"#;
    let gate = runtime.block_on(async {
        let builder = load::builder(&cluster.target(), Shape::default().deadline).await?;
        anyhow::Ok(builder.tier("load", TierPlan::built_in("tiered", limits)).build().await?)
    })?;
    let load = Load::on(runtime, threads, gate, Shape::default())?;
    let slot = cluster.slot(&key(0))?;
    let from = cluster.owner(slot)?;
    let to = (from + 1) % 3;
    let began = load.now();
    cluster.begin_migration(slot, from, to)?;
    let (there, one) = (cluster.node(to)?.port().to_string(), key(0));
    cluster.node(from)?.run::<()>(&["MIGRATE", "127.0.0.1", &there, &one, "0", "1000"])?;
    load.runs(Duration::from_millis(500));
    cluster.move_keys(slot, from, to)?;
    cluster.end_migration(slot, from, to)?;
    let healed = load.now();
    let moved: BTreeSet<u64> =
        (0..CALLERS).filter(|caller| cluster.slot(&key(*caller)).is_ok_and(|at| at == slot)).collect();
    load.recovers_for(&moved, healed, Duration::from_secs(5));
    let log = outage::end(trial, load)?;
    let (moved, others) = log.split(&moved);
    trial.recovered(&moved, healed, BOUND);
    trial.unfelt(&others, began, others.ended);
    tells_losses(trial, &log, &cluster, Some(0))
}

/// Row 45.
pub(crate) fn shard_gone(trial: &mut Trial) -> Result<()> {
    let mut cluster = RedisCluster::start(3, 1)?;
    let (replica, harmed) = (cluster.replica(0)?, callers_of(&cluster, 0)?);
    let load = Load::at(&cluster.target(), Shape::default())?;
    let began = load.now();
    cluster.kill(replica)?;
    cluster.kill(0)?;
    load.runs(Duration::from_secs(4));
    cluster.restart(0)?;
    cluster.restart(replica)?;
    cluster.settle()?;
    let healed = load.now();
    load.recovers_for(&harmed, healed, Duration::from_secs(10));
    let log = outage::end(trial, load)?;
    let (harmed, others) = log.split(&harmed);
    trial.felt(&harmed, began, healed);
    trial.recovered(&harmed, healed, Duration::from_secs(1));
    trial.unfelt(&others, began, others.ended);
    Ok(())
}

/// Row 46.
pub(crate) fn all_restart(trial: &mut Trial) -> Result<()> {
    let cluster = RefCell::new(RedisCluster::start(3, 1)?);
    let load = Load::at(&cluster.borrow().target(), Shape::default())?;
    let places = 0..cluster.borrow().nodes().len();
    let after = outage::Outage::of(load, 500, 1_000).suffer(
        trial,
        || places.clone().try_for_each(|place| cluster.borrow_mut().kill(place)),
        || {
            places.clone().try_for_each(|place| cluster.borrow_mut().restart(place))?;
            cluster.borrow().settle()
        },
    )?;
    trial.note(format!(
        "the cluster was in order again {} ms after it was killed",
        (after.healed.0 - after.began.0) / 1_000
    ));
    Ok(())
}

/// Row 48.
pub(crate) fn moved_storm(trial: &mut Trial) -> Result<()> {
    let cluster = RedisCluster::start(3, 0)?;
    let load = Load::at(&cluster.target(), Shape::default())?;
    let mut moves = Vec::new();
    for caller in 0..16 {
        let slot = cluster.slot(&key(caller))?;
        moves.push((slot, cluster.owner(slot)?));
    }
    let (began, before) = (load.now(), lookups(&cluster)?);
    for (slot, from) in moves {
        cluster.migrate(slot, from, (from + 1) % 3)?;
        // So long the servers take to agree; in haste two of them may both give the slot away.
        load.runs(Duration::from_millis(150));
    }
    load.runs(Duration::from_millis(500));
    let took_ms = (load.now().0 - began.0) / 1_000;
    let log = outage::end(trial, load)?;
    let lookups = lookups(&cluster)? - before;
    trial.note(format!("{lookups} looks at the map in {took_ms} ms for 16 moved slots"));
    trial.must(lookups <= took_ms / 100 + 2, || format!("{lookups} looks at the map in {took_ms} ms: a storm"));
    trial.unfelt(&log, began, log.ended);
    tells_losses(trial, &log, &cluster, Some(0))
}

/// How many times somebody looked at the map. Each look asks every server, so the one that was asked most often says.
fn lookups(cluster: &RedisCluster) -> Result<u64> {
    let mut most = 0;
    for node in cluster.nodes() {
        let info: String = node.run(&["INFO", "commandstats"])?;
        let counts = info.lines().filter(|line| line.contains("cluster|slots") || line.contains("cluster|shards"));
        let calls = counts.filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok());
        most = most.max(calls.sum::<u64>());
    }
    Ok(most)
}

/// The callers whose counters the master at `place` has.
fn callers_of(cluster: &RedisCluster, place: usize) -> Result<BTreeSet<u64>> {
    let mut callers = BTreeSet::new();
    for caller in 0..CALLERS {
        if cluster.owner(cluster.slot(&key(caller))?)? == place {
            callers.insert(caller);
        }
    }
    callers.first().with_context(|| format!("no caller such as {} is counted by server {place}", tenant(0)))?;
    Ok(callers)
}

/// What was admitted against what the cluster counted; `most` may be lost, or anything if none is given.
fn tells_losses(trial: &mut Trial, log: &Log, cluster: &RedisCluster, most: Option<u64>) -> Result<()> {
    let counts = trial.tally(log, |key| {
        // Only who has it answers; who has not, names another.
        let answers = cluster.nodes().iter().map(|node| server::run(&mut server::connect(node.port())?, &["GET", key]));
        answers.flatten().next().with_context(|| format!("no server has {key}"))
    })?;
    trial.note(format!("{} of {} admitted hits were lost", counts.lost, counts.acknowledged));
    trial.must(most.is_none_or(|most| counts.lost <= most), || format!("{} admitted hits were lost", counts.lost));
    Ok(())
}
