//! How long the machine itself kept the load waiting.
//!
//! A decision that comes late because no core was free is no fault of the product. So a thread that only sleeps takes note of how much later it
//! wakes than asked, and of how long each thread of the load stood in the queue for a core, as Linux counts it. A blocked thread stands in no
//! queue: what the product does wrong excuses nothing.

#![expect(clippy::disallowed_methods, reason = "watches the real clock")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A thread that watches the machine.
#[derive(Debug)]
pub struct Noise {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Stall>>,
}

/// The threads whose waiting counts.
#[derive(Clone, Debug, Default)]
pub struct Threads(Arc<Mutex<Vec<PathBuf>>>);

/// A moment at which the machine was slow.
#[derive(Clone, Copy, Debug)]
pub struct Stall {
    began_us: u64,
    ended_us: u64,
    lost_us: u64,
}

const TICK: Duration = Duration::from_millis(2);
/// Less is what timers are off by anyway.
const WORTH_NOTING_US: u64 = 500;

impl Threads {
    /// Lets the waiting of this thread count.
    pub fn add_this_one(&self) {
        if let Ok(this) = fs::read_link("/proc/thread-self") {
            let file = PathBuf::from("/proc").join(this).join("schedstat");
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        }
    }

    /// How long they waited for a core since they began, all together.
    fn waited_us(&self) -> u64 {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().filter_map(|file| waited_ns(&fs::read_to_string(file).ok()?)).sum::<u64>() / 1_000
    }
}

/// How long all threads of this process stood in the queue for a core until now, together; zero where the system does not say so as Linux does.
#[must_use]
pub fn waited_for_a_core() -> Duration {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let waited = threads.filter_map(|thread| waited_ns(&fs::read_to_string(thread.path().join("schedstat")).ok()?));
    Duration::from_nanos(waited.sum())
}

/// The second number of a schedstat: nanoseconds in the queue.
fn waited_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().nth(1)?.parse().ok()
}

impl Noise {
    /// Watches from now on; the moments count from `origin`.
    #[must_use]
    pub fn watch(origin: Instant, threads: Threads) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut stalls = Vec::new();
            let mut waited = threads.waited_us();
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                thread::sleep(TICK);
                let overslept = micros(began.elapsed().saturating_sub(TICK));
                let waited_now = threads.waited_us();
                let lost_us = overslept.max(waited_now.saturating_sub(waited));
                waited = waited_now;
                if lost_us >= WORTH_NOTING_US {
                    let (began_us, ended_us) = (micros(began - origin), micros(origin.elapsed()));
                    stalls.push(Stall { began_us, ended_us, lost_us });
                }
            }
            stalls
        });
        Self { stop, thread }
    }

    /// Stops watching, and answers every stall in order.
    #[must_use]
    pub fn end(self) -> Vec<Stall> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// How long the machine kept the load waiting between two moments.
#[must_use]
pub fn between(stalls: &[Stall], from_us: u64, to_us: u64) -> u64 {
    let first = stalls.partition_point(|stall| stall.ended_us < from_us);
    stalls.iter().skip(first).take_while(|stall| stall.began_us <= to_us).map(|stall| stall.lost_us).sum()
}

/// The longest single stall.
#[must_use]
pub fn longest_us(stalls: &[Stall]) -> u64 {
    stalls.iter().map(|stall| stall.lost_us).max().unwrap_or(0)
}

/// In whole microseconds.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stalls_that_touch_the_span_count() {
        let stalls = [(0, 10, 4), (20, 30, 5), (40, 50, 6)].map(|(began_us, ended_us, lost_us)| Stall {
            began_us,
            ended_us,
            lost_us,
        });
        for (from_us, to_us, lost_us) in [(11, 19, 0), (10, 20, 9), (25, 26, 5), (0, 100, 15), (51, 60, 0)] {
            assert_eq!(between(&stalls, from_us, to_us), lost_us, "{from_us} to {to_us}");
        }
        assert_eq!(longest_us(&stalls), 6);
    }

    #[test]
    fn a_thread_knows_how_long_it_waited_for_a_core() {
        assert_eq!(waited_ns("930667 3140168 3"), Some(3_140_168));
        assert_eq!(waited_ns(""), None);
    }
}
