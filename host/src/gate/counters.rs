//! Where a gate's counters live: in this process, or in a shared store behind a guard.

use std::sync::Arc;

use crate::store::{Guard, Store, StoreStats, Terms};

/// The store of a gate.
#[derive(Clone, Debug)]
pub(super) enum Counters {
    /// It answers at once, and does not fail.
    Local(Arc<dyn Store>),
    /// It is shared, and may fail.
    Shared(Guard),
}

impl Counters {
    /// The store for whoever wants to know of its faults.
    pub(super) fn store(&self) -> &dyn Store {
        match self {
            Self::Local(store) => &**store,
            Self::Shared(guard) => guard,
        }
    }

    /// The store as a tier wants it.
    pub(super) fn of_tier(&self, terms: Terms) -> Arc<dyn Store> {
        match self {
            Self::Local(store) => Arc::clone(store),
            Self::Shared(guard) => Arc::new(guard.with_terms(terms)),
        }
    }

    pub(super) fn stats(&self) -> Option<StoreStats> {
        match self {
            Self::Local(_) => None,
            Self::Shared(guard) => Some(guard.stats()),
        }
    }
}
