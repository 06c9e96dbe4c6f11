//! What an operator does: push, propose, activate, roll back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::document::{RosterDocument, digest_of};
use super::records::{Activation, AuditRecord, Cases, InstanceRecord, PolicyRecord, Revision};
use super::registry::GONE_AFTER;
use super::rosters::Ready;
use super::{Fleet, Member};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::Code;
use crate::model::rfc3339;
use crate::policy::{Component, Signature};

/// A policy to be kept.
#[derive(Clone, Debug, Default)]
pub struct Upload {
    /// The component.
    pub component: Vec<u8>,
    /// Its golden cases, if it has some.
    pub cases: Option<Cases>,
    /// Its signatures, in text form.
    pub signatures: Vec<String>,
}

impl Fleet {
    /// Examines a policy and keeps it in the registry. Nothing is activated.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Policy`] if it is not fit to be one, and if the registry cannot be asked.
    pub async fn push(&self, upload: Upload, by: &str) -> Result<PolicyRecord> {
        let pushed = self.member.push(upload, by).await;
        let what = pushed.as_ref().map_or_else(|_| "a policy".to_owned(), |record| format!("sha256:{}", record.digest));
        self.member.audit(by, "policy.push", &what, &pushed).await;
        pushed
    }

    /// Removes a policy that the active roster does not need.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Conflict`] if it does, with [`ErrorKind::NotFound`], and if the registry cannot be asked.
    pub async fn remove(&self, digest: &str, by: &str) -> Result<()> {
        let removed = self.member.remove(digest).await;
        self.member.audit(by, "policy.remove", &format!("sha256:{digest}"), &removed).await;
        removed
    }

    /// Examines a roster - every policy is compiled, started, configured, and tried on its golden cases - and keeps it under the next number. It is not activated.
    ///
    /// # Errors
    ///
    /// Fails with the first thing that does not fit, and if the registry cannot be asked.
    pub async fn propose(&self, roster: RosterDocument, by: &str, note: &str) -> Result<Revision> {
        let proposed = self.member.propose(roster, by, note).await;
        let what = proposed
            .as_ref()
            .map_or_else(|_| "a roster".to_owned(), |proposed| format!("revision {}", proposed.revision));
        self.member.audit(by, "roster.propose", &what, &proposed).await;
        proposed
    }

    /// Makes a revision the active one for the whole fleet, here at once: in the place of the generation `expected`, or of any.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NotFound`] if there is no such revision, with [`ErrorKind::Conflict`] if another generation is active, with the first thing
    /// that does not fit, and if the registry cannot be asked. Nothing changes then.
    pub async fn activate(&self, revision: u64, by: &str, note: &str, expected: Option<u64>) -> Result<Activation> {
        let activated = self.member.switch(revision, by, note, expected).await;
        self.member.audit(by, "roster.activate", &format!("revision {revision}"), &activated).await;
        activated
    }

    /// Activates what was active before.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Conflict`] if nothing was ever activated, and as [`activate`](Self::activate) does.
    pub async fn roll_back(&self, by: &str, note: &str) -> Result<Activation> {
        let member = &self.member;
        let rolled_back = match member.registry.active().await {
            Ok(Some(active)) => member.switch(active.before, by, note, Some(active.generation)).await,
            Ok(None) => {
                Err(Error::new(ErrorKind::Conflict, "nothing was ever activated, so there is nothing to go back to"))
            }
            Err(error) => Err(error),
        };
        let what = rolled_back
            .as_ref()
            .map_or_else(|_| "the active roster".to_owned(), |now| format!("to revision {}", now.revision));
        member.audit(by, "roster.rollback", &what, &rolled_back).await;
        rolled_back
    }

    /// The roster of a revision: 0 is the one of this host's own configuration.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::NotFound`] if there is none, and if the registry cannot be asked.
    pub async fn roster(&self, revision: u64) -> Result<RosterDocument> {
        match (revision, self.member.rosters.own_document()) {
            (0, Some(own)) => Ok(own.clone()),
            (0, None) => Err(Error::new(ErrorKind::NotFound, "this host was given no roster as a document")),
            _ => Ok(self.member.registry.revision(revision).await?.roster),
        }
    }

    /// The revision that is active on this host.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.member.rosters.applied().map_or(0, |applied| applied.activation.revision)
    }

    /// The instances that said within ten seconds that they are there, and how long ago; by name.
    ///
    /// # Errors
    ///
    /// Fails if the registry cannot be asked.
    pub async fn instances(&self) -> Result<Vec<(InstanceRecord, Duration)>> {
        let mut instances = self.member.registry.instances().await?;
        instances.retain(|(_, age)| *age < GONE_AFTER);
        Ok(instances)
    }

    /// Writes a line of the audit log, for what somebody did beside policies and rosters.
    pub async fn note<T>(&self, by: &str, action: &str, what: &str, result: &Result<T>) {
        self.member.audit(by, action, what, result).await;
    }

    /// Writes a line of the audit log, for what somebody asked and was not let do.
    pub async fn note_refusal(&self, by: &str, action: &str, what: &str, why: &str) {
        let refused: Result<()> = Err(Error::new(ErrorKind::Request, why));
        self.member.audit(by, action, what, &refused).await;
    }
}

