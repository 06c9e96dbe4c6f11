//! The forms of single values, the same in the environment and in the file. Each says what it would have accepted.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;

use super::suggest::explain;
use super::{RedisTarget, Secret};

/// One of the words of `T`, in any case.
pub(super) fn choice<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    let text = text.to_ascii_lowercase();
    T::deserialize(text.as_str().into_deserializer()).map_err(|error: Error| explain(&error.to_string()))
}

/// `true` or `false`, and what else is written for them.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{}` is not `true` or `false`", text.escape_debug())),
    }
}

/// An IP address and a port.
pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{}` is not an IP address and a port (for example `127.0.0.1:8787`, `[::]:8787`)", text.escape_debug())
    })
}

/// Addresses, and networks such as `10.0.0.0/8`.
pub(super) fn networks<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
    let networks: Vec<String> = texts.map(network).collect::<Result<_, _>>()?;
    match networks.len() {
        0..=MOST_NETWORKS => Ok(networks),
        number => Err(format!("{number} networks are more than {MOST_NETWORKS}")),
    }
}

const MOST_NETWORKS: usize = 64;

fn network(text: &str) -> Result<String, String> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let most = address.parse().ok().map(|address: IpAddr| if address.is_ipv4() { 32 } else { 128 });
    let fits = |length: &str| length.parse::<u8>().is_ok_and(|length| most.is_some_and(|most| length <= most));
    if most.is_some() && length.is_none_or(fits) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{}` is neither an address nor a network (for example `192.0.2.7`, `10.0.0.0/8`)",
        text.escape_debug()
    ))
}

/// A whole number.
pub(super) fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{}` is not a whole number (for example `5000`)", text.escape_debug()))
}

/// A number of milliseconds, 1 to `longest`.
pub(super) fn milliseconds(number: u64, longest: u64) -> Result<Duration, String> {
    within(number, 1..=longest, "milliseconds").map(Duration::from_millis)
}

/// How many counters memory may hold.
pub(super) fn counters(number: u64) -> Result<usize, String> {
    let number = within(number, 1..=1_000_000_000, "counters")?;
    usize::try_from(number).map_err(|_| format!("{number} counters are more than this machine can address"))
}

/// How many hosts share the store.
pub(super) fn hosts(number: u64) -> Result<NonZeroU32, String> {
    let number = within(number, 1..=10_000, "hosts")?;
    Ok(u32::try_from(number).ok().and_then(NonZeroU32::new).expect("a number in this range fits"))
}

/// How many subjects of a tenant may have counters of their own.
pub(super) fn subjects(number: u64) -> Result<NonZeroUsize, String> {
    let number = within(number, 1..=1_000_000_000, "subjects")?;
    let most = usize::try_from(number).ok().and_then(NonZeroUsize::new);
    most.ok_or_else(|| format!("{number} subjects are more than this machine can address"))
}

/// A port, 1 to 65535.
pub(super) fn port(text: &str) -> Result<u16, String> {
    let number = whole(text)?;
    u16::try_from(number).ok().filter(|port| *port != 0).ok_or_else(|| format!("{number} is not from 1 to 65535"))
}

fn within(number: u64, range: RangeInclusive<u64>, unit: &str) -> Result<u64, String> {
    if range.contains(&number) {
        return Ok(number);
    }
    Err(format!("{number} is not from {} to {} {unit}", range.start(), range.end()))
}

/// A rate of the form `count,seconds`, in its plainest spelling.
pub(super) fn rate(text: &str) -> Result<String, String> {
    let malformed = || format!("`{}` is not `count,seconds` (for example `30,60`)", text.escape_debug());
    let (count, seconds) = text.split_once(',').ok_or_else(malformed)?;
    let count: u64 = count.trim().parse().map_err(|_| malformed())?;
    let seconds: u64 = seconds.trim().parse().map_err(|_| malformed())?;
    let count = within(count, 1..=1_000_000_000, "requests")?;
    let seconds = within(seconds, 1..=366 * 86_400, "seconds")?;
    Ok(format!("{count},{seconds}"))
}

/// What every counter's key begins with.
pub(super) fn key_prefix(text: &str) -> Result<String, String> {
    let quoted = text.escape_debug();
    if text.ends_with(':') {
        return Err(format!("`{quoted}` ends in a colon, which Tollgate writes by itself: leave it away"));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'/');
    if !(1..=64).contains(&text.len()) || !text.bytes().all(fits) {
        return Err(format!("`{quoted}` is not 1 to 64 of A-Z a-z 0-9 . _ - : / (for example `cfkanban:ratelimit`)"));
    }
    Ok(text.to_owned())
}

/// The address of Redis. The error repeats no part of it that could be a password.
pub(super) fn redis_target(text: &str) -> Result<RedisTarget, String> {
    text.parse().map_err(|error: crate::error::Error| error.message().to_owned())
}

/// A password or token, as it may stand in a header.
pub(super) fn token(secret: Secret) -> Result<Secret, String> {
    if secret.reveal().is_empty() || !secret.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "it is not made of visible ASCII characters without spaces (for example from `openssl rand -hex 32`)"
                .into(),
        );
    }
    Ok(secret)
}

/// The name of a process: 1 to 128 of `A-Z a-z 0-9 . _ -`, as a document is named.
pub(super) fn instance(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=128).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.') {
        return Ok(text.to_owned());
    }
    Err(format!("`{}` is not 1 to 128 of A-Z a-z 0-9 . _ -, the first of them no dot", text.escape_debug()))
}

/// The key that receipts are sealed with.
pub(super) fn receipt_key(secret: Secret) -> Result<Secret, String> {
    let bytes = secret.reveal().len();
    if bytes < 32 {
        return Err(format!("it has {bytes} bytes; give at least 32 (for example from `openssl rand -hex 32`)"));
    }
    Ok(secret)
}

/// A tenant: 1 to 64 bytes, no braces, which mark the hash tag in a key, and no control characters.
pub(super) fn tenant(text: &str) -> Result<(), String> {
    let fits = |char: char| !char.is_control() && !matches!(char, '{' | '}');
    if (1..=64).contains(&text.len()) && text.chars().all(fits) {
        return Ok(());
    }
    Err(format!("tenant `{}` is not 1 to 64 bytes without braces and control characters", text.escape_debug()))
}

/// A subject: 1 to 128 bytes, no control characters.
pub(super) fn subject(text: &str) -> Result<(), String> {
    if (1..=128).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("id `{}` is not 1 to 128 bytes without control characters", text.escape_debug()))
}
