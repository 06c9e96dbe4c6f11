//! Whose request it is by its address, where proxies stand between.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::Head;
use crate::error::{Error, ErrorKind, Result};

/// Finds the address of the client behind proxies that are trusted.
///
/// Each proxy adds the address that it was called from at the right end of a header field; what stands left of that, anybody may have written. So the client is
/// the rightmost address that is no trusted proxy. If the peer itself is none, no field is looked at.
///
/// # Example
///
/// ```
/// use tollgate::http::ClientAddress;
///
/// let behind = ClientAddress::behind(["10.0.0.0/8"])?;
/// let of = |peer: &str, fields: &[&[u8]]| behind.of(peer.parse().unwrap(), fields).to_string();
/// assert_eq!(of("10.0.0.1", &[b"203.0.113.9"]), "203.0.113.9");
/// assert_eq!(of("10.0.0.1", &[b"1.1.1.1, 203.0.113.9", b"10.0.0.2"]), "203.0.113.9");
/// // Whoever calls directly is believed nothing.
/// assert_eq!(of("203.0.113.9", &[b"1.1.1.1"]), "203.0.113.9");
/// # Ok::<(), tollgate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientAddress {
    trusted: Vec<IpNet>,
    /// Whether whoever connects is trusted, too.
    vouched: bool,
    field: Field,
}

/// Which field the proxies write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    XForwardedFor,
    Forwarded,
}

/// How many addresses of a request are looked at: more proxies stand in no row.
const MOST_HOPS: usize = 32;

impl ClientAddress {
    /// The client is whoever connects: there is no proxy.
    #[must_use]
    pub fn direct() -> Self {
        Self { trusted: Vec::new(), vouched: false, field: Field::XForwardedFor }
    }

    /// The proxies at these addresses and in these networks are trusted to tell by `X-Forwarded-For` who called them.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Config`] if one is neither an address nor a network such as `10.0.0.0/8`.
    pub fn behind<'a>(proxies: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let trusted: Result<Vec<IpNet>> = proxies.into_iter().map(network).collect();
        Ok(Self { trusted: trusted?, vouched: false, field: Field::XForwardedFor })
    }

    /// The same, but the proxies write `Forwarded` (RFC 7239), and only that is read.
    #[must_use]
    pub fn by_forwarded(self) -> Self {
        Self { field: Field::Forwarded, ..self }
    }

    /// The same, but whoever connects is a trusted proxy, wherever it calls from: for listeners that nobody else reaches.
    ///
    /// Trusted is this one connection, and no other that has its address.
    #[must_use]
    pub fn vouched(self) -> Self {
        Self { vouched: true, ..self }
    }

    /// The name of the field that is read, in lower case.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self.field {
            Field::XForwardedFor => "x-forwarded-for",
            Field::Forwarded => "forwarded",
        }
    }

    /// The client of a request from `peer`, with every field of that name in order.
    #[must_use]
    pub fn of(&self, peer: IpAddr, fields: &[&[u8]]) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut is_proxy = self.vouched || self.trusts(client);
        let told = fields.iter().rev().flat_map(|field| split(field).into_iter().rev());
        for element in told.take(MOST_HOPS) {
            if !is_proxy {
                break;
            }
            // What cannot be read, a proxy did not write: whoever called the last one is as far as we know.
            let Some(next) = self.read(element) else { break };
            client = next.to_canonical();
            is_proxy = self.trusts(client);
        }
        client
    }

    pub(super) fn of_head(&self, head: &dyn Head) -> Option<IpAddr> {
        let peer = head.peer()?;
        Some(self.of(peer, &head.fields(self.field())))
    }

    /// Whether a proxy at this address is trusted.
    pub(in crate::http) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    fn read(&self, element: &[u8]) -> Option<IpAddr> {
        let text = std::str::from_utf8(element).ok()?;
        match self.field {
            Field::XForwardedFor => address(text.trim()),
            Field::Forwarded => text.split(';').find_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                let value = value.trim();
                let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
                name.trim().eq_ignore_ascii_case("for").then(|| address(bare))?
            }),
        }
    }
}

/// The elements of a field. Addresses hold no commas, quoted or not.
fn split(field: &[u8]) -> Vec<&[u8]> {
    field.split(|byte| *byte == b',').collect()
}

/// An address as proxies write it: bare, in brackets, with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port)
}

