//! Who asks, and for what.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::StatusCode;

use super::address::ClientAddress;
use crate::gate::ApiKeys;
use crate::model::address_subject;

/// The head of a request, in whatever framework.
pub trait Head {
    /// The method, in upper case.
    fn method(&self) -> &str;
    /// The path, as it was sent.
    fn path(&self) -> &str;
    /// Every field of this name, given in lower case, in order.
    fn fields(&self, name: &str) -> Vec<&[u8]>;
    /// The address of whoever connected, if the server told it: with axum by `into_make_service_with_connect_info::<SocketAddr>()`.
    fn peer(&self) -> Option<IpAddr>;

    /// The only field of this name, if it is text.
    fn field(&self, name: &str) -> Option<&str> {
        match self.fields(name).as_slice() {
            [only] => std::str::from_utf8(only).ok(),
            _ => None,
        }
    }
}

/// Who asks, and for what: what a [`Request`](crate::Request) is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The account whose limits count.
    pub tenant: String,
    /// Who is counted within it; never a secret.
    pub subject: String,
    /// The tier, if it is not the tenant's.
    pub tier: Option<String>,
}

/// Why nobody can be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unidentified {
    /// The status of the answer: 401 for a key that is missing or not known, 500 for a server that tells no addresses.
    pub status: StatusCode,
    /// What to tell the client; no secret.
    pub detail: String,
}

/// Finds out who asks.
pub trait Identify: Send + Sync + 'static {
    /// The caller of a request.
    ///
    /// # Errors
    ///
    /// Tells why nobody can be counted; the request is refused then, without asking a policy.
    fn identify(&self, head: &dyn Head) -> Result<Caller, Unidentified>;
}

impl<F: Fn(&dyn Head) -> Result<Caller, Unidentified> + Send + Sync + 'static> Identify for F {
    fn identify(&self, head: &dyn Head) -> Result<Caller, Unidentified> {
        self(head)
    }
}

/// Callers are known by their API keys: in the field `x-api-key`, or as a bearer token.
#[derive(Clone, Debug)]
pub struct ByApiKey {
    keys: Arc<ApiKeys>,
    otherwise: Option<ByAddress>,
}

/// Callers are known by their addresses. They are the subjects of one tenant.
#[derive(Clone, Debug)]
pub struct ByAddress {
    tenant: String,
    tier: Option<String>,
    client: ClientAddress,
}

impl ByApiKey {
    /// These keys are known. Whoever shows none, or another, is refused with 401.
    #[must_use]
    pub fn new(keys: ApiKeys) -> Self {
        Self { keys: Arc::new(keys), otherwise: None }
    }

    /// Whoever shows no key is known by the address. A key that is shown and not known is refused all the same.
    #[must_use]
    pub fn or_by(self, address: ByAddress) -> Self {
        Self { otherwise: Some(address), ..self }
    }
}

impl ByAddress {
    /// Addresses are subjects of this tenant: an IPv4 address, or the first 64 bits of an IPv6 address.
    #[must_use]
    pub fn new(tenant: impl Into<String>, client: ClientAddress) -> Self {
        Self { tenant: tenant.into(), tier: None, client }
    }

    /// The same, in this tier.
    #[must_use]
    pub fn in_tier(self, tier: impl Into<String>) -> Self {
        Self { tier: Some(tier.into()), ..self }
    }
}

/// The key that a request shows. Two that differ are none.
fn shown(head: &dyn Head) -> Result<Option<&str>, Unidentified> {
    let unclear = |what: &str| Unidentified { status: StatusCode::UNAUTHORIZED, detail: what.to_owned() };
    let by_field = match head.fields("x-api-key").as_slice() {
        [] => None,
        [only] => Some(std::str::from_utf8(only).map_err(|_| unclear("the API key is no text"))?),
        _ => return Err(unclear("there are several API keys; send one")),
    };
    let bearer = head.field("authorization").and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case("bearer ").then(|| token.trim())
    });
    match (by_field, bearer) {
        (Some(one), Some(other)) if one != other => Err(unclear("there are several API keys; send one")),
        (one, other) => Ok(one.or(other)),
    }
}

impl Identify for ByApiKey {
    fn identify(&self, head: &dyn Head) -> Result<Caller, Unidentified> {
        match (shown(head)?, &self.otherwise) {
            (None, Some(address)) => address.identify(head),
            (None, None) => {
                let detail = "no API key; send it as `x-api-key` or as a bearer token".to_owned();
                Err(Unidentified { status: StatusCode::UNAUTHORIZED, detail })
            }
            (Some(key), _) => match self.keys.holder(key) {
                Some(holder) => Ok(Caller {
                    tenant: holder.tenant.clone(),
                    subject: holder.subject.clone(),
                    tier: holder.tier.clone(),
                }),
                None => {
                    let detail = "the API key is not known".to_owned();
                    Err(Unidentified { status: StatusCode::UNAUTHORIZED, detail })
                }
            },
        }
    }
}

impl Identify for ByAddress {
    fn identify(&self, head: &dyn Head) -> Result<Caller, Unidentified> {
        let Some(client) = self.client.of_head(head) else {
            let detail = "this server does not tell its limiter who connects; with axum, serve \
                          `into_make_service_with_connect_info::<SocketAddr>()`";
            return Err(Unidentified { status: StatusCode::INTERNAL_SERVER_ERROR, detail: detail.to_owned() });
        };
        Ok(Caller { tenant: self.tenant.clone(), subject: address_subject(client), tier: self.tier.clone() })
    }
}
