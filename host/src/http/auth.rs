//! `/v1/auth`: a gateway asks whether the request that it holds may pass.
//!
//! What the gateway decides stands in the query, which no client writes; what it knows of its client stands in header fields, which every client can
//! write as well. So addresses are believed only as [`ClientAddress`] believes them, and a field that says where the request goes only if there is one.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use form_urlencoded::parse;

use super::api::{Caller, Front};
use super::limit::{ByAddress, ByApiKey, ClientAddress, Closed, Head, Passage, RateLimit};
use super::problem::Problem;
use crate::config::Config;
use crate::error::Result;
use crate::model::Request;

/// Whose word counts where gateways ask.
#[derive(Clone, Debug)]
pub struct Gateways {
    proxies: ClientAddress,
}

impl Gateways {
    /// The gateways that `config` trusts.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`](crate::error::ErrorKind::Config) if one of them is no network; a configuration that was loaded has no such one.
    pub fn from_config(config: &Config) -> Result<Self> {
        let proxies = ClientAddress::behind(config.callers.proxies.iter().map(String::as_str))?;
        Ok(Self { proxies })
    }
}

/// The same routes for requests of one connection, which comes from this address.
pub(crate) fn from_peer(routes: &Router, peer: SocketAddr) -> Router {
    routes.clone().layer(axum::Extension(ConnectInfo(peer)))
}

const TOKEN: HeaderName = HeaderName::from_static("tollgate-token");
const STATUS: HeaderName = HeaderName::from_static("tollgate-status");
/// Where a gateway says what was asked for: nginx as it is configured, Caddy and Traefik by themselves.
const URIS: [&str; 2] = ["x-original-uri", "x-forwarded-uri"];
const METHODS: [&str; 2] = ["x-original-method", "x-forwarded-method"];
/// The tenant of those who show no key, if the gateway names none.
const VISITORS: &str = "visitors";

