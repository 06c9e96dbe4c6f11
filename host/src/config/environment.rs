//! Reads the environment's layer.

use std::collections::BTreeMap;

use super::admin::{self, AdminLayer};
use super::beside_url::BesideUrl;
use super::env::variables;
use super::envoy::EnvoyLayer;
use super::findings::Findings;
use super::forms;
use super::key_source::{self, KeySourceLayer};
use super::layer::{Layer, StoreLayer};
use super::redis_url::{REDIS_PORT, address};
use super::resp::RespLayer;
use super::stated::{Place, Stated};
use super::suggest::{closest, did_you_mean};
use super::{Environment, RedisTarget, Secret, Topology};

/// What the environment states.
pub(super) struct Stage {
    pub(super) layer: Layer,
    /// Class and rate of each `RATE_LIMIT_*` that is set.
    pub(super) classes: Vec<(&'static str, Stated<String>)>,
}

/// The classes of routes, and the variable that changes each.
const CLASSES: [(&str, &str); 6] = [
    ("general", "RATE_LIMIT_GENERAL"),
    ("auth", "RATE_LIMIT_AUTH"),
    ("sensitive", "RATE_LIMIT_SENSITIVE"),
    ("admin", "RATE_LIMIT_ADMIN"),
    ("mfa", "RATE_LIMIT_MFA"),
    ("financial", "RATE_LIMIT_FINANCIAL"),
];

/// Reads the variables that are ours, and complains about those that only look like it.
pub(super) fn read(env: impl IntoIterator<Item = (String, String)>, findings: &mut Findings) -> Stage {
    let mut reader = Reader { values: BTreeMap::new(), findings };
    env.into_iter().for_each(|(name, value)| reader.take(&name, &value));
    let stage = Stage { layer: reader.layer(), classes: reader.classes() };
    reader.note_idle(stage.layer.store.target.is_some());
    stage
}

struct Reader<'f> {
    values: BTreeMap<&'static str, String>,
    findings: &'f mut Findings,
}

