//! Which addresses may be asked on behalf of strangers' requests: those of the public Internet, and nothing that only
//! this machine or its neighbours can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// What is not global (RFC 6890 and the registry that it began, as of 2024). Where a part of a range is global and the
/// rest isn't, the whole range stands here: no provider is there.
const NOT_GLOBAL_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),          // this network
    v4([10, 0, 0, 0], 8),         // private
    v4([100, 64, 0, 0], 10),      // shared by customers of a provider
    v4([127, 0, 0, 0], 8),        // loopback
    v4([169, 254, 0, 0], 16),     // link local, where clouds keep their secrets
    v4([172, 16, 0, 0], 12),      // private
    v4([192, 0, 0, 0], 24),       // assigned by the IETF
    v4([192, 0, 2, 0], 24),       // documentation
    v4([192, 88, 99, 0], 24),     // relays of 6to4
    v4([192, 168, 0, 0], 16),     // private
    v4([198, 18, 0, 0], 15),      // benchmarks
    v4([198, 51, 100, 0], 24),    // documentation
    v4([203, 0, 113, 0], 24),     // documentation
    v4([224, 0, 0, 0], 4),        // multicast
    v4([240, 0, 0, 0], 4),        // reserved
    v4([255, 255, 255, 255], 32), // broadcast
];

/// All that is global begins with 001 (RFC 4291); these are the exceptions in it.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);
const NOT_GLOBAL_V6: [Ipv6Net; 5] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // assigned by the IETF: Teredo, ORCHID, benchmarks
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4, which leads to any IPv4 address
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112, which answers for private names
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation
];

/// The prefix under which a network translates to IPv4 (RFC 6052).
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

/// Whether an address belongs to the public Internet, also behind a translation.
pub(super) fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_global_v4(mapped),
            None if NAT64.contains(&address) => is_global_v4(Ipv4Addr::from_bits(address.to_bits() as u32)),
            None => GLOBAL_V6.contains(&address) && !NOT_GLOBAL_V6.iter().any(|net| net.contains(&address)),
        },
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !NOT_GLOBAL_V4.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: bool) {
        assert_eq!(is_global(address.parse().unwrap()), expected, "{address}");
    }

    #[test]
    fn the_first_and_the_last_of_every_special_range_are_refused_and_their_neighbours_are_not() {
        for (first, last, before, after) in [
            ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
            ("10.0.0.0", "10.255.255.255", Some("9.255.255.255"), Some("11.0.0.0")),
            ("100.64.0.0", "100.127.255.255", Some("100.63.255.255"), Some("100.128.0.0")),
            ("127.0.0.0", "127.255.255.255", Some("126.255.255.255"), Some("128.0.0.0")),
            ("169.254.0.0", "169.254.255.255", Some("169.253.255.255"), Some("169.255.0.0")),
            ("172.16.0.0", "172.31.255.255", Some("172.15.255.255"), Some("172.32.0.0")),
            ("192.0.0.0", "192.0.0.255", Some("191.255.255.255"), Some("192.0.1.0")),
            ("192.0.2.0", "192.0.2.255", Some("192.0.1.255"), Some("192.0.3.0")),
            ("192.88.99.0", "192.88.99.255", Some("192.88.98.255"), Some("192.88.100.0")),
            ("192.168.0.0", "192.168.255.255", Some("192.167.255.255"), Some("192.169.0.0")),
            ("198.18.0.0", "198.19.255.255", Some("198.17.255.255"), Some("198.20.0.0")),
            ("198.51.100.0", "198.51.100.255", Some("198.51.99.255"), Some("198.51.101.0")),
            ("203.0.113.0", "203.0.113.255", Some("203.0.112.255"), Some("203.0.114.0")),
            ("224.0.0.0", "255.255.255.255", Some("223.255.255.255"), None),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2000:ffff::"), Some("2001:200::")),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:db7::"), Some("2001:db9::")),
            ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some("2001:ffff::"), Some("2003::")),
            ("2620:4f:8000::", "2620:4f:8000:ffff::", Some("2620:4f:7fff::"), Some("2620:4f:8001::")),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", Some("3ffe:ffff::"), Some("3fff:1000::")),
        ] {
            check(first, false);
            check(last, false);
            before.into_iter().chain(after).for_each(|neighbour| check(neighbour, true));
        }
    }

    #[test]
    fn what_is_outside_of_global_unicast_is_refused() {
        for address in [
            "::",
            "::1",
            "::7f00:1", // what once was IPv4-compatible
            "::8.8.8.8",
            "64:ff9b:1::8.8.8.8", // translation within one network
            "100::1",             // discarded
            "100:0:0:1::1",
            "1fff::1",
            "4000::1",
            "5f00::1", // segment routing
            "fc00::1", // unique local
            "fdff:ffff::1",
            "fe80::1", // link local
            "febf::1",
            "fec0::1", // site local
            "ff02::1", // multicast
            "ff0e::1",
        ] {
            check(address, false);
        }
    }

    #[test]
    fn translated_addresses_are_what_they_lead_to() {
        for (inner, global) in [
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("8.8.8.8", true),
        ] {
            check(inner, global);
            check(&format!("::ffff:{inner}"), global);
            check(&format!("64:ff9b::{inner}"), global);
        }
        // 6to4 of 127.0.0.1, of 8.8.8.8, and Teredo.
        for refused in ["2002:7f00:1::", "2002:808:808::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"] {
            check(refused, false);
        }
    }

    #[test]
    fn the_public_internet_is_open() {
        for address in [
            "8.8.8.8",
            "93.184.215.14",
            "2606:4700::1111",
            "2a00:1450:4001:829::200e",
            "2001:4860:4860::8888",
        ] {
            check(address, true);
        }
    }
}
