//! A decision under way: what its guest asked for, and what it was told.
//!
//! A guest is a plain call and cannot wait. Where a store must be waited for, its call is ended by a fault, with whatever comes of that thrown away;
//! when the store has answered, the guest is called once more, on any instance, and told what it was told before as long as it asks for the same.
//! So nothing of an instance is held while a store is asked, and a guest that goes by the request and the outcomes alone sees no difference.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::asked::{Checks, Wanted, is_held};
use super::contract;
use super::guest_time::Left;
use super::holding::Holding;
use super::quarantine::Conduct;
use super::{Answer, Bounds, PolicyFault, Ruling};
use crate::model::{Charge, Charged, Fault, FaultKind, PolicyFaultKind};
use crate::store::{List, Outcomes, Reply, Store};

/// A decision under way.
#[derive(Default)]
pub(super) struct Deciding {
    /// The token by which the decision may be asked for again.
    once: Option<Box<str>>,
    /// How often the guest asked in this pass.
    calls: usize,
    /// What it was told, call by call, over a store that must be waited for.
    told: Vec<Told>,
    waiting: Option<Waiting>,
    /// Why the guest cannot be believed, if it asked for something else than it did before.
    strayed: Option<PolicyFault>,
    /// The time that was left to the guest when its pass ended.
    pub(super) left: Option<Left>,
    lines: Lines,
    charged: Vec<Charged>,
    holding: Option<Holding>,
    /// The store's fault, if it had one, or what was wrong with a list.
    fault: Option<Fault>,
    /// The store's fault in spite of which the charges were answered.
    in_spite_of: Option<Fault>,
}

/// A list, and what came of it.
struct Told {
    asked: Vec<contract::Charge>,
    answer: Reported,
}

/// What a guest is told of a list.
pub(super) type Reported = Result<Vec<contract::Outcome>, contract::Fault>;

/// A list that a store is asked for.
struct Waiting {
    asked: Vec<contract::Charge>,
    asking: Asking,
}

type Asking = Pin<Box<dyn Future<Output = Asked> + Send>>;

/// What a store made of a list.
struct Asked {
    wanted: Wanted,
    outcomes: Outcomes,
    in_spite_of: Option<Fault>,
}

/// Lines of log: those of earlier passes are not written again.
#[derive(Clone, Copy, Default)]
struct Lines {
    /// How many there were in this pass.
    now: u32,
    /// How many there were in any pass.
    most: u32,
}

/// Where a guest's charges go.
pub(super) struct Desk<'a> {
    pub(super) store: &'a Arc<dyn Store>,
    pub(super) bounds: &'a Bounds,
    pub(super) checks: &'a mut Checks,
    /// How long the store may take.
    pub(super) patience: Duration,
}

impl Deciding {
    /// A decision that begins.
    pub(super) fn new(once: Option<&str>) -> Self {
        Self { once: once.map(Into::into), ..Self::default() }
    }

    /// Begins a pass of the guest.
    pub(super) fn begin(&mut self) {
        self.calls = 0;
        self.lines.now = 0;
    }

