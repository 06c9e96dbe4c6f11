//! The cache before a source of keys.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::allowance::Allowance;
use super::flights::{Flights, Part};
use super::follow::follow;
use super::hash::{Hasher, KeyHash, Said};
use super::local::{Local, Memory};
use super::meters::Meters;
use super::options::KeyCacheOptions;
use super::revocations::{Invalidation, Revocations, Revoked};
use super::shared::Shared;
use super::source::{TierSource, check};
use super::{Finding, Found, KeyFault};
use crate::config::Secret;
use crate::error::Result;
use crate::gate::KeyHolder;
use crate::store::Documents;
use crate::time::{Clock, Timestamp};

/// What a source says of keys, remembered: on this host, and for all hosts that share a store and a secret.
///
/// A key is looked up once, however many ask at a time. While the source fails, what is known goes on to hold for [`KeyCacheOptions::grace`]. Keys that
/// nobody knows are remembered apart and for a shorter time, and look-ups in vain are bounded: beyond the bound nobody can say, which is an answer of its own. The
/// keys themselves are kept nowhere, nor their plain digests. Clones are the same cache.
#[derive(Clone)]
pub struct CachedKeys {
    inner: Arc<Inner>,
    // Ends with the last clone.
    _following: Arc<JoinSet<()>>,
}

pub(super) struct Inner {
    source: Box<dyn TierSource>,
    options: KeyCacheOptions,
    pub(super) clock: Box<dyn Clock>,
    pub(super) hasher: Hasher,
    pub(super) local: Local,
    pub(super) shared: Option<Shared>,
    flights: Flights,
    places: Semaphore,
    allowance: Allowance,
    pub(super) revocations: Revocations,
    pub(super) meters: Meters,
    warned_us: AtomicU64,
}

/// How often a source that fails is complained about.
const COMPLAINT: Duration = Duration::from_secs(10);

impl CachedKeys {
    /// What `source` says, remembered on this host alone.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::System`](crate::ErrorKind::System) if the machine gives no random bytes.
    pub fn new(source: impl TierSource, options: KeyCacheOptions, clock: impl Clock + 'static) -> Result<Self> {
        let inner = Inner::new(Box::new(source), options, Box::new(clock), Hasher::new(None)?, None);
        Ok(Self { inner: Arc::new(inner), _following: Arc::default() })
    }

    /// The same, sharing `documents` with other hosts: what one invalidates, all forget. With a secret of at least 32 bytes that all have, and no other cache has,
    /// they share what they know as well, where the documents have a place for it. Has to be called on a runtime of tokio.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`](crate::ErrorKind::Config) if the secret is too short.
    pub async fn shared(
        source: impl TierSource,
        options: KeyCacheOptions,
        clock: impl Clock + 'static,
        documents: Arc<dyn Documents>,
        secret: Option<&Secret>,
    ) -> Result<Self> {
        let changes = documents.changes();
        let shared = Shared::new(documents, secret.is_some())?;
        let inner = Inner::new(Box::new(source), options, Box::new(clock), Hasher::new(secret)?, Some(shared));
        let inner = Arc::new(inner);
        inner.catch_up().await;
        let mut following = JoinSet::new();
        following.spawn(follow(Arc::downgrade(&inner), changes));
        Ok(Self { inner, _following: Arc::new(following) })
    }

    /// Who stands behind `key`: at once if this host remembers, otherwise by asking the fleet and then the source.
    #[must_use]
    pub fn find(&self, key: &str) -> Finding {
        let hash = self.inner.hasher.hash(key);
        if let Some(found) = self.inner.recall(&hash) {
            return Finding::Ready(found);
        }
        let (inner, key) = (Arc::clone(&self.inner), Secret::new(key));
        Finding::Pending(Box::pin(async move { inner.look_up(hash, key).await }))
    }

    /// Forgets what is known, here and on every host that shares the cache.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Store`](crate::ErrorKind::Store) if the others could not be told: they go on for as long as they remember.
    pub async fn invalidate(&self, what: Invalidation) -> Result<()> {
        let what = Revoked::of(&what, &self.inner.hasher);
        self.inner.heed(&what, self.inner.clock.now());
        match &self.inner.shared {
            Some(shared) => shared.revoke(&self.inner.hasher, &what, self.inner.clock.now()).await,
            None => Ok(()),
        }
    }

    /// How many holders this host remembers, and how many keys without one.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        self.inner.local.sizes()
    }
}

impl Inner {
    fn new(
        source: Box<dyn TierSource>,
        options: KeyCacheOptions,
        clock: Box<dyn Clock>,
        hasher: Hasher,
        shared: Option<Shared>,
    ) -> Self {
        Self {
            source,
            local: Local::new(&options),
            hasher,
            shared,
            flights: Flights::default(),
            places: Semaphore::new(options.lookups.get().min(Semaphore::MAX_PERMITS)),
            allowance: Allowance::new(options.vain_lookups_per_second.get(), clock.now()),
            revocations: Revocations::default(),
            meters: Meters::new(),
            warned_us: AtomicU64::new(0),
            options,
            clock,
        }
    }

