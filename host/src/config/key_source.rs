//! Where API keys are looked up that the configuration does not list.

use std::time::Duration;

use serde::Deserialize;

use super::findings::Findings;
use super::stated::Stated;
use super::{Environment, Secret, StoreConfig};

/// A service that knows API keys, and how long its answers are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySourceConfig {
    /// Where it is asked.
    pub url: String,
    /// The bearer token that it is shown.
    pub token: Option<Secret>,
    /// What it is told of a key.
    pub shown_as: ShownAs,
    /// How long it may take.
    pub timeout: Duration,
    /// How long its answers are kept.
    pub ttl: Duration,
    /// What keys are hashed with where hosts share what they know. If there is none, they share only what is invalidated.
    pub secret: Option<Secret>,
}

/// What a source is told of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShownAs {
    /// Its SHA-256, in hexadecimal.
    #[default]
    Digest,
    /// The key itself.
    Key,
}

/// What one place states of it.
#[derive(Default)]
pub(super) struct KeySourceLayer {
    pub(super) url: Option<Stated<String>>,
    pub(super) token: Option<Stated<Secret>>,
    pub(super) shown_as: Option<Stated<ShownAs>>,
    pub(super) timeout: Option<Stated<Duration>>,
    pub(super) ttl: Option<Stated<Duration>>,
    pub(super) shared: Option<Stated<bool>>,
    pub(super) secret: Option<Stated<Secret>>,
}

const TIMEOUT: Duration = Duration::from_secs(2);
const TTL: Duration = Duration::from_secs(3600);
/// The longest time that answers are kept, in seconds.
const LONGEST_TTL: u64 = 7 * 86_400;

/// A URL of HTTP. The error repeats no part of it that could be a secret.
pub(super) fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest.filter(|rest| !rest.is_empty() && !rest.starts_with('/')) else {
        return Err("it is no URL that begins with `https://` or `http://` and a host".to_owned());
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return Err("it holds credentials: give `token` instead, which is shown as a bearer token".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it holds characters that no URL may have: escape them by `%` and two digits".to_owned());
    }
    Ok(text.to_owned())
}

/// A number of seconds for which answers are kept.
pub(super) fn ttl(seconds: u64) -> Result<Duration, String> {
    if (1..=LONGEST_TTL).contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    Err(format!("{seconds} is not from 1 to {LONGEST_TTL} seconds"))
}

impl KeySourceLayer {
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            url: self.url.or(below.url),
            token: self.token.or(below.token),
            shown_as: self.shown_as.or(below.shown_as),
            timeout: self.timeout.or(below.timeout),
            ttl: self.ttl.or(below.ttl),
            shared: self.shared.or(below.shared),
            secret: self.secret.or(below.secret),
        }
    }

    fn places(&self) -> impl Iterator<Item = String> {
        fn place<T>(stated: Option<&Stated<T>>) -> Option<String> {
            stated.map(|stated| stated.place.to_string())
        }
        let Self { url: _, token, shown_as, timeout, ttl, shared, secret } = self;
        // What holds anyway is often said by whoever says everything.
        let ttl = ttl.as_ref().filter(|ttl| ttl.value != TTL);
        let places = [place(token.as_ref()), place(shown_as.as_ref()), place(timeout.as_ref()), place(ttl)];
        places.into_iter().chain([place(shared.as_ref()), place(secret.as_ref())]).flatten()
    }
}

/// Decides whether there is a source, and whether hosts share what it says.
pub(super) fn settle(
    layer: KeySourceLayer,
    store: &StoreConfig,
    environment: Environment,
    findings: &mut Findings,
) -> Option<KeySourceConfig> {
    if layer.url.is_none() {
        for place in layer.places() {
            findings.notice(format!(
                "{place} is about API keys that a service knows, and there is no `key_source.url`: it changes nothing"
            ));
        }
        return None;
    }
    let KeySourceLayer { url, token, shown_as, timeout, ttl, shared, secret } = layer;
    let url = url?.value;
    let is_plain = url.starts_with("http://");
    if is_plain && environment == Environment::Production {
        findings.notice("`key_source.url` is not `https://`: whoever listens on the way learns the token, and who your customers are");
    }
    let wanted = shared.as_ref().is_none_or(|shared| shared.value);
    let is_possible = matches!(store, StoreConfig::Redis(_));
    match &secret {
        None if wanted && is_possible => {
            findings.notice("each process looks API keys up by itself: give all of them one TOLLGATE_KEY_SECRET, and they share what they know");
        }
        _ if shared.as_ref().is_some_and(|shared| shared.value) && !is_possible => {
            findings.notice("what is known of API keys can be shared only in Redis, and none is used");
        }
        _ => {}
    }
    Some(KeySourceConfig {
        url,
        token: token.map(|stated| stated.value),
        shown_as: shown_as.map(|stated| stated.value).unwrap_or_default(),
        timeout: timeout.map_or(TIMEOUT, |stated| stated.value),
        ttl: ttl.map_or(TTL, |stated| stated.value),
        secret: secret.map(|stated| stated.value).filter(|_| wanted),
    })
}
