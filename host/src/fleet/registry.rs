//! The registry: policies by digest, rosters by number, which one is active, who runs it, and who did what.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::document::RosterDocument;
use super::records::{Activation, AuditRecord, InstanceRecord, PolicyRecord, Revision};
use crate::error::{Error, ErrorKind, Result};
use crate::policy::digest;
use crate::store::Documents;

/// The registry that a fleet shares.
#[derive(Clone, Debug)]
pub struct Registry(Arc<dyn Documents>);

const POLICIES: &str = "policies";
const COMPONENTS: &str = "components";
const ROSTERS: &str = "rosters";
const STATE: &str = "state";
const ACTIVE: &str = "active";
const INSTANCES: &str = "instances";
const AUDIT: &str = "audit";
/// How many policies are kept. One that is in no roster can be removed.
pub(super) const MOST_POLICIES: usize = 1_000;
/// How many revisions are kept: the newest, and the active one.
const MOST_REVISIONS: u64 = 1_000;
const AUDIT_LINES: usize = 10_000;
const MOST_TURNS: usize = 32;
/// How long an instance that says nothing counts as one.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(10);
/// How long such an instance is remembered at all.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3_600);

impl Registry {
    /// The registry in these documents.
    #[must_use]
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        Self(documents)
    }

    pub(super) fn documents(&self) -> &dyn Documents {
        &*self.0
    }

    /// Keeps a policy. Of one that is there already its first uploader stays, and cases and signatures are added: what others add at the
    /// same moment is not lost. Answers what is kept then.
    pub(super) async fn keep_policy(&self, record: &PolicyRecord, component: &[u8]) -> Result<PolicyRecord> {
        let others = self.policies().await?.iter().filter(|known| known.digest != record.digest).count();
        if others >= MOST_POLICIES {
            let message = format!("the registry keeps {MOST_POLICIES} policies; remove one that is in no roster");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // The component first: whoever sees the record finds it.
        self.0.put(COMPONENTS, &record.digest, component).await?;
        // Each turn that is lost is one that somebody else won.
        for _ in 0..MOST_TURNS {
            let known = self.0.get(POLICIES, &record.digest).await?;
            let kept = match &known {
                Some(known) => record.clone().added_to(read(POLICIES, known)?)?,
                None => record.clone(),
            };
            if self.0.replace(POLICIES, &record.digest, known.as_deref(), &written(&kept)).await? {
                return Ok(kept);
            }
        }
        Err(Error::new(ErrorKind::Conflict, format!("many change the policy {} at once; try again", record.digest)))
    }

    /// Every policy, by digest.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be asked.
    pub async fn policies(&self) -> Result<Vec<PolicyRecord>> {
        self.0.list(POLICIES).await?.iter().map(|document| read(POLICIES, &document.bytes)).collect()
    }

    /// The policy of this digest.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be asked, or with [`ErrorKind::NotFound`].
    pub async fn policy(&self, digest: &str) -> Result<PolicyRecord> {
        let found = self.0.get(POLICIES, digest).await?;
        found.map_or_else(|| Err(no_policy(digest)), |bytes| read(POLICIES, &bytes))
    }

    /// The component of this digest: these very bytes, whatever became of the store.
    ///
    /// # Errors
    ///
    /// Fails as [`policy`](Self::policy) does, and if what is kept has another digest.
    pub async fn component(&self, wanted: &str) -> Result<Vec<u8>> {
        let Some(bytes) = self.0.get(COMPONENTS, wanted).await? else { return Err(no_policy(wanted)) };
        let found = digest(&bytes);
        if found != wanted {
            let message = format!(
                "the registry keeps other bytes under {wanted}: their digest is {found}; push the policy again"
            );
            return Err(Error::new(ErrorKind::Policy, message));
        }
        Ok(bytes)
    }

    pub(super) async fn remove_policy(&self, digest: &str) -> Result<()> {
        self.0.remove(POLICIES, digest).await?;
        self.0.remove(COMPONENTS, digest).await
    }

    /// Keeps a roster under the next number, which it answers.
    pub(super) async fn add_revision(
        &self,
        by: &str,
        at: String,
        note: &str,
        roster: RosterDocument,
    ) -> Result<Revision> {
        let newest = self.revisions().await?.last().map_or(0, |revision| revision.revision);
        let mut revision = Revision { revision: newest + 1, by: by.to_owned(), at, note: note.to_owned(), roster };
        while !self.put_revision(&revision).await? {
            revision.revision += 1;
        }
        self.forget_revisions(revision.revision).await?;
        Ok(revision)
    }

    /// Keeps a revision, unless there is one of its number. Whether there was none.
    pub(super) async fn put_revision(&self, revision: &Revision) -> Result<bool> {
        self.0.replace(ROSTERS, &revision.revision.to_string(), None, &written(revision)).await
    }

    async fn forget_revisions(&self, newest: u64) -> Result<()> {
        let Some(old) = newest.checked_sub(MOST_REVISIONS).filter(|old| *old > 0) else { return Ok(()) };
        let in_use = self.active().await?.is_some_and(|active| active.revision == old || active.before == old);
        if in_use { Ok(()) } else { self.0.remove(ROSTERS, &old.to_string()).await }
    }

    /// Every revision, the newest last.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be asked.
    pub async fn revisions(&self) -> Result<Vec<Revision>> {
        let documents = self.0.list(ROSTERS).await?;
        let revisions: Result<Vec<Revision>> =
            documents.iter().map(|document| read(ROSTERS, &document.bytes)).collect();
        let mut revisions = revisions?;
        revisions.sort_by_key(|revision| revision.revision);
        Ok(revisions)
    }

    /// The revision of this number.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be asked, or with [`ErrorKind::NotFound`].
    pub async fn revision(&self, number: u64) -> Result<Revision> {
        let found = self.0.get(ROSTERS, &number.to_string()).await?;
        let Some(bytes) = found else {
            let message =
                format!("no roster has the revision {number}; `tollgate roster history` lists those there are");
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        read(ROSTERS, &bytes)
    }

    /// What is active; none if nothing ever was activated.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be asked.
    pub async fn active(&self) -> Result<Option<Activation>> {
        self.0.get(STATE, ACTIVE).await?.map(|bytes| read(STATE, &bytes)).transpose()
    }

    /// Makes `next` the active one in the place of `known`, if that is the active one still, and tells everybody.
    pub(super) async fn activate(&self, known: Option<&Activation>, next: &Activation) -> Result<()> {
        // Compared as it is written: another version of the program may write more.
        let there = self.0.get(STATE, ACTIVE).await?;
        let is_known = there.as_deref().map(|bytes| read::<Activation>(STATE, bytes)).transpose()?.as_ref() == known;
        if !is_known || !self.0.replace(STATE, ACTIVE, there.as_deref(), &written(next)).await? {
            let message = "another roster was activated meanwhile; look at it, and try again";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // Whoever does not hear of it, looks.
        let _ = self.0.announce().await;
        Ok(())
    }

    pub(super) async fn beat(&self, instance: &InstanceRecord) -> Result<()> {
        self.0.put(INSTANCES, &instance.instance, &written(instance)).await
    }

    pub(super) async fn leave(&self, instance: &str) -> Result<()> {
        self.0.remove(INSTANCES, instance).await
    }

    /// The instances, and how long ago each said so.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be asked.
    pub async fn instances(&self) -> Result<Vec<(InstanceRecord, Duration)>> {
        let mut instances = Vec::new();
        for document in self.0.list(INSTANCES).await? {
            if document.age > FORGOTTEN_AFTER {
                self.0.remove(INSTANCES, &document.name).await?;
            } else {
                instances.push((read(INSTANCES, &document.bytes)?, document.age));
            }
        }
        Ok(instances)
    }

    /// Writes a line of the audit log.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be asked.
    pub async fn note(&self, record: &AuditRecord) -> Result<()> {
        self.0.append(AUDIT, &written(record), AUDIT_LINES).await
    }

    /// The last lines of the audit log, the newest last.
    ///
    /// # Errors
    ///
    /// Fails if the documents cannot be asked.
    pub async fn notes(&self, count: usize) -> Result<Vec<AuditRecord>> {
        self.0.tail(AUDIT, count.min(AUDIT_LINES)).await?.iter().map(|bytes| read(AUDIT, bytes)).collect()
    }
}

fn written(record: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("records have text keys only")
}

fn read<T: DeserializeOwned>(shelf: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message =
            format!("the registry holds something else among its {shelf}: {error}; was it written by another version?");
        Error::new(ErrorKind::Store, message)
    })
}

fn no_policy(digest: &str) -> Error {
    let message = format!(
        "the registry has no policy sha256:{}; push it, or look at `tollgate policy list`",
        digest.escape_debug()
    );
    Error::new(ErrorKind::NotFound, message)
}
