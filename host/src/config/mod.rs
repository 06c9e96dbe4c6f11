//! What the operator says: environment and file, read into one [`Config`].
//!
//! The environment wins over the file, and the file over what is built in. A name or key that nobody knows is refused with a
//! suggestion, and an error tells every problem at once. Nothing here reads a file or, but for [`env::process`], the environment.

mod accounts;
mod admin;
mod beside_url;
pub mod env;
mod environment;
mod envoy;
mod file;
mod findings;
mod forms;
mod key_digest;
mod key_source;
mod layer;
mod per_limit;
mod production;
mod redis_target;
mod redis_url;
mod resp;
mod secret;
mod signing;
mod stated;
mod store;
mod suggest;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use crate::model::{Isolation, OnFault, OnStoreFault, Precision};
pub use accounts::{KeyConfig, PolicySource, TenantConfig, TierConfig};
pub use admin::{AdminConfig, AdminToken, Scope};
pub use envoy::EnvoyConfig;
pub use key_digest::KeyDigest;
pub use key_source::{KeySourceConfig, ShownAs};
pub use per_limit::PerLimit;
pub use production::DEMO_KEYS;
pub use redis_target::{Address, ClientCertificate, RedisTarget, SentinelLogin, Tls, Topology};
pub use resp::RespConfig;
pub use secret::Secret;
pub use signing::{PublicKey, SigningConfig, SigningKeyConfig};
pub use store::{RedisConfig, StoreConfig, WithoutScripts};

use crate::error::Result;
use accounts::Accounts;
use findings::Findings;
use layer::Layer;

/// Everything the operator decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Whether weak spots are refused or only reported.
    pub environment: Environment,
    /// Where the program listens.
    pub listen: SocketAddr,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where counters live.
    pub store: StoreConfig,
    /// What every counter's key begins with.
    pub key_prefix: String,
    /// How a decision is made.
    pub decision: DecisionConfig,
    /// Which headers an answer carries.
    pub headers: HeaderConfig,
    /// Who may name tenant, tier and subject directly.
    pub callers: CallerConfig,
    /// How receipts are sealed.
    pub receipts: ReceiptConfig,
    /// How policies are made ready.
    pub policies: PoliciesConfig,
    /// Who vouches for policies.
    pub signing: SigningConfig,
    /// The admin API.
    pub admin: AdminConfig,
    /// Where the commands of redis-cell are answered, if they are.
    pub resp: Option<RespConfig>,
    /// Envoy's rate limit service, if there is to be one.
    pub envoy: Option<EnvoyConfig>,
    /// What this process shares with others of its fleet.
    pub registry: RegistryConfig,
    /// The tiers, by name.
    pub tiers: BTreeMap<String, TierConfig>,
    /// The tier of whom no other tier is known for; it exists.
    pub default_tier: Option<String>,
    /// The tenants, by name.
    pub tenants: BTreeMap<String, TenantConfig>,
    /// The API keys.
    pub keys: Vec<KeyConfig>,
    /// Who knows further keys.
    pub key_source: Option<KeySourceConfig>,
    /// What the operator should know, to be logged at start.
    pub notices: Vec<String>,
}

/// Whether weak spots are refused or only reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Everything works at once: memory instead of Redis, demo keys.
    #[default]
    Development,
    /// Starts only with a Redis that has a strong password, and without demo keys.
    Production,
}

impl Environment {
    /// The name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important level that is logged.
    pub level: LogLevel,
    /// How a line is written.
    pub format: LogFormat,
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something is broken and wants a person.
    Error,
    /// Something went wrong and was dealt with.
    Warn,
    /// What an operator wants to know of every start, stop and change.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Every step.
    Trace,
}

impl LogLevel {
    /// The level's name, as `LOG_LEVEL` and the filters of `tracing` write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// How a decision is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionConfig {
    /// How long it may take.
    pub deadline: Duration,
    /// The answer when the counters cannot be reached.
    pub on_store_fault: OnStoreFault,
    /// The answer when the policy fails.
    pub on_policy_fault: OnFault,
    /// How many subjects of a tenant have counters of their own within a minute.
    pub subjects_per_tenant: NonZeroUsize,
}

/// Which headers an answer carries beside the standard ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderConfig {
    /// Whether the older `X-RateLimit-*` are among them.
    pub x_ratelimit: bool,
    /// Whether `Tollgate-Source`, who gave the verdict, is among them.
    pub source: bool,
}

/// Who may name tenant, tier and subject directly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerConfig {
    /// Whoever shows this token. If there is none: everybody where the program listens on a loopback address, nobody elsewhere.
    pub token: Option<Secret>,
    /// The gateways that may say whose request they ask about: addresses and networks such as `10.0.0.0/8`, each of which can be read.
    pub proxies: Vec<String>,
}

/// How receipts are sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiptConfig {
    /// The key, of at least 32 bytes. If there is none, one is drawn, and only this process can settle what it gave.
    pub key: Option<Secret>,
}

/// How policies are made ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoliciesConfig {
    /// Where their machine code is kept for the next start. If there is no such place, it is compiled anew.
    pub cache_dir: Option<PathBuf>,
}

