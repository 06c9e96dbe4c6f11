//! Reads every form of Redis URL that operators write, and says what is wrong with the others.
//!
//! Not a URL parser of the web's standard: that one rejects a list of nodes, and a password with `/`, `#` or `?` in it as
//! `openssl rand -base64` and Azure make them. No message repeats a part of the text that could be a password.

mod address;
mod credentials;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::str::FromStr;

pub(super) use address::address;
use credentials::Credentials;

use super::suggest::closest;
use super::{Address, RedisTarget, SentinelLogin, Tls, Topology};
use crate::error::{Error, ErrorKind, Result};

/// The port of Redis, where none is named.
pub(super) const REDIS_PORT: u16 = 6379;

/// The port of a sentinel, where none is named.
const SENTINEL_PORT: u16 = 26379;

/// The schemes, and whether they mean TLS. The last two name sockets of this machine.
const SCHEMES: [&str; 6] = ["redis", "rediss", "valkey", "valkeys", "unix", "redis+unix"];

impl FromStr for RedisTarget {
    type Err = Error;

    /// Reads a Redis URL.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] and a text that names the mistake and its remedy, without any credentials.
    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|problem| Error::new(ErrorKind::Config, problem))
    }
}

/// What stands behind the credentials of a URL.
struct Tail<'a> {
    hosts: &'a str,
    database: u32,
    sentinels: Vec<&'a str>,
}

fn parse(text: &str) -> Result<RedisTarget, String> {
    if text.contains("${") {
        return Err(
            "it holds a `${…}` that nothing has filled in: is the variable set where the URL is written?".into()
        );
    }
    let Some((scheme, rest)) = text.split_once("://") else { return Err(without_scheme(text)) };
    match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => server(scheme, rest, false),
        "rediss" | "valkeys" => server(scheme, rest, true),
        "unix" | "redis+unix" => socket(rest),
        "http" | "https" if rest.contains("upstash.io") => {
            Err("it is Upstash's REST address, which Tollgate does not \
             speak: take the `rediss://default:…@….upstash.io:6379` address from the same page"
                .into())
        }
        "http" | "https" => Err("it is an address of the web: write `redis://`, or `rediss://` for TLS".into()),
        other => Err(unknown_scheme(other)),
    }
}

fn without_scheme(text: &str) -> String {
    if text.is_empty() {
        return "it is empty: write `redis://host:6379`".into();
    }
    if text.starts_with('/') {
        return "it is a path: write `unix://` before it to reach a Unix socket".into();
    }
    // Only what is surely no password is repeated.
    if let (true, Ok(address)) = (text.contains(':'), address(text, REDIS_PORT)) {
        return format!("it has no scheme: write `redis://{address}`");
    }
    let misspelt = |scheme: &str| text.strip_prefix(scheme).is_some_and(|rest| rest.starts_with(['/', ':']));
    match SCHEMES.into_iter().find(|scheme| misspelt(scheme)) {
        Some(scheme) => format!("its scheme is misspelt: write `{scheme}://` before the host"),
        None => "it has no scheme: write `redis://` before the rest, or `rediss://` for TLS".into(),
    }
}

fn unknown_scheme(scheme: &str) -> String {
    match closest(scheme, SCHEMES) {
        Some(known) => format!("its scheme is unknown: did you mean `{known}://`?"),
        None => format!("its scheme is none of {}", SCHEMES.map(|known| format!("`{known}://`")).join(", ")),
    }
}

/// Reads a server, a cluster or a set of sentinels.
fn server(scheme: &str, rest: &str, tls: bool) -> Result<RedisTarget, String> {
    // Some write the scheme before every node of a cluster.
    let rest = rest.replace(&format!(",{scheme}://"), ",");
    let (credentials, rest) = Credentials::split(&rest)?;
    let Tail { hosts, database, sentinels } = tail(&rest)?;
    let nodes: Vec<&str> = hosts.split(',').collect();
    let topology = match (nodes.as_slice(), sentinels.is_empty()) {
        ([master], false) => Topology::Sentinel {
            master: master_name(master)?,
            sentinels: addresses(&sentinels, SENTINEL_PORT)?,
            login: SentinelLogin::default(),
        },
        (_, false) => {
            return Err("it names several hosts and sentinels: before `?sentinel=` stands one master's name".into());
        }
        ([host], true) => Topology::Single(address(host, REDIS_PORT)?),
        (_, true) if database != 0 => return Err("a cluster has only database 0".into()),
        (nodes, true) => Topology::Cluster(addresses(nodes, REDIS_PORT)?),
    };
    let Credentials { username, password } = credentials;
    Ok(RedisTarget { topology, username, password, database, tls: tls.then(Tls::default) })
}

/// Reads a Unix socket: `unix:///run/redis.sock`, `unix://:password@/run/redis.sock?db=1`.
fn socket(rest: &str) -> Result<RedisTarget, String> {
    let (credentials, path) = match rest.rfind("@/") {
        Some(at) if !rest.starts_with('/') => rest.split_at(at),
        _ => ("", rest),
    };
    let path = path.strip_prefix('@').unwrap_or(path);
    let credentials = Credentials::parse(credentials)?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if !path.starts_with('/') {
        return Err("the path of its socket does not begin with `/`: write `unix:///run/redis.sock`".into());
    }
    let path = PathBuf::from(credentials::decode(path, "path")?);
    let (database, sentinels) = parameters(query)?;
    if !sentinels.is_empty() {
        return Err("a Unix socket has no sentinels".into());
    }
    let Credentials { username, password } = credentials;
    Ok(RedisTarget { topology: Topology::Unix(path), username, password, database: database.unwrap_or(0), tls: None })
}

fn tail(rest: &str) -> Result<Tail<'_>, String> {
    if rest.contains('#') {
        return Err("a `#` stands behind the host: write `%23` if it belongs to the password".into());
    }
    let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, path) = before.split_once('/').unwrap_or((before, ""));
    let (parameter, sentinels) = parameters(query)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = if path.is_empty() { None } else { Some(number(path)?) };
    match (path, parameter) {
        (Some(path), Some(parameter)) if path != parameter => Err("it names two databases".into()),
        (path, parameter) => Ok(Tail { hosts, database: path.or(parameter).unwrap_or(0), sentinels }),
    }
}

fn parameters(query: &str) -> Result<(Option<u32>, Vec<&str>), String> {
    let (mut database, mut sentinels) = (None, Vec::new());
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            "sentinel" => sentinels.extend(value.split(',')),
            "db" => database = Some(number(value)?),
            _ => return Err(unknown_parameter(name)),
        }
    }
    Ok((database, sentinels))
}

fn unknown_parameter(name: &str) -> String {
    match closest(name, ["sentinel", "db"]) {
        Some(known) => format!("it has an unknown parameter behind `?`: did you mean `{known}=`?"),
        None => "it has an unknown parameter behind `?`: there are `db=` and `sentinel=`".into(),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| "its database is not a number (for example `redis://host:6379/2`)".into())
}

fn master_name(text: &str) -> Result<String, String> {
    if text.contains(':') {
        return Err("before `?sentinel=` stands the master's name, without a port".into());
    }
    address::host(text)
}

fn addresses(texts: &[&str], port: u16) -> Result<Vec<Address>, String> {
    if texts.iter().any(|text| text.is_empty()) {
        return Err("a host of its list is empty: is there a comma too many?".into());
    }
    texts.iter().map(|text| address(text, port)).collect()
}
