//! A charge and what comes of it.

use std::fmt;

use super::Limit;
use crate::counter::Mode;

/// One limit applied to one counter with one cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The counter's whole key in the store, as a [`KeySpace`](super::KeySpace) writes it.
    pub key: String,
    /// The rule.
    pub limit: Limit,
    /// How much, in the unit of the limit. 0 takes nothing and tells the state.
    pub cost: u64,
    /// Enforce, shadow or peek.
    pub mode: Mode,
    /// Who takes a slot of a concurrency limit. The same holder takes a slot once, and renews it. Other limits ignore it.
    pub holder: u64,
}

/// Why a store made no charges. Nothing was taken, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of trouble it is.
    pub kind: FaultKind,
    /// The details for the operator, without secrets.
    pub message: String,
}

/// The kinds of trouble between a decision and its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The store cannot be reached.
    Unavailable,
    /// The store did not answer in time. The charges may have been taken.
    Timeout,
    /// The store answers, and refuses to work: read-only, loading, out of memory.
    Refused,
    /// The store does not let us in, or not do this.
    Denied,
    /// One counter's stored value is not ours to read.
    Poisoned,
    /// The charge makes no sense.
    Invalid,
    /// The policy used up a budget.
    OverBudget,
}

impl FaultKind {
    /// The name in metrics, logs and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Poisoned => "poisoned",
            Self::Invalid => "invalid",
            Self::OverBudget => "over-budget",
        }
    }
}

impl Fault {
    /// A fault of this kind that says `message`.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl std::error::Error for Fault {}