impl Reader<'_> {
    /// Keeps a variable that is known. Empty means not set: that is what compose files make of a variable nobody has set.
    fn take(&mut self, name: &str, value: &str) {
        let value = value.trim_end_matches(['\r', '\n']);
        if value.is_empty() || is_service_link(name, value) {
            return;
        }
        match variables().find(|variable| variable.name == name) {
            Some(variable) => {
                self.values.insert(variable.name, value.to_owned());
            }
            None => self.unknown(name),
        }
    }

    fn unknown(&mut self, name: &str) {
        let known = || variables().map(|variable| variable.name);
        if name.starts_with("REDIS_") {
            // Other programs share this prefix, so it is no mistake yet.
            let siblings = known().filter(|known| known.starts_with("REDIS_"));
            self.findings.notice(format!("{name} is not read by Tollgate{}", did_you_mean(name, siblings)));
            return;
        }
        let Some(prefix) = ["TOLLGATE_", "RATE_LIMIT_"].into_iter().find(|prefix| name.starts_with(prefix)) else {
            return;
        };
        let tail = name.trim_start_matches(prefix);
        let sibling = closest(tail, known().filter_map(|known| known.strip_prefix(prefix)));
        let hint = match (known().find(|known| *known == tail), sibling) {
            (Some(other), _) => format!("; did you mean `{other}`?"),
            (None, Some(sibling)) => format!("; did you mean `{prefix}{sibling}`?"),
            (None, None) => String::new(),
        };
        self.findings.problem(name, format!("Tollgate knows no such variable{hint}"));
    }

    fn read<T>(&mut self, name: &'static str, form: impl FnOnce(&str) -> Result<T, String>) -> Option<Stated<T>> {
        match form(self.values.get(name)?.trim()) {
            Ok(value) => Some(Stated { value, place: Place::Variable(name) }),
            Err(problem) => {
                self.findings.problem(name, problem);
                None
            }
        }
    }

    fn layer(&mut self) -> Layer {
        Layer {
            environment: self.environment(),
            listen: self.read("TOLLGATE_LISTEN", forms::socket),
            log_level: self.read("LOG_LEVEL", forms::choice),
            log_format: self.read("TOLLGATE_LOG_FORMAT", forms::choice),
            deadline: self.read("TOLLGATE_DEADLINE_MS", |text| forms::milliseconds(forms::whole(text)?, 60_000)),
            on_store_fault: self.read("TOLLGATE_ON_STORE_FAULT", forms::choice),
            on_policy_fault: self.read("TOLLGATE_ON_POLICY_FAULT", forms::choice),
            subjects_per_tenant: self.read("TOLLGATE_SUBJECTS_PER_TENANT", |text| forms::subjects(forms::whole(text)?)),
            x_ratelimit: self.read("TOLLGATE_X_RATELIMIT", forms::switch),
            source_header: self.read("TOLLGATE_SOURCE_HEADER", forms::switch),
            caller_token: self.read("TOLLGATE_CALLER_TOKEN", |text| forms::token(Secret::new(text))),
            proxies: self.read("TOLLGATE_TRUSTED_PROXIES", |text| forms::networks(text.split(',').map(str::trim))),
            receipt_key: self.read("TOLLGATE_RECEIPT_KEY", |text| forms::receipt_key(Secret::new(text))),
            cache_dir: self.read("TOLLGATE_CACHE_DIR", |text| Ok(text.into())),
            require_signatures: self.read("TOLLGATE_REQUIRE_SIGNATURES", forms::switch),
            key_prefix: self.read("TOLLGATE_KEY_PREFIX", forms::key_prefix),
            admin: AdminLayer {
                listen: self.read("TOLLGATE_ADMIN_LISTEN", admin::listen),
                tokens: self.read("TOLLGATE_ADMIN_TOKENS", admin::tokens),
            },
            resp: RespLayer {
                listen: self.read("TOLLGATE_RESP_LISTEN", admin::listen),
                password: self.read("TOLLGATE_RESP_PASSWORD", |text| forms::token(Secret::new(text))),
            },
            envoy: EnvoyLayer {
                listen: self.read("TOLLGATE_GRPC_LISTEN", admin::listen),
                limits: self.read("TOLLGATE_RLS_CONFIG", |text| Ok(text.into())),
            },
            registry_directory: self.read("TOLLGATE_REGISTRY_DIR", |text| Ok(text.into())),
            instance: self.read("TOLLGATE_INSTANCE", forms::instance),
            key_source: KeySourceLayer {
                url: self.read("TOLLGATE_KEY_SOURCE_URL", key_source::url),
                token: self.read("TOLLGATE_KEY_SOURCE_TOKEN", |text| forms::token(Secret::new(text))),
                shown_as: None,
                timeout: None,
                ttl: self.read("REDIS_DEFAULT_TTL", |text| key_source::ttl(forms::whole(text)?)),
                shared: self.read("ENABLE_REDIS_CACHE", forms::switch),
                secret: self.read("TOLLGATE_KEY_SECRET", |text| forms::receipt_key(Secret::new(text))),
            },
            store: StoreLayer {
                mode: self.read("RATE_LIMIT_MODE", forms::choice),
                max_counters: self.read("TOLLGATE_MAX_COUNTERS", |text| forms::counters(forms::whole(text)?)),
                hosts: self.read("TOLLGATE_HOSTS", |text| forms::hosts(forms::whole(text)?)),
                refusal_memory: self.read("TOLLGATE_REFUSAL_MEMORY", forms::switch),
                enabled: self.read("REDIS_ENABLED", forms::switch),
                target: self.redis_target(),
                password: self.read("REDIS_PASSWORD", |text| Ok(Secret::new(text))),
                tls: self.read("REDIS_TLS", forms::switch),
                timeout: self.read("REDIS_TIMEOUT", |text| forms::milliseconds(forms::whole(text)?, 600_000)),
                without_scripts: self.read("TOLLGATE_WITHOUT_SCRIPTS", forms::choice),
                beside: BesideUrl {
                    ca_cert: self.read("REDIS_CA_CERT", |text| Ok(text.into())),
                    client_cert: self.read("REDIS_CLIENT_CERT", |text| Ok(text.into())),
                    client_key: self.read("REDIS_CLIENT_KEY", |text| Ok(text.into())),
                    sentinel_username: self.read("REDIS_SENTINEL_USERNAME", |text| Ok(text.to_owned())),
                    sentinel_password: self.read("REDIS_SENTINEL_PASSWORD", |text| Ok(Secret::new(text))),
                },
            },
        }
    }

    fn environment(&mut self) -> Option<Stated<Environment>> {
        let node = self.read("NODE_ENV", |text| Ok(text.to_ascii_lowercase()));
        let ours = self.read("TOLLGATE_ENV", forms::choice);
        match node {
            Some(node) if ours.is_none() => match node.value.as_str() {
                "production" => Some(Stated { value: Environment::Production, place: node.place }),
                "development" | "test" => None,
                other => {
                    let other = other.escape_debug();
                    self.findings
                        .notice(format!("NODE_ENV is `{other}`, which is not `production`, so it changes nothing"));
                    None
                }
            },
            _ => ours,
        }
    }

    /// Where Redis is, by `REDIS_URL`, or by `REDIS_HOST` and `REDIS_PORT`, or by both if they agree.
    fn redis_target(&mut self) -> Option<Stated<RedisTarget>> {
        let url = self.read("REDIS_URL", forms::redis_target);
        let port = self.read("REDIS_PORT", forms::port).map(|port| port.value);
        let host = self.read("REDIS_HOST", |text| host_target(text, port));
        match (url, host) {
            (Some(url), Some(host)) if !same_server(&url.value, &host.value) => {
                let text = format!("it names {}, but REDIS_URL names {}: unset one of the two", host.value, url.value);
                self.findings.problem("REDIS_HOST", text);
                Some(url)
            }
            (url, host) => url.or(host),
        }
    }

    fn classes(&mut self) -> Vec<(&'static str, Stated<String>)> {
        CLASSES.into_iter().filter_map(|(class, name)| Some((class, self.read(name, forms::rate)?))).collect()
    }

    /// Says which of the variables set here change nothing.
    fn note_idle(&mut self, has_target: bool) {
        if self.values.contains_key("UPSTASH_REDIS_REST_URL") && !has_target {
            self.findings
                .notice("UPSTASH_REDIS_REST_URL changes nothing: set REDIS_URL to Upstash's `rediss://` address");
        }
        if self.values.contains_key("REDIS_PORT") && !self.values.contains_key("REDIS_HOST") {
            self.findings.notice("REDIS_PORT changes nothing without REDIS_HOST");
        }
    }
}

