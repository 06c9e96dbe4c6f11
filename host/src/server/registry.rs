//! What this process shares with its fleet, and what it is called there.

use std::sync::Arc;

use crate::config::{Config, StoreConfig};
use crate::error::Result;
use crate::gate::{Tollgate, draw};
use crate::store::{DocumentDirectory, DocumentMemory, Documents, RedisDocuments};

/// The documents of the fleet: where the counters are, or in the directory that the configuration names, or in memory.
///
/// In development a Redis that does not let us is replaced by memory, and a warning says so.
pub(super) async fn documents(config: &Config, gate: &Tollgate) -> Result<Arc<dyn Documents>> {
    match &config.store {
        StoreConfig::Redis(redis) if gate.has_shared_store() || redis.memory_fallback.is_none() => {
            match RedisDocuments::connect(&redis.target, &config.key_prefix, redis.connect_timeout).await {
                Ok(documents) => {
                    if config.registry.directory.is_some() {
                        tracing::warn!("the registry is in Redis, as the counters are; registry.directory is not used");
                    }
                    Ok(Arc::new(documents))
                }
                Err(error) if redis.memory_fallback.is_some() => {
                    tracing::warn!("{error:#}; policies and rosters are kept in this process, alone and until it ends");
                    local(config)
                }
                Err(error) => Err(error),
            }
        }
        _ => local(config),
    }
}

fn local(config: &Config) -> Result<Arc<dyn Documents>> {
    Ok(match &config.registry.directory {
        Some(folder) => Arc::new(DocumentDirectory::open(folder)?),
        None => Arc::new(DocumentMemory::default()),
    })
}

/// The name of this process in the fleet, which no other has.
pub(super) fn instance(config: &Config) -> Result<String> {
    if let Some(name) = &config.registry.instance {
        return Ok(name.clone());
    }
    let host =
        ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|path| std::fs::read_to_string(path).ok());
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let host: String = host.unwrap_or_default().trim().chars().filter(fits).take(64).collect();
    let host = host.trim_start_matches('.');
    let host = if host.is_empty() { "host" } else { host };
    Ok(format!("{host}-{}-{}", std::process::id(), hex(&draw::<4>()?)))
}

/// The bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
