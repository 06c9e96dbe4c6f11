//! Reads the configuration file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::admin::{self, AdminLayer};
use super::beside_url::BesideUrl;
use super::envoy::EnvoyLayer;
use super::findings::Findings;
use super::forms;
use super::key_source::{self, KeySourceLayer, ShownAs};
use super::layer::{Layer, StoreLayer};
use super::resp::RespLayer;
use super::stated::{Place, Stated};
use super::store::{StoreMode, WithoutScripts};
use super::suggest::explain;
use super::{Environment, Isolation, LogFormat, LogLevel, OnFault, OnStoreFault, PerLimit, Precision, Scope, Secret};
use crate::counter::OnChange;

/// The file, key by key.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sheet {
    environment: Option<Environment>,
    listen: Option<String>,
    key_prefix: Option<String>,
    log: LogSection,
    decision: DecisionSection,
    headers: HeaderSection,
    callers: CallerSection,
    receipts: ReceiptSection,
    policies: PolicySection,
    pub(super) signing: SigningSection,
    admin: AdminSection,
    resp: RespSection,
    envoy: EnvoySection,
    registry: RegistrySection,
    store: StoreSection,
    redis: RedisSection,
    pub(super) default_tier: Option<String>,
    pub(super) tiers: Option<BTreeMap<String, TierSection>>,
    pub(super) tenants: Option<BTreeMap<String, TenantSection>>,
    pub(super) keys: Option<Vec<KeySection>>,
    pub(super) key_source: Option<KeySourceSection>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogSection {
    level: Option<LogLevel>,
    format: Option<LogFormat>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DecisionSection {
    deadline_ms: Option<u64>,
    on_store_fault: Option<OnStoreFault>,
    on_policy_fault: Option<OnFault>,
    subjects_per_tenant: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HeaderSection {
    x_ratelimit: Option<bool>,
    source: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CallerSection {
    token: Option<Secret>,
    proxies: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReceiptSection {
    key: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PolicySection {
    cache_dir: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SigningSection {
    required: Option<bool>,
    pub(super) keys: Vec<SigningKeySection>,
}

/// One `[[signing.keys]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SigningKeySection {
    pub(super) name: String,
    pub(super) public_key: String,
    pub(super) tiers: Option<Vec<String>>,
    #[serde(default)]
    pub(super) revoked: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AdminSection {
    listen: Option<String>,
    tokens: Option<Vec<TokenSection>>,
}

/// One `[[admin.tokens]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenSection {
    pub(super) name: String,
    pub(super) scope: Scope,
    pub(super) sha256: Option<String>,
    pub(super) token: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RespSection {
    listen: Option<String>,
    password: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct EnvoySection {
    listen: Option<String>,
    limits: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RegistrySection {
    directory: Option<PathBuf>,
    instance: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct KeySourceSection {
    url: Option<String>,
    token: Option<Secret>,
    shown_as: Option<ShownAs>,
    timeout_ms: Option<u64>,
    ttl_seconds: Option<u64>,
    shared: Option<bool>,
    secret: Option<Secret>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StoreSection {
    mode: Option<StoreMode>,
    max_counters: Option<u64>,
    hosts: Option<u64>,
    refusal_memory: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RedisSection {
    url: Option<Secret>,
    password: Option<Secret>,
    tls: Option<bool>,
    ca_cert: Option<PathBuf>,
    client_cert: Option<PathBuf>,
    client_key: Option<PathBuf>,
    sentinel_username: Option<String>,
    sentinel_password: Option<Secret>,
    timeout_ms: Option<u64>,
    without_scripts: Option<WithoutScripts>,
}

/// One `[tiers.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TierSection {
    pub(super) policy: String,
    pub(super) config: Option<toml::Value>,
    #[serde(default)]
    pub(super) on_store_fault: PerLimit<OnStoreFault>,
    #[serde(default)]
    pub(super) precision: PerLimit<Precision>,
    #[serde(default)]
    pub(super) on_change: PerLimit<OnChange>,
    pub(super) on_policy_fault: Option<OnFault>,
    pub(super) isolation: Option<Isolation>,
}

/// One `[tenants.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TenantSection {
    pub(super) tier: String,
}

/// One `[[keys]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySection {
    pub(super) key: Option<Secret>,
    pub(super) sha256: Option<String>,
    pub(super) tenant: String,
    pub(super) tier: Option<String>,
    pub(super) id: String,
}

/// Reads `text`, which stands in a file of this name; none if it is no such file at all, with the problem among the findings.
pub(super) fn parse(path: &Path, text: &str, findings: &mut Findings) -> Option<Sheet> {
    match toml::from_str(text) {
        Ok(sheet) => Some(sheet),
        Err(error) => {
            // Not the error's own text: it quotes the line, and a password may stand there.
            let message = explain(error.message());
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            findings.problem(path.display(), format!("line {line}, column {column}: {message}"));
            None
        }
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before.chars().count() - before.get(..line_start).map_or(0, |text| text.chars().count()) + 1,
    )
}

impl Sheet {
    /// Takes the single values out of the sheet.
    pub(super) fn layer(&mut self, path: &Path, findings: &mut Findings) -> Layer {
        let mut read = Reader { file: path.display().to_string(), findings };
        let Self { log, decision, redis, store, .. } = self;
        Layer {
            environment: read.plain("environment", self.environment),
            listen: read.form("listen", self.listen.take(), |text| forms::socket(&text)),
            log_level: read.plain("log.level", log.level),
            log_format: read.plain("log.format", log.format),
            deadline: read.form("decision.deadline_ms", decision.deadline_ms, |ms| forms::milliseconds(ms, 60_000)),
            on_store_fault: read.plain("decision.on_store_fault", decision.on_store_fault),
            on_policy_fault: read.plain("decision.on_policy_fault", decision.on_policy_fault),
            subjects_per_tenant: read.form(
                "decision.subjects_per_tenant",
                decision.subjects_per_tenant,
                forms::subjects,
            ),
            x_ratelimit: read.plain("headers.x_ratelimit", self.headers.x_ratelimit),
            source_header: read.plain("headers.source", self.headers.source),
            caller_token: read.form("callers.token", self.callers.token.take(), forms::token),
            proxies: read.form("callers.proxies", self.callers.proxies.take(), |proxies| {
                forms::networks(proxies.iter().map(String::as_str))
            }),
            receipt_key: read.form("receipts.key", self.receipts.key.take(), forms::receipt_key),
            cache_dir: read.form("policies.cache_dir", self.policies.cache_dir.take(), |dir| Ok(beside(path, &dir))),
            require_signatures: read.plain("signing.required", self.signing.required),
            key_prefix: read.form("key_prefix", self.key_prefix.take(), |text| forms::key_prefix(&text)),
            admin: AdminLayer {
                listen: read.form("admin.listen", self.admin.listen.take(), |text| admin::listen(&text)),
                tokens: read.form("admin.tokens", self.admin.tokens.take(), admin::tokens_of),
            },
            resp: RespLayer {
                listen: read.form("resp.listen", self.resp.listen.take(), |text| admin::listen(&text)),
                password: read.form("resp.password", self.resp.password.take(), forms::token),
            },
            envoy: EnvoyLayer {
                listen: read.form("envoy.listen", self.envoy.listen.take(), |text| admin::listen(&text)),
                limits: read.form("envoy.limits", self.envoy.limits.take(), |limits| Ok(beside(path, &limits))),
            },
            registry_directory: read
                .form("registry.directory", self.registry.directory.take(), |folder| Ok(beside(path, &folder))),
            instance: read.form("registry.instance", self.registry.instance.take(), |text| forms::instance(&text)),
            key_source: self.key_source.as_mut().map(|section| section.layer(&mut read)).unwrap_or_default(),
            store: StoreLayer {
                mode: read.plain("store.mode", store.mode),
                max_counters: read.form("store.max_counters", store.max_counters, forms::counters),
                hosts: read.form("store.hosts", store.hosts, forms::hosts),
                refusal_memory: read.plain("store.refusal_memory", store.refusal_memory),
                enabled: None,
                target: read.form("redis.url", redis.url.take(), |url| forms::redis_target(url.reveal())),
                password: read.plain("redis.password", redis.password.take()),
                tls: read.plain("redis.tls", redis.tls),
                timeout: read.form("redis.timeout_ms", redis.timeout_ms, |ms| forms::milliseconds(ms, 600_000)),
                without_scripts: read.plain("redis.without_scripts", redis.without_scripts),
                beside: redis.beside_url(path, &mut read),
            },
        }
    }
}

impl KeySourceSection {
    fn layer(&mut self, read: &mut Reader<'_>) -> KeySourceLayer {
        KeySourceLayer {
            url: read.form("key_source.url", self.url.take(), |text| key_source::url(&text)),
            token: read.form("key_source.token", self.token.take(), forms::token),
            shown_as: read.plain("key_source.shown_as", self.shown_as),
            timeout: read.form("key_source.timeout_ms", self.timeout_ms, |ms| forms::milliseconds(ms, 60_000)),
            ttl: read.form("key_source.ttl_seconds", self.ttl_seconds, key_source::ttl),
            shared: read.plain("key_source.shared", self.shared),
            secret: read.form("key_source.secret", self.secret.take(), forms::receipt_key),
        }
    }
}

impl RedisSection {
    fn beside_url(&mut self, path: &Path, read: &mut Reader<'_>) -> BesideUrl {
        let mut file = |key, pem: &mut Option<PathBuf>| read.form(key, pem.take(), |pem| Ok(beside(path, &pem)));
        BesideUrl {
            ca_cert: file("redis.ca_cert", &mut self.ca_cert),
            client_cert: file("redis.client_cert", &mut self.client_cert),
            client_key: file("redis.client_key", &mut self.client_key),
            sentinel_username: read.plain("redis.sentinel_username", self.sentinel_username.take()),
            sentinel_password: read.plain("redis.sentinel_password", self.sentinel_password.take()),
        }
    }
}

/// A path that a file names starts where that file is.
pub(super) fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

struct Reader<'f> {
    file: String,
    findings: &'f mut Findings,
}

impl Reader<'_> {
    fn plain<T>(&mut self, key: &str, value: Option<T>) -> Option<Stated<T>> {
        self.form(key, value, Ok)
    }

    fn form<T, U>(
        &mut self,
        key: &str,
        value: Option<T>,
        form: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<Stated<U>> {
        let place = Place::Key { key: key.to_owned(), file: self.file.clone() };
        match form(value?) {
            Ok(value) => Some(Stated { value, place }),
            Err(problem) => {
                self.findings.problem(place, problem);
                None
            }
        }
    }
}