impl Member {
    fn now(&self) -> String {
        rfc3339(self.gate.now())
    }

    async fn push(&self, upload: Upload, by: &str) -> Result<PolicyRecord> {
        let Upload { component, cases, signatures } = upload;
        for signature in &signatures {
            signature.parse::<Signature>()?;
        }
        let loaded = self.intake.compile(&component).await?;
        let id = loaded.id();
        let record = PolicyRecord {
            digest: id.digest.clone(),
            name: id.name.clone(),
            version: id.version.clone(),
            bytes: component.len() as u64,
            by: by.to_owned(),
            at: self.now(),
            cases,
            signatures,
        };
        self.registry.keep_policy(&record, &component).await
    }

    async fn remove(&self, digest: &str) -> Result<()> {
        self.registry.policy(digest).await?;
        if let Some(active) = self.registry.active().await? {
            for revision in [active.revision, active.before].into_iter().filter(|revision| *revision > 0) {
                if self.registry.revision(revision).await?.roster.uses().iter().any(|(_, used)| *used == digest) {
                    let message = format!("revision {revision}, which is active or was before, needs sha256:{digest}");
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
            }
        }
        self.registry.remove_policy(digest).await
    }

    async fn propose(&self, roster: RosterDocument, by: &str, note: &str) -> Result<Revision> {
        let revision = Revision { revision: 0, by: by.to_owned(), at: self.now(), note: note.to_owned(), roster };
        let ready = self.examine(Arc::new(revision.clone())).await?;
        let revision = self.registry.add_revision(by, revision.at, note, revision.roster).await?;
        self.rosters.keep(revision.revision, Ready { revision: Some(Arc::new(revision.clone())), ..ready });
        Ok(revision)
    }

    /// Compiles, starts and configures the policies of a revision.
    pub(super) async fn examine(&self, revision: Arc<Revision>) -> Result<Ready> {
        let mut policies = Vec::new();
        let mut components: HashMap<String, Component> = HashMap::new();
        for (tier, digest) in revision.roster.uses() {
            let bytes: Arc<[u8]> = self.registry.component(digest).await?.into();
            let record = self.registry.policy(digest).await?;
            let examined = self.intake.examine(&record, tier, &bytes).await;
            let component = examined.map_err(|error| Error::new(error.kind(), format!("tier `{tier}`: {error:#}")))?;
            if components.insert(digest.to_owned(), component).is_none() {
                policies.push((record, bytes));
            }
        }
        let plan = revision.roster.plan(|policy| match digest_of(policy) {
            None => Ok(Code::BuiltIn(policy.to_owned())),
            Some(digest) => {
                let component = components.get(digest).cloned();
                component
                    .map(Code::Loaded)
                    .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("no policy {digest}")))
            }
        })?;
        let prepared = self.gate.prepare(plan).await?;
        Ok(Ready { prepared, revision: Some(revision), policies })
    }

    /// Makes a revision the active one of the fleet.
    pub(super) async fn switch(
        &self,
        revision: u64,
        by: &str,
        note: &str,
        expected: Option<u64>,
    ) -> Result<Activation> {
        self.switch_as(revision, by, note, expected, false).await
    }

    /// The same; after a storm there is nothing to go back to.
    pub(super) async fn switch_as(
        &self,
        revision: u64,
        by: &str,
        note: &str,
        expected: Option<u64>,
        after_storm: bool,
    ) -> Result<Activation> {
        self.make_ready(revision).await?;
        let active = self.registry.active().await?;
        let generation = active.as_ref().map_or(FIRST_GENERATION, |active| active.generation);
        if let Some(expected) = expected.filter(|expected| *expected != generation) {
            let message =
                format!("generation {generation} is active, not {expected}; look at what changed, and try again");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let next = Activation {
            // This host may have gone back by itself, which was a generation of its own.
            generation: (generation + 1).max(self.gate.generation()),
            revision,
            before: active.as_ref().map_or(0, |active| active.revision),
            by: by.to_owned(),
            at: self.now(),
            note: note.to_owned(),
            after_storm,
        };
        self.registry.activate(active.as_ref(), &next).await?;
        self.apply(next.clone()).await?;
        self.beat().await;
        Ok(next)
    }

    pub(super) async fn audit<T>(&self, by: &str, action: &str, what: &str, result: &Result<T>) {
        let result = match result {
            Ok(_) => "done".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        tracing::info!(target: "tollgate::audit", by, action, what, result, "admin");
        let record =
            AuditRecord { at: self.now(), by: by.to_owned(), action: action.to_owned(), what: what.to_owned(), result };
        if let Err(error) = self.registry.note(&record).await {
            tracing::error!("failed to write the audit log: {error:#}");
        }
    }
}

/// What a gate begins with, before anything is activated.
pub(crate) const FIRST_GENERATION: u64 = 1;