    /// What this host remembers.
    fn recall(&self, hash: &KeyHash) -> Option<Found> {
        match self.local.recall(hash, self.clock.now()) {
            Memory::Holder(holder) => {
                self.meters.hit(hash);
                Some(Ok(Some(holder)))
            }
            Memory::Stale(holder) => {
                self.meters.stale();
                Some(Ok(Some(holder)))
            }
            Memory::Unknown => {
                self.meters.negative();
                Some(Ok(None))
            }
            Memory::Failed => Some(Err(KeyFault::Source)),
            Memory::Nothing => None,
        }
    }

    /// Takes part in the one look-up of this key. It goes on if whoever asked first goes away.
    async fn look_up(self: Arc<Self>, hash: KeyHash, key: Secret) -> Found {
        let follow = match self.flights.join(hash) {
            None => return self.too_many(&hash),
            Some(Part::Follow(follow)) => follow,
            Some(Part::Lead(lead, follow)) => {
                tokio::spawn(async move {
                    let found = self.fetch(hash, key).await;
                    lead.tell(found);
                });
                follow
            }
        };
        follow.end().await
    }

    async fn fetch(&self, hash: KeyHash, key: Secret) -> Found {
        let Ok(Ok(_place)) = timeout(self.options.patience, self.places.acquire()).await else {
            return self.too_many(&hash);
        };
        // Another look-up may have ended between our look and now.
        if let Some(found) = self.recall(&hash) {
            return found;
        }
        if let Some(holder) = self.recall_shared(&hash).await {
            return Ok(Some(holder));
        }
        let asked = self.clock.now();
        if !self.allowance.take(asked) {
            return self.too_many(&hash);
        }
        self.meters.miss(&hash);
        let said = timeout(self.options.patience, self.source.holder(key.clone())).await;
        let problem = match said {
            Ok(Ok(Some(holder))) => match check(&holder, &key) {
                Ok(()) => return Ok(Some(self.keep(hash, holder, asked).await)),
                Err(error) => format!("{error:#}"),
            },
            Ok(Ok(None)) => {
                let until = self.clock.now().plus(self.options.unknown_ttl);
                self.revocations.unless_void(&hash, None, asked, || self.local.keep_unknown(hash, until));
                return Ok(None);
            }
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {:?}", self.options.patience),
        };
        self.failed(hash, &problem)
    }

    /// What the fleet remembers; kept here as well.
    async fn recall_shared(&self, hash: &KeyHash) -> Option<Arc<KeyHolder>> {
        let now = self.clock.now();
        let said = self.shared.as_ref()?.recall(&self.hasher, hash, now).await?;
        if said.until <= now || Revocations::is_early(&said, now) || self.revocations.voids(hash, &said) {
            return None;
        }
        self.meters.hit(hash);
        let (until, asked) = (said.until.min(now.plus(self.options.ttl)), said.asked);
        let holder = Arc::new(said.holder);
        let keep = || self.local.keep(*hash, Arc::clone(&holder), until);
        self.revocations.unless_void(hash, Some(&holder.tenant), asked, keep);
        Some(holder)
    }

    async fn keep(&self, hash: KeyHash, holder: KeyHolder, asked: Timestamp) -> Arc<KeyHolder> {
        self.allowance.give_back();
        let now = self.clock.now();
        let said = Said { holder, asked, until: now.plus(self.options.ttl) };
        let holder = Arc::new(said.holder.clone());
        let mut holds = false;
        self.revocations.unless_void(&hash, Some(&holder.tenant), asked, || {
            holds = true;
            self.local.keep(hash, Arc::clone(&holder), said.until);
        });
        if holds {
            self.meters.set(&hash, self.options.ttl.as_secs());
            if let Some(shared) = &self.shared {
                shared.keep(&self.hasher, &hash, &said, now).await;
            }
        }
        holder
    }

    /// The source could not say.
    fn failed(&self, hash: KeyHash, problem: &str) -> Found {
        let now = self.clock.now();
        self.meters.failed();
        let warned = self.warned_us.load(Ordering::Relaxed);
        if now.since(Timestamp::from_micros(warned)) >= COMPLAINT {
            self.warned_us.store(now.as_micros(), Ordering::Relaxed);
            tracing::warn!("the source of API keys could not say whose {hash} is: {problem}");
        }
        match self.local.fall_back(hash, now) {
            Some(holder) => {
                self.meters.stale();
                Ok(Some(holder))
            }
            None => Err(KeyFault::Source),
        }
    }

    /// Nobody is asked now.
    fn too_many(&self, hash: &KeyHash) -> Found {
        match self.local.stale(hash, self.clock.now()) {
            Some(holder) => {
                self.meters.stale();
                Ok(Some(holder))
            }
            None => {
                self.meters.refused();
                Err(KeyFault::Busy)
            }
        }
    }
}

impl fmt::Debug for CachedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (holders, unknown) = self.sizes();
        f.debug_struct("CachedKeys").field("holders", &holders).field("unknown", &unknown).finish_non_exhaustive()
    }
}
