//! What the admin API needs to answer, and how often it lets somebody ask.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use super::super::problem::Problem;
use crate::blocks::Blocks;
use crate::config::{AdminToken, KeyDigest};
use crate::counter::{Algorithm, Mode};
use crate::fleet::Fleet;
use crate::keys::Keys;
use crate::model::{Charge, KeySpace, Limit, Quota, address_subject};
use crate::store::{Memory, Store as _};
use crate::time::SystemClock;

/// Writes down what was measured, in the text form of Prometheus.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// Everything that the admin API needs to answer.
pub struct Desk {
    pub(super) fleet: Fleet,
    tokens: Vec<AdminToken>,
    calls: Memory,
    pub(super) document: OnceLock<Value>,
    pub(super) tails: Arc<Semaphore>,
    pub(super) metrics: Option<Render>,
    pub(super) keys: Keys,
    pub(super) blocks: Option<Blocks>,
    stopping: watch::Sender<bool>,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// How many may watch decisions at a time.
pub(super) const TAILS: usize = 16;
/// What is counted: tokens, and addresses that showed wrong ones.
const COUNTERS: usize = 10_000;
/// Calls with one token.
const CALLS: Quota = Quota { max: 20, window: Duration::from_secs(1), burst: 100 };
/// Calls with one token that it may not make.
const REFUSALS: Quota = Quota { max: 10, window: Duration::from_secs(60), burst: 30 };
/// Wrong tokens from one address.
const WRONG: Quota = Quota { max: 10, window: Duration::from_secs(60), burst: 10 };

impl Desk {
    /// A desk that lets the holders of `tokens` operate `fleet`.
    #[must_use]
    pub fn new(fleet: Fleet, tokens: Vec<AdminToken>) -> Self {
        let calls = Memory::with_capacity(SystemClock::new(), COUNTERS);
        Self {
            fleet,
            tokens,
            calls,
            document: OnceLock::new(),
            tails: Arc::new(Semaphore::new(TAILS)),
            metrics: None,
            keys: Keys::default(),
            blocks: None,
            stopping: watch::Sender::new(false),
        }
    }

    /// The same, which also answers what was measured.
    #[must_use]
    pub fn with_metrics(self, render: Render) -> Self {
        Self { metrics: Some(render), ..self }
    }

    /// The same, which also invalidates what is known of these keys.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Self {
        Self { keys, ..self }
    }

    /// The same, which also shows and changes who is blocked.
    #[must_use]
    pub fn with_blocks(self, blocks: Blocks) -> Self {
        Self { blocks: Some(blocks), ..self }
    }

    pub(super) fn blocks(&self) -> Result<&Blocks, Problem> {
        let told = "this server keeps no blocks";
        self.blocks.as_ref().ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, told))
    }

    /// Ends what would never end by itself.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Whose token it is. Every known token is looked at, however early one fits.
    pub(super) fn holder(&self, token: &[u8]) -> Option<&AdminToken> {
        let given = KeyDigest::of(&String::from_utf8_lossy(token));
        self.tokens.iter().fold(None, |found, known| if known.digest.matches(&given) { Some(known) } else { found })
    }

    /// Counts a call of this token.
    pub(super) async fn count_call(&self, name: &str) -> Result<(), Problem> {
        self.count("call", CALLS, name, "this token calls too often").await
    }

    /// Counts a wrong token from this address.
    pub(super) async fn count_wrong(&self, peer: IpAddr) -> Result<(), Problem> {
        self.count("wrong", WRONG, &address_subject(peer), "too many wrong tokens from this address").await
    }

    /// Counts a call of this token that its scope does not allow: each is a line of the audit log, and nobody shall push the others out.
    pub(super) async fn count_refusal(&self, name: &str) -> Result<(), Problem> {
        self.count("refusal", REFUSALS, name, "too many calls that this token may not make").await
    }

    async fn count(&self, id: &str, quota: Quota, who: &str, told: &str) -> Result<(), Problem> {
        let limit = Limit::new(id, Algorithm::TokenBucket, quota).expect("the numbers are in range");
        let key = KeySpace::new("admin", "tollgate", "admin").key(&limit, who);
        let charge = [Charge { key, limit, cost: 1, mode: Mode::Enforce, holder: 0 }];
        // Memory answers at once, and always.
        let outcomes = self.calls.charge(&charge, Duration::ZERO).outcomes().await.unwrap_or_default();
        match outcomes.first() {
            Some(outcome) if !outcome.allowed => {
                let wait = outcome.retry_after.unwrap_or(quota.window);
                Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, told).until(wait))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest knows who has which token.
        f.debug_struct("Desk").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}
