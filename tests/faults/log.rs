//! What became of a load: every decision, and when the machine was slow.

use std::collections::BTreeSet;
use std::time::Duration;

use tollgate::{FaultKind, Source};

use crate::noise::Stall;

/// What became of a load.
pub(crate) struct Log {
    /// What became of the questions of each caller, in order.
    pub(crate) callers: Vec<Vec<Record>>,
    /// How many callers never had an answer to their last question.
    pub(crate) silent: u64,
    /// When the machine was slow.
    pub(crate) stalls: Vec<Stall>,
    /// When it ended.
    pub(crate) ended: Moment,
    /// How long a decision was allowed to take.
    pub(crate) deadline: Duration,
}

impl Log {
    /// The log of these callers, and the log of all others. In each, a caller that is not in it has asked nothing.
    pub(crate) fn split(&self, callers: &BTreeSet<u64>) -> (Self, Self) {
        let only = |wanted: bool| Self {
            callers: (0..)
                .zip(&self.callers)
                .map(|(caller, records)| if callers.contains(&caller) == wanted { records.clone() } else { Vec::new() })
                .collect(),
            stalls: self.stalls.clone(),
            ..*self
        };
        (only(true), only(false))
    }

    /// Every decision.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.callers.iter().flatten()
    }

    /// Every decision that was asked for between two moments.
    pub(crate) fn between(&self, from: Moment, to: Moment) -> impl Iterator<Item = &Record> {
        self.records().filter(move |record| (from.0..to.0).contains(&record.began_us))
    }
}

/// What became of one decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    /// When it was asked for, counted from the beginning of the load.
    pub(crate) began_us: u64,
    /// How long it took.
    pub(crate) took_us: u64,
    /// What it cost.
    pub(crate) cost: u64,
    /// Who gave the verdict.
    pub(crate) source: Source,
    /// Whether it was admitted.
    pub(crate) allowed: bool,
    /// What the counter then stood at, if a policy decided.
    pub(crate) used: Option<u64>,
}

impl Record {
    pub(crate) fn ended_us(&self) -> u64 {
        self.began_us + self.took_us
    }

    pub(crate) fn is_by_policy(&self) -> bool {
        self.source == Source::Policy
    }

    /// Whether it may have been counted though no policy decided.
    pub(crate) fn is_unsure(&self) -> bool {
        // A policy that fails may have charged before.
        matches!(self.source, Source::StoreFault(FaultKind::Timeout | FaultKind::Unavailable) | Source::PolicyFault(_))
    }
}

/// A moment of the load, in microseconds since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(pub(crate) u64);
