//! Who asks, and for what.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use ::http::StatusCode;

use super::address::ClientAddress;
use crate::gate::KeyHolder;
use crate::keys::{Finding, Found, Keys};
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
    /// The status of the answer: 401 for a key that is missing or not known, 503 where nobody can say now, 500 for a server that tells no addresses.
    pub status: StatusCode,
    /// What to tell the client; no secret.
    pub detail: String,
}

/// Who asks, or why nobody can be counted.
pub type Identity = Result<Caller, Unidentified>;

/// Who asks, at once or after somebody was asked.
pub enum Identified {
    /// The answer, without any waiting.
    Ready(Identity),
    /// The answer of somebody who has to be asked: it keeps nothing of the head.
    Pending(Pin<Box<dyn Future<Output = Identity> + Send>>),
}

/// Finds out who asks. A function of the head that answers an [`Identity`] does.
pub trait Identify: Send + Sync + 'static {
    /// The caller of a request, or why nobody can be counted: the request is refused then, without asking a policy.
    fn identify(&self, head: &dyn Head) -> Identified;
}

impl<F: Fn(&dyn Head) -> Identity + Send + Sync + 'static> Identify for F {
    fn identify(&self, head: &dyn Head) -> Identified {
        self(head).into()
    }
}

impl From<Identity> for Identified {
    fn from(identity: Identity) -> Self {
        Self::Ready(identity)
    }
}

impl Identified {
    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// Tells why nobody can be counted.
    pub async fn identity(self) -> Identity {
        match self {
            Self::Ready(identity) => identity,
            Self::Pending(identity) => identity.await,
        }
    }
}

impl fmt::Debug for Identified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(identity) => f.debug_tuple("Ready").field(identity).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// Callers are known by their API keys: in the field `x-api-key`, or as a bearer token.
#[derive(Clone, Debug)]
pub struct ByApiKey {
    keys: Keys,
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
    /// These keys are known: [`ApiKeys`](crate::ApiKeys), or those that a source knows, [`Keys`]. Whoever shows none, or another, is refused with 401.
    #[must_use]
    pub fn new(keys: impl Into<Keys>) -> Self {
        Self { keys: keys.into(), otherwise: None }
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
    let unclear = |what: &str| refused(StatusCode::UNAUTHORIZED, what);
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
    fn identify(&self, head: &dyn Head) -> Identified {
        let missing = "no API key; send it as `x-api-key` or as a bearer token";
        let key = match (shown(head), &self.otherwise) {
            (Ok(Some(key)), _) => key,
            (Ok(None), Some(address)) => return address.identify(head),
            (Ok(None), None) => return Err(refused(StatusCode::UNAUTHORIZED, missing)).into(),
            (Err(unclear), _) => return Err(unclear).into(),
        };
        match self.keys.find(key) {
            Finding::Ready(found) => holder(found).into(),
            Finding::Pending(found) => Identified::Pending(Box::pin(async { holder(found.await) })),
        }
    }
}

/// The caller that stands behind a key.
fn holder(found: Found) -> Identity {
    match found {
        Ok(Some(holder)) => {
            let KeyHolder { tenant, subject, tier } = (*holder).clone();
            Ok(Caller { tenant, subject, tier })
        }
        Ok(None) => Err(refused(StatusCode::UNAUTHORIZED, "the API key is not known")),
        Err(fault) => Err(refused(StatusCode::SERVICE_UNAVAILABLE, &fault.to_string())),
    }
}

fn refused(status: StatusCode, detail: &str) -> Unidentified {
    Unidentified { status, detail: detail.to_owned() }
}

impl Identify for ByAddress {
    fn identify(&self, head: &dyn Head) -> Identified {
        let Some(client) = self.client.of_head(head) else {
            let detail = "this server does not tell its limiter who connects; with axum, serve \
                          `into_make_service_with_connect_info::<SocketAddr>()`";
            return Err(refused(StatusCode::INTERNAL_SERVER_ERROR, detail)).into();
        };
        Ok(Caller { tenant: self.tenant.clone(), subject: address_subject(client), tier: self.tier.clone() }).into()
    }
}
