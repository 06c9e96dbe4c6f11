//! The answer to a request, with the facts that led to it.

use std::sync::Arc;
use std::time::Duration;

use super::{FaultKind, Limit, Receipt};
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
    /// The counters could not be charged. The rules for a broken store answered each charge, from what this host counted by itself, and the
    /// policy decided by that.
    Local(FaultKind),
    /// The counters could not be charged; the rule for a broken store decided.
    StoreFault(FaultKind),
    /// The policy could not decide; the rule for a broken policy decided.
    PolicyFault(PolicyFaultKind),
}

impl Source {
    /// The name in answers, logs and metrics: `policy`, `local`, `store-fault`, `policy-fault`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Local(_) => "local",
            Self::StoreFault(_) => "store-fault",
            Self::PolicyFault(_) => "policy-fault",
        }
    }

    /// Which fault there was, if there was one.
    #[must_use]
    pub const fn fault(self) -> Option<&'static str> {
        match self {
            Self::Policy => None,
            Self::Local(kind) | Self::StoreFault(kind) => Some(kind.name()),
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
    /// It used up its time or memory again and again, and is not asked for a while.
    Quarantine,
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
            Self::Quarantine => "quarantine",
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
    /// What it holds for the time being, if the request may pass: settle it, give it back or extend it by the gate.
    pub receipt: Option<Receipt>,
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

    /// The limits that had no room, in the order of the charges. One that was only looked at counts, a shadow does not.
    pub fn violated(&self) -> impl Iterator<Item = &Charged> {
        self.limits.iter().filter(|charged| charged.mode != Mode::Shadow && !charged.outcome.allowed)
    }

    /// The limit that binds: of the [`violated`](Self::violated) ones the one that takes longest to free, otherwise the enforced one with
    /// the least left.
    #[must_use]
    pub fn binding(&self) -> Option<&Charged> {
        let enforced = self.limits.iter().filter(|charged| charged.mode == Mode::Enforce);
        self.violated()
            .max_by_key(|charged| charged.outcome.retry_after.unwrap_or(Duration::MAX))
            .or_else(|| enforced.min_by_key(|charged| charged.outcome.remaining))
    }

    /// How long to wait before the same request can pass, as far as the violated limits say.
    ///
    /// None if it is allowed, if no limit is violated, and where no waiting helps: the cost exceeds what a limit can ever give.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if self.is_allowed() {
            return None;
        }
        self.binding().and_then(|charged| charged.outcome.retry_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::Algorithm;
    use crate::model::Quota;

    const NEVER: Option<u64> = None;

    /// A limit called `id` that had room, and has so much left.
    fn room(id: &str, remaining: u64) -> Charged {
        let quota = Quota { max: 100, window: Duration::from_secs(60), burst: 100 };
        let outcome =
            Outcome { allowed: true, remaining, reset_after: Duration::from_secs(60), retry_after: None, mark_us: 0 };
        let limit = Limit::new(id, Algorithm::FixedWindow, quota).unwrap();
        Charged { limit, cost: 1, mode: Mode::Enforce, outcome }
    }

    /// A limit called `id` that had none, and would have after so many seconds.
    fn full(id: &str, remaining: u64, retry_after_s: Option<u64>) -> Charged {
        let room = room(id, remaining);
        let retry_after = retry_after_s.map(Duration::from_secs);
        Charged { outcome: Outcome { allowed: false, retry_after, ..room.outcome }, ..room }
    }

    fn looked_at(charged: Charged) -> Charged {
        Charged { mode: Mode::Peek, ..charged }
    }

    fn shadow(charged: Charged) -> Charged {
        Charged { mode: Mode::Shadow, ..charged }
    }

    fn decision(verdict: Verdict, limits: Vec<Charged>) -> Decision {
        Decision {
            verdict,
            reason: String::new(),
            source: Source::Policy,
            limits,
            attributes: Vec::new(),
            receipt: None,
            tier: "free".into(),
            policy: None,
            generation: 1,
        }
    }

    /// Which limit binds, and after how many seconds a retry can pass.
    fn check(verdict: Verdict, limits: Vec<Charged>, binding: Option<&str>, retry_after_s: Option<u64>) {
        let decision = decision(verdict, limits);
        let answered = (decision.binding().map(|charged| charged.limit.id()), decision.retry_after());
        assert_eq!(answered, (binding, retry_after_s.map(Duration::from_secs)), "{decision:?}");
    }

    #[test]
    fn of_a_refusal_the_limit_that_takes_longest_to_free_binds() {
        use Verdict::Deny;
        check(Deny, vec![full("a", 0, Some(1)), full("b", 0, Some(60)), room("c", 0)], Some("b"), Some(60));
        check(Deny, vec![full("a", 0, Some(60)), full("b", 5, NEVER)], Some("b"), NEVER);
        check(Deny, vec![room("a", 0), full("b", 9, Some(1))], Some("b"), Some(1));
    }

    #[test]
    fn a_full_limit_that_was_looked_at_binds_and_a_shadow_never_does() {
        use Verdict::Deny;
        check(Deny, vec![full("a", 0, Some(1)), looked_at(full("b", 0, Some(300)))], Some("b"), Some(300));
        check(Deny, vec![looked_at(full("a", 0, Some(300)))], Some("a"), Some(300));
        check(Deny, vec![full("a", 0, Some(1)), shadow(full("b", 0, NEVER))], Some("a"), Some(1));
        check(Deny, vec![shadow(full("a", 0, Some(1)))], None, None);
    }

    #[test]
    fn where_every_limit_has_room_the_one_with_the_least_left_binds() {
        check(Verdict::Allow, vec![room("a", 9), room("b", 2), room("c", 5)], Some("b"), None);
        check(Verdict::Allow, vec![looked_at(room("a", 0)), shadow(room("b", 0)), room("c", 5)], Some("c"), None);
        check(Verdict::Deny, vec![room("a", 9)], Some("a"), None);
        check(Verdict::Deny, vec![], None, None);
    }

    #[test]
    fn what_may_pass_need_not_wait_for_a_limit() {
        check(Verdict::Allow, vec![full("a", 0, Some(7)), room("b", 1)], Some("a"), None);
        check(Verdict::Delay(Duration::from_secs(1)), vec![full("a", 0, Some(7))], Some("a"), None);
        let allowed = [Verdict::Allow, Verdict::Delay(Duration::ZERO), Verdict::Deny]
            .map(|verdict| decision(verdict, Vec::new()).is_allowed());
        assert_eq!(allowed, [true, true, false]);
    }
}
