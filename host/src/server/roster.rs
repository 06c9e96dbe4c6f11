//! The configuration's tiers and tenants as a roster, so that operators see and change them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Config, PerLimit, PolicySource, TierConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::{RosterDocument, TenantDocument, TierDocument, Upload};
use crate::policy::{Signature, digest};

/// A roster, and the policies that it names by their digests.
pub(super) struct OwnRoster {
    pub(super) document: RosterDocument,
    pub(super) uploads: Vec<Upload>,
}

/// The roster that `config` describes. Policies in files are named by their digests.
pub(super) fn own_roster(config: &Config) -> Result<OwnRoster> {
    let mut uploads = Vec::new();
    let mut tiers = BTreeMap::new();
    for (name, tier) in &config.tiers {
        let policy = match &tier.policy {
            PolicySource::BuiltIn(policy) => policy.clone(),
            PolicySource::File(path) => {
                let component = read(name, path)?;
                let policy = format!("sha256:{}", digest(&component));
                let signatures = Signature::beside(path)?.iter().map(ToString::to_string).collect();
                uploads.push(Upload { component, signatures, cases: None });
                policy
            }
        };
        tiers.insert(name.clone(), document(policy, tier, config));
    }
    let tenant = |tier: &str| TenantDocument { tier: tier.to_owned(), own: None };
    let tenants = config.tenants.iter().map(|(name, known)| (name.clone(), tenant(&known.tier)));
    let document = RosterDocument {
        tiers,
        tenants: tenants.collect(),
        default_tier: config.default_tier.clone(),
        on_missing_tier: config.decision.on_policy_fault,
    };
    Ok(OwnRoster { document, uploads })
}

fn read(tier: &str, path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let message = format!("tier `{tier}`: failed to read the policy {}", path.display());
        Error::new(ErrorKind::Config, message).because(error)
    })
}

fn document(policy: String, tier: &TierConfig, config: &Config) -> TierDocument {
    let general = tier.on_store_fault.general.unwrap_or(config.decision.on_store_fault);
    TierDocument {
        policy,
        config: tier.config.clone(),
        // A roster knows no general rule of the host, so each tier says it.
        on_store_fault: PerLimit { general: Some(general), limits: tier.on_store_fault.limits.clone() },
        precision: tier.precision.clone(),
        on_change: tier.on_change.clone(),
        on_policy_fault: tier.on_policy_fault.unwrap_or(config.decision.on_policy_fault),
        isolation: tier.isolation,
        trial: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ConfigFile;

    #[test]
    fn a_roster_says_what_the_configuration_says() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/tollgate.toml");
        let text = r#"
            default_tier = "free"
            tiers.free = { policy = "tiered", config = "4/m", on_store_fault = { day = "local" }, precision = "leased" }
            tiers.mine = { policy = "penalty.wasm", on_policy_fault = "allow" }
            tenants.acme.tier = "mine"
        "#;
        let variables = [("TOLLGATE_ON_STORE_FAULT".to_owned(), "deny".to_owned())];
        let config = Config::load(Some(ConfigFile { path: Path::new(folder), text }), variables).unwrap();
        let OwnRoster { document, uploads } = own_roster(&config).unwrap();
        let digest = digest(&uploads[0].component);
        let expected = json!({
            "default_tier": "free",
            "on_missing_tier": "deny",
            "tiers": {
                "free": {
                    "policy": "tiered", "config": "4/m", "on_store_fault": { "day": "local", "*": "deny" }, "precision": "leased",
                    "on_policy_fault": "deny",
                },
                "mine": { "policy": format!("sha256:{digest}"), "config": {}, "on_store_fault": "deny", "on_policy_fault": "allow" },
            },
            "tenants": { "acme": { "tier": "mine" } },
        });
        assert_eq!(serde_json::to_value(&document).unwrap(), expected);
        assert_eq!(uploads.len(), 1);
    }
}
