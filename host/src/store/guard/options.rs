//! What a guard is told.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::model::{OnFault, Precision, PrecisionRules, StoreFaultRules};

/// How a [`Guard`](super::Guard) is to work.
#[derive(Clone, Debug)]
pub struct GuardOptions {
    /// How many hosts share the store, each with such a guard: while the store fails, each may spend such a part of every limit, and its shares of a
    /// leased limit are smaller by as much.
    pub hosts: NonZeroU32,
    /// How long a call may take at most. One that was given less than half of it and ran out of time is no sign of a broken store.
    pub patience: Duration,
    /// What every key begins with. Probing a store charges the key `{prefix}:probe`.
    pub prefix: String,
    /// Whether refusals are remembered.
    pub refusal_memory: bool,
}

impl Default for GuardOptions {
    fn default() -> Self {
        Self {
            hosts: NonZeroU32::MIN,
            patience: Duration::from_millis(50),
            prefix: "ratelimit".to_owned(),
            refusal_memory: true,
        }
    }
}

/// What one tier wants of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What answers a charge that the store cannot make.
    pub on_store_fault: StoreFaultRules,
    /// How exactly its limits are counted.
    pub precision: PrecisionRules,
}

impl Default for Terms {
    /// Whoever asks is told of every fault, and every charge asks the store.
    fn default() -> Self {
        Self { on_store_fault: OnFault::Allow.into(), precision: Precision::Exact.into() }
    }
}
