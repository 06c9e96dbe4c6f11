//! Envoy's rate limit service, version 3, over gRPC: limits in the form of envoyproxy/ratelimit, decided by a policy of Tollgate.
//!
//! The files of envoyproxy/ratelimit are read as they are, so its users switch by changing an address. docs/envoy.md says what differs.

mod answer;
mod asked;
mod folder;
#[cfg(feature = "server")]
mod routes;
mod rule;
mod rules;
#[cfg(test)]
mod tests;
mod yaml;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService as EnvoyService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::{Response, Status};

pub use folder::RuleFiles;
#[cfg(feature = "server")]
pub(crate) use routes::Calls;
pub use rules::DescriptorRules;

use super::headers::HeaderOptions;
use crate::gate::Tollgate;
use crate::model::{Decision, FieldError, PolicyFaultKind, Request, Source, Verdict};
use answer::{Desk, answer};
use asked::Asked;

/// The tier that decides what Envoy asks. Its policy is `descriptors`, unless the operator says otherwise.
pub const ENVOY_TIER: &str = "envoy";

/// The service `envoy.service.ratelimit.v3.RateLimitService`. Clones are the same service, with the same limits.
///
/// The domain is the tenant, and the tier [`ENVOY_TIER`] decides. All limits that a request meets are taken at once, in one round trip, or none.
/// A domain that no file names, and a descriptor that no rule is about, are OK. A fault is answered as the rules of the tier say, by OK or
/// OVER_LIMIT; only where there is no such tier is the answer the gRPC error `UNAVAILABLE`.
///
/// # Example
///
/// ```
/// use std::path::Path;
/// use tollgate::http::HeaderOptions;
/// use tollgate::http::rls::{DescriptorRules, ENVOY_TIER, RateLimitService};
/// use tollgate::{TierPlan, Tollgate};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tollgate::Result<()> {
/// let gate = Tollgate::builder().tier(ENVOY_TIER, TierPlan::built_in("descriptors", "{}")).build().await?;
/// let text = "domain: edge\ndescriptors:\n  - key: remote_address\n    rate_limit: { unit: second, requests_per_unit: 10 }";
/// let rules = DescriptorRules::parse([(Path::new("edge.yaml"), text)])?;
/// let service = RateLimitService::new(gate, rules, HeaderOptions::default());
/// let server = service.clone().into_server(); // for `add_service` of a server of tonic
/// # drop(server);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimitService {
    gate: Tollgate,
    rules: Arc<ArcSwap<DescriptorRules>>,
    headers: HeaderOptions,
}

/// The service as servers of tonic take it.
pub type RateLimitServer = RateLimitServiceServer<RateLimitService>;

impl RateLimitService {
    /// The largest message that is read, in bytes.
    pub const MAX_MESSAGE_BYTES: usize = 64 * 1024;

    /// The service that lets `gate` decide by these limits.
    #[must_use]
    pub fn new(gate: Tollgate, rules: DescriptorRules, headers: HeaderOptions) -> Self {
        Self { gate, rules: Arc::new(ArcSwap::from_pointee(rules)), headers }
    }

    /// Puts other limits into effect. The counters of limits that keep their id go on.
    pub fn replace(&self, rules: DescriptorRules) {
        self.rules.store(Arc::new(rules));
    }

    /// The domains that it has limits for, in order.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        self.rules.load().domains().map(str::to_owned).collect()
    }

    /// The service for a server of tonic.
    #[must_use]
    pub fn into_server(self) -> RateLimitServer {
        RateLimitServiceServer::new(self).max_decoding_message_size(Self::MAX_MESSAGE_BYTES)
    }

    /// Decides one request.
    ///
    /// # Errors
    ///
    /// Fails with `INVALID_ARGUMENT` if the request makes no sense, and with `UNAVAILABLE` if there is no tier to decide it.
    pub async fn decide(&self, request: &RateLimitRequest) -> Result<RateLimitResponse, Status> {
        let rules = self.rules.load_full();
        let asked = Asked::read(request, &rules).map_err(Status::invalid_argument)?;
        let decision = match asked.attributes.as_slice() {
            [] => allowed(),
            _ => self.ask(&request.domain, &asked).await?,
        };
        let desk = Desk { now: self.gate.now(), options: self.headers };
        Ok(answer(&request.domain, &asked, &decision, desk))
    }

    async fn ask(&self, domain: &str, asked: &Asked) -> Result<Decision, Status> {
        let wrong = |error: FieldError| Status::invalid_argument(error.to_string());
        let attributes: Vec<(&str, &str)> =
            asked.attributes.iter().map(|(name, value)| (&**name, value.as_str())).collect();
        let request = Request::new(domain, &asked.subject).and_then(|request| request.with_tier(ENVOY_TIER));
        let request = request.and_then(|request| request.with_attributes(&attributes)).map_err(wrong)?;
        let decision = self.gate.decide(&request).await;
        match decision.source {
            Source::PolicyFault(PolicyFaultKind::Missing) => Err(Status::unavailable(format!(
                "no tier is called `{ENVOY_TIER}`; add one with the policy `descriptors` to the active roster"
            ))),
            _ => Ok(decision),
        }
    }
}

/// Where there is nothing to count.
fn allowed() -> Decision {
    Decision {
        verdict: Verdict::Allow,
        reason: String::new(),
        source: Source::Policy,
        limits: Vec::new(),
        attributes: Vec::new(),
        receipt: None,
        tier: ENVOY_TIER.into(),
        policy: None,
        generation: 0,
    }
}

#[tonic::async_trait]
impl EnvoyService for RateLimitService {
    async fn should_rate_limit(
        &self,
        request: tonic::Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        self.decide(request.get_ref()).await.map(Response::new)
    }
}

impl fmt::Debug for RateLimitService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitService").field("rules", &self.rules.load()).finish_non_exhaustive()
    }
}
