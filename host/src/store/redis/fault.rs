//! What an error of the server means: told by its code, never by its text.

use std::io;

use redis::{ErrorKind as RedisErrorKind, RedisError};
use rustls::{AlertDescription, CertificateError};

use super::connect::{Refusal, system_error};
use super::rights::Rights;
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

/// Why a connection could not be opened: nothing was asked, so nothing was taken.
pub(super) fn unopened(name: &str, error: &RedisError) -> Fault {
    Fault::new(kind(error), format!("{name}: {}; nothing was taken", text(error)))
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

/// What to do about an error at the start. `rights` are what our user needs, and `prefix` is what our keys begin with.
pub(super) fn advice(error: &RedisError, rights: &Rights, prefix: &str) -> String {
    let grant = || format!("`{}`", rights.scripts());
    let told = match error.code() {
        Some("NOAUTH") => "it asks for a password; set REDIS_PASSWORD",
        Some("WRONGPASS") => WRONG_PASSWORD,
        Some("NOPERM") => return not_permitted(rights),
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
        None => return about_connection(error),
    };
    told.to_owned()
}

fn not_permitted(rights: &Rights) -> String {
    let (scripts, plain) = (rights.scripts(), rights.plain());
    match rights.can_do_without_scripts() {
        true => format!(
            "the user may not count; grant it `{scripts}`, or, to count without scripts and with fewer guarantees, `{plain}` and set \
             TOLLGATE_WITHOUT_SCRIPTS=allow"
        ),
        false => format!("the user may not count; grant it `{scripts}`"),
    }
}

const WRONG_PASSWORD: &str = "it does not accept the user or the password; check the user in REDIS_URL and REDIS_PASSWORD, and that the user is on";

/// What to do about an error that is not the server's own word.
pub(super) fn about_connection(error: &RedisError) -> String {
    let system = system_error(error);
    let told = match (Refusal::of(error), tls_error(error), system.map(io::Error::kind)) {
        _ if error.kind() == RedisErrorKind::AuthenticationFailed => WRONG_PASSWORD,
        (Some(Refusal::NoSuchHost(_)), ..) => "no such host; check the name in the address and the resolver",
        (Some(Refusal::PlainPort), ..) => {
            "that port speaks no TLS; give the port that does, or write `redis://` and unset REDIS_TLS"
        }
        (Some(Refusal::NoCluster), ..) => {
            "it is no server of a cluster; give one server's URL, such as redis://host:6379"
        }
        (_, Some(tls), _) => return about_tls(tls),
        _ if error.is_connection_refusal() => "nothing listens there; start the server, or correct the address",
        (.., Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)) => {
            "it hangs up; check whether that port expects TLS (`rediss://`), and whether it has reached maxclients"
        }
        _ if error.is_timeout() => "it does not answer; check the address, the firewall and REDIS_TIMEOUT",
        _ => "check the address and the network between",
    };
    told.to_owned()
}

fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    system_error(error)?.get_ref()?.downcast_ref()
}

/// What to do where the two do not agree on TLS.
fn about_tls(error: &rustls::Error) -> String {
    let told = match error {
        rustls::Error::InvalidCertificate(problem) => match problem {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired; renew it (or this machine's clock is wrong)"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; check the clock of this machine"
            }
            CertificateError::UnknownIssuer => {
                "nobody whom we trust vouches for its certificate; give its authority's in REDIS_CA_CERT"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name; give an address that stands in the certificate"
            }
            _ => "its certificate cannot be accepted; give it one that an authority signed for its name",
        },
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => {
            "the two share no version of TLS; let it speak 1.2 or 1.3"
        }
        rustls::Error::AlertReceived(_) => {
            "it hangs up on our certificate, or on having none; check REDIS_CLIENT_CERT and what authority it trusts"
        }
        rustls::Error::InvalidMessage(_) => "that port speaks something other than TLS; check the port",
        _ => "the two do not agree on TLS",
    };
    told.to_owned()
}
