//! What a request to the admin API says: its body and its query.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, Uri};
use serde::de::DeserializeOwned;

use super::super::body::{Bound, read};
use super::super::problem::Problem;
use crate::policy::Bounds;

/// A body in JSON.
const JSON: Bound = Bound { bytes: 1024 * 1024, within: Duration::from_secs(10) };
/// A component. A little more than one may have, so that the policy's own bound tells of the rest.
pub(super) const COMPONENT: Bound = Bound { bytes: Bounds::COMPONENT_BYTES + 4096, within: Duration::from_secs(30) };

/// The body in JSON; an empty one is as an empty object.
pub(super) async fn json<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let mut bytes = read(body, JSON).await?;
    if bytes.is_empty() {
        bytes = b"{}".to_vec();
    }
    let value: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (field, problem) = (error.path().to_string(), error.inner());
        if field == "." {
            return Problem::new(StatusCode::UNPROCESSABLE_ENTITY, problem.to_string());
        }
        Problem::field(StatusCode::UNPROCESSABLE_ENTITY, &field, &format!("will not do: {problem}"))
    })
}

/// The parameters of a query.
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// The parameters of `uri`, which has none but `known`.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned();
        let query: BTreeMap<String, String> = pairs.collect();
        match query.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let problem = format!("is no parameter here; there are {}", known.join(", "));
                Err(Problem::field(StatusCode::UNPROCESSABLE_ENTITY, name, &problem))
            }
            None => Ok(Self(query)),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |_| Problem::field(StatusCode::UNPROCESSABLE_ENTITY, name, "is not a whole number");
        text.parse().map(Some).map_err(wrong)
    }
}
