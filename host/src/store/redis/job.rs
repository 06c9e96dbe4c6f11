//! What is on its way to a server, and who waits for it.

use redis::{Pipeline, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::cluster::Redirect;
use crate::counter::{Algorithm, Item, Mode, Outcome};
use crate::model::{Fault, Settled, Settlement};
use crate::store::plan::Plan;

/// An answer, or why there is none and where to turn.
pub(super) type Answered<T> = Result<T, Failure>;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The fault of the decision, if nobody else is asked.
    pub(super) fault: Fault,
    /// Who else may be asked: nothing was taken then.
    pub(super) turn: Option<Turn>,
}

/// Who else may be asked.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    /// The server that has the slot, or is about to have it.
    To(Redirect),
    /// The same server, in a moment: the slot is on its way.
    Back,
    /// Whoever is the master now.
    ToMaster,
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self { fault, turn: None }
    }
}

/// In which slot of a cluster keys are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hash {
    pub(super) slot: u16,
    /// Whether the slot is on its way to the server that is asked.
    pub(super) asking: bool,
}

/// Something to ask a server for.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) errand: Errand,
    /// When whoever asked stops waiting.
    pub(super) deadline: Instant,
    /// In a cluster only lists of one slot leave together.
    pub(super) hash: Hash,
}

/// What a server is asked for.
#[derive(Debug)]
pub(super) enum Errand {
    /// To take a list.
    Take(Taking),
    /// To settle a receipt.
    Settle(Settling),
    /// To do some plain commands, one after another.
    Run(Running),
}

/// A list, and who waits for its outcomes.
#[derive(Debug)]
pub(super) struct Taking {
    /// The distinct counters of the list.
    pub(super) keys: Vec<String>,
    /// Its charges on them.
    pub(super) items: Vec<Item>,
    /// The key under which the list is remembered.
    pub(super) once: Option<String>,
    pub(super) reply: oneshot::Sender<Answered<Vec<Outcome>>>,
}

impl Taking {
    /// Whether it is charges that refuse, each on a counter of its own, of which nothing has to be remembered but how much was taken when.
    pub(super) fn is_plain(&self) -> bool {
        let plain = |item: &Item| {
            let Item { rule, cost, mode, .. } = item;
            let counts_time = rule.algorithm != Algorithm::Concurrency && rule.hold_us == 0 && !rule.tells_numbers();
            counts_time && *mode == Mode::Enforce && *cost > 0
        };
        self.once.is_none()
            && !self.items.is_empty()
            && self.items.len() == self.keys.len()
            && self.items.iter().all(plain)
    }
}

/// A settlement, and who waits for what comes of it.
#[derive(Debug)]
pub(super) struct Settling {
    pub(super) settlement: Settlement,
    pub(super) reply: oneshot::Sender<Answered<Settled>>,
}

/// Plain commands, and who waits for their answers: one each, an error of its own being one.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) commands: Pipeline,
    pub(super) reply: oneshot::Sender<Answered<Vec<Value>>>,
}

impl Job {
    pub(super) fn take(
        plan: Plan<'_>,
        once: Option<&str>,
        deadline: Instant,
        hash: Hash,
    ) -> (Self, oneshot::Receiver<Answered<Vec<Outcome>>>) {
        let (reply, answered) = oneshot::channel();
        let keys = plan.keys.into_iter().map(str::to_owned).collect();
        let errand = Errand::Take(Taking { keys, items: plan.items, once: once.map(str::to_owned), reply });
        (Self { errand, deadline, hash }, answered)
    }

    pub(super) fn settle(
        settlement: &Settlement,
        deadline: Instant,
        hash: Hash,
    ) -> (Self, oneshot::Receiver<Answered<Settled>>) {
        let (reply, answered) = oneshot::channel();
        let errand = Errand::Settle(Settling { settlement: settlement.clone(), reply });
        (Self { errand, deadline, hash }, answered)
    }

    pub(super) fn run(commands: Pipeline, deadline: Instant) -> (Self, oneshot::Receiver<Answered<Vec<Value>>>) {
        let (reply, answered) = oneshot::channel();
        (Self { errand: Errand::Run(Running { commands, reply }), deadline, hash: Hash::default() }, answered)
    }

    pub(super) fn fail(self, failure: Failure) {
        // Whoever gave up is told nothing.
        match self.errand {
            Errand::Take(taking) => drop(taking.reply.send(Err(failure))),
            Errand::Settle(settling) => drop(settling.reply.send(Err(failure))),
            Errand::Run(running) => drop(running.reply.send(Err(failure))),
        }
    }
}
