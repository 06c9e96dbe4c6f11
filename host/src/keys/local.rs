//! What this host remembers of keys.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use super::hash::KeyHash;
use super::options::KeyCacheOptions;
use crate::gate::KeyHolder;
use crate::time::Timestamp;

/// Holders, and apart from them keys without one: however many bogus keys are shown, they push out no holder.
pub(super) struct Local {
    holders: Cache<KeyHash, Held>,
    vain: Cache<KeyHash, Vain>,
    grace: Duration,
}

#[derive(Clone)]
struct Held {
    holder: Arc<KeyHolder>,
    until: Timestamp,
    /// Until when nobody is asked again although it is over: the source just failed.
    resting: Timestamp,
}

#[derive(Clone)]
struct Vain {
    until: Timestamp,
    /// Nobody could say.
    failed: bool,
}

/// What is remembered of a key.
pub(super) enum Memory {
    Holder(Arc<KeyHolder>),
    /// Over, but good enough for now.
    Stale(Arc<KeyHolder>),
    Unknown,
    Failed,
    Nothing,
}

/// How long nobody is asked again for a key that is remembered, after the source failed.
const REST_WITH_HOLDER: Duration = Duration::from_secs(5);
/// The same for one that is not.
const REST: Duration = Duration::from_secs(1);

impl Local {
    pub(super) fn new(options: &KeyCacheOptions) -> Self {
        let (holders, vain) = (Cache::new(options.holders.get()), Cache::new(options.unknowns.get()));
        Self { holders, vain, grace: options.grace }
    }

    pub(super) fn recall(&self, hash: &KeyHash, now: Timestamp) -> Memory {
        match self.holders.get(hash) {
            Some(held) if now < held.until => return Memory::Holder(held.holder),
            Some(held) if now < held.resting && self.is_in_grace(&held, now) => return Memory::Stale(held.holder),
            _ => {}
        }
        match self.vain.get(hash) {
            Some(vain) if now < vain.until && vain.failed => Memory::Failed,
            Some(vain) if now < vain.until => Memory::Unknown,
            _ => Memory::Nothing,
        }
    }

    pub(super) fn keep(&self, hash: KeyHash, holder: Arc<KeyHolder>, until: Timestamp) {
        self.vain.remove(&hash);
        self.holders.insert(hash, Held { holder, until, resting: until });
    }

    pub(super) fn keep_unknown(&self, hash: KeyHash, until: Timestamp) {
        self.holders.remove(&hash);
        self.vain.insert(hash, Vain { until, failed: false });
    }

    /// The source failed: answers the holder that was known, if that is not too long ago. Nobody is asked again for a moment.
    pub(super) fn fall_back(&self, hash: KeyHash, now: Timestamp) -> Option<Arc<KeyHolder>> {
        match self.holders.get(&hash).filter(|held| self.is_in_grace(held, now)) {
            Some(held) => {
                let holder = Arc::clone(&held.holder);
                self.holders.insert(hash, Held { resting: now.plus(REST_WITH_HOLDER), ..held });
                Some(holder)
            }
            None => {
                self.vain.insert(hash, Vain { until: now.plus(REST), failed: true });
                None
            }
        }
    }

    /// The holder that was known, if that is not too long ago.
    pub(super) fn stale(&self, hash: &KeyHash, now: Timestamp) -> Option<Arc<KeyHolder>> {
        self.holders.get(hash).filter(|held| self.is_in_grace(held, now)).map(|held| held.holder)
    }

    pub(super) fn forget(&self, hash: &KeyHash) {
        self.holders.remove(hash);
        self.vain.remove(hash);
    }

    pub(super) fn forget_tenant(&self, tenant: &str) {
        self.holders.retain(|_, held| held.holder.tenant != tenant);
    }

    pub(super) fn forget_all(&self) {
        self.holders.clear();
        self.vain.clear();
    }

    /// How many holders, and how many keys without one.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.holders.len(), self.vain.len())
    }

    fn is_in_grace(&self, held: &Held, now: Timestamp) -> bool {
        now < held.until.plus(self.grace)
    }
}
