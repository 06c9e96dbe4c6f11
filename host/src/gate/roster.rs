//! Who is decided by what: an immutable snapshot of tiers and tenants, replaced whole.

use std::collections::HashMap;
use std::sync::Arc;

use super::counters::Counters;
use super::health::Health;
use super::meters::Meters;
use super::plan::{Code, Plan, TierPlan, check_names};
use super::trial::Trial;
use crate::error::{Error, Result};
use crate::model::{OnFault, OnStoreFault, Request};
use crate::policy::{self, Bounds, Component, Engine, Policy};
use crate::store::{Store, Terms};

/// The active tiers and tenants.
#[derive(Clone, Debug)]
pub(super) struct Roster {
    pub(super) generation: u64,
    pub(super) on_missing: OnFault,
    /// What to go back to if this one's policies fail.
    pub(super) previous: Option<Arc<Roster>>,
    tiers: Arc<HashMap<Box<str>, Arc<Tier>>>,
    tenants: Arc<HashMap<Box<str>, Arc<Tier>>>,
    default_tier: Option<Arc<Tier>>,
}

/// A tier with its policy, ready to decide.
#[derive(Debug)]
pub(super) struct Tier {
    pub(super) name: Arc<str>,
    pub(super) policy: Policy,
    /// The part of the keys that keeps the counters of different policies apart.
    pub(super) space: Box<str>,
    /// What answers a decision as a whole, where no rule answered its charges.
    pub(super) on_store_fault: OnStoreFault,
    pub(super) on_policy_fault: OnFault,
    pub(super) trial: Option<Trial>,
    pub(super) health: Health,
    pub(super) meters: Meters,
    /// Where its counters live.
    pub(super) store: Arc<dyn Store>,
    component: Component,
}

impl Roster {
    /// Compiles, starts and configures everything of `plan`. Code that `active` runs already is not compiled again.
    pub(super) async fn build(engine: &Engine, store: &Counters, plan: Plan, active: Option<&Self>) -> Result<Self> {
        check_names(&plan)?;
        let mut workshop = Workshop { engine, store, compiled: components(active) };
        let mut tiers = HashMap::new();
        for (name, tier) in plan.tiers {
            let built = workshop.tier(&name, &tier).await.map_err(|error| told(&format!("tier `{name}`"), &error))?;
            tiers.insert(name.into_boxed_str(), Arc::new(built));
        }
        let tier_named = |name: &str| tiers.get(name).map(Arc::clone);
        let mut tenants: HashMap<Box<str>, Arc<Tier>> = plan
            .tenants
            .iter()
            .filter_map(|(tenant, tier)| Some((tenant.as_str().into(), tier_named(tier)?)))
            .collect();
        for (tenant, own) in plan.overrides {
            let name = plan.tenants.get(&tenant).map_or("", String::as_str);
            let built = workshop.tier(name, &own).await.map_err(|error| told(&format!("tenant `{tenant}`"), &error))?;
            tenants.insert(tenant.into_boxed_str(), Arc::new(built));
        }
        let default_tier = plan.default_tier.as_deref().and_then(tier_named);
        let (tiers, tenants) = (Arc::new(tiers), Arc::new(tenants));
        Ok(Self { generation: 0, on_missing: plan.on_missing_tier, previous: None, tenants, default_tier, tiers })
    }

    /// The same tiers and tenants as another generation, with something else to go back to.
    pub(super) fn reissued(&self, generation: u64, previous: Option<Arc<Self>>) -> Self {
        Self { generation, previous, ..self.clone() }
    }

    /// The tier that decides `request`: the one it names, its tenant's, or the default one.
    pub(super) fn tier_of(&self, request: &Request<'_>) -> Option<&Tier> {
        let own = || self.tenants.get(request.tenant());
        let tier = match request.tier() {
            // What was made for the tenant alone has the name of the tier it stands for.
            Some(name) => own().filter(|tier| &*tier.name == name).or_else(|| self.tiers.get(name)),
            None => own().or(self.default_tier.as_ref()),
        };
        tier.map(|tier| &**tier)
    }

    /// Every tier by its name, and what was made for a tenant alone by the tenant's.
    pub(super) fn tiers(&self) -> impl Iterator<Item = (Option<&str>, &Arc<Tier>)> {
        let of_tiers = self.tiers.values().map(|tier| (None, tier));
        let is_own = |tier: &Arc<Tier>| !self.tiers.values().any(|known| Arc::ptr_eq(known, tier));
        let own =
            self.tenants.iter().filter(move |(_, tier)| is_own(tier)).map(|(tenant, tier)| (Some(&**tenant), tier));
        of_tiers.chain(own)
    }

    pub(super) fn tier_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tiers.keys().map(|name| name.to_string()).collect();
        names.sort_unstable();
        names
    }
}

impl Tier {
    /// The one that decides for a tenant: its canary, for some of them.
    pub(super) fn serving(&self, tenant: &str) -> &Self {
        match &self.trial {
            Some(Trial::Canary(canary)) if canary.has(tenant) => &canary.tier,
            _ => self,
        }
    }
}

/// What tiers are built with.
struct Workshop<'a> {
    engine: &'a Engine,
    store: &'a Counters,
    /// The components at hand, by digest.
    compiled: HashMap<String, Component>,
}

impl Workshop<'_> {
    async fn tier(&mut self, name: &str, plan: &TierPlan) -> Result<Tier> {
        let mut tier = self.version(name, plan, &plan.code, &plan.configuration).await?;
        if let Some(trial) = &plan.trial {
            let built = self.version(name, plan, &trial.code, &trial.configuration).await;
            let built = built.map_err(|error| told("the version on trial", &error))?;
            tier.trial = Some(Trial::new(trial.mode, built)?);
        }
        Ok(tier)
    }

    async fn version(&mut self, name: &str, plan: &TierPlan, code: &Code, configuration: &str) -> Result<Tier> {
        let component = self.component(code).await?;
        let terms = Terms { on_store_fault: plan.on_store_fault.clone(), precision: plan.precision.clone() };
        let store = self.store.of_tier(terms);
        let (on_change, isolation) = (plan.on_change.clone(), plan.isolation);
        let setting = policy::Setting { store: Arc::clone(&store), bounds: Bounds::default(), on_change, isolation };
        let policy = Policy::new(&component, configuration, setting).await?;
        let space = component.id().name.as_str().into();
        let (on_store_fault, on_policy_fault) = (plan.on_store_fault.general(), plan.on_policy_fault);
        let (name, trial, health) = (Arc::from(name), None, Health::default());
        let meters = Meters::new(&name, policy.id());
        Ok(Tier { name, meters, policy, space, on_store_fault, on_policy_fault, trial, health, store, component })
    }

    async fn component(&mut self, code: &Code) -> Result<Component> {
        let (name, bytes) = match code {
            Code::BuiltIn(name) => (name, policy::built_in(name)?),
            Code::Component(name, bytes) => (name, bytes.as_slice()),
            Code::Loaded(component) => return Ok(component.clone()),
        };
        let digest = policy::digest(bytes);
        if let Some(component) = self.compiled.get(&digest) {
            return Ok(component.clone());
        }
        let component = Component::load(self.engine, name, bytes).await?;
        self.compiled.insert(digest, component.clone());
        Ok(component)
    }
}

fn told(place: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{place}: {error:#}"))
}

fn components(active: Option<&Roster>) -> HashMap<String, Component> {
    let tiers = active.into_iter().flat_map(|roster| roster.tiers.values());
    tiers.map(|tier| (tier.component.id().digest.clone(), tier.component.clone())).collect()
}
