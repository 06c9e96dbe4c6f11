//! Who is kept out.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Request, address_subject};

/// Who is kept out: a network, which may be a single address, or a subject of a tenant.
///
/// Reads an address or a network: of IPv6, an address stands for its first 64 bits, as limits count it.
///
/// ```
/// use tollgate::blocks::BlockTarget;
///
/// assert_eq!("203.0.113.9".parse::<BlockTarget>()?.to_string(), "203.0.113.9/32");
/// assert_eq!("2001:db8::1".parse::<BlockTarget>()?.to_string(), "2001:db8::/64");
/// assert_eq!("2001:db8::1/128".parse::<BlockTarget>()?.to_string(), "2001:db8::1/128");
/// assert!("0.0.0.0/0".parse::<BlockTarget>().is_err());
/// # Ok::<(), tollgate::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BlockTarget {
    /// Every address of a network.
    Network(Network),
    /// A subject, whatever address it comes from.
    Subject {
        /// Whose subject it is.
        tenant: String,
        /// The subject.
        subject: String,
    },
}

/// A network, of addresses in their plain form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpNet);

/// The largest network of IPv4 that is blocked, by the bits of its prefix. A shorter one is more likely a slip than meant.
const SHORTEST_V4: u8 = 8;
/// The same of IPv6.
const SHORTEST_V6: u8 = 16;
/// The bits before an IPv4 address that is written as one of IPv6.
const MAPPED: u8 = 96;

impl BlockTarget {
    /// A subject of a tenant.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Request`] if no request could have them.
    pub fn subject(tenant: &str, subject: &str) -> Result<Self> {
        Request::new(tenant, subject).map_err(|error| Error::new(ErrorKind::Request, error.to_string()))?;
        Ok(Self::Subject { tenant: tenant.to_owned(), subject: subject.to_owned() })
    }

    /// The name of its document.
    pub(super) fn name(&self) -> String {
        let digest: [u8; 32] = match self {
            Self::Network(network) => Sha256::digest(network.to_string()),
            // No tenant holds what stands between them.
            Self::Subject { tenant, subject } => Sha256::digest(format!("{tenant}\0{subject}")),
        }
        .into();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Network {
    pub(super) fn net(self) -> IpNet {
        self.0
    }
}

impl FromStr for BlockTarget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |problem: &str| {
            let text = text.escape_debug();
            Error::new(ErrorKind::Request, format!("`{text}` {problem}"))
        };
        let net = match text.parse::<IpAddr>() {
            Ok(address) => {
                let subject = address_subject(address);
                subject.parse().or_else(|_| subject.parse::<IpAddr>().map(IpNet::from)).ok()
            }
            Err(_) => text.parse().ok(),
        };
        let net: IpNet =
            net.ok_or_else(|| wrong("is no address and no network, such as 203.0.113.9 or 2001:db8::/48"))?;
        let net = plain(net.trunc());
        let shortest = if net.addr().is_ipv4() { SHORTEST_V4 } else { SHORTEST_V6 };
        if net.prefix_len() < shortest {
            return Err(wrong(&format!("is too large a network: at least {shortest} bits have to be given")));
        }
        Ok(Self::Network(Network(net)))
    }
}

/// A network of IPv4 that is written as one of IPv6, as what it is.
fn plain(net: IpNet) -> IpNet {
    match (net.addr().to_canonical(), net.prefix_len().checked_sub(MAPPED)) {
        (IpAddr::V4(address), Some(bits)) if net.addr().is_ipv6() => Ipv4Net::new(address, bits).map_or(net, IpNet::V4),
        _ => net,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BlockTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Subject { tenant, subject } => write!(f, "{}/{}", tenant.escape_debug(), subject.escape_debug()),
        }
    }
}
