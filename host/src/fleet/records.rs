//! What the registry keeps, and how it writes it.

use serde::{Deserialize, Serialize};

use super::document::RosterDocument;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::Signature;

/// A policy of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PolicyRecord {
    /// The SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The name it gives itself.
    pub name: String,
    /// The version it gives itself.
    pub version: String,
    /// The size of the component in bytes.
    pub bytes: u64,
    /// Who uploaded it.
    pub by: String,
    /// When, as RFC 3339 has it.
    pub at: String,
    /// Its golden cases: each must hold before it is activated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cases: Option<Cases>,
    /// Its signatures, in text form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<String>,
}

impl PolicyRecord {
    /// What is kept when this is uploaded where `known` is kept already.
    pub(super) fn added_to(self, known: Self) -> Result<Self> {
        let cases = self.cases.or(known.cases);
        let mut signatures = known.signatures;
        signatures.extend(self.signatures);
        signatures.sort_unstable();
        signatures.dedup();
        if signatures.len() > Signature::MOST {
            let message = format!(
                "policy {} would have {} signatures; at most {}",
                self.digest,
                signatures.len(),
                Signature::MOST
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(Self { by: known.by, at: known.at, cases, signatures, ..self })
    }
}

/// The golden cases of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Cases {
    /// The configuration that they are for, a JSON text.
    pub config: String,
    /// The cases, as scenario files have them.
    pub text: String,
}

/// A roster that was proposed. It never changes.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Revision {
    /// Its number; 0 is the roster of each host's own configuration.
    pub revision: u64,
    /// Who proposed it.
    pub by: String,
    /// When.
    pub at: String,
    /// What for.
    #[serde(default)]
    pub note: String,
    /// The roster.
    pub roster: RosterDocument,
}

/// Which revision is active.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Activation {
    /// Grows with every activation: the generation of decisions.
    pub generation: u64,
    /// The revision.
    pub revision: u64,
    /// The revision that was active before.
    pub before: u64,
    /// Who activated it.
    pub by: String,
    /// When.
    pub at: String,
    /// What for.
    #[serde(default)]
    pub note: String,
    /// Whether the fleet went back by itself: then it does not go back again from here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_storm: bool,
}

/// What an instance runs, by its own word.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct InstanceRecord {
    /// Its name.
    pub instance: String,
    /// The version of the program.
    pub version: String,
    /// The generation that it runs.
    pub generation: u64,
    /// The revision that it runs.
    pub revision: u64,
    /// What each tier runs.
    pub tiers: Vec<TierRecord>,
    /// Why it does not run what is active, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a tier of an instance runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct TierRecord {
    /// The tier.
    pub tier: String,
    /// The tenant, if it is one's own tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Name and version of the policy.
    pub policy: String,
    /// The digest of its component.
    pub digest: String,
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AuditRecord {
    /// When.
    pub at: String,
    /// Who.
    pub by: String,
    /// What: `policy.push`, `roster.activate` and so on.
    pub action: String,
    /// On what.
    pub what: String,
    /// `done`, or why not.
    pub result: String,
}
