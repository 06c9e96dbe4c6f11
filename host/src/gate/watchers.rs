//! Those who watch decisions as they are made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::broadcast;

use crate::model::{Decision, Request};
use crate::time::Timestamp;

/// A decision as somebody saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was made, by the clock of the gate.
    pub at: Timestamp,
    /// Whose request it was.
    pub tenant: String,
    /// Who asked.
    pub subject: String,
    /// Which route was asked for.
    pub route: String,
    /// The answer.
    pub decision: Decision,
}

/// Sends decisions to those who watch. While nobody does, that costs a read of one number.
#[derive(Debug)]
pub(super) struct Watchers {
    watching: Arc<AtomicUsize>,
    sender: broadcast::Sender<Arc<Seen>>,
}

/// Hears of every decision of a gate, until it is dropped.
#[derive(Debug)]
pub struct Watching {
    watching: Arc<AtomicUsize>,
    receiver: broadcast::Receiver<Arc<Seen>>,
}

/// How many decisions are kept for a watcher that is slow.
const KEPT: usize = 1_024;

impl Default for Watchers {
    fn default() -> Self {
        Self { watching: Arc::default(), sender: broadcast::Sender::new(KEPT) }
    }
}

impl Watchers {
    pub(super) fn tell(&self, at: Timestamp, request: &Request<'_>, decision: &Decision) {
        if self.watching.load(Ordering::Relaxed) == 0 {
            return;
        }
        let (tenant, subject) = (request.tenant().to_owned(), request.subject().to_owned());
        let route = request.route().to_owned();
        // Whoever watched may just have gone.
        let _ = self.sender.send(Arc::new(Seen { at, tenant, subject, route, decision: decision.clone() }));
    }

    pub(super) fn watch(&self) -> Watching {
        self.watching.fetch_add(1, Ordering::Relaxed);
        Watching { watching: Arc::clone(&self.watching), receiver: self.sender.subscribe() }
    }
}

impl Watching {
    /// The next decision, and how many were missed before it, since they came faster than they were asked for. None once the gate is gone.
    pub async fn next(&mut self) -> Option<(u64, Arc<Seen>)> {
        let mut missed = 0;
        loop {
            match self.receiver.recv().await {
                Ok(seen) => return Some((missed, seen)),
                Err(broadcast::error::RecvError::Lagged(count)) => missed += count,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watching.fetch_sub(1, Ordering::Relaxed);
    }
}
