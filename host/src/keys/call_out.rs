//! A source of keys that is asked over HTTP.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use ureq::Agent;
use ureq::http::StatusCode;

use super::source::TierSource;
use crate::config::{KeySourceConfig, Secret, ShownAs};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::KeyHolder;
use crate::store::Promise;

/// Asks a service of yours: `POST` with `{"key_digest": "…"}` or `{"key": "…"}`; 200 with `{"tenant", "subject", "tier"}`, or 404 for a key that is not known.
///
/// The digest is the SHA-256 of the key in hexadecimal. Redirections are not followed: they would take the token elsewhere.
#[derive(Clone)]
pub struct CallOut {
    agent: Agent,
    url: String,
    token: Option<Secret>,
    shown_as: ShownAs,
}

/// The largest answer that is read, in bytes.
const MOST_BYTES: u64 = 16 * 1024;

#[derive(Deserialize)]
struct Answer {
    tenant: String,
    subject: String,
    tier: Option<String>,
}

impl CallOut {
    /// The service that `config` names. Nothing is asked yet.
    #[must_use]
    pub fn new(config: &KeySourceConfig) -> Self {
        Self::of(&config.url, config.token.clone(), config.shown_as, config.timeout)
    }

    fn of(url: &str, token: Option<Secret>, shown_as: ShownAs, timeout: Duration) -> Self {
        let settings = Agent::config_builder().http_status_as_error(false).max_redirects(0);
        let agent = Agent::new_with_config(settings.timeout_global(Some(timeout)).build());
        Self { agent, url: url.to_owned(), token, shown_as }
    }

    fn question(&self, key: &Secret) -> Value {
        match self.shown_as {
            ShownAs::Digest => {
                let digest: [u8; 32] = Sha256::digest(key.reveal()).into();
                let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                json!({ "key_digest": hex })
            }
            ShownAs::Key => json!({ "key": key.reveal() }),
        }
    }

    fn ask(&self, key: &Secret) -> Result<Option<KeyHolder>> {
        let wrong = |problem: String| Error::new(ErrorKind::System, format!("{}: {problem}", self.url));
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {}", token.reveal()));
        }
        let sent = request.send(self.question(key).to_string());
        let mut response = sent.map_err(|error| wrong(error.to_string()))?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(None),
            StatusCode::OK => {}
            status => return Err(wrong(format!("it answered {status}, which is neither 200 nor 404"))),
        }
        let body = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        let body = body.map_err(|error| wrong(format!("its answer cannot be read: {error}")))?;
        // Not the parser's own words: they may repeat the answer, and the answer the key.
        let answer = serde_json::from_slice(&body).map_err(|_| {
            wrong("its answer is no JSON object with `tenant`, `subject` and perhaps `tier`".to_owned())
        })?;
        let Answer { tenant, subject, tier } = answer;
        Ok(Some(KeyHolder { tenant, subject, tier }))
    }
}

impl TierSource for CallOut {
    fn holder(&self, key: Secret) -> Promise<'_, Option<KeyHolder>> {
        let this = self.clone();
        Box::pin(async move {
            let asked = spawn_blocking(move || this.ask(&key)).await;
            asked.unwrap_or_else(|_| Err(Error::new(ErrorKind::System, "the source of API keys could not be asked")))
        })
    }
}

impl fmt::Debug for CallOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallOut").field("url", &self.url).finish_non_exhaustive()
    }
}
