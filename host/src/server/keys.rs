//! The API keys that this process knows.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, KeySourceConfig};
use crate::error::Result;
use crate::gate::ApiKeys;
use crate::keys::{CachedKeys, CallOut, KeyCacheOptions, Keys};
use crate::store::Documents;
use crate::time::SystemClock;

/// How much longer the cache waits than the source may take: the source itself knows best what went wrong.
const LONGER: Duration = Duration::from_millis(500);

/// The keys that `config` lists, and behind them those that its source knows.
pub(super) async fn keys(config: &Config, documents: &Arc<dyn Documents>) -> Result<Keys> {
    let listed = Keys::from(ApiKeys::from_config(config)?);
    let Some(source) = &config.key_source else { return Ok(listed) };
    let KeySourceConfig { ttl, timeout, secret, .. } = source;
    let options = KeyCacheOptions { ttl: *ttl, patience: *timeout + LONGER, ..KeyCacheOptions::default() };
    let (documents, clock) = (Arc::clone(documents), SystemClock::new());
    Ok(listed.or(CachedKeys::shared(CallOut::new(source), options, clock, documents, secret.as_ref()).await?))
}
