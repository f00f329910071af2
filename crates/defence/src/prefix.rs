use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network of addresses, by its first one and its length in bits.
///
/// What one customer of a provider has is a /32 of IPv4 and a /64 to a /48 of IPv6, so who rotates over addresses
/// stays within few of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    network: IpAddr,
    length: u8,
}

impl Prefix {
    /// The first `length` bits of an address. IPv4 in IPv6 (`::ffff:192.0.2.7`) counts as IPv4; a length beyond the
    /// family's is the whole address.
    pub fn new(address: IpAddr, length: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let length = length.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
                Self { network: Ipv4Addr::from_bits(address.to_bits() & mask).into(), length }
            }
            IpAddr::V6(address) => {
                let length = length.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
                Self { network: Ipv6Addr::from_bits(address.to_bits() & mask).into(), length }
            }
        }
    }

    /// The prefixes under which an address is counted, the narrowest first: /32 and /24, or /64, /56 and /48.
    pub fn all(address: IpAddr) -> impl DoubleEndedIterator<Item = Self> + Clone {
        let address = address.to_canonical();
        let lengths: &[u8] = if address.is_ipv4() { &[32, 24] } else { &[64, 56, 48] };
        lengths.iter().map(move |length| Self::new(address, *length))
    }

    /// The narrowest: /32 or /64.
    pub fn narrow(address: IpAddr) -> Self {
        Self::new(address, if address.to_canonical().is_ipv4() { 32 } else { 64 })
    }

    /// The widest: /24 or /48.
    pub fn wide(address: IpAddr) -> Self {
        Self::new(address, if address.to_canonical().is_ipv4() { 24 } else { 48 })
    }

    /// Its first address.
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// Its bits.
    pub fn length(self) -> u8 {
        self.length
    }

    /// How wide it is, for limits that differ by it.
    pub fn width(self) -> Width {
        match (self.network, self.length) {
            (IpAddr::V4(_), 25..) | (IpAddr::V6(_), 57..) => Width::Narrow,
            (IpAddr::V6(_), 49..) => Width::Middle,
            (IpAddr::V4(_) | IpAddr::V6(_), _) => Width::Wide,
        }
    }

    /// Whether an address is one of its.
    pub fn contains(self, address: IpAddr) -> bool {
        Self::new(address, self.length) == self
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

/// How many a prefix stands for, about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Width {
    /// One customer: /32 of IPv4, /64 of IPv6.
    Narrow,
    /// One customer of a generous provider: /56 of IPv6.
    Middle,
    /// Some hundred customers, or one site: /24 of IPv4, /48 of IPv6.
    Wide,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(address: &str, expected: &[&str]) {
        let found: Vec<String> =
            Prefix::all(address.parse().unwrap()).map(|prefix| prefix.to_string()).collect();
        assert_eq!(found, expected, "{address}");
    }

    #[test]
    fn the_prefixes_of_an_address() {
        check("192.0.2.77", &["192.0.2.77/32", "192.0.2.0/24"]);
        check("::ffff:192.0.2.77", &["192.0.2.77/32", "192.0.2.0/24"]);
        check(
            "2001:db8:1:2345:6:7:8:9",
            &["2001:db8:1:2345::/64", "2001:db8:1:2300::/56", "2001:db8:1::/48"],
        );
    }

    #[test]
    fn any_length_is_one() {
        for address in ["203.0.113.9", "2001:db8::9"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Prefix::new(address, 255).network(), address);
            assert!(Prefix::new(address, 0).network().is_unspecified());
        }
    }

    proptest! {
        #[test]
        fn prefixes_hold_their_address_and_nest(address: IpAddr, other: IpAddr) {
            let all: Vec<_> = Prefix::all(address).collect();
            prop_assert_eq!(all.first().copied(), Some(Prefix::narrow(address)));
            prop_assert_eq!(all.last().copied(), Some(Prefix::wide(address)));
            for pair in all.windows(2) {
                prop_assert!(pair[0].contains(address) && pair[1].contains(pair[0].network()));
                prop_assert!(pair[0].length() > pair[1].length() && pair[0].width() < pair[1].width());
                prop_assert!(!pair[0].contains(other) || pair[1].contains(other));
            }
        }
    }
}
