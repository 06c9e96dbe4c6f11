//! What one counter takes: in Redis, and in the process.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tollgate::store::{Memory, Redis, RedisOptions, Reply, Store};
use tollgate::{Algorithm, Charge, KeySpace, Limit, Mode, Quota, SystemClock};

use crate::lab::{Lab, Threads};
use crate::load::Check;
use crate::{peers, report};

/// What grows in a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Holder {
    /// Our store, token buckets.
    TokenBucket,
    /// Our store, fixed windows.
    FixedWindow,
    /// Our store, sliding windows.
    SlidingWindow,
    /// governor.
    Governor,
    /// throttlecrab.
    Throttlecrab,
    /// limitador.
    Limitador,
}

const IN_REDIS: usize = 100_000;
const IN_PROCESS: usize = 1_000_000;
const ALGORITHMS: [Algorithm; 3] = [Algorithm::TokenBucket, Algorithm::FixedWindow, Algorithm::SlidingWindow];
const HOLDERS: [(Holder, &str); 6] = [
    (Holder::TokenBucket, "token-bucket"),
    (Holder::FixedWindow, "fixed-window"),
    (Holder::SlidingWindow, "sliding-window"),
    (Holder::Governor, "governor"),
    (Holder::Throttlecrab, "throttlecrab"),
    (Holder::Limitador, "limitador"),
];

/// Both tables.
///
/// # Errors
///
/// Fails if Redis does not start or a process cannot be measured.
pub fn tables() -> Result<String> {
    let lab = Lab::open()?;
    let in_redis = ALGORITHMS.iter().map(|algorithm| in_redis(&lab, *algorithm)).collect::<Result<Vec<_>>>()?;
    let in_redis = report::table(
        &["algorithm, in Redis", "key, B", "MEMORY USAGE, B", "growth of used_memory, B", "beyond the key, B"],
        in_redis.into_iter(),
    );
    let in_process = HOLDERS.iter().map(|(holder, name)| in_process(*holder, name)).collect::<Result<Vec<_>>>()?;
    let in_process = report::table(
        &["holder, in the process", "key, B", "growth of resident memory, B", "beyond the key, B"],
        in_process.into_iter(),
    );
    Ok(format!("{in_redis}\n{in_process}"))
}

/// A limit whose counters outlive the measurement.
fn limit(algorithm: Algorithm) -> Limit {
    let quota = Quota { max: 1_000, window: Duration::from_secs(24 * 60 * 60), burst: 1_000 };
    Limit::new("limit-0", algorithm, quota).expect("the limit is sound")
}

fn subject(number: usize) -> String {
    format!("subject-{number}")
}

fn charge(limit: &Limit, number: usize) -> Charge {
    let key = KeySpace::new("ratelimit", "acme", "tiered").key(limit, &subject(number));
    // More than one, so that a token bucket with a part of a microsecond shows it.
    Charge { key, limit: limit.clone(), cost: 7, mode: Mode::Enforce, holder: 0 }
}

fn key_bytes(limit: &Limit, count: usize) -> f64 {
    (0..count).map(|number| charge(limit, number).key.len()).sum::<usize>() as f64 / count as f64
}

fn in_redis(lab: &Lab, algorithm: Algorithm) -> Result<Vec<String>> {
    lab.clear()?;
    let limit = limit(algorithm);
    let before = used_memory(lab)?;
    fill(lab, &limit)?;
    let growth = (used_memory(lab)? - before) / IN_REDIS as f64;
    let samples = (0..IN_REDIS)
        .step_by(IN_REDIS / 100)
        .map(|number| lab.redis().run::<u64>(&["MEMORY", "USAGE", &charge(&limit, number).key]));
    let samples = samples.collect::<Result<Vec<_>>>()?;
    let usage = samples.iter().sum::<u64>() as f64 / samples.len() as f64;
    let key = key_bytes(&limit, IN_REDIS);
    Ok([algorithm.name().to_owned()].into_iter().chain([key, usage, growth, growth - key].map(whole)).collect())
}

