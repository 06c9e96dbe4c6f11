//! The roster as a document: which tier and which tenant is decided by which policy, and how that is configured.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::PerLimit;
use crate::counter::OnChange;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{Code, Plan, TierPlan, TrialMode, TrialPlan};
use crate::model::{Isolation, LimitRules, OnFault, OnStoreFault, Precision};

/// Every tier and every tenant. Replaced as a whole.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RosterDocument {
    /// The tiers, by name.
    pub tiers: BTreeMap<String, TierDocument>,
    /// The tenants, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<String, TenantDocument>,
    /// The tier of a tenant that is not listed; none refuses to guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_tier: Option<String>,
    /// What answers a request that no tier decides.
    #[serde(default = "deny")]
    pub on_missing_tier: OnFault,
}

/// A tier: a policy, its configuration, and the rules around it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TierDocument {
    /// `sha256:` and the digest of a policy of the registry, or the name of one that comes with the host.
    pub policy: String,
    /// Its configuration.
    #[serde(default = "empty")]
    pub config: Value,
    /// What answers when the counters cannot be charged, for all limits or limit by limit; `allow`, if nothing is said.
    #[serde(default, skip_serializing_if = "PerLimit::is_empty")]
    pub on_store_fault: PerLimit<OnStoreFault>,
    /// How exactly hosts count together; `exact`, if nothing is said.
    #[serde(default, skip_serializing_if = "PerLimit::is_empty")]
    pub precision: PerLimit<Precision>,
    /// What becomes of counters when a limit gets other numbers; `keep`, if nothing is said.
    #[serde(default, skip_serializing_if = "PerLimit::is_empty")]
    pub on_change: PerLimit<OnChange>,
    /// What answers when the policy cannot decide.
    #[serde(default = "deny")]
    pub on_policy_fault: OnFault,
    /// Whom one instance of the policy may serve; if nothing is said, all tenants where the policy comes with the host, and one where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Another version on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialDocument>,
}

/// Another version of a tier's policy on trial.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrialDocument {
    /// As of a tier.
    pub policy: String,
    /// Its configuration; the tier's, if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// For so many of a hundred tenants it decides; without it, it is a shadow: it decides beside the active version, and takes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary_percent: Option<u8>,
}

/// A tenant.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TenantDocument {
    /// Its tier, which exists.
    pub tier: String,
    /// What the tier is to be for this tenant alone.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub own: Option<TierDocument>,
}

const fn deny() -> OnFault {
    OnFault::Deny
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// How a document names a policy of the registry.
pub(super) fn digest_of(policy: &str) -> Option<&str> {
    policy.strip_prefix("sha256:")
}

impl RosterDocument {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] and the place, if it is none.
    pub fn parse(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text)
            .map_err(|error| Error::new(ErrorKind::Config, format!("the roster is not understood: {error}")))
    }

    /// Which tiers need which policies of the registry, by their digests; each pair once.
    pub(super) fn uses(&self) -> BTreeSet<(&str, &str)> {
        let tiers = self.tiers.iter().map(|(name, tier)| (name.as_str(), tier));
        let own = self.tenants.values().filter_map(|tenant| Some((tenant.tier.as_str(), tenant.own.as_ref()?)));
        let policies = tiers.chain(own).flat_map(|(name, tier)| {
            let trial = tier.trial.as_ref().map(|trial| trial.policy.as_str());
            [Some(tier.policy.as_str()), trial].into_iter().flatten().map(move |policy| (name, policy))
        });
        policies.filter_map(|(name, policy)| Some((name, digest_of(policy)?))).collect()
    }

    /// The plan of a gate, with the code that `code` finds for each policy.
    ///
    /// # Errors
    ///
    /// Fails as `code` does, and says for which tier.
    pub(super) fn plan(&self, code: impl Fn(&str) -> Result<Code>) -> Result<Plan> {
        let mut plan =
            Plan { default_tier: self.default_tier.clone(), on_missing_tier: self.on_missing_tier, ..Plan::default() };
        for (name, tier) in &self.tiers {
            plan.tiers.insert(name.clone(), tier.plan(&code).map_err(|error| at(&format!("tier `{name}`"), &error))?);
        }
        for (name, tenant) in &self.tenants {
            plan.tenants.insert(name.clone(), tenant.tier.clone());
            if let Some(own) = &tenant.own {
                let own = own.plan(&code).map_err(|error| at(&format!("tenant `{name}`"), &error))?;
                plan.overrides.insert(name.clone(), own);
            }
        }
        Ok(plan)
    }
}

impl TierDocument {
    fn plan(&self, code: impl Fn(&str) -> Result<Code>) -> Result<TierPlan> {
        let trial = match &self.trial {
            None => None,
            Some(trial) => Some(TrialPlan {
                code: code(&trial.policy)?,
                configuration: trial.config.as_ref().unwrap_or(&self.config).to_string(),
                mode: trial.canary_percent.map_or(TrialMode::Shadow, TrialMode::Canary),
            }),
        };
        let code = code(&self.policy)?;
        let usual = if matches!(code, Code::BuiltIn(_)) { Isolation::Shared } else { Isolation::Tenant };
        Ok(TierPlan {
            code,
            isolation: self.isolation.unwrap_or(usual),
            configuration: self.config.to_string(),
            on_store_fault: rules(&self.on_store_fault, OnStoreFault::Allow),
            precision: rules(&self.precision, Precision::Exact),
            on_change: rules(&self.on_change, OnChange::Keep),
            on_policy_fault: self.on_policy_fault,
            trial,
        })
    }
}

fn rules<T: Copy>(said: &PerLimit<T>, general: T) -> LimitRules<T> {
    let rules = LimitRules::from(said.general.unwrap_or(general));
    said.limits.iter().fold(rules, |rules, (id, rule)| rules.with(id.as_str(), *rule))
}

fn at(place: &str, error: &Error) -> Error {
    Error::new(error.kind(), format!("{place}: {error:#}"))
}
