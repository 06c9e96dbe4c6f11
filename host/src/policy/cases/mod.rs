//! Golden cases: what a policy must answer before it serves, as a text that its author wrote.

mod duration;
mod scenario;

use std::sync::Arc;
use std::time::Duration;

pub use scenario::{Answer, Expected, RetryAfter, Scenario, Step};

use super::{Answer as Answered, Component, Policy, Setting, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Action, Decision, Request, Settlement, Source, Verdict};
use crate::store::{Memory, Store};
use crate::time::{ManualClock, Timestamp};

/// How long one step may take: nobody waits for it, and a busy machine changes no answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What every key begins with, in a store that nobody else sees.
const PREFIX: &str = "cases";

/// Runs the [`Scenario`] `text` through `component`, over counters of its own and a clock that the text moves. Answers how many steps there were.
///
/// The component has the configuration that the text says; `configuration` if it says none.
///
/// # Errors
///
/// Fails with [`ErrorKind::Policy`] if the text is no scenario of this policy, if the configuration is refused, and with the first step that
/// is answered otherwise: its line, what is expected and what was answered.
pub async fn run(component: &Component, configuration: &str, text: &str) -> Result<usize> {
    let failed = |problem: String| Error::new(ErrorKind::Policy, problem);
    let scenario = Scenario::parse(text).map_err(failed)?;
    if scenario.policy != component.id().name {
        let problem = format!("the cases are of policy `{}`, not of `{}`", scenario.policy, component.id().name);
        return Err(failed(problem.escape_debug().to_string()));
    }
    let clock = ManualClock::at(Timestamp::from_micros(Scenario::BASE_MS * 1_000));
    let store: Arc<dyn Store> = Arc::new(Memory::new(clock.clone()));
    let setting = Setting { store: Arc::clone(&store), ..Setting::in_memory() };
    let policy = Policy::new(component, scenario.config.as_deref().unwrap_or(configuration), setting).await?;
    for step in &scenario.steps {
        clock.set(Timestamp::from_micros(step.now_ms().saturating_mul(1_000)));
        let answer = ask(&policy, &*store, step).await;
        let checked = answer.and_then(|answer| step.check(&answer));
        checked.map_err(|problem| failed(format!("line {}: {problem}", step.line)))?;
    }
    Ok(scenario.steps.len())
}

async fn ask(policy: &Policy, store: &dyn Store, step: &Step) -> Result<Answer, String> {
    let failed = |problem: String| format!("{}: {problem}", step.text);
    let request = Request::new(&step.tenant, &step.subject)
        .and_then(|request| request.with_route(&step.route)?.with_cost(step.cost))
        .map_err(|error| failed(error.to_string()))?;
    let now = Timestamp::from_micros(step.now_ms().saturating_mul(1_000));
    let space = policy.id().name.as_str();
    let subject = Subject { request: &request, prefix: PREFIX, space, now, deadline: PATIENCE };
    let mut answered = policy.decide(&subject).await.map_err(|fault| failed(fault.to_string()))?;
    let holding = answered.holding.take();
    let decision = decided(policy, answered).map_err(failed)?;
    if let Some(holding) = holding.filter(|_| !decision.is_allowed()) {
        // As a gate does: what a denied request took for the time being goes back.
        let settlement =
            Settlement { marker: None, until: now, action: Action::Settle, held: holding.held, remembered_us: 0 };
        store.settle(&settlement, PATIENCE).answer().await.map_err(|fault| failed(fault.to_string()))?;
    }
    let left = decision.limits.iter().map(|charged| (charged.limit.id().to_owned(), charged.outcome.remaining));
    Ok(Answer::told(decision.verdict, decision.retry_after(), left))
}

/// The decision of the policy itself: no rule stands in for it.
fn decided(policy: &Policy, answered: Answered) -> Result<Decision, String> {
    let ruling = match (answered.ruling, answered.misuse, answered.store_fault) {
        (Ok(ruling), ..) => ruling,
        (Err(_), Some(misuse), _) => return Err(misuse.to_string()),
        (Err(_), None, Some(fault)) => return Err(fault.to_string()),
        (Err(fault), None, None) => return Err(fault.to_string()),
    };
    Ok(Decision {
        verdict: ruling.verdict,
        reason: ruling.reason,
        source: Source::Policy,
        limits: answered.charged,
        attributes: ruling.attributes,
        receipt: None,
        tier: "".into(),
        policy: Some(Arc::clone(policy.id())),
        generation: 0,
    })
}
