//! The answer to a request, with the facts that led to it.

use std::sync::Arc;
use std::time::Duration;

use super::{FaultKind, Limit};
use crate::counter::{Mode, Outcome};

/// What the application is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Let it pass.
    Allow,
    /// Let it pass after this long.
    Delay(Duration),
    /// Refuse it.
    Deny,
}

impl Verdict {
    /// The name in answers: `allow`, `delay`, `deny`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Delay(_) => "delay",
            Self::Deny => "deny",
        }
    }
}

/// Who gave the verdict: the policy, or the rule for one that could not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The policy decided.
    Policy,
    /// The counters could not be charged; the rule for a broken store decided.
    StoreFault(FaultKind),
    /// The policy could not decide; the rule for a broken policy decided.
    PolicyFault(PolicyFaultKind),
}

impl Source {
    /// The name in answers, logs and metrics: `policy`, `store-fault`, `policy-fault`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::StoreFault(_) => "store-fault",
            Self::PolicyFault(_) => "policy-fault",
        }
    }

    /// Which fault it was, if it was one.
    #[must_use]
    pub const fn fault(self) -> Option<&'static str> {
        match self {
            Self::Policy => None,
            Self::StoreFault(kind) => Some(kind.name()),
            Self::PolicyFault(kind) => Some(kind.name()),
        }
    }
}

/// The ways a policy can fail to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyFaultKind {
    /// It trapped: a panic, an access out of bounds, a call that it may not make.
    Trap,
    /// It used more time than it has.
    Time,
    /// It used more stack than it has.
    Stack,
    /// It used more memory, tables or instances than it has.
    Memory,
    /// It made more charges or calls, or moved more bytes, than it may.
    Budget,
    /// It answered with an error of its own.
    Error,
    /// It answered what makes no sense: an unknown verdict, a text that is too long.
    Nonsense,
    /// Too many decisions are under way.
    Overload,
    /// No policy is there for the tenant or the tier.
    Missing,
}

impl PolicyFaultKind {
    /// The name in answers, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Time => "time",
            Self::Stack => "stack",
            Self::Memory => "memory",
            Self::Budget => "budget",
            Self::Error => "error",
            Self::Nonsense => "nonsense",
            Self::Overload => "overload",
            Self::Missing => "missing",
        }
    }
}

/// One limit of a decision and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charged {
    /// The rule.
    pub limit: Limit,
    /// How much was asked for.
    pub cost: u64,
    /// Enforce, shadow or peek.
    pub mode: Mode,
    /// What came of it.
    pub outcome: Outcome,
}

/// Which version of which policy decided.
#[derive(Debug, PartialEq, Eq)]
pub struct PolicyId {
    /// The name it gives itself.
    pub name: String,
    /// The version it gives itself.
    pub version: String,
    /// The SHA-256 of the component, in hexadecimal.
    pub digest: String,
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What the application is to do.
    pub verdict: Verdict,
    /// A short text for people; may be empty.
    pub reason: String,
    /// Who gave the verdict.
    pub source: Source,
    /// Every charge that was made for it, in order.
    pub limits: Vec<Charged>,
    /// Facts from the policy for the application, as name and value.
    pub attributes: Vec<(String, String)>,
    /// The tier that decided; empty if there is none.
    pub tier: Arc<str>,
    /// The policy that decided; none if there is none.
    pub policy: Option<Arc<PolicyId>>,
    /// Which roster was active, counting from 1.
    pub generation: u64,
}

impl Decision {
    /// Whether the request may pass, at once or later.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.verdict != Verdict::Deny
    }

    /// The limit that binds: of a refusal the enforced one that takes longest to free, otherwise the one with the least left.
    ///
    /// None if no limit was charged.
    #[must_use]
    pub fn binding(&self) -> Option<&Charged> {
        let enforced = || self.limits.iter().filter(|charged| charged.mode == Mode::Enforce);
        enforced()
            .filter(|charged| !charged.outcome.allowed)
            .max_by_key(|charged| charged.outcome.retry_after.unwrap_or(Duration::MAX))
            .or_else(|| enforced().min_by_key(|charged| charged.outcome.remaining))
    }

    /// How long to wait before the same request can pass, as far as the limits that refused it say.
    ///
    /// None if it is allowed, if no limit refused it, and where no waiting helps: the cost exceeds what a limit can ever give.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if self.is_allowed() {
            return None;
        }
        self.binding().and_then(|charged| charged.outcome.retry_after)
    }
}
