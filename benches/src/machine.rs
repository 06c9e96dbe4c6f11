//! The machine that the rows run on: who else is on it.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::Instant;

use anyhow::Result;

use crate::row::Sample;

/// Notes how many cores others kept busy while `run` ran.
pub(crate) fn beside(run: impl FnOnce() -> Result<Sample>) -> Result<Sample> {
    let (began, busy) = (Instant::now(), busy_seconds());
    let sample = run()?;
    let took = began.elapsed().as_secs_f64();
    let all = busy_seconds().zip(busy).map(|(after, before)| (after - before) / took);
    let each = sample.client_cpu_us.unwrap_or_default() + sample.redis_cpu_us.unwrap_or_default();
    let own = each * sample.decisions as f64 / 1e6 / took;
    Ok(Sample { others: all.map(|all| (all - own).max(0.0)), ..sample })
}

/// Processor time that all processes took since the machine started; none where the system does not say so as Linux does.
fn busy_seconds() -> Option<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<f64> = stat.lines().next()?.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy = ticks.iter().take(8).enumerate().filter(|(field, _)| !matches!(field, 3 | 4)).map(|(_, ticks)| ticks);
    Some(busy.sum::<f64>() / TICKS_PER_SECOND)
}
