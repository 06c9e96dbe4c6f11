//! Whether a policy keeps nothing from one decision to the next, as `isolation = "shared"` declares it.
//!
//! The same requests of two tenants by turns are decided by one instance, there and back, and each by an instance of its own, over counters
//! that are alike. If one decision or one charge differs, something was kept. It is a trial and no proof: a guest that waits longer than
//! the trial lasts, or for a word that nobody tries, passes it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::digest;
use super::instance::{Blueprint, Instance, Pass, StartError};
use super::quarantine::Conduct;
use super::{Answer, PolicyFault, Ruling, Subject};
use crate::model::{Charged, PolicyFaultKind, Request, Verdict};
use crate::store::Memory;
use crate::time::{Clock as _, ManualClock, Timestamp};

/// The configurations with which a component passed, so that a roster that is replaced does not try them anew.
#[derive(Default)]
pub(super) struct Passed(Mutex<HashSet<String>>);

impl Passed {
    /// Tries it, unless it passed with this configuration before.
    pub(super) async fn check(&self, blueprint: &Blueprint, patience: Duration) -> Result<(), String> {
        let configuration = digest(blueprint.configuration.as_bytes());
        if self.known().contains(&configuration) {
            return Ok(());
        }
        check(blueprint, patience).await?;
        let mut known = self.known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(configuration);
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Configurations of one component that are remembered at once, by their digests.
const REMEMBERED: usize = 256;

/// What a decision comes to, but for names that are drawn anew each time.
type Said = (Result<(Verdict, String, Vec<(String, String)>), PolicyFault>, Vec<Charged>);

/// Alike in nothing that a guest may keep of a name: length, beginning, end.
const TENANTS: [&str; 2] = ["a-tenant", "some-other-one"];
const SUBJECTS: [&str; 2] = ["alice", "bob"];
const ROUTES: [&str; 4] = ["", "/", "/login", "/api/v1/orders"];
/// A moment in no particular window: 2026-01-07, a Wednesday.
const BEGIN: Timestamp = Timestamp::from_micros(1_767_787_200_123_456);
const STEP: Duration = Duration::from_millis(7);

/// The problem is a fragment for people: the first decision that differs.
async fn check(blueprint: &Blueprint, patience: Duration) -> Result<(), String> {
    let clock = ManualClock::at(BEGIN);
    let [shared, apart] = [over(blueprint, &clock), over(blueprint, &clock)];
    let until = || blueprint.engine.tick_after(patience);
    let there = requests();
    let back = there.iter().rev().copied().collect();
    for requests in [there, back] {
        let mut one = start(&shared, until())?;
        for request in requests {
            clock.advance(STEP);
            let subject =
                Subject { request: &request, prefix: "trial", space: "trial", now: clock.now(), deadline: patience };
            let among_others = said(decided(&mut one, &subject, until()));
            let alone = said(decided(&mut start(&apart, until())?, &subject, until()));
            if alone != among_others {
                return Err(differ(&request, &alone, &among_others));
            }
            // One that spins is tried no longer than it must be, and who else is on this thread is served in between.
            if let Err(fault) = &alone.0
                && matches!(fault.kind, PolicyFaultKind::Time | PolicyFaultKind::Memory)
            {
                return Err(format!("it uses up what it has: {fault}"));
            }
            tokio::task::yield_now().await;
            if !one.is_fresh(&shared.bounds) {
                one = start(&shared, until())?;
            }
        }
    }
    Ok(())
}

/// The same policy over counters of its own.
fn over(blueprint: &Blueprint, clock: &ManualClock) -> Blueprint {
    Blueprint { store: Arc::new(Memory::with_capacity(clock.clone(), 1_000)), ..blueprint.clone() }
}

fn start(blueprint: &Blueprint, until: u64) -> Result<Instance, String> {
    Instance::start(blueprint, until).map_err(|error| match error {
        StartError::Fault(fault) => format!("it starts only now and then: {fault}"),
        StartError::Configuration(_) => "it takes its configuration only now and then".to_owned(),
    })
}

/// Counters in memory answer at once, so one pass is all it takes.
fn decided(instance: &mut Instance, subject: &Subject<'_>, until: u64) -> Answer {
    match instance.pass(subject, Box::default(), until) {
        Pass::Over(answer) => answer,
        Pass::Waits(deciding) => {
            let message = "counters in memory did not answer at once".to_owned();
            deciding.answer(Err(PolicyFault { kind: PolicyFaultKind::Error, message }), Conduct::Sound)
        }
    }
}

/// Two tenants by turns, with each subject, route and cost.
fn requests() -> Vec<Request<'static>> {
    let costs = [1, 1, 2, 5].into_iter().cycle();
    let pairs = SUBJECTS.into_iter().flat_map(|subject| ROUTES.map(|route| (subject, route))).zip(costs);
    let of_both = pairs.flat_map(|((subject, route), cost)| {
        TENANTS.map(|tenant| {
            Request::new(tenant, subject)
                .and_then(|request| request.with_route(route)?.with_cost(cost)?.with_attributes(&[("plan", "trial")]))
                .expect("the words of the trial are within their bounds")
        })
    });
    of_both.collect()
}

fn said(answer: Answer) -> Said {
    let ruling = answer.ruling.map(|Ruling { verdict, reason, attributes }| (verdict, reason, attributes));
    (ruling, answer.charged)
}

fn differ(request: &Request<'_>, alone: &Said, among_others: &Said) -> String {
    let (tenant, subject, route) = (request.tenant(), request.subject(), request.route());
    let [alone, among_others] = [alone, among_others].map(|said| match &said.0 {
        Ok((verdict, reason, _)) => {
            format!("{} `{}` with {} charges", verdict.name(), reason.escape_debug(), said.1.len())
        }
        Err(fault) => fault.to_string(),
    });
    format!(
        "it keeps something from one decision to the next: for `{subject}` of `{tenant}` and the route `{route}` a new instance says {alone}, \
         one that served others before says {among_others}"
    )
}
