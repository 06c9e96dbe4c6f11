//! Where the commands of redis-cell are answered.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::accounts::TierConfig;
use super::findings::Findings;
use super::stated::Stated;
use super::{Environment, Secret, production};

/// The listener that speaks as Redis does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RespConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What whoever connects has to show first. Without one, nothing; so only on a loopback address.
    pub password: Option<Secret>,
}

impl RespConfig {
    /// The tier that decides. If the configuration has none of this name, it is the built-in policy `throttle`.
    pub const TIER: &str = "throttle";
}

/// What one place states of it.
#[derive(Default)]
pub(super) struct RespLayer {
    /// None inside: off.
    pub(super) listen: Option<Stated<Option<SocketAddr>>>,
    pub(super) password: Option<Stated<Secret>>,
}

impl RespLayer {
    pub(super) fn over(self, below: Self) -> Self {
        Self { listen: self.listen.or(below.listen), password: self.password.or(below.password) }
    }
}

/// Decides whether there is such a listener, and gives it a tier.
pub(super) fn settle(
    layer: RespLayer,
    environment: Environment,
    tiers: &mut BTreeMap<String, TierConfig>,
    findings: &mut Findings,
) -> Option<RespConfig> {
    let Stated { value, place } = layer.listen?;
    let listen = value?;
    let password = layer.password.map(|stated| stated.value);
    match &password {
        Some(password) if environment == Environment::Production => production::check_resp_password(password, findings),
        None if !listen.ip().is_loopback() => {
            let problem = "whoever reaches an address that is not of the loopback could use up every limit: set TOLLGATE_RESP_PASSWORD";
            findings.problem(place, problem);
        }
        _ => (),
    }
    tiers.entry(RespConfig::TIER.to_owned()).or_insert_with(|| TierConfig::built_in(RespConfig::TIER));
    Some(RespConfig { listen, password })
}
