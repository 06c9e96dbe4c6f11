//! What is answered.

use std::time::Duration;

use crate::Outcomes;

/// The answer to a request.
///
/// The limits and what is left of them are not part of it: the host made the charges, so it knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Allow, delay or deny.
    pub verdict: Verdict,
    /// A short text for people; may be empty.
    pub reason: String,
    /// Facts for the application, as name and value.
    pub attributes: Vec<(String, String)>,
}

/// Whether a request may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It may pass.
    Allow,
    /// It may pass after this long.
    Delay(Duration),
    /// It may not pass.
    Deny,
}

impl Decision {
    /// It may pass.
    #[must_use]
    pub const fn allow() -> Self {
        Self { verdict: Verdict::Allow, reason: String::new(), attributes: Vec::new() }
    }

    /// It may pass after `wait`, up to an hour.
    #[must_use]
    pub const fn delay(wait: Duration) -> Self {
        Self { verdict: Verdict::Delay(wait), reason: String::new(), attributes: Vec::new() }
    }

    /// It may not pass, and why, in a few words for people.
    #[must_use]
    pub fn deny(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Deny, reason: reason.into(), attributes: Vec::new() }
    }

    /// The same decision with a reason, in a few words for people.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// The same decision with one more fact for the application.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    /// Whether the request may pass, at once or later.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        !matches!(self.verdict, Verdict::Deny)
    }
}

/// Allows what was admitted, after the longest wait that a limit asks for, and denies the rest with the limit that takes longest as the reason.
impl From<Outcomes<'_>> for Decision {
    fn from(outcomes: Outcomes<'_>) -> Self {
        match outcomes.refusal() {
            None => outcomes.wait().map_or_else(Self::allow, Self::delay),
            Some(refusal) => Self::deny(format!(
                "limit `{}` has {} left and {} was asked",
                refusal.limit, refusal.remaining, refusal.cost
            )),
        }
    }
}
