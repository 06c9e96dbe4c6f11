//! One row being tried: what was seen, and what was not as it must be.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use redis::Connection;
use tollgate::{Algorithm, FaultKind, KeySpace, Limit, PolicyFaultKind, Quota, Source};

use crate::answers::{Answers, source};
use crate::load::{LIMIT, MAX, tenant};
use crate::log::{Log, Moment, Record};
use crate::noise;
use crate::server::{self, Server};

/// What a row has seen so far.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    /// The file that this process, and nobody else, has as `/etc/hosts`.
    pub(crate) hosts: Option<PathBuf>,
    /// Why it fails; nothing if it passes.
    pub(crate) failures: Vec<String>,
    /// What is worth knowing beside the figures.
    pub(crate) notes: Vec<String>,
    /// The figures of its answers, of all its loads together.
    pub(crate) answers: Answers,
    /// How long after the fault ended a policy decided again: the longest of them, if there are several.
    pub(crate) recovery: Option<Recovery>,
    /// What was admitted against what was counted.
    pub(crate) counts: Option<Counts>,
}

/// How a fault ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    /// How long it took until a policy decided a question that was asked after the end.
    pub(crate) took_us: u64,
    /// How long it took until no question was decided by a rule any more.
    pub(crate) steady_us: u64,
    /// How long the first may take.
    pub(crate) bound_us: u64,
}

/// What was admitted against what was counted, in units of cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// What policies admitted.
    pub(crate) acknowledged: u64,
    /// What the counters hold.
    pub(crate) stored: u64,
    /// What rules decided though it may have been counted.
    pub(crate) unsure: u64,
    /// What was admitted and is missing in its counter.
    pub(crate) lost: u64,
    /// What the counters hold beyond what was admitted.
    pub(crate) over: u64,
}

/// How much longer than its deadline a decision may take.
pub(crate) const GRACE: Duration = Duration::from_millis(10);

impl Trial {
    /// A row that fails for this reason before anything was seen.
    pub(crate) fn failed(why: String) -> Self {
        Self { failures: vec![why], ..Self::default() }
    }