fn network(text: &str) -> Result<IpNet> {
    let parsed = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    parsed.ok_or_else(|| {
        let message =
            format!("trusted proxy `{}` is neither an address nor a network such as 10.0.0.0/8", text.escape_debug());
        Error::new(ErrorKind::Config, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXIES: [&str; 3] = ["10.0.0.0/8", "192.0.2.7", "2001:db8:f::/48"];
    const CLIENT: &str = "203.0.113.9";

    #[track_caller]
    fn check(peer: &str, fields: &[&str], expected: &str) {
        check_by(&ClientAddress::behind(PROXIES).unwrap(), peer, fields, expected);
    }

    #[track_caller]
    fn check_by(by: &ClientAddress, peer: &str, fields: &[&str], expected: &str) {
        let bytes: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        assert_eq!(by.of(peer.parse().unwrap(), &bytes).to_string(), expected, "{peer} {fields:?}");
    }

    #[test]
    fn nobody_chooses_an_address_of_their_own() {
        // Whoever is no proxy is believed nothing.
        check(CLIENT, &[], CLIENT);
        check(CLIENT, &["1.1.1.1"], CLIENT);
        check(CLIENT, &["10.0.0.1"], CLIENT);
        check("2001:db8::1", &["1.1.1.1"], "2001:db8::1");
        // What the client wrote stands left of what the proxy wrote.
        check("10.0.0.1", &[CLIENT], CLIENT);
        check("10.0.0.1", &["1.1.1.1, 203.0.113.9"], CLIENT);
        check("10.0.0.1", &["10.0.0.9, 203.0.113.9"], CLIENT);
        check("10.0.0.1", &["127.0.0.1, ::1, 203.0.113.9"], CLIENT);
        check("10.0.0.1", &["1.1.1.1", CLIENT], CLIENT);
        check("10.0.0.1", &["1.1.1.1", "203.0.113.9, 10.0.0.2"], CLIENT);
        check("10.0.0.1", &["203.0.113.9, 192.0.2.7, 10.3.4.5"], CLIENT);
        // What is no address ends the row: the proxy that wrote it is as far as we know.
        check("10.0.0.1", &["1.1.1.1, unknown"], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1, "], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1, <script>, 10.0.0.2"], "10.0.0.2");
        check("10.0.0.1", &[""], "10.0.0.1");
        check("10.0.0.1", &["1.1.1.1,999.1.1.1"], "10.0.0.1");
        // As proxies write addresses.
        check("10.0.0.1", &["203.0.113.9:4711"], CLIENT);
        check("10.0.0.1", &["[2001:db8::5]:4711"], "2001:db8::5");
        check("10.0.0.1", &["[2001:db8::5]"], "2001:db8::5");
        check("10.0.0.1", &["::ffff:203.0.113.9"], CLIENT);
        check("::ffff:10.0.0.1", &[CLIENT], CLIENT);
        check("2001:db8:f::1", &[CLIENT], CLIENT);
        // A row of proxies only: the one that is farthest.
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
    }

    #[test]
    fn one_who_is_vouched_for_speaks_for_one_hop() {
        let by = ClientAddress::direct().vouched();
        check_by(&by, "198.51.100.7", &[], "198.51.100.7");
        check_by(&by, "198.51.100.7", &["1.1.1.1, 203.0.113.9"], CLIENT);
        // Another connection from the same address, perhaps behind the same gateway: nobody vouched for that.
        check_by(&by, "198.51.100.7", &["1.1.1.1, 198.51.100.7"], "198.51.100.7");
        let by = ClientAddress::behind(PROXIES).unwrap().vouched();
        check_by(&by, "198.51.100.7", &["203.0.113.9, 10.0.0.1"], CLIENT);
    }

    #[test]
    fn forwarded_is_read_as_the_standard_writes_it() {
        let by = ClientAddress::behind(PROXIES).unwrap().by_forwarded();
        check_by(&by, "10.0.0.1", &["for=203.0.113.9;proto=https;by=10.0.0.1"], CLIENT);
        check_by(&by, "10.0.0.1", &["for=1.1.1.1, For=\"203.0.113.9:80\""], CLIENT);
        check_by(&by, "10.0.0.1", &["for=\"[2001:db8::5]:80\""], "2001:db8::5");
        check_by(&by, "10.0.0.1", &["for=1.1.1.1, for=_hidden"], "10.0.0.1");
        check_by(&by, "10.0.0.1", &["for=1.1.1.1, for=unknown"], "10.0.0.1");
        check_by(&by, "10.0.0.1", &["for=1.1.1.1, proto=https"], "10.0.0.1");
        check_by(&by, CLIENT, &["for=1.1.1.1"], CLIENT);
    }

    #[test]
    fn a_row_without_end_is_not_followed() {
        let row = vec!["10.0.0.2"; 100_000].join(",");
        check("10.0.0.1", &[&format!("{CLIENT},{row}")], "10.0.0.2");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let refused = ClientAddress::behind(["10.0.0.0/8", "10.0.0/99"]).unwrap_err().to_string();
        assert_eq!(refused, "trusted proxy `10.0.0/99` is neither an address nor a network such as 10.0.0.0/8");
    }
}
