//! What a roster is to be.

use std::collections::BTreeMap;
use std::fmt;

use crate::counter::OnChange;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ChangeRules, Isolation, OnFault, Precision, PrecisionRules, Request, StoreFaultRules, is_name};
use crate::policy::Component;

/// Where the code of a policy comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum Code {
    /// A policy that comes with the host: `tiered`, `route-classes`, `penalty` or `descriptors`.
    BuiltIn(String),
    /// The bytes of a component, and what errors call it.
    Component(String, Vec<u8>),
    /// A component that is compiled already.
    Loaded(Component),
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn(name) => f.debug_tuple("BuiltIn").field(name).finish(),
            Self::Component(name, bytes) => f.debug_tuple("Component").field(name).field(&bytes.len()).finish(),
            Self::Loaded(component) => f.debug_tuple("Loaded").field(component).finish(),
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
    /// Whom one instance of the policy may serve.
    pub isolation: Isolation,
    /// Another version on trial, if there is one.
    pub trial: Option<TrialPlan>,
}

/// A version of a tier's policy on trial. The rules for what answers in its place are the tier's.
#[derive(Clone, Debug)]
pub struct TrialPlan {
    /// The code of the policy.
    pub code: Code,
    /// Its configuration, a JSON text.
    pub configuration: String,
    /// What it does.
    pub mode: TrialMode,
}

/// What a version on trial does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialMode {
    /// Decides beside the active version on every request and takes nothing. How its verdicts differ is counted by tenant.
    Shadow,
    /// Decides for so many of a hundred tenants, 1 to 99, always the same ones.
    Canary(u8),
}

impl TierPlan {
    /// A tier decided by a policy that comes with the host. A broken store lets requests pass, a broken policy does not: an outage of
    /// the counters is no fault of the caller, a policy that fails on a request may have been made to. Its instances serve all tenants.
    #[must_use]
    pub fn built_in(policy: &str, configuration: impl Into<String>) -> Self {
        Self::of(Code::BuiltIn(policy.to_owned()), configuration, Isolation::Shared)
    }

    /// A tier decided by the component `bytes`, which errors call `name`, with the same rules. An instance of it serves one tenant.
    #[must_use]
    pub fn component(name: &str, bytes: impl Into<Vec<u8>>, configuration: impl Into<String>) -> Self {
        Self::of(Code::Component(name.to_owned(), bytes.into()), configuration, Isolation::Tenant)
    }

    fn of(code: Code, configuration: impl Into<String>, isolation: Isolation) -> Self {
        let (on_store_fault, on_policy_fault) = (OnFault::Allow.into(), OnFault::Deny);
        let (precision, on_change) = (Precision::Exact.into(), OnChange::Keep.into());
        Self {
            code,
            configuration: configuration.into(),
            on_store_fault,
            precision,
            on_change,
            on_policy_fault,
            isolation,
            trial: None,
        }
    }
}

/// What a roster is to be: every tier, every tenant.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The tiers, by name.
    pub tiers: BTreeMap<String, TierPlan>,
    /// The tier of each tenant.
    pub tenants: BTreeMap<String, String>,
    /// What the tier of a tenant is to be for this tenant alone. Each has a tier among [`tenants`](Self::tenants), whose name it keeps.
    pub overrides: BTreeMap<String, TierPlan>,
    /// The tier of a tenant that is not listed; none refuses to guess.
    pub default_tier: Option<String>,
    /// What answers a request that no tier decides.
    pub on_missing_tier: OnFault,
}

impl Default for Plan {
    fn default() -> Self {
        let (tenants, overrides) = (BTreeMap::new(), BTreeMap::new());
        Self { tiers: BTreeMap::new(), tenants, overrides, default_tier: None, on_missing_tier: OnFault::Deny }
    }
}

/// Refuses a plan whose names do not fit together.
pub(super) fn check_names(plan: &Plan) -> Result<()> {
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
    if let Some(tenant) = plan.overrides.keys().find(|tenant| !plan.tenants.contains_key(*tenant)) {
        return wrong(format!("tenant `{}` has a policy of its own and no tier; give it one", tenant.escape_debug()));
    }
    match &plan.default_tier {
        Some(tier) if !plan.tiers.contains_key(tier) => {
            wrong(format!("the default tier is `{tier}`; the tiers are {}", known()))
        }
        _ => Ok(()),
    }
}