    /// Fails the row with `why` unless `holds`.
    pub(crate) fn must(&mut self, holds: bool, why: impl FnOnce() -> String) {
        if !holds {
            self.failures.push(why());
        }
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// What every row requires: an answer to each question, in time, that names a source other than a broken policy.
    pub(crate) fn answered(&mut self, log: &Log) {
        let answers = Answers::of(log);
        self.must(log.silent == 0, || format!("{} callers never had their last answer", log.silent));
        self.must(answers.late == 0, || {
            let bound = log.deadline + GRACE;
            format!("{} decisions took longer than {bound:?} and the machine's own delay", answers.late)
        });
        let broken = log.records().filter(|record| matches!(record.source, Source::PolicyFault(_)));
        let broken: Vec<_> = broken.filter(|record| !is_spoiled(log, record)).collect();
        self.must(broken.is_empty(), || {
            let first = broken.first().map_or(String::new(), |record| {
                let kept = noise::between(&log.stalls, record.began_us, record.ended_us());
                format!("{} after {} us, {kept} of them the machine's", source(record.source), record.took_us)
            });
            format!("{} decisions blame the policy: {first}", broken.len())
        });
        self.answers.add(&answers);
    }

    /// The fault was felt: between the two moments, rules decided.
    pub(crate) fn felt(&mut self, log: &Log, from: Moment, to: Moment) {
        let faults = log.between(from, to).filter(|record| !record.is_by_policy()).count();
        self.must(faults > 0, || "no decision felt the fault, so the row has shown nothing".to_owned());
    }

    /// The fault was whole: of the questions asked while it lasted, no policy decided one. Otherwise something ended it early.
    pub(crate) fn dark(&mut self, log: &Log, from: Moment, to: Moment) {
        let settled = Moment(from.0 + noise::micros(2 * log.deadline));
        let decided =
            log.between(settled, to).filter(|record| record.is_by_policy() && record.ended_us() <= to.0).count();
        self.must(decided == 0, || {
            format!("{decided} questions were decided by a policy while the server was out of reach")
        });
    }

    /// Nothing was felt: between the two moments, policies decided all but what the machine's own delay spoiled.
    pub(crate) fn unfelt(&mut self, log: &Log, from: Moment, to: Moment) {
        // What was still under way then felt what came after.
        let faults = log.between(from, to).filter(|record| record.ended_us() <= to.0 && !record.is_by_policy());
        let (excused, faults): (Vec<&Record>, Vec<&Record>) = faults.partition(|record| is_spoiled(log, record));
        if !excused.is_empty() {
            let half = log.deadline / 2;
            self.note(format!(
                "{} decisions ran out of time while the machine kept them waiting for {half:?}",
                excused.len()
            ));
        }
        self.must(faults.is_empty(), || {
            let first = faults.first().map_or(String::new(), |record| source(record.source));
            format!("{} decisions were made by a rule ({first}), and none should be", faults.len())
        });
    }

    /// After `healed`, a policy decided within `bound`, and at the end policies decide all.
    pub(crate) fn recovered(&mut self, log: &Log, healed: Moment, bound: Duration) {
        let after = || log.records().filter(|record| record.began_us >= healed.0);
        let Some(first_us) = after().filter(|record| record.is_by_policy()).map(Record::ended_us).min() else {
            self.failures.push("no policy ever decided again".to_owned());
            return;
        };
        let last_fault_us = after().filter(|record| !record.is_by_policy()).map(Record::ended_us).max();
        let recovery = Recovery {
            took_us: first_us - healed.0,
            steady_us: last_fault_us.unwrap_or(first_us).max(first_us) - healed.0,
            bound_us: noise::micros(bound),
        };
        let excused_us = noise::between(&log.stalls, healed.0, first_us);
        self.must(recovery.took_us <= recovery.bound_us + excused_us, || {
            format!("recovered after {} ms instead of {} ms", recovery.took_us / 1_000, bound.as_millis())
        });
        self.unfelt(log, Moment(log.ended.0.saturating_sub(300_000)), log.ended);
        if self.recovery.is_none_or(|known| known.took_us < recovery.took_us) {
            self.recovery = Some(recovery);
        }
    }

    /// Each counter holds all that was admitted, and at most what may have been counted beside.
    pub(crate) fn counted(&mut self, log: &Log, server: &Server) -> Result<()> {
        self.counted_by(log, &mut server.connect()?)
    }

    /// As [`counted`](Self::counted), over a connection to where the counters are.
    pub(crate) fn counted_by(&mut self, log: &Log, connection: &mut Connection) -> Result<()> {
        let counts = self.tally(log, |key| server::run(connection, &["GET", key]))?;
        self.must(counts.lost == 0, || format!("{} admitted hits are not counted", counts.lost));
        self.in_order(log);
        Ok(())
    }

    /// Compares each counter with what its caller was admitted; says nothing of what is lost.
    pub(crate) fn tally(&mut self, log: &Log, mut read: impl FnMut(&str) -> Result<Option<Vec<u8>>>) -> Result<Counts> {
        let mut counts = Counts::default();
        let mut unexplained = 0;
        for (caller, records) in (0..).zip(&log.callers) {
            let sum =
                |of: fn(&Record) -> bool| records.iter().filter(|record| of(record)).map(|record| record.cost).sum();
            let acknowledged: u64 = sum(|record| record.is_by_policy() && record.allowed);
            let unsure: u64 = sum(Record::is_unsure);
            let stored = used(read(&key(caller))?.as_deref())?;
            counts.acknowledged += acknowledged;
            counts.stored += stored;
            counts.unsure += unsure;
            counts.lost += acknowledged.saturating_sub(stored);
            counts.over += stored.saturating_sub(acknowledged);
            unexplained += stored.saturating_sub(acknowledged + unsure);
        }
        self.must(unexplained == 0, || format!("{unexplained} hits are counted that nobody asked for or was told of"));
        self.counts = Some(counts);
        Ok(counts)
    }

    /// Every answer fits the ones before it: no caller was told the state of another's counter, or of an earlier question.
    pub(crate) fn in_order(&mut self, log: &Log) {
        let strange: usize = log.callers.iter().map(|records| strange(records)).sum();
        self.must(strange == 0, || format!("{strange} answers tell a state that their counter cannot have had"));
    }
}

/// Whether a decision ran out of time, of which the machine itself took half.
fn is_spoiled(log: &Log, record: &Record) -> bool {
    let is_late =
        matches!(record.source, Source::StoreFault(FaultKind::Timeout) | Source::PolicyFault(PolicyFaultKind::Time));
    is_late && 2 * noise::between(&log.stalls, record.began_us, record.ended_us()) >= noise::micros(log.deadline)
}

/// How many answers do not fit the ones before them.
fn strange(records: &[Record]) -> usize {
    let (mut known, mut unsure, mut strange) = (0, 0, 0);
    for record in records {
        match record.used {
            Some(used) => {
                let least = known + record.cost;
                strange += usize::from(!(least..=least + unsure).contains(&used));
                unsure -= used.clamp(least, least + unsure) - least;
                known = used.max(least);
            }
            None if record.is_unsure() => unsure += record.cost,
            None => {}
        }
    }
    strange
}

/// The key of a caller's counter.
pub(crate) fn key(caller: u64) -> String {
    let quota = Quota { max: MAX, window: Duration::from_secs(1), burst: 1 };
    let limit = Limit::new(LIMIT, Algorithm::FixedWindow, quota).expect("the numbers are in range");
    KeySpace::new("ratelimit", &tenant(caller), "tiered").key(&limit, "s")
}

/// What a counter stands at: the last number of a window's 17 bytes. Read here on purpose by other code than the product's.
fn used(held: Option<&[u8]>) -> Result<u64> {
    const BYTES: usize = 17;
    let Some(held) = held else { return Ok(0) };
    let count = held.last_chunk().filter(|_| held.len() == BYTES);
    let count = count.with_context(|| format!("{held:?} is no window's counter"))?;
    Ok(u32::from_le_bytes(*count).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(used: u64) -> Record {
        let source = Source::Policy;
        Record { began_us: 0, took_us: 1, cost: 1, source, allowed: true, used: Some(used) }
    }

    fn fault(kind: FaultKind) -> Record {
        Record { source: Source::StoreFault(kind), used: None, ..answer(0) }
    }

    #[track_caller]
    fn check(records: &[Record], expected: usize) {
        assert_eq!(strange(records), expected, "{records:?}");
    }

    #[test]
    fn each_answer_counts_one_more_than_the_one_before() {
        check(&[answer(1), answer(2), answer(3)], 0);
        check(&[answer(1), answer(1)], 1);
        check(&[answer(1), answer(3)], 1);
        check(&[answer(7)], 1);
    }

    #[test]
    fn what_may_have_been_counted_may_show_later_and_once() {
        let unsure = fault(FaultKind::Timeout);
        check(&[answer(1), unsure, answer(2)], 0);
        check(&[answer(1), unsure, answer(3), answer(4)], 0);
        check(&[answer(1), unsure, answer(2), answer(4)], 0);
        check(&[answer(1), unsure, answer(3), answer(5)], 1);
    }

    #[test]
    fn what_was_refused_was_not_counted() {
        check(&[answer(1), fault(FaultKind::Refused), answer(2)], 0);
        check(&[answer(1), fault(FaultKind::Refused), answer(3)], 1);
    }
}
