//! Why there is no master, and what to do about it.

use redis::{ErrorKind as RedisErrorKind, RedisError};

use super::Sentinels;
use crate::error::{Error, ErrorKind};
use crate::store::redis::connect::{Refusal, Server};
use crate::store::redis::fault;

/// Why there is no master.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No sentinel names any; the error of the last.
    NobodyNames(RedisError),
    /// This server is named, and does not confirm it.
    NoMaster(Server, RedisError),
}

impl Trouble {
    /// Whether it may be over in a moment, since the sentinels are there and know of a master.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::NoMaster(..))
    }

    /// The trouble as the operator is told.
    pub(super) fn told(self, sentinels: &Sentinels) -> Error {
        let master = &sentinels.master;
        match self {
            Self::NobodyNames(error) => {
                let asked: Vec<_> = sentinels.given.iter().map(ToString::to_string).collect();
                let text =
                    format!("no sentinel of {} names a master `{master}`: {}", asked.join(","), of_sentinel(&error));
                Error::new(ErrorKind::Store, text).because(fault::text(&error))
            }
            Self::NoMaster(server, error) => {
                let name = sentinels.servers.name(&server);
                let text = format!("the sentinels name {name} as master `{master}`: {}", of_master(&error));
                Error::new(ErrorKind::Store, text).because(fault::text(&error))
            }
        }
    }
}

fn of_sentinel(error: &RedisError) -> String {
    let told = match (Refusal::of(error), error.code()) {
        (Some(Refusal::UnknownMaster), _) => "they know none of this name; check the name in REDIS_URL",
        (_, Some("NOAUTH")) => "they ask for a password; set REDIS_SENTINEL_PASSWORD",
        (_, Some("NOPERM")) => {
            "the user may not ask them; grant it `+sentinel|get-master-addr-by-name +sentinel|master \
             +sentinel|sentinels +subscribe &+switch-master`"
        }
        (_, Some(_)) => "they refuse to answer",
        _ if error.kind() == RedisErrorKind::AuthenticationFailed => {
            "they do not accept the user or the password; check REDIS_SENTINEL_USERNAME and REDIS_SENTINEL_PASSWORD"
        }
        _ => return fault::about_connection(error),
    };
    told.to_owned()
}

fn of_master(error: &RedisError) -> String {
    let told = match (Refusal::of(error), error.code()) {
        (Some(Refusal::NoMaster), _) => "it is none; wait for their failover to end, or look at `SENTINEL MASTERS`",
        (_, Some("NOAUTH")) => "it asks for a password; set REDIS_PASSWORD",
        (_, Some("NOPERM")) => "the user may not ask it; grant it `+role`",
        (_, Some(_)) => "it does not say whether it is one",
        _ => return fault::about_connection(error),
    };
    told.to_owned()
}
