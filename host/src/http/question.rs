//! The body of `POST /v1/check`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde::Deserialize;

use super::api::{Caller, Front};
use super::problem::Problem;
use crate::config::{KeyDigest, Secret};
use crate::gate::KeyHolder;
use crate::model::Request;

/// What a caller asks: by API key, or, if it is trusted, by tenant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    api_key: Option<Secret>,
    tenant: Option<String>,
    tier: Option<String>,
    subject: Option<String>,
    #[serde(default)]
    route: String,
    #[serde(default = "one")]
    cost: u64,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    once: Option<String>,
    address: Option<String>,
}

const fn one() -> u64 {
    1
}

/// Who the question is about, once it is known that the caller may ask.
pub(super) struct Asked<'a> {
    question: &'a Question,
    whose: Whose<'a>,
}

/// Who is counted, if the question names no subject.
enum Whose<'a> {
    Holder(Arc<KeyHolder>),
    Tenant(&'a str),
}

/// When it is worth asking again whose key it is.
const AGAIN: Duration = Duration::from_secs(1);

impl Question {
    /// Reads the body. The error names the field and says what is accepted; it repeats nothing of the body, which may hold a misplaced key.
    pub(super) fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let question: Self = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let field = error.path().to_string();
            match accepted(&field) {
                Some(accepted) => Problem::field(StatusCode::BAD_REQUEST, &field, &format!("is not {accepted}")),
                None => Problem::new(StatusCode::BAD_REQUEST, format!("the body is not a question: give {WHOLE}")),
            }
        })?;
        let goes_on =
            |_| Problem::new(StatusCode::BAD_REQUEST, format!("the body goes on after the question: give {WHOLE}"));
        json.end().map_err(goes_on)?;
        Ok(question)
    }

    /// Where the request comes from, if it is told: whoever is blocked by address is refused.
    pub(super) fn address(&self) -> Result<Option<IpAddr>, Problem> {
        let wrong = |_| Problem::field(StatusCode::BAD_REQUEST, "address", "is no address of IPv4 or IPv6");
        self.address.as_deref().map(|address| address.parse().map_err(wrong)).transpose()
    }

    /// Who is asked about: the holder of the API key, or the tenant that a trusted caller names.
    pub(super) async fn asked(&self, front: &Front, caller: &Caller) -> Result<Asked<'_>, Problem> {
        match (&self.api_key, &self.tenant) {
            (Some(_), Some(_)) => {
                Err(Problem::field(StatusCode::BAD_REQUEST, "tenant", "comes with an `api_key`; give one of them"))
            }
            (None, None) => {
                Err(Problem::field(StatusCode::BAD_REQUEST, "api_key", "is missing; give it, or a `tenant`"))
            }
            (Some(key), None) => self.by_key(key.reveal(), front, caller).await,
            (None, Some(tenant)) => self.by_tenant(tenant, caller),
        }
    }

    async fn by_key(&self, key: &str, front: &Front, caller: &Caller) -> Result<Asked<'_>, Problem> {
        if self.tier.is_some() {
            return Err(Problem::field(
                StatusCode::BAD_REQUEST,
                "tier",
                "comes with an `api_key`, which has its own; leave it out",
            ));
        }
        if self.subject.is_some() && *caller == Caller::Unknown {
            // Each new subject would have limits of its own: a caller with a key could take as many as it can name.
            return Err(Problem::field(StatusCode::FORBIDDEN, "subject", TRUSTED_ONLY));
        }
        if key.len() > KeyDigest::MAX_KEY_BYTES {
            let problem = format!("has {} bytes; at most {}", key.len(), KeyDigest::MAX_KEY_BYTES);
            return Err(Problem::field(StatusCode::BAD_REQUEST, "api_key", &problem));
        }
        if key.is_empty() || key.contains(char::is_control) {
            return Err(Problem::field(StatusCode::BAD_REQUEST, "api_key", "is empty or holds a control character"));
        }
        let holder = front.keys.holder(key).await.map_err(|fault| {
            Problem::field(StatusCode::SERVICE_UNAVAILABLE, "api_key", &format!("cannot be looked up: {fault}"))
                .until(AGAIN)
        })?;
        let holder = holder.ok_or_else(|| Problem::field(StatusCode::UNAUTHORIZED, "api_key", "is not known"))?;
        Ok(Asked { question: self, whose: Whose::Holder(holder) })
    }

    fn by_tenant<'a>(&'a self, tenant: &'a str, caller: &Caller) -> Result<Asked<'a>, Problem> {
        if *caller == Caller::Unknown {
            return Err(Problem::field(StatusCode::FORBIDDEN, "tenant", TRUSTED_ONLY));
        }
        Ok(Asked { question: self, whose: Whose::Tenant(tenant) })
    }
}

impl Asked<'_> {
    /// The attributes, as a request borrows them.
    pub(super) fn attributes(&self) -> Vec<(&str, &str)> {
        self.question.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// The request, if every part of it is acceptable.
    pub(super) fn request<'a>(&'a self, attributes: &'a [(&'a str, &'a str)]) -> Result<Request<'a>, Problem> {
        let (tenant, subject, tier) = match &self.whose {
            Whose::Holder(holder) => (holder.tenant.as_str(), holder.subject.as_str(), holder.tier.as_deref()),
            Whose::Tenant(tenant) => (*tenant, *tenant, self.question.tier.as_deref()),
        };
        let request = Request::new(tenant, self.question.subject.as_deref().unwrap_or(subject))?
            .with_route(&self.question.route)?
            .with_cost(self.question.cost)?
            .with_attributes(attributes)?;
        let request = match &self.question.once {
            Some(token) => request.with_once(token)?,
            None => request,
        };
        Ok(match tier {
            Some(tier) => request.with_tier(tier)?,
            None => request,
        })
    }
}

const TRUSTED_ONLY: &str =
    "may be named only by a trusted caller: send `Authorization: Bearer` with the TOLLGATE_CALLER_TOKEN of the server";

const WHOLE: &str = "one JSON object with `api_key` or `tenant`, and of `tier`, `subject`, `route`, `cost`, `attributes`, `once` and `address` what is needed";

/// What a field takes; none for the body as a whole.
fn accepted(field: &str) -> Option<&'static str> {
    match field {
        "api_key" | "tenant" | "tier" | "subject" | "route" | "once" | "address" => Some("a text"),
        "cost" => Some("a whole number from 1 to 1000000000"),
        "." => None,
        attributes if attributes.starts_with("attributes") => Some("an object of texts"),
        _ => Some(
            "a field of a question; there are api_key, tenant, tier, subject, route, cost, attributes, once and address",
        ),
    }
}
