//! Following what is active: by what is announced, and by looking from time to time.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Member;
use super::records::{Activation, InstanceRecord, TierRecord};
use super::rosters::{Applied, Ready};
use crate::error::Result;
use crate::gate::{Active, Storm};

/// How often a host looks whether it missed something.
const LOOK: Duration = Duration::from_millis(500);
/// How often it says that it is there.
const BEAT: Duration = Duration::from_secs(2);

/// Follows for as long as there is a member.
pub(super) async fn follow(member: Weak<Member>) {
    let Some((mut changes, mut storms)) =
        member.upgrade().map(|member| (member.registry.documents().changes(), member.gate.storms()))
    else {
        return;
    };
    let mut beat = Instant::now();
    loop {
        let stormed = tokio::select! {
            Ok(()) = changes.changed() => None,
            Ok(()) = storms.changed() => storms.borrow_and_update().clone(),
            () = sleep_until(Instant::now() + LOOK) => None,
        };
        let Some(member) = member.upgrade() else { return };
        if let Some(storm) = stormed {
            member.report(&storm).await;
        }
        if member.look().await || beat.elapsed() >= BEAT {
            beat = Instant::now();
            member.beat().await;
        }
    }
}

impl Member {
    /// Looks for the first time, and says what is running.
    pub(super) async fn begin(&self) {
        self.look().await;
        self.beat().await;
    }

    /// Sees that what is active is active here. Whether that changed something.
    async fn look(&self) -> bool {
        match self.synchronize().await {
            Ok(changed) => {
                let failed = self.rosters.error().is_some();
                self.rosters.fail(None);
                changed || failed
            }
            Err(error) => {
                let told = format!("{error:#}");
                let news = self.rosters.error().as_ref() != Some(&told);
                if news {
                    tracing::warn!(
                        instance = self.instance,
                        "cannot follow the fleet, and go on with generation {}: {told}",
                        self.gate.generation()
                    );
                }
                self.rosters.fail(Some(told));
                news
            }
        }
    }

    async fn synchronize(&self) -> Result<bool> {
        let active = self.registry.active().await?;
        let applied = self.rosters.applied();
        match (active, applied) {
            (None, None) => Ok(false),
            (Some(active), Some(applied)) if active == applied.activation => Ok(false),
            // The registry lost what it had.
            (None, Some(applied)) => self.restore(&applied, None).await,
            (Some(active), Some(applied)) if active.generation < applied.activation.generation => {
                self.restore(&applied, Some(&active)).await
            }
            (Some(active), _) => {
                self.apply(active).await?;
                Ok(true)
            }
        }
    }

    /// Activates here what is active in the fleet.
    pub(super) async fn apply(&self, activation: Activation) -> Result<()> {
        let ready = self.make_ready(activation.revision).await?;
        // Whoever activates here, and whoever follows, may come with the same one, and with an earlier one later.
        let _one_at_a_time = self.applying.lock().await;
        let is_past = |applied: &Activation| applied.generation > activation.generation || *applied == activation;
        if self.rosters.applied().is_some_and(|applied| is_past(&applied.activation)) {
            return Ok(());
        }
        if activation.after_storm {
            self.gate.activate_for_good(&ready.prepared, activation.generation);
        } else {
            self.gate.activate(&ready.prepared, activation.generation);
        }
        tracing::info!(
            instance = self.instance,
            generation = activation.generation,
            revision = activation.revision,
            by = activation.by,
            "roster activated"
        );
        self.rosters.apply(Some(Applied { activation, ready }));
        Ok(())
    }

    /// The roster of a revision, compiled, started and configured.
    pub(super) async fn make_ready(&self, number: u64) -> Result<Ready> {
        if let Some(ready) = self.rosters.ready(number) {
            return Ok(ready);
        }
        let revision = self.registry.revision(number).await?;
        let ready = self.examine(Arc::new(revision)).await?;
        self.rosters.keep(number, ready.clone());
        Ok(ready)
    }

    /// Brings the last good roster back to a registry that lost it.
    async fn restore(&self, applied: &Applied, known: Option<&Activation>) -> Result<bool> {
        for (record, component) in &applied.ready.policies {
            self.registry.keep_policy(record, component).await?;
        }
        if let Some(revision) = &applied.ready.revision {
            self.registry.put_revision(revision).await?;
        }
        self.registry.activate(known, &applied.activation).await?;
        tracing::warn!(
            instance = self.instance,
            generation = applied.activation.generation,
            "the registry had lost the active roster; it is restored"
        );
        Ok(true)
    }

    /// Tells the fleet that the gate went back by itself, so that all do.
    async fn report(&self, storm: &Storm) {
        let Some(applied) = self.rosters.applied() else { return };
        let Activation { generation, before, revision, .. } = applied.activation;
        if generation != storm.generation {
            return;
        }
        let note = format!(
            "`{}` {} of tier `{}` could not make {} decisions, the last by {}",
            storm.policy.name,
            storm.policy.version,
            storm.tier,
            storm.faults,
            storm.kind.name()
        );
        let by = format!("tollgate on {}", self.instance);
        let done = self.switch_as(before, &by, &note, Some(generation), true).await;
        self.audit(&by, "roster.rollback", &format!("revision {revision} to {before}: {note}"), &done).await;
        if done.is_err() {
            // The registry says what is active; this host had gone back by itself.
            self.rosters.apply(None);
        }
    }

    /// Says what runs here.
    pub(super) async fn beat(&self) {
        let applied = self.rosters.applied();
        let tiers = self.gate.active().into_iter().map(|Active { tier, tenant, policy, .. }| TierRecord {
            tier: tier.to_string(),
            tenant,
            policy: format!("{} {}", policy.name, policy.version),
            digest: policy.digest.clone(),
        });
        let record = InstanceRecord {
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            generation: self.gate.generation(),
            revision: applied.map_or(0, |applied| applied.activation.revision),
            tiers: tiers.collect(),
            error: self.rosters.error(),
        };
        // It is said again soon.
        let _ = self.registry.beat(&record).await;
    }
}
