//! The one way to the world, and what comes back.

use std::fmt;
use std::time::Duration;

use crate::{Charge, Mode, Outcome};

/// Atomic counters, owned by the host.
///
/// In a component the host answers; in a test [`testing::counters`](crate::testing::counters) does, by the same arithmetic.
pub trait Counters {
    /// Takes every charge of the list or none of them, and answers one outcome for each, in order.
    ///
    /// # Errors
    ///
    /// Fails as [`charge`](Self::charge) does.
    fn charge_all(&self, charges: &[Charge<'_>]) -> Result<Vec<Outcome>, Fault>;

    /// Takes every charge of the list or none of them, in one round trip.
    ///
    /// The list is refused, and nothing is taken, if any [`Enforce`](Mode::Enforce) charge of it does not fit.
    ///
    /// # Errors
    ///
    /// Fails if the charges could not be made; nothing was taken, as far as the host knows.
    fn charge<'a>(&self, charges: &[Charge<'a>]) -> Result<Outcomes<'a>, Fault> {
        let outcomes = self.charge_all(charges)?;
        let refusal = charges
            .iter()
            .zip(&outcomes)
            .filter(|(charge, outcome)| charge.mode == Mode::Enforce && !outcome.allowed)
            // No wait at all is the longest wait.
            .max_by_key(|(_, outcome)| (outcome.retry_after.is_none(), outcome.retry_after))
            .map(|(charge, outcome)| Refusal {
                limit: charge.limit.id(),
                cost: charge.cost,
                remaining: outcome.remaining,
            });
        let waits =
            charges.iter().zip(&outcomes).filter(|(charge, outcome)| charge.mode == Mode::Enforce && outcome.allowed);
        let wait = waits.filter_map(|(_, outcome)| outcome.retry_after).max();
        Ok(Outcomes { outcomes, refusal, wait })
    }
}

/// What came of a list of charges. Becomes a [`Decision`](crate::Decision) by `into()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcomes<'a> {
    outcomes: Vec<Outcome>,
    refusal: Option<Refusal<'a>>,
    wait: Option<Duration>,
}

/// The refused charge that takes longest to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal<'a> {
    pub(crate) limit: &'a str,
    pub(crate) cost: u64,
    pub(crate) remaining: u64,
}

impl<'a> Outcomes<'a> {
    /// Whether every enforced charge was taken. If not, nothing was taken.
    #[must_use]
    pub const fn admitted(&self) -> bool {
        self.refusal.is_none()
    }

    /// How long the request is to wait before it passes, if it was admitted and a limit with a longest wait asks for it.
    #[must_use]
    pub fn wait(&self) -> Option<Duration> {
        self.wait.filter(|_| self.admitted())
    }

    /// The outcome of the charge at `index` of the list, from 0.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<&Outcome> {
        self.outcomes.get(index)
    }

    /// The outcomes, in the order of the charges.
    pub fn iter(&self) -> std::slice::Iter<'_, Outcome> {
        self.outcomes.iter()
    }

    pub(crate) const fn refusal(&self) -> Option<Refusal<'a>> {
        self.refusal
    }
}

impl<'o> IntoIterator for &'o Outcomes<'_> {
    type Item = &'o Outcome;
    type IntoIter = std::slice::Iter<'o, Outcome>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Why charges could not be made. Nothing was taken, as far as the host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The store cannot be reached, or refuses to work.
    Unavailable,
    /// The store did not answer before the decision's deadline.
    Timeout,
    /// The host does not let this policy do that.
    Denied(String),
    /// The charge makes no sense; the text names the field, its value and what is accepted.
    Invalid(String),
    /// The policy used up one of its budgets; the text names it.
    OverBudget(String),
    /// Anything else, a policy's own reason not to decide included.
    Other(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, details) = match self {
            Self::Unavailable => ("unavailable", ""),
            Self::Timeout => ("timeout", ""),
            Self::Denied(details) => ("denied: ", details.as_str()),
            Self::Invalid(details) => ("invalid: ", details.as_str()),
            Self::OverBudget(details) => ("over budget: ", details.as_str()),
            Self::Other(details) => ("", details.as_str()),
        };
        f.write_str(kind)?;
        f.write_str(details)
    }
}

impl std::error::Error for Fault {}
