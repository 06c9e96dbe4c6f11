//! Tells the operator of faults, without drowning the log when every request has one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::Decision;
use crate::time::Timestamp;

/// A log of faults that writes at most one line a second, and says how many it left out.
#[derive(Debug, Default)]
pub(super) struct FaultLog {
    silent_until_ms: AtomicU64,
    left_out: AtomicU64,
}

const SILENCE_MS: u64 = 1_000;

impl FaultLog {
    /// Tells that `decision` was made by a rule, because of `message`.
    pub(super) fn tell(&self, now: Timestamp, decision: &Decision, message: &str) {
        let now = now.as_millis();
        let silent_until = self.silent_until_ms.load(Ordering::Relaxed);
        let mine = now >= silent_until
            && self
                .silent_until_ms
                .compare_exchange(silent_until, now + SILENCE_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !mine {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        }
        tracing::warn!(
            source = decision.source.name(),
            fault = decision.source.fault().unwrap_or(""),
            tier = &*decision.tier,
            policy = decision.policy.as_ref().map_or("", |policy| policy.name.as_str()),
            verdict = decision.verdict.name(),
            left_out = self.left_out.swap(0, Ordering::Relaxed),
            "decided by rule: {message}",
        );
    }
}
