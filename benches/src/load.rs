//! Puts a side under load, and measures what came of it.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::keys::Keys;
use crate::row::Sample;

/// One side over a store that is waited for: one decision that has to pass.
pub trait Decide: Send + Sync + 'static {
    /// Decides, and fails if the answer is not what the row is about.
    fn decide(&self, subject: &str) -> impl Future<Output = Result<()>> + Send;
}

/// One side in process: decides, and panics if the answer is not what the row is about. A subject is owned, as governor asks for it.
pub type Check = dyn Fn(&String) + Sync;

/// So many tasks that each ask again as soon as they have their answer.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many tasks.
    pub in_flight: usize,
    /// What they ask for.
    pub keys: Keys,
}

impl Load {
    /// Asks each subject once and then for a moment more, so that counters, connections and instances are there.
    ///
    /// # Errors
    ///
    /// Fails with the first decision that does.
    pub fn warm<D: Decide>(&self, runtime: &Runtime, side: &Arc<D>) -> Result<()> {
        const TASKS: usize = 64;
        let each = |task: usize| {
            let (keys, side) = (self.keys.clone(), Arc::clone(side));
            async move {
                for subject in keys.each().skip(task).step_by(TASKS) {
                    side.decide(subject).await?;
                }
                Ok(Vec::new())
            }
        };
        runtime.block_on(join((0..TASKS).map(each)))?;
        self.run(runtime, side, Duration::from_millis(150)).map(drop)
    }

    /// Asks for this long.
    ///
    /// # Errors
    ///
    /// Fails with the first decision that does.
    pub fn run<D: Decide>(&self, runtime: &Runtime, side: &Arc<D>, time: Duration) -> Result<Sample> {
        let used = process_time();
        let began = Instant::now();
        let until = began + time;
        let task = |number: usize| {
            let (keys, side, parts) = (self.keys.clone(), Arc::clone(side), self.in_flight);
            async move {
                let mut waits: Vec<u32> = Vec::with_capacity(1 << 10);
                let mut asked = Instant::now();
                for subject in keys.round(number, parts) {
                    side.decide(subject).await?;
                    let now = Instant::now();
                    waits.push(u32::try_from((now - asked).as_nanos()).unwrap_or(u32::MAX));
                    asked = now;
                    if now >= until {
                        break;
                    }
                }
                Ok(waits)
            }
        };
        let waits = runtime.block_on(join((0..self.in_flight).map(task)))?;
        let took = began.elapsed();
        let used = process_time() - used;
        sample(&waits, took, used)
    }
}

/// Nanoseconds that each decision took, task by task.
type Waits = Vec<Vec<u32>>;

async fn join<F: Future<Output = Result<Vec<u32>>> + Send + 'static>(tasks: impl Iterator<Item = F>) -> Result<Waits> {
    let mut tasks: JoinSet<Result<Vec<u32>>> = tasks.collect();
    let mut waits = Vec::new();
    while let Some(task) = tasks.join_next().await {
        waits.push(task??);
    }
    Ok(waits)
}

fn sample(waits: &Waits, took: Duration, used: Duration) -> Result<Sample> {
    let mut histogram: Histogram<u64> = Histogram::new_with_bounds(1, u64::from(u32::MAX), 3)?;
    for wait in waits.iter().flatten() {
        histogram.record(u64::from(*wait))?;
    }
    let count = histogram.len();
    let decisions = count as f64;
    let quantile = |quantile| Some(histogram.value_at_quantile(quantile) as f64 / 1e3);
    Ok(Sample {
        decisions: count,
        per_second: decisions / took.as_secs_f64(),
        p50_us: quantile(0.50),
        p99_us: quantile(0.99),
        client_cpu_us: Some(used.as_secs_f64() * 1e6 / decisions),
        ..Sample::default()
    })
}

/// Checks on so many threads for this long.
///
/// # Errors
///
/// Fails if a thread panicked.
pub fn check(side: &Check, keys: &Keys, threads: usize, time: Duration) -> Result<Sample> {
    let used = process_time();
    let began = Instant::now();
    let counts: Result<Vec<u64>> = std::thread::scope(|scope| {
        let work = |thread| move || check_until(side, keys.round(thread, threads), began + time);
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().ok().context("a side panicked")).collect()
    });
    let count = counts?.into_iter().sum::<u64>();
    let decisions = count as f64;
    let took = began.elapsed();
    let used = process_time() - used;
    Ok(Sample {
        decisions: count,
        per_second: decisions / took.as_secs_f64(),
        client_cpu_us: Some(used.as_secs_f64() * 1e6 / decisions),
        ..Sample::default()
    })
}

fn check_until<'a>(side: &Check, subjects: impl Iterator<Item = &'a String>, until: Instant) -> u64 {
    // The clock is read once for so many decisions, since a fast side costs little more than a clock.
    const BETWEEN_LOOKS: u64 = 256;
    let mut decisions = 0;
    for subject in subjects {
        side(subject);
        decisions += 1;
        if decisions % BETWEEN_LOOKS == 0 && Instant::now() >= until {
            break;
        }
    }
    decisions
}

/// Processor time of all threads of this process until now.
#[must_use]
pub fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
