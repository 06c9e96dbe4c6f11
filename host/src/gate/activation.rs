//! Which roster is active: prepared beside the old one, swapped in whole, and back again where its policies fail.

use std::sync::Arc;

use tokio::sync::watch;

use super::plan::TrialMode;
use super::roster::{Roster, Tier};
use super::{Plan, ShadowReport, Tollgate, Trial};
use crate::error::Result;
use crate::model::{PolicyFaultKind, PolicyId};
use crate::policy::Engine;
use crate::time::Timestamp;

/// A roster whose policies are compiled, started and configured, ready to be activated by the gate that prepared it: at once, and as often as wanted.
#[derive(Clone, Debug)]
pub struct Prepared(Arc<Roster>);

/// What a tier runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// The tier.
    pub tier: Arc<str>,
    /// The tenant, if it is one's own tier.
    pub tenant: Option<String>,
    /// The policy that decides.
    pub policy: Arc<PolicyId>,
    /// The version on trial, if there is one, and what it does.
    pub trial: Option<(Arc<PolicyId>, TrialMode)>,
}

/// A policy that failed again and again, so that the gate went back to the roster before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storm {
    /// The generation that was given up.
    pub generation: u64,
    /// The tier.
    pub tier: Arc<str>,
    /// The policy that failed.
    pub policy: Arc<PolicyId>,
    /// How it failed at last.
    pub kind: PolicyFaultKind,
    /// How many decisions it could not make.
    pub faults: u32,
}

impl Tollgate {
    /// Replaces every tier and tenant at once, and answers the new generation.
    ///
    /// The new policies are compiled, started and configured first, while the old ones decide. A decision under way ends on the
    /// roster it began with. Counters belong to limit ids, so a limit that keeps its id keeps its count.
    ///
    /// # Errors
    ///
    /// Fails with the first thing that does not fit; nothing is replaced then.
    pub async fn replace(&self, plan: Plan) -> Result<u64> {
        let _one_at_a_time = self.0.replacing.lock().await;
        let prepared = self.prepare(plan).await?;
        let generation = self.generation() + 1;
        self.activate(&prepared, generation);
        Ok(generation)
    }

    /// Compiles, starts and configures everything of `plan`, while the active roster decides.
    ///
    /// # Errors
    ///
    /// Fails with the first thing that does not fit.
    pub async fn prepare(&self, plan: Plan) -> Result<Prepared> {
        let active = self.0.roster.load_full();
        let roster = Roster::build(&self.0.engine, &self.0.store, plan, Some(&active)).await?;
        Ok(Prepared(Arc::new(roster)))
    }

    /// Makes a roster the active one, as this generation: a pointer is swapped. If a policy of it fails again and again, the gate goes back to
    /// the one that is active now, by itself; [`storms`](Self::storms) tells.
    pub fn activate(&self, prepared: &Prepared, generation: u64) {
        let before = self.0.roster.load_full();
        // One step back is enough, and what lies further back need not stay in memory.
        let previous = Arc::new(before.reissued(before.generation, None));
        self.0.roster.store(Arc::new(prepared.0.reissued(generation, Some(previous))));
    }

    /// The same, but there is nothing to go back to: it is what the gate went back to.
    pub(crate) fn activate_for_good(&self, prepared: &Prepared, generation: u64) {
        self.0.roster.store(Arc::new(prepared.0.reissued(generation, None)));
    }

    /// The time, as the policies are told it.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// What compiles and runs the policies.
    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The roster that is active now, to come back to.
    #[must_use]
    pub fn prepared(&self) -> Prepared {
        Prepared(self.0.roster.load_full())
    }

    /// The generation of the active roster: 1 at first, and what it was activated as from then on.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.roster.load().generation
    }

    /// What every tier runs, in order of their names, those of single tenants after them.
    #[must_use]
    pub fn active(&self) -> Vec<Active> {
        let roster = self.0.roster.load();
        let told = |(tenant, tier): (Option<&str>, &Arc<Tier>)| Active {
            tier: Arc::clone(&tier.name),
            tenant: tenant.map(str::to_owned),
            policy: Arc::clone(tier.policy.id()),
            trial: tier.trial.as_ref().map(|trial| (Arc::clone(trial.policy()), trial.mode())),
        };
        let mut active: Vec<Active> = roster.tiers().map(told).collect();
        active.sort_by(|one, other| (&one.tenant, &one.tier).cmp(&(&other.tenant, &other.tier)));
        active
    }

    /// How the shadows of the active roster compare with what they are tried against, on this host.
    #[must_use]
    pub fn shadows(&self) -> Vec<ShadowReport> {
        let roster = self.0.roster.load();
        let report = |(tenant, tier): (Option<&str>, &Arc<Tier>)| match &tier.trial {
            Some(Trial::Shadow(shadow)) => Some(shadow.report(&tier.name, tenant)),
            _ => None,
        };
        roster.tiers().filter_map(report).collect()
    }

    /// The last storm of faults because of which the gate went back to an earlier roster.
    #[must_use]
    pub fn storms(&self) -> watch::Receiver<Option<Storm>> {
        self.0.storms.subscribe()
    }

    pub(super) fn note_fault(&self, roster: &Arc<Roster>, tier: &Tier, now: Timestamp, kind: PolicyFaultKind) {
        // It is the host that has too much to do.
        if kind == PolicyFaultKind::Overload {
            return;
        }
        let Some(faults) = tier.health.note_fault(now) else { return };
        let Some(previous) = &roster.previous else { return };
        let back = Arc::new(previous.reissued(roster.generation + 1, None));
        let replaced = self.0.roster.compare_and_swap(roster, back);
        // Another decision may have noticed at the same moment.
        if !Arc::ptr_eq(&replaced, roster) {
            return;
        }
        let (tier, policy) = (Arc::clone(&tier.name), Arc::clone(tier.policy.id()));
        let faults_of = format!("`{}` {} of tier `{tier}`", policy.name, policy.version);
        tracing::error!(
            digest = policy.digest,
            "policy {faults_of} could not make {faults} decisions within seconds, the last by {}: rolled back from generation {} by itself",
            kind.name(),
            roster.generation
        );
        self.0.storms.send_replace(Some(Storm { generation: roster.generation, tier, policy, kind, faults }));
    }
}
