//! What is counted of a tier's decisions, for whoever installed a recorder of the `metrics` crate before the tier was built.

use std::fmt;
use std::sync::Arc;

use metrics::{Counter, Histogram, counter, histogram};

use super::Tollgate;
use crate::model::{Decision, PolicyId, Source, Verdict};
use crate::store::StoreStats;
use crate::time::Timestamp;

/// The meters of one version of a tier. Without a recorder they cost next to nothing.
pub(super) struct Meters {
    tier: Arc<str>,
    policy: Arc<PolicyId>,
    allowed: Counter,
    delayed: Counter,
    denied: Counter,
    seconds: Histogram,
}

const DECISIONS: &str = "tollgate_decisions_total";
/// Of so many decisions one is timed: reading the clock again costs more than all other meters.
const TIMED: u64 = 16;
/// How much of a digest tells versions apart.
const DIGEST: usize = 12;

impl Meters {
    pub(super) fn new(tier: &Arc<str>, policy: &Arc<PolicyId>) -> Self {
        let of = |verdict| decisions(tier, policy, verdict, Source::Policy);
        Self {
            tier: Arc::clone(tier),
            policy: Arc::clone(policy),
            allowed: of(Verdict::Allow),
            delayed: of(Verdict::Delay(std::time::Duration::ZERO)),
            denied: of(Verdict::Deny),
            seconds: histogram!("tollgate_decision_seconds", "tier" => tier.to_string()),
        }
    }

    /// Takes note of a decision that was asked for at `asked`, and asks for the time if this is one of those that are timed.
    pub(super) fn note(&self, decision: &Decision, asked: Timestamp, now: impl FnOnce() -> Timestamp) {
        match (decision.source, decision.verdict) {
            (Source::Policy, Verdict::Allow) => self.allowed.increment(1),
            (Source::Policy, Verdict::Delay(_)) => self.delayed.increment(1),
            (Source::Policy, Verdict::Deny) => self.denied.increment(1),
            (source, verdict) => decisions(&self.tier, &self.policy, verdict, source).increment(1),
        }
        if asked.as_micros().is_multiple_of(TIMED) {
            self.seconds.record(now().since(asked).as_secs_f64());
        }
    }
}

fn decisions(tier: &str, policy: &PolicyId, verdict: Verdict, source: Source) -> Counter {
    counter!(
        DECISIONS,
        "tier" => tier.to_owned(),
        "policy" => policy.name.clone(),
        "digest" => policy.digest.get(..DIGEST).unwrap_or_default().to_owned(),
        "verdict" => verdict.name(),
        "source" => source.name(),
        "fault" => source.fault().unwrap_or_default(),
    )
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").field("tier", &self.tier).finish_non_exhaustive()
    }
}

impl Tollgate {
    /// Tells the recorder of the `metrics` crate how things stand: for whoever is about to read it. Decisions are counted as they are made.
    pub fn record(&self) {
        metrics::gauge!("tollgate_generation").set(self.generation() as f64);
        for report in self.shadows() {
            let flips = |kind: &'static str| counter!("tollgate_shadow_verdicts_total", "tier" => report.tier.to_string(), "digest" => report.policy.digest.clone(), "kind" => kind);
            flips("stricter").absolute(report.total.stricter);
            flips("looser").absolute(report.total.looser);
            flips("fault").absolute(report.total.faults);
            flips("decided").absolute(report.total.decided);
        }
        if let Some(stats) = self.store_stats() {
            record_store(&stats);
        }
    }
}

fn record_store(stats: &StoreStats) {
    let counts = [
        ("tollgate_store_lists_total", stats.asked),
        ("tollgate_store_faults_total", stats.faults),
        ("tollgate_store_circuit_opened_total", stats.circuit_opened),
        ("tollgate_store_circuit_refused_total", stats.circuit_refused),
        ("tollgate_store_probes_total", stats.probes),
        ("tollgate_store_local_answers_total", stats.local_answers),
        ("tollgate_store_carried_total", stats.carried),
        ("tollgate_store_not_carried_total", stats.not_carried),
        ("tollgate_store_owed_dropped_total", stats.owed_dropped),
        ("tollgate_store_refusals_answered_total", stats.refusals_answered),
        ("tollgate_lease_draws_total", stats.draws),
        ("tollgate_lease_drawn_total", stats.shares_drawn),
        ("tollgate_lease_returned_total", stats.shares_returned),
        ("tollgate_lease_lost_total", stats.shares_lost),
        ("tollgate_lease_answers_total", stats.lease_answers),
        ("tollgate_lease_refusals_total", stats.lease_refusals),
    ];
    for (name, count) in counts {
        counter!(name).absolute(count);
    }
    let gauges = [
        ("tollgate_store_circuit_open", u64::from(stats.circuit_open)),
        ("tollgate_store_owed_counters", stats.owed_counters),
        ("tollgate_store_refusals", stats.refusals),
        ("tollgate_lease_shares_held", stats.shares_held),
    ];
    for (name, value) in gauges {
        metrics::gauge!(name).set(value as f64);
    }
}
