//! One layer of the configuration, as the environment or the file states it, and how one lies over the other.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use super::admin::AdminLayer;
use super::beside_url::BesideUrl;
use super::envoy::EnvoyLayer;
use super::key_source::KeySourceLayer;
use super::resp::RespLayer;
use super::stated::Stated;
use super::store::{StoreMode, WithoutScripts};
use super::{Environment, LogFormat, LogLevel, OnFault, OnStoreFault, RedisTarget, Secret};

/// What one place states of the single values; what it does not mention is none.
#[derive(Default)]
pub(super) struct Layer {
    pub(super) environment: Option<Stated<Environment>>,
    pub(super) listen: Option<Stated<SocketAddr>>,
    pub(super) log_level: Option<Stated<LogLevel>>,
    pub(super) log_format: Option<Stated<LogFormat>>,
    pub(super) deadline: Option<Stated<Duration>>,
    pub(super) on_store_fault: Option<Stated<OnStoreFault>>,
    pub(super) on_policy_fault: Option<Stated<OnFault>>,
    pub(super) subjects_per_tenant: Option<Stated<NonZeroUsize>>,
    pub(super) x_ratelimit: Option<Stated<bool>>,
    pub(super) source_header: Option<Stated<bool>>,
    pub(super) caller_token: Option<Stated<Secret>>,
    pub(super) proxies: Option<Stated<Vec<String>>>,
    pub(super) receipt_key: Option<Stated<Secret>>,
    pub(super) cache_dir: Option<Stated<PathBuf>>,
    pub(super) require_signatures: Option<Stated<bool>>,
    pub(super) key_prefix: Option<Stated<String>>,
    pub(super) admin: AdminLayer,
    pub(super) resp: RespLayer,
    pub(super) envoy: EnvoyLayer,
    pub(super) registry_directory: Option<Stated<PathBuf>>,
    pub(super) instance: Option<Stated<String>>,
    pub(super) key_source: KeySourceLayer,
    pub(super) store: StoreLayer,
}

/// The part of a layer about where counters live.
#[derive(Default)]
pub(super) struct StoreLayer {
    pub(super) mode: Option<Stated<StoreMode>>,
    pub(super) max_counters: Option<Stated<usize>>,
    pub(super) hosts: Option<Stated<NonZeroU32>>,
    pub(super) refusal_memory: Option<Stated<bool>>,
    pub(super) enabled: Option<Stated<bool>>,
    pub(super) target: Option<Stated<RedisTarget>>,
    pub(super) password: Option<Stated<Secret>>,
    pub(super) tls: Option<Stated<bool>>,
    pub(super) timeout: Option<Stated<Duration>>,
    pub(super) without_scripts: Option<Stated<WithoutScripts>>,
    pub(super) beside: BesideUrl,
}

impl Layer {
    /// This layer, and where it states nothing, the one below.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            environment: self.environment.or(below.environment),
            listen: self.listen.or(below.listen),
            log_level: self.log_level.or(below.log_level),
            log_format: self.log_format.or(below.log_format),
            deadline: self.deadline.or(below.deadline),
            on_store_fault: self.on_store_fault.or(below.on_store_fault),
            on_policy_fault: self.on_policy_fault.or(below.on_policy_fault),
            subjects_per_tenant: self.subjects_per_tenant.or(below.subjects_per_tenant),
            x_ratelimit: self.x_ratelimit.or(below.x_ratelimit),
            source_header: self.source_header.or(below.source_header),
            caller_token: self.caller_token.or(below.caller_token),
            proxies: self.proxies.or(below.proxies),
            receipt_key: self.receipt_key.or(below.receipt_key),
            cache_dir: self.cache_dir.or(below.cache_dir),
            require_signatures: self.require_signatures.or(below.require_signatures),
            key_prefix: self.key_prefix.or(below.key_prefix),
            admin: self.admin.over(below.admin),
            resp: self.resp.over(below.resp),
            envoy: self.envoy.over(below.envoy),
            registry_directory: self.registry_directory.or(below.registry_directory),
            instance: self.instance.or(below.instance),
            key_source: self.key_source.over(below.key_source),
            store: self.store.over(below.store),
        }
    }
}

impl StoreLayer {
    fn over(self, below: Self) -> Self {
        Self {
            mode: self.mode.or(below.mode),
            max_counters: self.max_counters.or(below.max_counters),
            hosts: self.hosts.or(below.hosts),
            refusal_memory: self.refusal_memory.or(below.refusal_memory),
            enabled: self.enabled.or(below.enabled),
            target: self.target.or(below.target),
            password: self.password.or(below.password),
            tls: self.tls.or(below.tls),
            timeout: self.timeout.or(below.timeout),
            without_scripts: self.without_scripts.or(below.without_scripts),
            beside: self.beside.over(below.beside),
        }
    }
}
