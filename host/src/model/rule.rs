//! What answers when a policy or a store cannot.

use serde::Deserialize;

/// The answer to a request that could not be decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum OnFault {
    /// Let it pass: better one request too many than one that should have passed.
    Allow,
    /// Refuse it: better one request too few than one that should not have passed.
    Deny,
}

impl OnFault {
    /// The name in configuration: `allow` or `deny`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}
