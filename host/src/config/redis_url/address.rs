//! Hosts and ports.

use std::net::Ipv6Addr;

use crate::config::Address;

/// Reads `host`, `host:port`, `[::1]` or `[::1]:port`.
pub(in crate::config) fn address(text: &str, default_port: u16) -> Result<Address, String> {
    if let Some(inner) = text.strip_prefix('[') {
        return bracketed(inner, default_port);
    }
    let (name, port) = match text.split_once(':') {
        Some((_, port)) if port.contains(':') => return Err(too_many_colons(text)),
        Some((name, port)) => (name, Some(port)),
        None => (text, None),
    };
    let host = host(name)?;
    Ok(Address { host, port: port.map_or(Ok(default_port), self::port)? })
}

fn bracketed(inner: &str, default_port: u16) -> Result<Address, String> {
    let Some((ip, rest)) = inner.split_once(']') else { return Err("its `[` has no `]`".into()) };
    let ip: Ipv6Addr = ip.parse().map_err(|_| "between its brackets stands no IPv6 address")?;
    let port = match rest.strip_prefix(':') {
        Some(text) => port(text)?,
        None if rest.is_empty() => default_port,
        None => return Err("behind its `]` stands something other than a port".into()),
    };
    Ok(Address { host: ip.to_string(), port })
}

fn too_many_colons(text: &str) -> String {
    match text.parse::<Ipv6Addr>() {
        Ok(ip) => format!("its IPv6 address lacks brackets: write `[{ip}]`"),
        Err(_) => "its host holds several colons: is a `@` missing behind the password?".into(),
    }
}

/// Reads a host name, an IPv4 address or a master's name.
pub(super) fn host(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it names no host: write `redis://host:6379`".into());
    }
    if !text.chars().all(|char| char.is_alphanumeric() || matches!(char, '.' | '-' | '_')) {
        return Err(
            "its host may hold only letters, digits, `.`, `-` and `_`: is a `@` missing behind the password?".into()
        );
    }
    Ok(text.to_owned())
}

// The text is not repeated: in `redis://user:password` the password stands where a port is looked for.
fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port != 0 && !text.starts_with('+') => Ok(port),
        _ => Err("its port is not a number from 1 to 65535 (or a `@host` is missing behind the password)".into()),
    }
}