/// What a process shares with others of its fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Where policies and rosters are kept when counters are in memory; without it, in memory, too. When counters are in Redis, so are they.
    pub directory: Option<PathBuf>,
    /// The name of this process, which no other has; without it, one is made.
    pub instance: Option<String>,
}

/// A configuration file that somebody has read.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    /// Where it is: named in errors, and the place where relative paths in it start.
    pub path: &'a Path,
    /// What it says.
    pub text: &'a str,
}

/// The built-in configuration, which is also the sample of a file.
pub const DEFAULT: &str = include_str!("default.toml");

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);
const KEY_PREFIX: &str = "ratelimit";
const SUBJECTS_PER_TENANT: NonZeroUsize = NonZeroUsize::new(100_000).expect("it is not zero");
const DEADLINE: Duration = Duration::from_millis(50);

impl Config {
    /// Reads the configuration from a file, if there is one, and the environment, which wins.
    ///
    /// `env` may be the whole environment or, from [`env::process`], the part that matters.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`](crate::error::ErrorKind::Config) and a text that tells every problem and its remedy, without secrets.
    pub fn load(file: Option<ConfigFile<'_>>, env: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut findings = Findings::default();
        let stage = environment::read(env, &mut findings);
        let path = file.map_or(Path::new("the built-in configuration"), |file| file.path);
        let sheet = file::parse(path, file.map_or(DEFAULT, |file| file.text), &mut findings);
        let built_in = file::parse(Path::new("the built-in configuration"), DEFAULT, &mut findings);
        let (Some(mut sheet), Some(built_in)) = (sheet, built_in) else { return Err(findings.into_error()) };
        let layer = stage.layer.over(sheet.layer(path, &mut findings));
        let mut accounts = Accounts::read(sheet, built_in, path, &mut findings);
        accounts.override_classes(&stage.classes, &mut findings);
        let config = Self::settle(layer, accounts, &mut findings);
        if findings.has_problems() {
            return Err(findings.into_error());
        }
        Ok(Self { notices: findings.notices, ..config })
    }

    /// Whether anybody can pass for a customer: with the keys that come with the program.
    #[must_use]
    pub fn has_demo_keys(&self) -> bool {
        production::demo_keys(self.keys.iter().map(|key| &key.key)) > 0
    }

    fn settle(layer: Layer, accounts: Accounts, findings: &mut Findings) -> Self {
        let environment = layer.environment.map(|stated| stated.value).unwrap_or_default();
        let store = store::settle(layer.store, environment, findings);
        let token = layer.caller_token.map(|stated| stated.value);
        let required = layer.require_signatures.map_or(environment == Environment::Production, |stated| stated.value);
        if environment == Environment::Production {
            if !required {
                findings.notice(production::UNSIGNED);
            }
            if let Some(token) = &token {
                production::check_token(token, findings);
            }
            production::refuse_demo_keys(accounts.keys.iter().map(|key| &key.key), findings);
        }
        let admin = admin::settle(layer.admin, environment, findings);
        let key_source = key_source::settle(layer.key_source, &store, environment, findings);
        let Accounts { mut tiers, default_tier, tenants, keys, signing_keys } = accounts;
        let resp = resp::settle(layer.resp, environment, &mut tiers, findings);
        let envoy = envoy::settle(layer.envoy, &mut tiers, findings);
        Self {
            environment,
            listen: layer.listen.map_or(LISTEN, |stated| stated.value),
            log: LogConfig {
                level: layer.log_level.map(|stated| stated.value).unwrap_or_default(),
                format: layer.log_format.map(|stated| stated.value).unwrap_or_default(),
            },
            store,
            key_prefix: layer.key_prefix.map_or_else(|| KEY_PREFIX.to_owned(), |stated| stated.value),
            decision: DecisionConfig {
                deadline: layer.deadline.map_or(DEADLINE, |stated| stated.value),
                on_store_fault: layer.on_store_fault.map_or(OnStoreFault::Allow, |stated| stated.value),
                on_policy_fault: layer.on_policy_fault.map_or(OnFault::Deny, |stated| stated.value),
                subjects_per_tenant: layer.subjects_per_tenant.map_or(SUBJECTS_PER_TENANT, |stated| stated.value),
            },
            headers: HeaderConfig {
                x_ratelimit: layer.x_ratelimit.is_some_and(|stated| stated.value),
                source: layer.source_header.is_some_and(|stated| stated.value),
            },
            callers: CallerConfig { token, proxies: layer.proxies.map(|stated| stated.value).unwrap_or_default() },
            receipts: ReceiptConfig { key: layer.receipt_key.map(|stated| stated.value) },
            policies: PoliciesConfig { cache_dir: layer.cache_dir.map(|stated| stated.value) },
            signing: SigningConfig { required, keys: signing_keys },
            admin,
            resp,
            envoy,
            registry: RegistryConfig {
                directory: layer.registry_directory.map(|stated| stated.value),
                instance: layer.instance.map(|stated| stated.value),
            },
            tiers,
            default_tier,
            tenants,
            keys,
            key_source,
            notices: Vec::new(),
        }
    }
}
