//! What was invalidated: the list that hosts share, and what it means for answers that are older.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::hash::{Hasher, KeyHash, Said};
use super::local::Local;
use crate::config::Secret;
use crate::time::Timestamp;

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalidation {
    /// What is known of this key.
    Key(Secret),
    /// What is known of all keys of this tenant.
    Tenant(String),
    /// Everything.
    All,
}

/// What is to be forgotten, as hosts tell one another: by hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Revoked {
    Key(#[serde(with = "hex")] KeyHash),
    Tenant(String),
    All,
}

/// A line of the list that hosts share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Notice {
    /// Tells it from all others.
    pub(super) id: String,
    pub(super) at_us: u64,
    /// Who hashes as the writer did.
    pub(super) hasher: String,
    pub(super) what: Revoked,
}

impl Notice {
    /// What it means for a host that hashes so: a key that it cannot tell may be any.
    pub(super) fn meaning(&self, hasher: &Hasher) -> &Revoked {
        match &self.what {
            Revoked::Key(_) if self.hasher != hasher.name() => &Revoked::All,
            what => what,
        }
    }
}

/// Until when answers are void, for each key and tenant of which something was invalidated.
#[derive(Default)]
pub(super) struct Revocations(Mutex<Marks>);

#[derive(Default)]
struct Marks {
    keys: HashMap<KeyHash, Timestamp>,
    tenants: HashMap<String, Timestamp>,
    all: Option<Timestamp>,
}

/// How many keys, and how many tenants, are marked. One more, and everything that was said before is void.
const MOST: usize = 1024;
/// How far the clocks of hosts may be apart.
const SKEW: Duration = Duration::from_secs(5);

impl Revoked {
    pub(super) fn of(what: &Invalidation, hasher: &Hasher) -> Self {
        match what {
            Invalidation::Key(key) => Self::Key(hasher.hash(key.reveal())),
            Invalidation::Tenant(tenant) => Self::Tenant(tenant.clone()),
            Invalidation::All => Self::All,
        }
    }

    /// As the log says it.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Key(hash) => hash.to_string(),
            Self::Tenant(tenant) => format!("tenant:{}", tenant.escape_debug()),
            Self::All => "key".to_owned(),
        }
    }
}

impl Revocations {
    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes void what was said until `at`, and forgets it here.
    pub(super) fn add(&self, what: &Revoked, at: Timestamp, local: &Local) {
        let mut marks = self.marks();
        marks.add(what, at);
        // While nobody can put there what is void.
        match what {
            Revoked::Key(hash) => local.forget(hash),
            Revoked::Tenant(tenant) => local.forget_tenant(tenant),
            Revoked::All => local.forget_all(),
        }
    }

    /// Runs `keep` unless what was said at `asked` about this key, and about this tenant if it has one, is void by now.
    pub(super) fn unless_void(&self, hash: &KeyHash, tenant: Option<&str>, asked: Timestamp, keep: impl FnOnce()) {
        let marks = self.marks();
        if marks.void(hash, tenant).is_none_or(|until| asked > until) {
            keep();
        }
    }

    /// Whether another host's answer is void, whose clock may differ.
    pub(super) fn voids(&self, hash: &KeyHash, said: &Said) -> bool {
        let void = self.marks().void(hash, Some(&said.holder.tenant));
        void.is_some_and(|until| said.asked <= until.plus(SKEW))
    }

    /// Whether an answer is of a time to come, by more than clocks differ.
    pub(super) fn is_early(said: &Said, now: Timestamp) -> bool {
        said.asked > now.plus(SKEW)
    }
}

impl Marks {
    fn add(&mut self, what: &Revoked, at: Timestamp) {
        let later = |known: &mut Timestamp| *known = (*known).max(at);
        match what {
            Revoked::Key(hash) if self.keys.len() < MOST || self.keys.contains_key(hash) => {
                later(self.keys.entry(*hash).or_insert(at));
            }
            Revoked::Tenant(tenant) if self.tenants.len() < MOST || self.tenants.contains_key(tenant) => {
                later(self.tenants.entry(tenant.clone()).or_insert(at));
            }
            Revoked::Key(_) | Revoked::Tenant(_) | Revoked::All => {
                let last = self.keys.drain().map(|(_, at)| at).chain(self.tenants.drain().map(|(_, at)| at)).max();
                self.all = [self.all, last, Some(at)].into_iter().flatten().max();
            }
        }
    }

    fn void(&self, hash: &KeyHash, tenant: Option<&str>) -> Option<Timestamp> {
        let tenant = tenant.and_then(|tenant| self.tenants.get(tenant));
        [self.keys.get(hash), tenant, self.all.as_ref()].into_iter().flatten().max().copied()
    }
}

mod hex {
    use serde::de::Error;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::KeyHash;

    pub(super) fn serialize<S: Serializer>(hash: &KeyHash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hash.to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyHash, D::Error> {
        let text = String::deserialize(deserializer)?;
        KeyHash::from_hex(&text).ok_or_else(|| D::Error::custom("not 64 hexadecimal digits"))
    }
}
