//! A decision in JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::model::{Charged, Decision, Verdict};
use crate::time::Timestamp;

/// The answer to `tenant`, as `POST /v1/check` gives it: the verdict, its source, and every limit with what remains. Times in
/// milliseconds, rounded up.
#[must_use]
pub fn answer(decision: &Decision, tenant: &str) -> Value {
    let mut answer = json!({
        "allowed": decision.is_allowed(),
        "verdict": decision.verdict.name(),
        "reason": decision.reason,
        "source": decision.source.name(),
        "tenant": tenant,
        "tier": *decision.tier,
        "generation": decision.generation,
        "binding": decision.binding().map(|charged| charged.limit.id()),
        "retry_after_ms": decision.retry_after().map(millis_up),
        "limits": decision.limits.iter().map(limit).collect::<Vec<_>>(),
    });
    if let Some(members) = answer.as_object_mut() {
        if let Some(fault) = decision.source.fault() {
            members.insert("fault".to_owned(), fault.into());
        }
        if let Verdict::Delay(delay) = decision.verdict {
            members.insert("delay_ms".to_owned(), millis_up(delay).into());
        }
        if let Some(policy) = &decision.policy {
            let policy = json!({ "name": policy.name, "version": policy.version, "digest": policy.digest });
            members.insert("policy".to_owned(), policy);
        }
        if !decision.attributes.is_empty() {
            let attributes = decision.attributes.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            members.insert("attributes".to_owned(), Value::Object(attributes.collect()));
        }
    }
    answer
}

/// Adds the sealed receipt, and until when it is open: in milliseconds since the Unix epoch, rounded down.
pub(super) fn tell_receipt(answer: &mut Value, sealed: &str, until: Timestamp) {
    if let Some(members) = answer.as_object_mut() {
        members.insert("receipt".to_owned(), sealed.into());
        members.insert("receipt_until_ms".to_owned(), until.as_millis().into());
    }
}

fn limit(charged: &Charged) -> Value {
    let Charged { limit, cost, mode, outcome } = charged;
    json!({
        "id": limit.id(),
        "algorithm": limit.algorithm().name(),
        "max": limit.max(),
        "window_ms": millis_up(limit.window()),
        "burst": limit.burst(),
        "cost": cost,
        "mode": mode.name(),
        "allowed": outcome.allowed,
        "remaining": outcome.remaining,
        "reset_after_ms": millis_up(outcome.reset_after),
        "retry_after_ms": outcome.retry_after.map(millis_up),
    })
}

fn millis_up(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
}
