//! Why a connection did not come to be, where the system's own error does not tell.

use std::error::Error as StdError;
use std::sync::Arc;
use std::{fmt, io};

use redis::RedisError;

/// Why a connection did not come to be.
#[derive(Debug)]
pub(in crate::store::redis) enum Refusal {
    /// Nobody knows an address of the host.
    NoSuchHost(Option<io::Error>),
    /// We speak TLS, and the port does not.
    PlainPort,
    /// We look for a cluster, and the server is none of one.
    NoCluster,
    /// We ask for a master, and the sentinel knows none of this name.
    UnknownMaster,
    /// We look for a master, and the server says that it is none.
    NoMaster,
}

impl Refusal {
    /// The refusal behind an error of a connection.
    pub(in crate::store::redis) fn of(error: &RedisError) -> Option<&Self> {
        system_error(error)?.get_ref()?.downcast_ref()
    }
}

/// The system's error behind one of a connection.
pub(in crate::store::redis) fn system_error(error: &RedisError) -> Option<&io::Error> {
    let source = error.source()?;
    // The crate shares the cause in an `Arc`, which passes for an error itself.
    match source.downcast_ref::<Arc<dyn StdError + Send + Sync>>() {
        Some(shared) => shared.downcast_ref(),
        None => source.downcast_ref(),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchHost(Some(error)) => error.fmt(f),
            Self::NoSuchHost(None) => f.write_str("the host has no address"),
            Self::PlainPort => f.write_str("a plain answer to a plain question"),
            Self::NoCluster => f.write_str("the server has cluster support disabled"),
            Self::UnknownMaster => f.write_str("no such master"),
            Self::NoMaster => f.write_str("the server says that it is no master"),
        }
    }
}

impl StdError for Refusal {}

impl From<Refusal> for RedisError {
    fn from(refusal: Refusal) -> Self {
        io::Error::other(refusal).into()
    }
}
