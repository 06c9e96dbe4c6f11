//! Many hosts that decide alike: a registry of policies and rosters, which one is active, and every host following it.
//!
//! A [`Fleet`] is one host's membership. It activates what the registry says is active, says what it runs, and keeps the last good roster
//! whatever becomes of the registry. Whoever operates the fleet does so through any of its hosts.

mod document;
mod follow;
mod intake;
mod operate;
mod records;
mod registry;
mod rosters;

use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;

pub use document::{RosterDocument, TenantDocument, TierDocument, TrialDocument};
#[cfg(feature = "server")]
pub(crate) use operate::FIRST_GENERATION;
pub use operate::Upload;
pub use records::{Activation, AuditRecord, Cases, InstanceRecord, PolicyRecord, Revision, TierRecord};
pub use registry::Registry;

use crate::error::Result;
use crate::gate::Tollgate;
use crate::policy::Keyring;
use crate::store::Documents;
use intake::Intake;
use rosters::Rosters;

/// A host's membership in a fleet. Clones are the same membership; the host leaves when the last is dropped.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use tollgate::fleet::{Fleet, RosterDocument};
/// use tollgate::policy::Keyring;
/// use tollgate::store::DocumentMemory;
/// use tollgate::{Request, TierPlan, Tollgate};
///
/// let gate = Tollgate::builder().tier("free", TierPlan::built_in("tiered", r#"{"limits": [{"id": "day", "limit": "9/day"}]}"#)).build().await?;
/// let fleet = Fleet::join(gate.clone(), Arc::new(DocumentMemory::default()), "host-1", None, Keyring::default()).await?;
///
/// let roster = br#"{"tiers": {"free": {"policy": "tiered", "config": {"limits": [{"id": "day", "limit": "1/day"}]}}}}"#;
/// let revision = fleet.propose(RosterDocument::parse(roster)?, "alice", "one a day").await?;
/// let active = fleet.activate(revision.revision, "alice", "", None).await?;
///
/// let request = Request::new("acme", "bob")?.with_tier("free")?;
/// let decision = gate.decide(&request).await;
/// assert_eq!((decision.is_allowed(), decision.generation), (true, active.generation));
/// assert!(!gate.decide(&request).await.is_allowed());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Fleet {
    member: Arc<Member>,
    // Ends with the last clone.
    _following: Arc<JoinSet<()>>,
}

struct Member {
    gate: Tollgate,
    registry: Registry,
    instance: String,
    rosters: Rosters,
    intake: Intake,
    applying: tokio::sync::Mutex<()>,
}

impl Fleet {
    /// Joins the fleet that shares `documents`, under a name that no other instance has: what is active there is active here from then on. `own` is the
    /// roster of this host's configuration as a document, if there is one: revision 0, which holds until something is activated.
    ///
    /// Policies of the registry decide only if they are signed as `keyring` demands.
    ///
    /// If the active roster cannot be had now, the host begins with its own and goes on trying; a warning says so.
    ///
    /// # Errors
    ///
    /// Fails if `instance` is no name for a document.
    pub async fn join(
        gate: Tollgate,
        documents: Arc<dyn Documents>,
        instance: &str,
        own: Option<RosterDocument>,
        keyring: Keyring,
    ) -> Result<Self> {
        let rosters = Rosters::new(gate.prepared(), own);
        let registry = Registry::new(documents);
        let intake = Intake::new(gate.engine().clone(), keyring);
        let member = Arc::new(Member {
            gate,
            registry,
            instance: instance.to_owned(),
            rosters,
            intake,
            applying: tokio::sync::Mutex::default(),
        });
        member.begin().await;
        let mut following = JoinSet::new();
        following.spawn(follow::follow(Arc::downgrade(&member)));
        Ok(Self { member, _following: Arc::new(following) })
    }

    /// What decides on this host.
    #[must_use]
    pub fn gate(&self) -> &Tollgate {
        &self.member.gate
    }

    /// What the fleet shares.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.member.registry
    }

    /// The name of this instance.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.member.instance
    }

    /// Tells the others that this host stops.
    pub async fn leave(&self) {
        // They would notice.
        let _ = self.member.registry.leave(&self.member.instance).await;
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet").field("instance", &self.member.instance).finish_non_exhaustive()
    }
}
