//! A block, and how it is written.

use serde::{Deserialize, Serialize};

use super::{BlockTarget, Blocks};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Document;
use crate::time::Timestamp;

/// That somebody is kept out for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Who.
    pub target: BlockTarget,
    /// Since when.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// By whom.
    pub by: String,
    /// What for. It is told to operators, and to nobody who is blocked.
    pub reason: String,
}

/// The same as it is written: `network`, or `tenant` and `subject`.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    at_us: u64,
    until_us: u64,
    by: String,
    reason: String,
}

/// The longest document that is read, in bytes.
const LONGEST: usize = 4 * 1024;

impl Block {
    pub(super) fn write(&self) -> Result<Vec<u8>> {
        let (network, tenant, subject) = match self.target.clone() {
            BlockTarget::Network(network) => (Some(network.to_string()), None, None),
            BlockTarget::Subject { tenant, subject } => (None, Some(tenant), Some(subject)),
        };
        let (at_us, until_us) = (self.at.as_micros(), self.until.as_micros());
        let written =
            Written { network, tenant, subject, at_us, until_us, by: self.by.clone(), reason: self.reason.clone() };
        serde_json::to_vec(&written)
            .map_err(|error| Error::new(ErrorKind::System, "failed to write a block").because(error))
    }

    /// What a document says, if it is a block of ours.
    pub(super) fn read(document: &Document) -> Option<Self> {
        Self::parse(&document.bytes).filter(|block| block.target.name() == document.name)
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(bytes).ok().filter(|_| bytes.len() <= LONGEST)?;
        let Written { network, tenant, subject, at_us, until_us, by, reason } = written;
        let target = match (network, tenant, subject) {
            (Some(network), None, None) => network.parse().ok()?,
            (None, Some(tenant), Some(subject)) => BlockTarget::subject(&tenant, &subject).ok()?,
            _ => return None,
        };
        let at = Timestamp::from_micros(at_us);
        let until = Timestamp::from_micros(until_us).min(at.plus(Blocks::LONGEST));
        Some(Self { target, at, until, by, reason })
    }
}
