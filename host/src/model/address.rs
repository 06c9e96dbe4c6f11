//! Callers of whom nothing is known but their address.

use std::net::{IpAddr, Ipv6Addr};

/// The subject of a caller of whom nothing is known but the address.
///
/// Of an IPv6 address the first 64 bits count, as every network has 2^64 of the rest to choose from. An IPv4 address is itself, however it is
/// written.
///
/// ```
/// use tollgate::address_subject;
///
/// assert_eq!(address_subject("2001:db8:1:2:3:4:5:6".parse()?), "2001:db8:1:2::/64");
/// assert_eq!(address_subject("203.0.113.9".parse()?), "203.0.113.9");
/// assert_eq!(address_subject("::ffff:203.0.113.9".parse()?), "203.0.113.9");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn address_subject(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            format!("{network}/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_are_one_subject() {
        let subject = |address: &str| address_subject(address.parse().unwrap());
        assert_eq!(subject("2001:db8::1"), subject("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(subject("2001:db8::1"), subject("2001:db8:0:1::1"));
        assert_eq!(subject("::1"), "::/64");
        assert_ne!(subject("10.0.0.1"), subject("10.0.0.2"));
    }
}