pub(super) async fn auth(
    State(front): State<Arc<Front>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    RawQuery(query): RawQuery,
    method: Method,
    fields: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let query = query.unwrap_or_default();
    let settings = Settings::read(&query)?;
    let proxies = &front.gateways.proxies;
    let shown = fields.get(TOKEN).map(HeaderValue::as_bytes);
    let is_vouched = front.caller_showing(shown)? == Caller::Trusted;
    if !is_vouched && !proxies.trusts(peer.ip().to_canonical()) {
        settings.refuse_names()?;
    }
    let proxies = if is_vouched { proxies.clone().vouched() } else { proxies.clone() };
    let passage = match Forwarded::of(&fields, &method, peer.ip()) {
        Err(detail) => Passage::malformed(detail),
        Ok(held) if !query.is_empty() && held.query == query => return Err(leaking()),
        Ok(held) => settings.ask(&front, proxies, &held).await,
    };
    let mut response = match passage {
        Passage::Open(open) => (StatusCode::OK, open.headers).into_response(),
        Passage::Closed(closed) => settings.answer(closed),
    };
    // A body is not for us. Who sends one all the same must not send another request behind it.
    if !body.is_end_stream() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// What the gateway's own configuration says.
#[derive(Debug, Default)]
struct Settings {
    tenant: Option<String>,
    tier: Option<String>,
    cost: Option<u64>,
    deny_status: Option<StatusCode>,
}

impl Settings {
    fn read(query: &str) -> Result<Self, Problem> {
        let mut settings = Self::default();
        for (name, value) in parse(query.as_bytes()) {
            let is_new = match &*name {
                "tenant" => settings.tenant.replace(value.into_owned()).is_none(),
                "tier" => settings.tier.replace(value.into_owned()).is_none(),
                "cost" => settings.cost.replace(cost(&value)?).is_none(),
                "deny_status" => settings.deny_status.replace(deny_status(&value)?).is_none(),
                _ => return Err(wrong(&name, "is no setting; there are tenant, tier, cost and deny_status")),
            };
            if !is_new {
                return Err(wrong(&name, "stands twice"));
            }
        }
        Ok(settings)
    }

    /// Each new tenant would have limits of its own, so not everybody may name one.
    fn refuse_names(&self) -> Result<(), Problem> {
        let named = [("tenant", &self.tenant), ("tier", &self.tier)].into_iter().find(|(_, value)| value.is_some());
        named.map_or(Ok(()), |(name, _)| Err(Problem::field(StatusCode::FORBIDDEN, name, TRUSTED_ONLY)))
    }

    async fn ask(&self, front: &Front, proxies: ClientAddress, held: &Forwarded<'_>) -> Passage {
        let visitors = ByAddress::new(self.tenant.as_deref().unwrap_or(VISITORS), proxies.clone());
        let visitors = match &self.tier {
            Some(tier) => visitors.in_tier(tier),
            None => visitors,
        };
        let cost = self.cost.unwrap_or(1);
        let limit = RateLimit::new(front.gate.clone(), ByApiKey::new(front.keys.clone()).or_by(visitors));
        let limit = limit.blocks(front.blocks.clone(), proxies).headers(front.headers).cost(move |_| cost);
        let limit = limit.attributes(|head| vec![("method", head.method().to_owned())]);
        limit.ask(limit.asking(held)).await
    }

    /// A refusal, with the status that the gateway can deal with and the real one beside it.
    fn answer(&self, closed: Closed) -> Response {
        let Closed { status, mut headers, body } = closed;
        let told = self.deny_status.filter(|_| status != StatusCode::UNAUTHORIZED);
        if told.is_some() {
            headers.insert(STATUS, status.as_u16().into());
        }
        (told.unwrap_or(status), headers, body).into_response()
    }
}

fn cost(text: &str) -> Result<u64, Problem> {
    let cost = text.parse().ok().filter(|cost| (1..=Request::MAX_COST).contains(cost));
    cost.ok_or_else(|| wrong("cost", "is not a whole number from 1 to 1000000000"))
}

fn deny_status(text: &str) -> Result<StatusCode, Problem> {
    match text {
        "403" => Ok(StatusCode::FORBIDDEN),
        _ => Err(wrong("deny_status", "can be 403, and nothing else; leave it out where a 429 is understood")),
    }
}

fn wrong(field: &str, problem: &str) -> Problem {
    let field: String = field.escape_debug().take(Request::MAX_ATTRIBUTE_NAME_BYTES).collect();
    Problem::field(StatusCode::BAD_REQUEST, &field, problem)
}

fn leaking() -> Problem {
    let detail = "the client's query is this request's own, so the client could choose its tier: give the gateway's \
                  address a query, at least `?cost=1`";
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

const TRUSTED_ONLY: &str = "may be named only by a gateway at one of TOLLGATE_TRUSTED_PROXIES, or that sends the \
                            TOLLGATE_CALLER_TOKEN of the server as `Tollgate-Token`";

/// The request that the gateway holds.
struct Forwarded<'a> {
    fields: &'a HeaderMap,
    peer: IpAddr,
    method: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Forwarded<'a> {
    fn of(fields: &'a HeaderMap, method: &'a Method, peer: IpAddr) -> Result<Self, &'static str> {
        let uri =
            only(fields, URIS).ok_or("there are several X-Original-URI or X-Forwarded-Uri, or they are no text")?;
        let asked = only(fields, METHODS).ok_or("there are several X-Original-Method or X-Forwarded-Method")?;
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        Ok(Self { fields, peer, method: if asked.is_empty() { method.as_str() } else { asked }, path, query })
    }
}

impl Head for Forwarded<'_> {
    fn method(&self) -> &str {
        self.method
    }

    fn path(&self) -> &str {
        self.path
    }

    fn fields(&self, name: &str) -> Vec<&[u8]> {
        self.fields.get_all(name).iter().map(HeaderValue::as_bytes).collect()
    }

    fn peer(&self) -> Option<IpAddr> {
        Some(self.peer)
    }
}

/// What all fields of these names say; empty if there is none. If they differ, the gateway wrote one and its client the other, and nobody knows which.
fn only<'a>(fields: &'a HeaderMap, names: [&str; 2]) -> Option<&'a str> {
    let mut said = names.into_iter().flat_map(|name| fields.get_all(name)).filter(|value| !value.is_empty());
    let Some(first) = said.next() else { return Some("") };
    if said.any(|other| other != first) {
        return None;
    }
    std::str::from_utf8(first.as_bytes()).ok()
}
