//! User and password, escaped or not.

use percent_encoding::percent_decode_str;

use super::address;
use crate::config::Secret;

/// Who asks to be let in.
pub(super) struct Credentials {
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
}

impl Credentials {
    /// Takes the credentials off the front of `rest`, which is what stands behind the scheme.
    ///
    /// The last `@` ends them, so that a password may hold a `@`. In a list of nodes that each have credentials, all must be equal.
    pub(super) fn split(rest: &str) -> Result<(Self, String), String> {
        let nodes: Vec<_> = rest.split(',').map(|node| node.rsplit_once('@')).collect();
        match nodes.as_slice() {
            [Some((first, _)), _, ..] if nodes.iter().all(Option::is_some) => {
                if nodes.iter().flatten().any(|(credentials, _)| credentials != first) {
                    return Err("the nodes of its list have different credentials \
                         (in a password write `,` as `%2C` and `@` as `%40`)"
                        .into());
                }
                let hosts: Vec<_> = nodes.iter().flatten().map(|(_, host)| *host).collect();
                Ok((Self::parse(first)?, hosts.join(",")))
            }
            _ => {
                let (credentials, hosts) = rest.rsplit_once('@').unwrap_or(("", rest));
                if credentials.contains("?sentinel=") {
                    return Err(
                        "a `@` stands behind `?sentinel=`: user and password belong before the master's name, and \
                         those of the sentinels to REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"
                            .into(),
                    );
                }
                if credentials
                    .split_once(',')
                    .is_some_and(|(first, _)| first.contains(':') && address(first, 0).is_ok())
                {
                    return Err("credentials stand behind the first host of its list: they belong before it \
                         (in a password write `,` as `%2C`)"
                        .into());
                }
                Ok((Self::parse(credentials)?, hosts.to_owned()))
            }
        }
    }

    /// Reads `user:password`, `:password`, `user` or nothing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        let username = Some(decode(username, "user")?).filter(|text| !text.is_empty());
        let password = Some(decode(password, "password")?).filter(|text| !text.is_empty());
        Ok(Self { username, password: password.map(Secret::new) })
    }
}

/// Undoes percent escapes. A text whose every `%` begins no escape was never escaped, and stays as it is.
pub(super) fn decode(text: &str, what: &str) -> Result<String, String> {
    let (mut escapes, mut bare) = (0, 0);
    for tail in text.split('%').skip(1) {
        match tail.as_bytes() {
            [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => escapes += 1,
            _ => bare += 1,
        }
    }
    match (escapes, bare) {
        (0, _) => Ok(text.to_owned()),
        (_, 0) => match percent_decode_str(text).decode_utf8() {
            Ok(decoded) => Ok(decoded.into_owned()),
            Err(_) => {
                Err(format!("its {what} is not UTF-8 when its `%` escapes are undone: write `%25` for a percent sign"))
            }
        },
        _ => Err(format!("its {what} uses `%` both as itself and in escapes: write `%25` for a percent sign")),
    }
}
