//! The seam between the SDK and the component model. Nothing here is part of the public interface.

use std::panic::{self, PanicHookInfo};
use std::time::Duration;

use bindings::tollgate::policy::{counters, log, types};
pub use wit_bindgen::rt;

use crate::{Algorithm, Charge, Config, Counters, Decision, Fault, Mode, Outcome, Policy, Request, Verdict};

/// What wit-bindgen makes of the contract.
#[expect(missing_docs, reason = "generated; the contract documents every item")]
#[expect(clippy::too_many_arguments, reason = "generated")]
pub mod bindings {
    wit_bindgen::generate!({
        world: "policy",
        path: "wit",
        ownership: Borrowing { duplicate_if_necessary: true },
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "tollgate_guest::component::bindings",
        runtime_path: "tollgate_guest::component::rt",
        generate_unused_types: true,
    });
}

#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// Answers `describe`.
#[must_use]
pub fn describe<P: Policy>(version: &str) -> types::Description {
    types::Description {
        name: P::NAME.to_owned(),
        version: version.to_owned(),
        configuration_schema: P::SCHEMA.to_owned(),
    }
}

/// Answers `configure` with a policy that lives as long as the instance.
///
/// # Errors
///
/// Fails with every problem of the configuration.
pub fn configure<P: Policy>(config: String) -> Result<&'static P, Vec<String>> {
    panic::set_hook(Box::new(log_panic));
    // Given up on purpose: a reference needs no code to be dropped, and an instance is configured once.
    P::configure(&Config::new(config)).map(|policy| &*Box::leak(Box::new(policy))).map_err(crate::Problems::into_list)
}

/// Answers `decide`.
///
/// # Errors
///
/// Fails with the policy's fault, and if it was not configured.
pub fn decide<P: Policy>(policy: Option<&P>, request: types::Request) -> Result<types::Decision, String> {
    let policy = policy.ok_or("this instance was not configured")?;
    let request = Request {
        tenant: request.tenant,
        subject: request.subject,
        route: request.route,
        cost: request.cost,
        now_ms: request.now_ms,
        attributes: request.attributes,
    };
    let decision = policy.decide(&request, &HostCounters).map_err(|fault| fault.to_string())?;
    Ok(decision_to_wire(decision))
}

/// Tells the operator why a decision ended, which a trap alone does not.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place =
        info.location().map_or_else(String::new, |location| format!(" at {}:{}", location.file(), location.line()));
    let message = info.payload_as_str().unwrap_or("without a message");
    write_log(log::Level::Error, &format!("panicked{place}: {message}"));
}

/// Writes one line for the operator.
pub(crate) fn write_log(level: log::Level, message: &str) {
    log::write(level, message);
}

/// The host's counters.
struct HostCounters;

impl Counters for HostCounters {
    fn charge_all(&self, charges: &[Charge<'_>]) -> Result<Vec<Outcome>, Fault> {
        let delays = delay_names(charges);
        let delays = delays.iter().map(String::as_str).chain(std::iter::repeat(""));
        let charges: Vec<_> = charges.iter().zip(delays).map(|(charge, delay)| charge_to_wire(charge, delay)).collect();
        match counters::charge_all(&charges) {
            Ok(outcomes) => Ok(outcomes.into_iter().map(outcome_from_wire).collect()),
            Err(fault) => Err(fault_from_wire(fault)),
        }
    }
}

/// What the contract calls the way of counting of each charge that may have to wait; nothing if there is none.
fn delay_names(charges: &[Charge<'_>]) -> Vec<String> {
    if charges.iter().all(|charge| charge.limit.rule().algorithm != Algorithm::Delay) {
        return Vec::new();
    }
    charges.iter().map(|charge| format!("delay {}", charge.limit.rule().longest_wait_us / 1_000)).collect()
}

fn charge_to_wire<'a>(charge: &Charge<'a>, delay: &'a str) -> types::Charge<'a> {
    let limit = charge.limit;
    let rule = limit.rule();
    types::Charge {
        limit: types::Limit {
            id: limit.id(),
            algorithm: match rule.algorithm {
                Algorithm::FixedWindow => types::Algorithm::FixedWindow,
                Algorithm::SlidingWindow => types::Algorithm::SlidingWindow,
                Algorithm::TokenBucket => types::Algorithm::TokenBucket,
                Algorithm::Concurrency => types::Algorithm::Concurrency,
                Algorithm::Calendar => types::Algorithm::Calendar(rule.calendar.unwrap_or_default()),
                Algorithm::Delay => types::Algorithm::Other(delay),
            },
            max: rule.max,
            window_ms: rule.window_us / 1_000,
            burst: rule.burst,
        },
        key: charge.key,
        cost: charge.cost,
        mode: match charge.mode {
            Mode::Enforce => types::Mode::Enforce,
            Mode::Shadow => types::Mode::Shadow,
            Mode::Peek => types::Mode::Peek,
        },
        hold_ms: charge.hold.map(millis_up),
    }
}

/// Rounded up, so that whoever waits this long has waited long enough.
fn millis_up(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(u64::from(duration.subsec_nanos().div_ceil(1_000_000)))
}

fn outcome_from_wire(outcome: types::Outcome) -> Outcome {
    Outcome {
        allowed: outcome.allowed,
        remaining: outcome.remaining,
        reset_after: Duration::from_millis(outcome.reset_after_ms),
        retry_after: outcome.retry_after_ms.map(Duration::from_millis),
        // The host keeps it to itself.
        mark_us: 0,
    }
}

fn fault_from_wire(fault: types::Fault) -> Fault {
    match fault {
        types::Fault::Unavailable => Fault::Unavailable,
        types::Fault::Timeout => Fault::Timeout,
        types::Fault::Denied(details) => Fault::Denied(details),
        types::Fault::Invalid(details) => Fault::Invalid(details),
        types::Fault::OverBudget(details) => Fault::OverBudget(details),
        types::Fault::Other(details) => Fault::Other(details),
    }
}

fn decision_to_wire(decision: Decision) -> types::Decision {
    types::Decision {
        verdict: match decision.verdict {
            Verdict::Allow => types::Verdict::Allow,
            Verdict::Delay(wait) => types::Verdict::Delay(millis_up(wait)),
            Verdict::Deny => types::Verdict::Deny,
        },
        reason: decision.reason,
        attributes: decision.attributes,
    }
}