/// `REDIS_HOST`: a host, perhaps with its port, or even a whole URL.
fn host_target(text: &str, port: Option<u16>) -> Result<RedisTarget, String> {
    if text.contains("://") {
        return forms::redis_target(text);
    }
    let bare_ipv6 = text.parse::<std::net::Ipv6Addr>().map(|ip| format!("[{ip}]"));
    let address = address(bare_ipv6.as_deref().unwrap_or(text), port.unwrap_or(REDIS_PORT))?;
    match port {
        Some(port) if port != address.port => Err(format!("its port is {}, but REDIS_PORT is {port}", address.port)),
        _ => Ok(RedisTarget::single(address)),
    }
}

fn same_server(one: &RedisTarget, other: &RedisTarget) -> bool {
    match (&one.topology, &other.topology) {
        (Topology::Single(one), Topology::Single(other)) => {
            one.host.eq_ignore_ascii_case(&other.host) && one.port == other.port
        }
        (one, other) => one == other,
    }
}

/// Whether Kubernetes wrote this variable because a service is called `redis` or `tollgate`: `REDIS_PORT=tcp://10.0.0.1:6379`,
/// `TOLLGATE_SERVICE_HOST`, `TOLLGATE_PORT_8787_TCP_ADDR`. The operator said nothing by it.
fn is_service_link(name: &str, value: &str) -> bool {
    let protocol = ["tcp://", "udp://", "sctp://"].iter().any(|protocol| value.starts_with(protocol));
    let numbered =
        name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|char: char| char.is_ascii_digit()));
    let service = name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_");
    service || numbered || (protocol && name.ends_with("_PORT"))
}
