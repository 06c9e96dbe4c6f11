//! API keys: who stands behind a key, without keeping the key.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::config::{Config, KeyDigest};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Request, is_name};

/// Who stands behind an API key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHolder {
    /// The account that pays.
    pub tenant: String,
    /// What limits and logs call the key: an id, never the key.
    pub subject: String,
    /// The tier, if it is not the tenant's.
    pub tier: Option<String>,
}

impl KeyHolder {
    /// Refuses a holder that could make no request, and says why.
    pub(crate) fn check(&self) -> Result<(), String> {
        Request::new(&self.tenant, &self.subject).map_err(|error| error.to_string())?;
        if self.tier.as_deref().is_some_and(|tier| !is_name(tier)) {
            return Err("`tier` is not 1 to 64 of A-Z a-z 0-9 . _ -".to_owned());
        }
        Ok(())
    }
}

/// Finds the holder of an API key. Only digests are kept, so no dump, log or core holds a key.
///
/// # Example
///
/// ```
/// use tollgate::config::KeyDigest;
/// use tollgate::{ApiKeys, KeyHolder};
///
/// let mut keys = ApiKeys::default();
/// let holder = KeyHolder { tenant: "acme".into(), subject: "key-1".into(), tier: None };
/// keys.add(KeyDigest::of("s3cret"), holder)?;
/// assert_eq!(keys.holder("s3cret").map(|holder| holder.tenant.as_str()), Some("acme"));
/// assert_eq!(keys.holder("guess"), None);
/// # Ok::<(), tollgate::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ApiKeys(HashMap<KeyDigest, Arc<KeyHolder>>);

impl ApiKeys {
    /// The keys that `config` lists.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add); a configuration that was loaded has no such key.
    pub fn from_config(config: &Config) -> Result<Self> {
        let mut keys = Self::default();
        for key in &config.keys {
            let holder = KeyHolder { tenant: key.tenant.clone(), subject: key.id.clone(), tier: key.tier.clone() };
            keys.add(key.key, holder)?;
        }
        Ok(keys)
    }

    /// Adds the key of this digest.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] if the holder could make no request, or if the key is there already.
    pub fn add(&mut self, digest: KeyDigest, holder: KeyHolder) -> Result<()> {
        let subject = holder.subject.escape_debug().to_string();
        let wrong = |problem: String| Error::new(ErrorKind::Config, format!("key `{subject}`: {problem}"));
        holder.check().map_err(wrong)?;
        if self.0.insert(digest, Arc::new(holder)).is_some() {
            return Err(wrong("the same key is listed twice".to_owned()));
        }
        Ok(())
    }

    /// The holder of `key`, if it is known.
    #[must_use]
    pub fn holder(&self, key: &str) -> Option<&KeyHolder> {
        self.found(key).map(|holder| &**holder)
    }

    /// The same, to be kept.
    pub(crate) fn shared(&self, key: &str) -> Option<Arc<KeyHolder>> {
        self.found(key).map(Arc::clone)
    }

    fn found(&self, key: &str) -> Option<&Arc<KeyHolder>> {
        if self.0.is_empty() || key.len() > KeyDigest::MAX_KEY_BYTES {
            return None;
        }
        self.0.get(&KeyDigest::of(key))
    }

    /// How many keys are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKeys").field(&self.0.len()).finish()
    }
}
