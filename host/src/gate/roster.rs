//! Who is decided by what: an immutable snapshot of tiers and tenants, replaced whole.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use super::counters::Counters;
use crate::counter::OnChange;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChangeRules, OnFault, OnStoreFault, Precision, PrecisionRules, Request, StoreFaultRules, is_name};
use crate::policy::{self, Bounds, Component, Engine, Policy};
use crate::store::Terms;

/// Where the code of a policy comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum Code {
    /// A policy that comes with the host: `tiered`, `route-classes` or `penalty`.
    BuiltIn(String),
    /// The bytes of a component, and what errors call it.
    Component(String, Vec<u8>),
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => f.debug_tuple("BuiltIn").field(name).finish(),
            Self::Component(name, bytes) => f.debug_tuple("Component").field(name).field(&bytes.len()).finish(),
        }
    }
}

/// What a tier is to be.
#[derive(Clone, Debug)]
pub struct TierPlan {
    /// The code of its policy.
    pub code: Code,
    /// The configuration of its policy, a JSON text.
    pub configuration: String,
    /// What answers when the counters cannot be charged.
    pub on_store_fault: StoreFaultRules,
    /// How exactly hosts that share a store count its limits together.
    pub precision: PrecisionRules,
    /// What becomes of its counters when its limits get other numbers.
    pub on_change: ChangeRules,
    /// What answers when the policy cannot decide.
    pub on_policy_fault: OnFault,
}

impl TierPlan {
    /// A tier decided by a policy that comes with the host. A broken store lets requests pass, a broken policy does not: an outage of
    /// the counters is no fault of the caller, a policy that fails on a request may have been made to.
    #[must_use]
    pub fn built_in(policy: &str, configuration: impl Into<String>) -> Self {
        Self::of(Code::BuiltIn(policy.to_owned()), configuration)
    }

    /// A tier decided by the component `bytes`, which errors call `name`, with the same rules.
    #[must_use]
    pub fn component(name: &str, bytes: impl Into<Vec<u8>>, configuration: impl Into<String>) -> Self {
        Self::of(Code::Component(name.to_owned(), bytes.into()), configuration)
    }

    fn of(code: Code, configuration: impl Into<String>) -> Self {
        let (on_store_fault, on_policy_fault) = (OnFault::Allow.into(), OnFault::Deny);
        let (precision, on_change) = (Precision::Exact.into(), OnChange::Keep.into());
        Self { code, configuration: configuration.into(), on_store_fault, precision, on_change, on_policy_fault }
    }
}

/// What a roster is to be: every tier, every tenant.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The tiers, by name.
    pub tiers: BTreeMap<String, TierPlan>,
    /// The tier of each tenant.
    pub tenants: BTreeMap<String, String>,
    /// The tier of a tenant that is not listed; none refuses to guess.
    pub default_tier: Option<String>,
    /// What answers a request that no tier decides.
    pub on_missing_tier: OnFault,
}

impl Default for Plan {
    fn default() -> Self {
        Self { tiers: BTreeMap::new(), tenants: BTreeMap::new(), default_tier: None, on_missing_tier: OnFault::Deny }
    }
}

/// The active tiers and tenants.
#[derive(Debug)]
pub(super) struct Roster {
    pub(super) generation: u64,
    pub(super) on_missing: OnFault,
    tiers: HashMap<Box<str>, Arc<Tier>>,
    tenants: HashMap<Box<str>, Arc<Tier>>,
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
    component: Component,
}

