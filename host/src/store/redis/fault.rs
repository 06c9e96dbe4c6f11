//! What an error of the server means: told by its code, never by its text.

use std::io;

use redis::{ErrorKind as RedisErrorKind, RedisError};

use crate::model::{Fault, FaultKind};

/// The fault of a decision.
pub(super) fn fault(name: &str, error: &RedisError) -> Fault {
    let kind = kind(error);
    let advice = match kind {
        FaultKind::Unavailable | FaultKind::Timeout => "; the charges may have been taken",
        _ => "",
    };
    Fault::new(kind, format!("{name}: {}{advice}", text(error)))
}

/// The error as the server wrote it, or as the connection tells it.
pub(super) fn text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

fn kind(error: &RedisError) -> FaultKind {
    match error.code() {
        Some("NOAUTH" | "WRONGPASS" | "NOPERM") => FaultKind::Denied,
        Some("WRONGTYPE" | "POISONED") => FaultKind::Poisoned,
        Some(_) => FaultKind::Refused,
        None if error.kind() == RedisErrorKind::AuthenticationFailed => FaultKind::Denied,
        None if error.is_timeout() => FaultKind::Timeout,
        None => FaultKind::Unavailable,
    }
}

/// What to do about an error at the start. `user` and `prefix` are those that the configuration gives.
pub(super) fn advice(error: &RedisError, user: &str, prefix: &str) -> String {
    let grant = || format!("`ACL SETUSER {user} ~{prefix}:* +eval +evalsha +get +set +time`");
    let told = match error.code() {
        Some("NOAUTH") => "it asks for a password; set REDIS_PASSWORD",
        Some("WRONGPASS") => WRONG_PASSWORD,
        Some("NOPERM") => return format!("the user may not count; grant it {}", grant()),
        Some("LOADING") => "it is still loading its data; start again in a moment",
        Some("READONLY") => "it is a replica; give the address of the master",
        Some("MASTERDOWN") => "it is a replica that lost its master; give the address of the master",
        Some("NOREPLICAS") => "it has fewer replicas than it asks for; start them, or lower min-replicas-to-write",
        Some("OOM") => "its memory is full; raise maxmemory, or set maxmemory-policy to volatile-ttl",
        Some("MISCONF") => "it cannot save to its disk, so it takes no writes; mend the disk, or switch saving off",
        Some("BUSY") => "another script keeps it busy; end that one with SCRIPT KILL",
        Some("WRONGTYPE" | "POISONED") => return format!("the key `{prefix}:probe` holds something else; delete it"),
        // A command that a script may not call is such an error.
        Some(_) => return format!("it refuses the script; if the user lacks rights, grant it {}", grant()),
        None => return without_code(error),
    };
    told.to_owned()
}

const WRONG_PASSWORD: &str = "it does not accept the user or the password; check the user in REDIS_URL and REDIS_PASSWORD, and that the user is on";

fn without_code(error: &RedisError) -> String {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
    let told = match cause {
        _ if error.kind() == RedisErrorKind::AuthenticationFailed => WRONG_PASSWORD,
        _ if error.is_connection_refusal() => "nothing listens there; start the server, or correct the address",
        Some(io::ErrorKind::InvalidData) => {
            "the two do not agree on TLS; check the certificate, and whether that port speaks TLS at all"
        }
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            "it hangs up; check whether that port expects TLS (`rediss://`), and whether it has reached maxclients"
        }
        _ if error.is_timeout() => "it does not answer; check the address, the firewall and REDIS_TIMEOUT",
        _ => "check the address and the network between",
    };
    told.to_owned()
}
