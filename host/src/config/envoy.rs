//! Envoy's rate limit service: where it listens, and what it limits.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::TierConfig;
use super::findings::Findings;
use super::stated::Stated;

/// Envoy's rate limit service over gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file of limits, or the folder of such files, in the form of envoyproxy/ratelimit.
    pub limits: PathBuf,
}

/// What one place states of it.
#[derive(Default)]
pub(super) struct EnvoyLayer {
    /// None inside: off.
    pub(super) listen: Option<Stated<Option<SocketAddr>>>,
    pub(super) limits: Option<Stated<PathBuf>>,
}

/// The tier that decides, and the policy that it has unless the operator says otherwise.
const TIER: &str = "envoy";
const POLICY: &str = "descriptors";

impl EnvoyLayer {
    pub(super) fn over(self, below: Self) -> Self {
        Self { listen: self.listen.or(below.listen), limits: self.limits.or(below.limits) }
    }
}

/// Decides whether there is such a service, and adds its tier unless there is one.
pub(super) fn settle(
    layer: EnvoyLayer,
    tiers: &mut BTreeMap<String, TierConfig>,
    findings: &mut Findings,
) -> Option<EnvoyConfig> {
    let (listen, place) = match layer.listen {
        Some(Stated { value: Some(listen), place }) => (listen, place),
        Some(Stated { value: None, .. }) => return None,
        None => {
            if let Some(Stated { place, .. }) = layer.limits {
                findings.problem(
                    place,
                    "nothing asks for these limits: give TOLLGATE_GRPC_LISTEN, for example 127.0.0.1:8081",
                );
            }
            return None;
        }
    };
    let Some(limits) = layer.limits else {
        findings.problem(
            place,
            "there are no limits to answer by: give TOLLGATE_RLS_CONFIG, a folder or a file of envoyproxy/ratelimit",
        );
        return None;
    };
    if !listen.ip().is_loopback() {
        findings.notice(format!(
            "Envoy's rate limit service listens on {listen} and asks nobody for a token: let only your proxies reach it"
        ));
    }
    tiers.entry(TIER.to_owned()).or_insert_with(|| TierConfig::built_in(POLICY));
    Some(EnvoyConfig { listen, limits: limits.value })
}
