//! Whoever knows keys.

use std::future::Future;

use crate::config::Secret;
use crate::error::{Error, ErrorKind, Result};
use crate::gate::{ApiKeys, KeyHolder};
use crate::store::Promise;

/// Knows who stands behind an API key: a data base, a service, a file. Usually asked through [`CachedKeys`](super::CachedKeys).
///
/// A function that takes a [`Secret`] and answers a future is one.
pub trait TierSource: Send + Sync + 'static {
    /// The holder of `key`; none if there is no such key. Any error means that nobody can say: an older answer may stand in for a while.
    fn holder(&self, key: Secret) -> Promise<'_, Option<KeyHolder>>;
}

impl<F, A> TierSource for F
where
    F: Fn(Secret) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Option<KeyHolder>>> + Send + 'static,
{
    fn holder(&self, key: Secret) -> Promise<'_, Option<KeyHolder>> {
        Box::pin(self(key))
    }
}

impl TierSource for ApiKeys {
    fn holder(&self, key: Secret) -> Promise<'_, Option<KeyHolder>> {
        let holder = self.holder(key.reveal()).cloned();
        Box::pin(std::future::ready(Ok(holder)))
    }
}

/// Refuses a holder that no request could have, or that tells the key: a subject stands in counters and logs.
pub(super) fn check(holder: &KeyHolder, key: &Secret) -> Result<()> {
    holder.check().map_err(|problem| Error::new(ErrorKind::System, problem))?;
    if [&holder.tenant, &holder.subject].iter().any(|text| text.contains(key.reveal())) {
        return Err(Error::new(
            ErrorKind::System,
            "`tenant` or `subject` repeats the key, and stands in counters and logs",
        ));
    }
    Ok(())
}
