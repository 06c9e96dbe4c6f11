//! Where counters live: what the operator said about Redis, settled.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use super::findings::Findings;
use super::layer::StoreLayer;
use super::stated::Stated;
use super::{Environment, RedisTarget, Secret, Topology, production};

/// Where counters live.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a program has one")]
pub enum StoreConfig {
    /// In this process: not shared, lost at restart.
    Memory {
        /// How many there may be.
        max_counters: usize,
    },
    /// In Redis, or what speaks its protocol.
    Redis(RedisConfig),
}

/// Redis, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisConfig {
    /// Which Redis.
    pub target: RedisTarget,
    /// How long connecting may take. A decision has a deadline of its own.
    pub connect_timeout: Duration,
    /// How many hosts share it. While it fails, each may spend such a part of the limits that are to be counted locally then.
    pub hosts: NonZeroU32,
    /// Whether a list that it refused is refused again without asking, for a second at most.
    pub refusal_memory: bool,
    /// How many counters memory may hold if Redis cannot be reached at start. None in production, where that is an error.
    pub memory_fallback: Option<usize>,
    /// Whether to count without scripts, with fewer guarantees, where the user may call none.
    pub without_scripts: WithoutScripts,
}

/// Whether to count without scripts, with fewer guarantees, where the user of Redis may call none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WithoutScripts {
    /// Count, and say at start what is lost.
    Allow,
    /// Do not start; say what to grant.
    Refuse,
}

/// What `RATE_LIMIT_MODE` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StoreMode {
    Redis,
    Memory,
}

const CONNECT_TIMEOUT: Duration = Duration::from_millis(5_000);
const MAX_COUNTERS: usize = 1_000_000;

/// Services that speak only TLS: how their hosts end, the port where it matters, and their name.
const TLS_ONLY: [(&str, Option<u16>, &str); 3] = [
    (".db.ondigitalocean.com", None, "DigitalOcean's managed Redis"),
    (".redis.cache.windows.net", Some(6380), "Azure Cache for Redis"),
    (".upstash.io", None, "Upstash"),
];

/// Decides between memory and Redis.
pub(super) fn settle(mut layer: StoreLayer, environment: Environment, findings: &mut Findings) -> StoreConfig {
    let max_counters = layer.max_counters.as_ref().map_or(MAX_COUNTERS, |stated| stated.value);
    let connect_timeout = layer.timeout.as_ref().map_or(CONNECT_TIMEOUT, |stated| stated.value);
    let hosts = layer.hosts.as_ref().map_or(NonZeroU32::MIN, |stated| stated.value);
    let refusal_memory = layer.refusal_memory.as_ref().is_none_or(|stated| stated.value);
    let production = environment == Environment::Production;
    let by_default = if production { WithoutScripts::Refuse } else { WithoutScripts::Allow };
    let without_scripts = layer.without_scripts.as_ref().map_or(by_default, |stated| stated.value);
    let target = match wants_redis(&mut layer, findings) {
        true => target(layer, findings),
        false => None,
    };
    match target {
        Some(target) => {
            if production {
                production::check_redis(&target, findings);
            }
            let memory_fallback = (!production).then_some(max_counters);
            StoreConfig::Redis(RedisConfig {
                target,
                connect_timeout,
                hosts,
                refusal_memory,
                memory_fallback,
                without_scripts,
            })
        }
        None => {
            if production {
                production::refuse_memory(findings);
            } else {
                findings.notice(
                    "counters live in memory: other processes do not share them and a restart loses them \
                     (set REDIS_URL to share them)",
                );
            }
            StoreConfig::Memory { max_counters }
        }
    }
}

/// Whether Redis is to be used: unless it is switched off, as soon as an address is known.
fn wants_redis(layer: &mut StoreLayer, findings: &mut Findings) -> bool {
    let enabled = layer.enabled.as_ref().map(|stated| stated.value);
    match (enabled, layer.mode.take()) {
        (Some(false), Some(Stated { value: StoreMode::Redis, place })) if place.is_variable() => {
            findings.problem(place, "it is `redis`, but REDIS_ENABLED is `false`: unset one of the two");
            false
        }
        (Some(false), _) => false,
        (_, Some(Stated { value: StoreMode::Memory, place })) => {
            if enabled == Some(true) || layer.target.is_some() {
                findings.notice(format!("{place} is `memory`, so Redis is not used, though it is configured"));
            }
            false
        }
        (enabled, mode) => {
            let why = match (enabled, &mode) {
                (Some(true), _) => Some("REDIS_ENABLED is `true`".to_owned()),
                (_, Some(Stated { place, .. })) => Some(format!("{place} is `redis`")),
                (_, None) => None,
            };
            if let (Some(why), None) = (why, &layer.target) {
                findings.notice(format!("{why}, but no address of Redis is known: set REDIS_URL"));
            }
            layer.target.is_some()
        }
    }
}

/// Puts address, password and TLS together.
fn target(layer: StoreLayer, findings: &mut Findings) -> Option<RedisTarget> {
    let StoreLayer { target, password, tls, beside, .. } = layer;
    let mut target = target?;
    if let Some(password) = password {
        fill_password(&mut target, password, findings);
    }
    if let Some(tls) = tls {
        switch_tls(&mut target, &tls, findings);
    }
    beside.fill(&mut target.value, findings);
    let Stated { value: target, place } = target;
    if target.username.is_some() && target.password.is_none() {
        let way_out = "write `redis://:password@host` if it is the password, or set REDIS_PASSWORD";
        findings.problem(&place, format!("it has a user without a password: {way_out}"));
    }
    if let Some(service) = tls_only(&target) {
        let way_out = "write `rediss://` or set REDIS_TLS=true";
        findings.notice(format!("{place} names {service}, which speaks TLS, by `redis://` without TLS: {way_out}"));
    }
    Some(target)
}

/// The environment's password wins over the file's, whichever of them stands in the URL; one place with two passwords is a mistake.
fn fill_password(target: &mut Stated<RedisTarget>, password: Stated<Secret>, findings: &mut Findings) {
    let differs = target.value.password.as_ref().is_some_and(|inside| *inside != password.value);
    if differs && target.place.same_level(&password.place) {
        let way_out = "leave it out of the URL, where special characters need escapes";
        findings.problem(&password.place, format!("it differs from the password in {}: {way_out}", target.place));
    } else if !differs || password.place.is_variable() {
        target.value.password = Some(password.value);
    }
}

/// TLS can be switched on beside the URL, never off.
fn switch_tls(target: &mut Stated<RedisTarget>, tls: &Stated<bool>, findings: &mut Findings) {
    match (tls.value, target.value.tls.is_some(), &target.value.topology) {
        (true, _, Topology::Unix(_)) => {
            findings.problem(
                &tls.place,
                format!("it is `true`, but {} names a Unix socket, which has no TLS", target.place),
            );
        }
        (true, ..) => drop(target.value.tls.get_or_insert_default()),
        (false, true, _) => {
            findings.notice(format!("{} is `false`, but {} says `rediss://`: TLS stays on", tls.place, target.place));
        }
        (false, false, _) => {}
    }
}

fn tls_only(target: &RedisTarget) -> Option<&'static str> {
    let Topology::Single(address) = &target.topology else { return None };
    let fits = |(suffix, port): (&str, Option<u16>)| {
        address.host.to_ascii_lowercase().ends_with(suffix) && port.is_none_or(|port| port == address.port)
    };
    let service = TLS_ONLY.into_iter().find(|(suffix, port, _)| fits((suffix, *port)));
    service.map(|(_, _, name)| name).filter(|_| target.tls.is_none())
}
