//! Where Redis is, and how to be let in.

use std::fmt;
use std::path::PathBuf;

use super::Secret;

/// Which Redis, and how to be let in.
///
/// `Display` and `Debug` write it as a URL without the credentials: `redis://***@host:6379`, and `Debug` what no URL says, too. It is read from a URL by
/// [`str::parse`]; docs/configuration.md lists the forms.
///
/// # Example
///
/// ```
/// use tollgate::config::RedisTarget;
///
/// let target: RedisTarget = "redis://:p/w+d=@cache.example:6379".parse()?;
/// assert_eq!(target.password.as_ref().map(|password| password.reveal()), Some("p/w+d="));
/// assert_eq!(target.to_string(), "redis://***@cache.example:6379");
/// # Ok::<(), tollgate::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RedisTarget {
    /// How the servers stand together, and where.
    pub topology: Topology,
    /// The ACL user, if not the default one.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
    /// The numbered database; a cluster has only 0.
    pub database: u32,
    /// How to speak TLS, to servers and sentinels alike; none for plain sockets.
    pub tls: Option<Tls>,
}

/// Whom TLS trusts, and what it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The PEM file of the authorities that vouch for servers; if none, those that the web trusts.
    pub ca: Option<PathBuf>,
    /// What a server is shown that asks for a certificate.
    pub client: Option<ClientCertificate>,
}

/// A certificate of our own, and the key that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The PEM file of the certificate and the chain above it.
    pub certificate: PathBuf,
    /// The PEM file of its key.
    pub key: PathBuf,
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
        /// How the sentinels themselves let us in, which is not how the servers do.
        login: SentinelLogin,
    },
}

/// How sentinels let us in: most let in everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentinelLogin {
    /// The ACL user, if not the default one.
    pub username: Option<String>,
    /// The password of the user.
    pub password: Option<Secret>,
}

/// A host name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl RedisTarget {
    /// This one server, without credentials and without TLS.
    #[must_use]
    pub const fn single(address: Address) -> Self {
        Self { topology: Topology::Single(address), username: None, password: None, database: 0, tls: None }
    }

    fn scheme(&self) -> &'static str {
        match (&self.topology, &self.tls) {
            (Topology::Unix(_), _) => "unix",
            (_, Some(_)) => "rediss",
            (_, None) => "redis",
        }
    }
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme())?;
        if self.username.is_some() || self.password.is_some() {
            f.write_str("***@")?;
        }
        match (&self.topology, self.database) {
            (Topology::Unix(path), 0) => write!(f, "{}", path.display()),
            (Topology::Unix(path), database) => write!(f, "{}?db={database}", path.display()),
            (topology, 0) => write!(f, "{topology}"),
            (Topology::Sentinel { master, sentinels, .. }, database) => {
                write!(f, "{master}/{database}?sentinel={}", Comma(sentinels))
            }
            (topology, database) => write!(f, "{topology}/{database}"),
        }
    }
}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisTarget({self}")?;
        if let Some(tls) = self.tls.as_ref().filter(|tls| **tls != Tls::default()) {
            write!(f, ", {tls:?}")?;
        }
        match &self.topology {
            Topology::Sentinel { login, .. } if *login != SentinelLogin::default() => write!(f, ", {login:?})"),
            _ => f.write_str(")"),
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Cluster(nodes) => write!(f, "{}", Comma(nodes)),
            Self::Sentinel { master, sentinels, .. } => write!(f, "{master}?sentinel={}", Comma(sentinels)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Addresses with commas between them.
struct Comma<'a>(&'a [Address]);

impl fmt::Display for Comma<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, address) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{address}")?;
        }
        Ok(())
    }
}
