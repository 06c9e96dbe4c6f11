//! Who stands behind an API key: the keys that a configuration lists, and those that a source of yours knows, behind a cache.
//!
//! [`Keys`] is what servers and layers ask. A [`TierSource`] knows keys; [`CachedKeys`] keeps what it says, on this host and, under a common secret, for all hosts.

mod allowance;
mod cache;
#[cfg(feature = "call-out")]
mod call_out;
mod flights;
mod follow;
mod hash;
mod local;
mod meters;
mod options;
mod revocations;
mod shared;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use cache::CachedKeys;
#[cfg(feature = "call-out")]
pub use call_out::CallOut;
pub use options::KeyCacheOptions;
pub use revocations::Invalidation;
pub use source::TierSource;

use crate::config::KeyDigest;
use crate::error::Result;
use crate::gate::{ApiKeys, KeyHolder};

/// The keys that a server knows: those that are listed, and behind them perhaps a source. Clones are the same keys.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tollgate::config::Secret;
/// use tollgate::keys::{CachedKeys, KeyCacheOptions, Keys};
/// use tollgate::{KeyHolder, SystemClock};
///
/// // Asked once for each key and hour, however often the key is shown.
/// let source = |key: Secret| async move {
///     let holder = KeyHolder { tenant: "acme".into(), subject: "key-1".into(), tier: Some("pro".into()) };
///     Ok((key.reveal() == "s3cret").then_some(holder))
/// };
/// let keys = Keys::from(CachedKeys::new(source, KeyCacheOptions::default(), SystemClock::new())?);
/// assert_eq!(keys.holder("s3cret").await?.map(|holder| holder.tenant.clone()).as_deref(), Some("acme"));
/// assert_eq!(keys.holder("guess").await?, None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Keys {
    listed: Arc<ApiKeys>,
    cached: Option<CachedKeys>,
}

/// Who stands behind a key; nobody, if it is not known.
pub type Found = Result<Option<Arc<KeyHolder>>, KeyFault>;

/// An answer that is there, or that is on its way.
pub enum Finding {
    /// The answer, without any waiting.
    Ready(Found),
    /// The answer of somebody who has to be asked. It has to be awaited on a runtime of tokio.
    Pending(Pin<Box<dyn Future<Output = Found> + Send>>),
}

/// Why nobody can say whose key it is. It is no fault of whoever shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// Too many keys are shown that nobody knows yet.
    Busy,
    /// The source of keys does not answer, or answers nonsense.
    Source,
}

impl Keys {
    /// These keys, and behind them those of a source.
    #[must_use]
    pub fn or(self, cached: CachedKeys) -> Self {
        Self { cached: Some(cached), ..self }
    }

    /// Who stands behind `key`: at once if it is listed, if it is in this host's cache, or if there is no source.
    #[must_use]
    pub fn find(&self, key: &str) -> Finding {
        if let Some(holder) = self.listed.shared(key) {
            return Finding::Ready(Ok(Some(holder)));
        }
        match &self.cached {
            Some(cached) if is_sound(key) => cached.find(key),
            _ => Finding::Ready(Ok(None)),
        }
    }

    /// The same, waited for.
    ///
    /// # Errors
    ///
    /// Fails if nobody can say.
    pub async fn holder(&self, key: &str) -> Found {
        self.find(key).found().await
    }

    /// Forgets what was kept of a key, of all keys of a tenant, or of all, on every host that shares the cache.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Store`](crate::ErrorKind::Store) if the others could not be told: they go on for as long as they keep what they know.
    pub async fn invalidate(&self, what: Invalidation) -> Result<()> {
        match &self.cached {
            Some(cached) => cached.invalidate(what).await,
            None => Ok(()),
        }
    }

    /// Whether there is a cache, so that there is something to invalidate.
    #[must_use]
    pub fn are_cached(&self) -> bool {
        self.cached.is_some()
    }
}

impl From<ApiKeys> for Keys {
    fn from(listed: ApiKeys) -> Self {
        Self { listed: Arc::new(listed), cached: None }
    }
}

impl From<CachedKeys> for Keys {
    fn from(cached: CachedKeys) -> Self {
        Self::default().or(cached)
    }
}

/// Whether a source is to be bothered with it.
fn is_sound(key: &str) -> bool {
    (1..=KeyDigest::MAX_KEY_BYTES).contains(&key.len()) && !key.contains(char::is_control)
}

impl Finding {
    /// Waits for the answer.
    ///
    /// # Errors
    ///
    /// Fails if nobody can say.
    pub async fn found(self) -> Found {
        match self {
            Self::Ready(found) => found,
            Self::Pending(found) => found.await,
        }
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(found) => f.debug_tuple("Ready").field(found).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many API keys that are not known yet are shown at a time; try again in a second",
            Self::Source => "nobody can say now whose API key it is; try again in a second",
        })
    }
}

impl std::error::Error for KeyFault {}