impl Roster {
    /// Compiles, starts and configures everything of `plan`. Code that `active` runs already is not compiled again.
    pub(super) async fn build(engine: &Engine, store: &Counters, plan: Plan, active: Option<&Self>) -> Result<Self> {
        check_names(&plan)?;
        let mut compiled = Compiled::of(active);
        let mut tiers = HashMap::new();
        for (name, tier) in plan.tiers {
            let built = Tier::build(engine, store, &name, &tier, &mut compiled).await.map_err(|error| {
                Error::new(error.kind(), format!("tier `{name}`: {}", error.message())).because(error)
            })?;
            tiers.insert(name.into_boxed_str(), Arc::new(built));
        }
        let tier_named = |name: &str| tiers.get(name).map(Arc::clone);
        let tenants = plan
            .tenants
            .iter()
            .filter_map(|(tenant, tier)| Some((tenant.as_str().into(), tier_named(tier)?)))
            .collect();
        let default_tier = plan.default_tier.as_deref().and_then(tier_named);
        let generation = active.map_or(1, |active| active.generation + 1);
        Ok(Self { generation, on_missing: plan.on_missing_tier, tenants, default_tier, tiers })
    }

    /// The tier that decides `request`: the one it names, its tenant's, or the default one.
    pub(super) fn tier_of(&self, request: &Request<'_>) -> Option<&Tier> {
        let tier = match request.tier() {
            Some(name) => self.tiers.get(name),
            None => self.tenants.get(request.tenant()).or(self.default_tier.as_ref()),
        };
        tier.map(|tier| &**tier)
    }

    pub(super) fn tier_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tiers.keys().map(|name| name.to_string()).collect();
        names.sort_unstable();
        names
    }
}

impl Tier {
    async fn build(
        engine: &Engine,
        store: &Counters,
        name: &str,
        plan: &TierPlan,
        compiled: &mut Compiled,
    ) -> Result<Self> {
        let component = compiled.component(engine, &plan.code).await?;
        let terms = Terms { on_store_fault: plan.on_store_fault.clone(), precision: plan.precision.clone() };
        let store = store.of_tier(terms);
        let setting = policy::Setting { store, bounds: Bounds::default(), on_change: plan.on_change.clone() };
        let policy = Policy::new(&component, &plan.configuration, setting).await?;
        let space = component.id().name.as_str().into();
        let (on_store_fault, on_policy_fault) = (plan.on_store_fault.general(), plan.on_policy_fault);
        Ok(Self { name: name.into(), policy, space, on_store_fault, on_policy_fault, component })
    }
}

/// The components at hand, by digest.
struct Compiled(HashMap<String, Component>);

impl Compiled {
    fn of(active: Option<&Roster>) -> Self {
        let tiers = active.into_iter().flat_map(|roster| roster.tiers.values());
        Self(tiers.map(|tier| (tier.component.id().digest.clone(), tier.component.clone())).collect())
    }

    async fn component(&mut self, engine: &Engine, code: &Code) -> Result<Component> {
        let (name, bytes) = match code {
            Code::BuiltIn(name) => (name, policy::built_in(name)?),
            Code::Component(name, bytes) => (name, bytes.as_slice()),
        };
        let digest = policy::digest(bytes);
        if let Some(component) = self.0.get(&digest) {
            return Ok(component.clone());
        }
        let component = Component::load(engine, name, bytes).await?;
        self.0.insert(digest, component.clone());
        Ok(component)
    }
}

fn check_names(plan: &Plan) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
    if plan.tiers.is_empty() {
        return wrong("no tier is set; give at least one".to_owned());
    }
    if let Some(name) = plan.tiers.keys().find(|name| !is_name(name)) {
        return wrong(format!("tier `{}` is not 1 to 64 of A-Z a-z 0-9 . _ -", name.escape_debug()));
    }
    let known = || plan.tiers.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    for (tenant, tier) in &plan.tenants {
        // A tenant that no request can name would be a tier that nobody gets.
        Request::new(tenant, "subject")
            .map_err(|error| Error::new(ErrorKind::Config, format!("tenant `{}`: {error}", tenant.escape_debug())))?;
        if !plan.tiers.contains_key(tier) {
            return wrong(format!("tenant `{tenant}` has the tier `{tier}`; the tiers are {}", known()));
        }
    }
    match &plan.default_tier {
        Some(tier) if !plan.tiers.contains_key(tier) => {
            wrong(format!("the default tier is `{tier}`; the tiers are {}", known()))
        }
        _ => Ok(()),
    }
}
