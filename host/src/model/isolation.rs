//! Whom the instances of a policy may serve.

use serde::{Deserialize, Serialize};

/// Whom one instance of a policy may serve, so that nothing it keeps reaches a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Isolation {
    /// One tenant: another is served by another instance.
    Tenant,
    /// One decision: each has an instance of its own.
    Fresh,
    /// All tenants. For policies that keep nothing from one decision to the next, which is tried when the tier is built.
    Shared,
}

impl Isolation {
    /// The name in configuration: `tenant`, `fresh` or `shared`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Fresh => "fresh",
            Self::Shared => "shared",
        }
    }
}
