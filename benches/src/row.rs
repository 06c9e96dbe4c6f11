//! What is compared: sides, rows and goals.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::lab::Lab;

/// What one run of one side showed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sample {
    /// How many decisions there were.
    pub decisions: u64,
    /// Decisions per second, of all tasks and threads together.
    pub per_second: f64,
    /// The median of the time to an answer, in microseconds.
    pub p50_us: Option<f64>,
    /// Its 99th percentile.
    pub p99_us: Option<f64>,
    /// Processor time of this process for each decision, user and kernel.
    pub client_cpu_us: Option<f64>,
    /// Processor time of Redis for each decision.
    pub redis_cpu_us: Option<f64>,
    /// How many cores everybody else on this machine kept busy meanwhile, where the system says it.
    pub others: Option<f64>,
}

/// One contender.
pub struct Side {
    /// Its name, `tollgate` or a peer's.
    pub name: &'static str,
    /// Makes it ready: connections, instances and counters are there then.
    pub prepare: Box<dyn FnOnce() -> Result<Run>>,
}

/// Runs a side for this long.
pub type Run = Box<dyn FnMut(Duration) -> Result<Sample>>;

impl Side {
    /// A contender that `prepare` makes ready.
    pub fn new(name: &'static str, prepare: impl FnOnce() -> Result<Run> + 'static) -> Self {
        Self { name, prepare: Box::new(prepare) }
    }
}

/// What of a sample a row compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Decisions per second: more is better.
    Rate,
    /// The time that a decision costs, the inverse of the rate: less is better.
    Time,
    /// The processor time that a decision costs this process, which holds on a busy machine too: less is better.
    Cpu,
    /// The median of the time to an answer: less is better.
    P50,
    /// Its 99th percentile: less is better.
    P99,
}

impl Metric {
    /// The number in a sample.
    #[must_use]
    pub fn of(self, sample: &Sample) -> Option<f64> {
        match self {
            Self::Rate => Some(sample.per_second),
            Self::Time => Some(1e9 / sample.per_second),
            Self::Cpu => Some(sample.client_cpu_us? * 1e3),
            Self::P50 => sample.p50_us,
            Self::P99 => sample.p99_us,
        }
    }

    /// Whether more is better.
    #[must_use]
    pub const fn is_gain(self) -> bool {
        matches!(self, Self::Rate)
    }
}

/// Which ratio of ours to the best peer is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// So much of what the peer does, or more.
    AtLeast(f64),
    /// So much of what the peer takes, or less.
    AtMost(f64),
}

impl Goal {
    /// Whether `ratio` is good enough.
    #[must_use]
    pub fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(goal) => ratio >= goal,
            Self::AtMost(goal) => ratio <= goal,
        }
    }
}

/// One line of the table: one side against the best of others.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name, in parts from the general to the special: `redis/gcra/uniform/256`.
    pub id: String,
    /// The side that is ours.
    pub ours: &'static str,
    /// The sides that it is measured by.
    pub peers: &'static [&'static str],
    /// What is compared.
    pub metric: Metric,
    /// What is good enough, if anything was promised.
    pub goal: Option<Goal>,
}

/// Sides that run in turn, and the rows that they answer.
pub struct Group {
    /// The rows.
    pub rows: Vec<Row>,
    /// Whether the short run has it.
    pub quick: bool,
    /// Names the sides, in a lab without counters.
    pub sides: Box<Sides>,
}

/// Names sides that run in this lab.
pub type Sides = dyn Fn(&Lab) -> Result<Vec<Side>>;
