//! What becomes of what a request holds, once it is answered.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use ::http::{HeaderMap, StatusCode};

use super::RateLimit;
use crate::gate::Tollgate;
use crate::model::{Decision, Receipt};

/// What a request really cost, in the unit of its cost: put into the extensions of a response, it settles what the request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent(pub u64);

/// A request that passes.
pub(in crate::http) struct Open {
    pub(super) decision: Arc<Decision>,
    pub(in crate::http) headers: HeaderMap,
    pub(super) delay: Duration,
    pub(super) held: Held,
}

/// What it holds. Dropped without an answer, it gives back: the request was given up.
pub(super) struct Held {
    gate: Tollgate,
    receipt: Option<Receipt>,
    refund_failures: bool,
}

impl Open {
    pub(super) fn new(decision: Arc<Decision>, headers: HeaderMap, delay: Duration, limit: &RateLimit) -> Self {
        let (gate, receipt) = (limit.gate.clone(), decision.receipt.clone());
        let held = Held { gate, receipt, refund_failures: limit.refund_failures };
        Self { decision, headers, delay, held }
    }
}

impl Held {
    /// Settles by the answer: at what was spent, at nothing if it failed and that is wanted, and otherwise at what was taken, so that slots become free.
    pub(super) fn answered(mut self, status: StatusCode, spent: Option<Spent>) {
        let Some(receipt) = self.receipt.take() else { return };
        let spent = match spent {
            Some(Spent(spent)) => spent,
            None if self.refund_failures && status.is_server_error() => 0,
            None => receipt.cost(),
        };
        settle(self.gate.clone(), receipt, spent);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            let cost = receipt.cost();
            settle(self.gate.clone(), receipt, cost);
        }
    }
}

/// The client need not wait for it, but it is under way before the answer is: who is answered finds the slot free. Where it fails, the charges
/// stay as they were taken, and slots free themselves.
fn settle(gate: Tollgate, receipt: Receipt, spent: u64) {
    let mut settling = Box::pin(async move {
        if let Err(fault) = gate.settle(&receipt, spent).await {
            tracing::warn!("failed to settle a receipt: {fault}");
        }
    });
    if settling.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(settling);
    }
}
