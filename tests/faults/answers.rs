//! The figures of a row's answers.

use std::collections::BTreeMap;

use tollgate::Source;

use crate::log::{Log, Record};
use crate::noise;
use crate::trial::GRACE;

/// The figures of a row's answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// How many decisions there were.
    pub(crate) decisions: u64,
    /// How many of each source.
    pub(crate) sources: BTreeMap<String, u64>,
    /// How long the median took.
    pub(crate) p50_us: u64,
    /// How long all but one of a hundred took at most.
    pub(crate) p99_us: u64,
    /// How long the slowest took.
    pub(crate) max_us: u64,
    /// How many took longer than the deadline and 10 ms.
    pub(crate) over: u64,
    /// How many of those took longer even without what the machine kept them waiting.
    pub(crate) late: u64,
    /// The longest that the machine kept the load waiting at once.
    pub(crate) noise_us: u64,
}

impl Answers {
    /// The figures of a load.
    pub(crate) fn of(log: &Log) -> Self {
        let mut took_us: Vec<u64> = log.records().map(|record| record.took_us).collect();
        took_us.sort_unstable();
        let at = |share: f64| took_us.get((took_us.len() as f64 * share) as usize).or(took_us.last()).copied();
        let bound_us = noise::micros(log.deadline + GRACE);
        let over: Vec<&Record> = log.records().filter(|record| record.took_us > bound_us).collect();
        let late = over.iter().filter(|record| {
            record.took_us > bound_us + noise::between(&log.stalls, record.began_us, record.ended_us())
        });
        let mut sources = BTreeMap::new();
        for record in log.records() {
            *sources.entry(source(record.source)).or_default() += 1;
        }
        Self {
            decisions: took_us.len() as u64,
            sources,
            p50_us: at(0.5).unwrap_or(0),
            p99_us: at(0.99).unwrap_or(0),
            max_us: took_us.last().copied().unwrap_or(0),
            over: over.len() as u64,
            late: late.count() as u64,
            noise_us: noise::longest_us(&log.stalls),
        }
    }

    /// Puts the figures of another load to these; of the percentiles the worse ones stay.
    pub(crate) fn add(&mut self, other: &Self) {
        self.decisions += other.decisions;
        for (source, count) in &other.sources {
            *self.sources.entry(source.clone()).or_default() += count;
        }
        self.p50_us = self.p50_us.max(other.p50_us);
        self.p99_us = self.p99_us.max(other.p99_us);
        self.max_us = self.max_us.max(other.max_us);
        self.over += other.over;
        self.late += other.late;
        self.noise_us = self.noise_us.max(other.noise_us);
    }
}

/// The source as the table names it, such as `store-fault timeout`.
pub(crate) fn source(source: Source) -> String {
    source.fault().map_or_else(|| source.name().to_owned(), |fault| format!("{} {fault}", source.name()))
}
