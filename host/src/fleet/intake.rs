//! What a policy of the registry goes through before it decides for a tier.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::records::PolicyRecord;
use crate::error::Result;
use crate::policy::{self, Candidate, Component, Engine, Keyring, Refusal, Signature, Stage, cases};

/// Examines policies, and keeps the last ones compiled.
#[derive(Debug)]
pub(super) struct Intake {
    engine: Engine,
    keyring: Keyring,
    examined: Mutex<VecDeque<Component>>,
}

/// How many are kept.
const KEPT: usize = 16;

impl Intake {
    pub(super) fn new(engine: Engine, keyring: Keyring) -> Self {
        Self { engine, keyring, examined: Mutex::default() }
    }

    /// Whether a component could be a policy at all: its form, its imports and exports, that it compiles and describes itself.
    pub(super) async fn compile(&self, component: &[u8]) -> Result<Component> {
        let digest = policy::digest(component);
        if let Some(known) = self.known(&digest) {
            return Ok(known);
        }
        let compiled = Component::load(&self.engine, "upload", component).await?;
        self.keep(compiled.clone());
        Ok(compiled)
    }

    /// Whether a policy of the registry may decide for `tier`: that it is the one that was asked for, that it is signed as it must be, and that it answers
    /// its golden cases.
    pub(super) async fn examine(&self, record: &PolicyRecord, tier: &str, bytes: &[u8]) -> Result<Component> {
        let name = format!("{} {}", record.name, record.version);
        let signatures: Result<Vec<Signature>> = record.signatures.iter().map(|text| text.parse()).collect();
        let signatures = signatures?;
        if let Some(known) = self.known(&record.digest) {
            self.keyring.admit(&name, tier, bytes, &signatures)?;
            self.try_out(&name, record, &known).await?;
            return Ok(known);
        }
        let candidate =
            Candidate { digest: Some(&record.digest), signatures: &signatures, ..Candidate::new(&name, tier, bytes) };
        let intake = policy::Intake::new(self.engine.clone(), self.keyring.clone());
        let component = intake.examine(candidate).await?;
        self.try_out(&name, record, &component).await?;
        self.keep(component.clone());
        Ok(component)
    }

    async fn try_out(&self, name: &str, record: &PolicyRecord, component: &Component) -> Result<()> {
        let Some(golden) = &record.cases else { return Ok(()) };
        let ran = cases::run(component, &golden.config, &golden.text).await;
        ran.map_err(|error| Refusal::new(name, Stage::Cases, error.to_string()))?;
        Ok(())
    }

    fn known(&self, digest: &str) -> Option<Component> {
        self.held().iter().find(|known| known.id().digest == digest).cloned()
    }

    fn keep(&self, component: Component) {
        let mut held = self.held();
        held.retain(|known| known.id().digest != component.id().digest);
        held.push_back(component);
        if held.len() > KEPT {
            held.pop_front();
        }
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<Component>> {
        // Each change leaves whole components.
        self.examined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
