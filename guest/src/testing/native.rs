//! Scenarios against a policy as native code.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::{Answer, MemoryCounters, Scenario, Step, counters};
use crate::{Charge, Config, Counters, Decision, Fault, Mode, Outcome, Policy, Request};

#[cfg(test)]
mod tests;

impl Scenario {
    /// Runs the scenario against `P`, with fresh counters.
    ///
    /// # Errors
    ///
    /// Fails if the scenario is another policy's, if its configuration is refused, and with every step that was answered otherwise.
    pub fn run<P: Policy>(&self) -> Result<(), String> {
        if self.policy != P::NAME {
            return Err(format!("the scenario is of policy `{}`, not of `{}`", self.policy, P::NAME));
        }
        let config = Config::new(self.config.as_deref().unwrap_or("{}"));
        let policy = P::configure(&config).map_err(|problems| format!("config: {problems}"))?;
        let mut tenants: HashMap<&str, MemoryCounters> = HashMap::new();
        let mut problems = Vec::new();
        for step in &self.steps {
            let counters = tenants.entry(&step.tenant).or_insert_with(counters);
            counters.advance_to(step.now_ms());
            let checked = answer(&policy, step, counters).and_then(|answer| step.check(&answer));
            problems.extend(checked.err().map(|problem| format!("line {}: {problem}", step.line)));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
    }
}

impl Step {
    /// The request.
    #[must_use]
    pub fn request(&self) -> Request {
        Request {
            tenant: self.tenant.clone(),
            subject: self.subject.clone(),
            route: self.route.clone(),
            cost: self.cost,
            now_ms: self.now_ms(),
            attributes: Vec::new(),
        }
    }
}

impl Answer {
    /// The answer that follows from a decision and from all charges that were made for it.
    ///
    /// A denied request would pass after the longest wait of any limit that had no room, shadows aside. Without one, no waiting is known to
    /// help. Of a limit that was charged more than once, the last outcome counts.
    #[must_use]
    pub fn new(decision: &Decision, charged: &[(String, Mode, Outcome)]) -> Self {
        let longest = charged
            .iter()
            .filter(|(_, mode, outcome)| *mode != Mode::Shadow && !outcome.allowed)
            .map(|(_, _, outcome)| outcome.retry_after)
            .max_by_key(|wait| (wait.is_none(), *wait));
        let left = charged.iter().map(|(id, _, outcome)| (id.clone(), outcome.remaining));
        Self::told(decision.verdict, longest.flatten(), left)
    }
}

fn answer(policy: &impl Policy, step: &Step, counters: &MemoryCounters) -> Result<Answer, String> {
    let recorder = Recorder { counters, charged: RefCell::default() };
    let decision = policy
        .decide(&step.request(), &recorder)
        .map_err(|fault| format!("{} ended in a fault: {fault}", step.text))?;
    Ok(Answer::new(&decision, &recorder.charged.into_inner()))
}

/// Passes charges on, and remembers them.
struct Recorder<'c> {
    counters: &'c MemoryCounters,
    charged: RefCell<Vec<(String, Mode, Outcome)>>,
}

impl Counters for Recorder<'_> {
    fn charge_all(&self, charges: &[Charge<'_>]) -> Result<Vec<Outcome>, Fault> {
        let outcomes = self.counters.charge_all(charges)?;
        let charged = charges
            .iter()
            .zip(&outcomes)
            .map(|(charge, outcome)| (charge.limit.id().to_owned(), charge.mode, *outcome));
        self.charged.borrow_mut().extend(charged);
        Ok(outcomes)
    }
}

/// Runs every scenario, `*.txt`, of `folder` against `P`: see [`scenarios!`](crate::scenarios).
///
/// # Errors
///
/// Fails if there is no scenario, and with every step of every file that was answered otherwise.
pub fn run_folder<P: Policy>(folder: impl AsRef<Path>) -> Result<(), String> {
    let folder = folder.as_ref();
    let entries = fs::read_dir(folder).map_err(|error| format!("failed to read {}: {error}", folder.display()))?;
    let mut files: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(format!(
            "{} holds no scenario; a policy without one is not tested: write a .txt file",
            folder.display()
        ));
    }
    let run = |path: &Path| {
        fs::read_to_string(path).map_err(|error| error.to_string()).and_then(|text| Scenario::parse(&text)?.run::<P>())
    };
    let problems: Vec<String> = files
        .iter()
        .filter_map(|path| run(path).err().map(|problem| format!("{}:\n{problem}", path.display())))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}