    /// Answers a call to `charge-all`.
    pub(super) fn charge(&mut self, asked: Vec<contract::Charge>, desk: &mut Desk<'_>) -> Reported {
        if self.waiting.is_some() || self.strayed.is_some() {
            return Err(contract::Fault::Unavailable);
        }
        self.calls += 1;
        if let Some(told) = self.told.get(self.calls - 1) {
            if told.asked == asked {
                return told.answer.clone();
            }
            return self.stray();
        }
        let Desk { store, bounds, checks, patience } = desk;
        let answer = match self.check(&asked, bounds, checks) {
            Err(fault) => self.refuse(fault),
            // There is no other pass, so nothing to keep.
            Ok(wanted) if store.is_local() => return self.take_at_once(&***store, wanted, *patience),
            Ok(wanted) => {
                let mut asking: Asking = Box::pin(ask(Arc::clone(store), wanted, *patience));
                // What a guard knows by itself is there at once. The next look is by whoever waits.
                match asking.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(told) => self.settle(told),
                    Poll::Pending => {
                        self.waiting = Some(Waiting { asked, asking });
                        return Err(contract::Fault::Unavailable);
                    }
                }
            }
        };
        self.told.push(Told { asked, answer: answer.clone() });
        answer
    }

    fn take_at_once(&mut self, store: &dyn Store, wanted: Wanted, patience: Duration) -> Reported {
        let outcomes = match store.take(wanted.list(patience)) {
            Reply::Ready(outcomes) => outcomes,
            Reply::Pending(_) => Err(Fault::new(FaultKind::Invalid, "a local store did not answer at once")),
        };
        self.settle(Asked { wanted, outcomes, in_spite_of: None })
    }

    /// Checks what the guest asks for against its budgets, and turns it into charges on keys of its tenant.
    fn check(&mut self, asked: &[contract::Charge], bounds: &Bounds, checks: &mut Checks) -> Result<Wanted, Fault> {
        let calls = u32::try_from(self.calls).unwrap_or(u32::MAX);
        if calls > bounds.calls {
            return Err(over_budget(format!("more than {} calls to charge-all in one decision", bounds.calls)));
        }
        let charges = self.charged.len() + asked.len();
        if charges > bounds.charges as usize {
            return Err(over_budget(format!("{charges} charges in one decision; at most {}", bounds.charges)));
        }
        let once = self.once.as_deref().map(|token| checks.keys.once(token, calls));
        if self.holding.is_none() && asked.iter().any(is_held) {
            self.holding = Some(Holding::new(once.as_deref()));
        }
        let holder = self.holding.as_ref().map_or(0, Holding::holder);
        let mut wanted = Wanted::new(asked.len(), once);
        for charge in asked {
            wanted.add(checks.check(charge, holder)?);
        }
        Ok(wanted)
    }

    /// Keeps what came of the charges, and tells the guest.
    fn settle(&mut self, Asked { wanted, outcomes, in_spite_of }: Asked) -> Reported {
        self.in_spite_of = in_spite_of.or(self.in_spite_of.take());
        let outcomes = match outcomes {
            Ok(outcomes) => outcomes,
            Err(fault) => return self.refuse(fault),
        };
        if let Some(holding) = &mut self.holding {
            holding.add(&wanted, &outcomes);
        }
        let told = outcomes.iter().map(contract::Outcome::from).collect();
        let kept = wanted.charges.into_iter().zip(outcomes);
        self.charged.extend(kept.map(|(Charge { limit, cost, mode, .. }, outcome)| Charged {
            limit,
            cost,
            mode,
            outcome,
        }));
        Ok(told)
    }

    fn refuse(&mut self, fault: Fault) -> Reported {
        let told = tell(&fault);
        self.fault = Some(fault);
        Err(told)
    }

    fn stray(&mut self) -> Reported {
        let message =
            "it asked for other charges than before, for the same request and after the same outcomes".to_owned();
        self.strayed = Some(PolicyFault { kind: PolicyFaultKind::Nonsense, message });
        Err(contract::Fault::Unavailable)
    }

    /// Whether the store is to be waited for, and the guest then to be called again.
    pub(super) fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits for the store.
    pub(super) async fn hear(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        let told = waiting.asking.as_mut().await;
        let answer = self.settle(told);
        if let Some(Waiting { asked, .. }) = self.waiting.take() {
            self.told.push(Told { asked, answer });
        }
    }

    /// Whether one more line of log is written, of at most so many.
    pub(super) fn logs(&mut self, most: u32) -> bool {
        if self.waiting.is_some() {
            return false;
        }
        self.lines.now += 1;
        let is_new = self.lines.now > self.lines.most;
        self.lines.most = self.lines.most.max(self.lines.now);
        is_new && self.lines.now <= most
    }

    /// What is answered, by the ruling of the last pass.
    pub(super) fn answer(self, ruling: Result<Ruling, PolicyFault>, conduct: Conduct) -> Answer {
        Answer {
            ruling: self.strayed.map_or(ruling, Err),
            conduct,
            charged: self.charged,
            holding: self.holding.filter(|holding| !holding.held.is_empty()),
            misuse: self.fault.as_ref().and_then(misuse),
            store_fault: self.fault,
            in_spite_of: self.in_spite_of,
        }
    }
}

async fn ask(store: Arc<dyn Store>, wanted: Wanted, patience: Duration) -> Asked {
    let fault = OnceLock::new();
    let outcomes = store.take(List { fault: Some(&fault), ..wanted.list(patience) }).outcomes().await;
    Asked { wanted, outcomes, in_spite_of: fault.into_inner() }
}

fn over_budget(message: String) -> Fault {
    Fault::new(FaultKind::OverBudget, message)
}

fn tell(fault: &Fault) -> contract::Fault {
    match fault.kind {
        FaultKind::Timeout => contract::Fault::Timeout,
        FaultKind::Invalid => contract::Fault::Invalid(fault.message.clone()),
        FaultKind::OverBudget => contract::Fault::OverBudget(fault.message.clone()),
        FaultKind::Denied => contract::Fault::Denied("the store does not allow it".to_owned()),
        FaultKind::Unavailable | FaultKind::Refused | FaultKind::Poisoned => contract::Fault::Unavailable,
    }
}

/// What to say of a decision in which the guest could not charge for its own fault.
fn misuse(fault: &Fault) -> Option<PolicyFault> {
    let kind = match fault.kind {
        FaultKind::OverBudget => PolicyFaultKind::Budget,
        FaultKind::Invalid => PolicyFaultKind::Nonsense,
        _ => return None,
    };
    Some(PolicyFault { kind, message: fault.message.clone() })
}
