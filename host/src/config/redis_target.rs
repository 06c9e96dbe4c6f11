//! Where Redis is, and how to be let in.

use std::fmt;
use std::path::PathBuf;

/// A password or token. It never shows itself: not in `Debug`, not in a log, not in an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever must present it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How the servers stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single(Address),
    /// One server behind a Unix socket.
    Unix(PathBuf),
    /// Some nodes of a cluster, to find the others by.
    Cluster(Vec<Address>),
    /// Sentinels that know where the master of this name is.
    Sentinel {
        /// The master's name, as the sentinels call it.
        master: String,
        /// The sentinels.
        sentinels: Vec<Address>,
    },
}

/// Which Redis, and how to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisTarget {
    /// How the servers stand together, and where.
    pub topology: Topology,
    /// The ACL user, if not the default one.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// The numbered database; a cluster has only 0.
    pub database: u32,
    /// Whether to speak TLS.
    pub tls: bool,
}
