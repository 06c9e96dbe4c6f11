//! How many callers were kept out.

use std::sync::Arc;

use metrics::{Counter, counter};

use super::{Block, BlockTarget};

/// `tollgate_blocked_total`, by what is blocked.
pub(super) struct Meters {
    network: Counter,
    subject: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        let by = |by: &'static str| counter!("tollgate_blocked_total", "by" => by);
        Self { network: by("network"), subject: by("subject") }
    }

    /// Counts what was found, and answers it.
    pub(super) fn note(&self, found: Option<Arc<Block>>) -> Option<Arc<Block>> {
        match found.as_ref().map(|block| &block.target) {
            Some(BlockTarget::Network(_)) => self.network.increment(1),
            Some(BlockTarget::Subject { .. }) => self.subject.increment(1),
            None => {}
        }
        found
    }
}