fn fill(lab: &Lab, limit: &Limit) -> Result<()> {
    const TASKS: usize = 64;
    let target = lab.redis().target();
    lab.runtime(Threads::One).block_on(async {
        let store = Arc::new(Redis::connect(&target, RedisOptions::default()).await?);
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for task in 0..TASKS {
            let (store, limit) = (Arc::clone(&store), limit.clone());
            tasks.spawn(async move {
                for number in (task..IN_REDIS).step_by(TASKS) {
                    store.charge(&[charge(&limit, number)], Duration::from_secs(5)).outcomes().await?;
                }
                Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    })
}

fn used_memory(lab: &Lab) -> Result<f64> {
    let info: String = lab.redis().run(&["INFO", "memory"])?;
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
    Ok(used.context("INFO memory lacks used_memory")?.trim().parse()?)
}

/// Measures in a process of its own, since memory that one holder gives back would be taken by the next without growth.
fn in_process(holder: Holder, name: &str) -> Result<Vec<String>> {
    let output = Command::new(std::env::current_exe()?).args(["growth", name]).output()?;
    ensure!(output.status.success(), "measuring {name} failed: {}", String::from_utf8_lossy(&output.stderr));
    let growth: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
    let key = match holder.algorithm() {
        Some(algorithm) => key_bytes(&limit(algorithm), IN_PROCESS),
        None => (0..IN_PROCESS).map(|number| subject(number).len()).sum::<usize>() as f64 / IN_PROCESS as f64,
    };
    Ok([name.to_owned()].into_iter().chain([key, growth, growth - key].map(whole)).collect())
}

/// By how many bytes this process grows for each of a million counters.
///
/// # Errors
///
/// Fails where the system does not say how large a process is.
pub fn growth(holder: Holder) -> Result<f64> {
    let check = holder.check();
    // What the first counters bring with them is not theirs.
    check(&"warm".to_owned());
    let before = resident_bytes()?;
    for number in 0..IN_PROCESS {
        check(&subject(number));
    }
    let after = resident_bytes()?;
    drop(check);
    Ok((after - before) / IN_PROCESS as f64)
}

impl Holder {
    const fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::TokenBucket => Some(Algorithm::TokenBucket),
            Self::FixedWindow => Some(Algorithm::FixedWindow),
            Self::SlidingWindow => Some(Algorithm::SlidingWindow),
            Self::Governor | Self::Throttlecrab | Self::Limitador => None,
        }
    }

    fn check(self) -> Box<Check> {
        match self {
            Self::Governor => peers::governor(),
            Self::Throttlecrab => peers::throttlecrab(),
            Self::Limitador => peers::limitador(2 * IN_PROCESS as u64),
            Self::TokenBucket => ours(Algorithm::TokenBucket),
            Self::FixedWindow => ours(Algorithm::FixedWindow),
            Self::SlidingWindow => ours(Algorithm::SlidingWindow),
        }
    }
}

fn ours(algorithm: Algorithm) -> Box<Check> {
    let store = Memory::with_capacity(SystemClock::new(), 2 * IN_PROCESS);
    let limit = limit(algorithm);
    let keys = KeySpace::new("ratelimit", "acme", "tiered");
    Box::new(move |subject| {
        let charge =
            Charge { key: keys.key(&limit, subject), limit: limit.clone(), cost: 7, mode: Mode::Enforce, holder: 0 };
        let charged = matches!(store.charge(&[charge], Duration::MAX), Reply::Ready(Ok(_)));
        assert!(charged, "memory always answers");
    })
}

fn resident_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("only Linux says how large a process is")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(resident.context("/proc/self/status lacks VmRSS")?.trim().parse::<f64>()? * 1024.0)
}

fn whole(number: f64) -> String {
    format!("{number:.0}")
}
