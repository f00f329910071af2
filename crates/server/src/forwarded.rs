//! For whom a proxy asks: `X-Forwarded-For`, and `Forwarded` of RFC 7239. Pure: fields in, an address out.
//!
//! A client can send these fields too, and a proxy appends to what it was sent. So they are read from the right: each
//! element was written by the machine before it, and is believed as long as that machine is a declared proxy. What
//! stands further left, however it looks, is never looked at. An element that is no address (one may also say
//! `unknown` or a made-up name) leaves the proxy's own address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

/// Machines that ask for others, and how they say for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Networks of the proxies. Whoever has an address in one of them can be anybody.
    pub trusted: Vec<IpNet>,
    /// The one field that is read.
    pub header: ForwardedHeader,
    /// Whether each of their connections begins with a header of the PROXY protocol.
    pub protocol: bool,
}

/// The field in which a proxy says for whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For: 203.0.113.7, 198.51.100.2`
    XForwardedFor,
    /// `Forwarded: for=203.0.113.7, for="[2001:db8::7]:4711"` (RFC 7239)
    Forwarded,
}

/// Fields that only proxies send: who has one of them was asked by somebody else, declared or not.
const OF_PROXIES: [HeaderName; 6] = [
    header::FORWARDED,
    header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// Whether a request says of itself that it came through a proxy.
pub(crate) fn is_relayed(headers: &HeaderMap) -> bool {
    OF_PROXIES.iter().any(|name| headers.contains_key(name))
}

impl Proxy {
    /// Whether an address is a declared proxy's.
    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// For whom a request is, that came from `peer`.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer;
        let fields = match self.header {
            ForwardedHeader::XForwardedFor => headers.get_all("x-forwarded-for"),
            ForwardedHeader::Forwarded => headers.get_all(header::FORWARDED),
        };
        // Several fields of one name are one list (RFC 9110, section 5.3).
        for element in fields.iter().rev().flat_map(|field| self.header.elements(field.as_bytes())) {
            if !self.is_trusted(nearest) {
                break;
            }
            match element {
                Some(address) => nearest = address,
                None => return peer,
            }
        }
        nearest
    }
}

impl ForwardedHeader {
    /// The elements of a field from the right; none for one that is no address. Empty elements are passed over.
    fn elements(self, field: &[u8]) -> impl Iterator<Item = Option<IpAddr>> + '_ {
        let mut rest = Some(field);
        let elements = std::iter::from_fn(move || {
            let text = rest?;
            let comma = match self {
                Self::XForwardedFor => text.iter().rposition(|byte| *byte == b','),
                Self::Forwarded => last_outside_quotes(text, b','),
            };
            rest = comma.map(|at| &text[..at]);
            Some(comma.map_or(text, |at| &text[at + 1..]).trim_ascii())
        });
        elements.filter(|element| !element.is_empty()).map(move |element| match self {
            Self::XForwardedFor => node(element),
            Self::Forwarded => forwarded_for(element),
        })
    }
}

/// Where `wanted` stands last outside of quoted strings. From the right, so that a quote that a client leaves open
/// takes nothing of what proxies appended to it.
fn last_outside_quotes(text: &[u8], wanted: u8) -> Option<usize> {
    let mut quoted = false;
    for at in (0..text.len()).rev() {
        match text[at] {
            b'"' => {
                let before = text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
                if before % 2 == 0 {
                    quoted = !quoted;
                }
            }
            byte if byte == wanted && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The address of the `for` of an element such as `for="[2001:db8::7]:4711";proto=https`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let mut rest = Some(element);
    while let Some(text) = rest {
        let semicolon = last_outside_quotes(text, b';');
        rest = semicolon.map(|at| &text[..at]);
        let pair = semicolon.map_or(text, |at| &text[at + 1..]).trim_ascii();
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&pair[..equals], &pair[equals + 1..]);
        if name.eq_ignore_ascii_case(b"for") {
            // Each parameter may be there once.
            if found.is_some() {
                return None;
            }
            found = Some(value);
        }
    }
    let value = found?;
    let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    node(unquoted.unwrap_or(value))
}

/// `address`, `address:port`, `[address]` or `[address]:port`.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        is_port_or_nothing(port).then_some(())?;
        IpAddr::V6(address.parse::<Ipv6Addr>().ok()?)
    } else if let Ok(address) = text.parse::<IpAddr>() {
        address
    } else {
        let (address, port) = text.split_once(':')?;
        is_port(port).then_some(())?;
        IpAddr::V4(address.parse::<Ipv4Addr>().ok()?)
    };
    Some(address.to_canonical())
}

fn is_port_or_nothing(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(is_port)
}

/// A number, or a made-up name (RFC 7239, section 6.2). What it is does not matter.
fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::ForwardedHeader::{Forwarded, XForwardedFor};
    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn proxy(header: ForwardedHeader) -> Proxy {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).to_vec();
        Proxy { trusted, header, protocol: false }
    }

    fn fields(header: ForwardedHeader, values: &[&[u8]]) -> HeaderMap {
        let name = match header {
            XForwardedFor => "x-forwarded-for",
            Forwarded => "forwarded",
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn check(header: ForwardedHeader, values: &[&str], expected: &str) {
        let values: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
        let headers = fields(header, &values);
        let found = proxy(header).client(PROXY.parse().unwrap(), &headers);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{headers:?}");
        let stranger: IpAddr = "192.0.2.99".parse().unwrap();
        assert_eq!(proxy(header).client(stranger, &headers), stranger, "a stranger is not believed");
    }

    #[test]
    fn x_forwarded_for_is_read_from_the_right() {
        let check = |values: &[&str], expected| check(XForwardedFor, values, expected);
        check(&["203.0.113.7"], "203.0.113.7");
        check(&["1.1.1.1, 203.0.113.7"], "203.0.113.7");
        check(&["1.1.1.1", "203.0.113.7"], "203.0.113.7");
        check(&["1.1.1.1, 203.0.113.7, 10.2.3.4"], "203.0.113.7");
        check(&["1.1.1.1, 203.0.113.7", "10.2.3.4,fd00::5"], "203.0.113.7");
        check(&["10.9.9.9, 10.2.3.4"], "10.9.9.9");
        check(&["2001:db8::7"], "2001:db8::7");
        check(&["[2001:db8::7]:4711"], "2001:db8::7");
        check(&["203.0.113.7:4711"], "203.0.113.7");
        check(&["::ffff:203.0.113.7"], "203.0.113.7");
        check(&["evil, , 203.0.113.7 ,"], "203.0.113.7");
    }

    #[test]
    fn forwarded_is_read_from_the_right() {
        let check = |values: &[&str], expected| check(Forwarded, values, expected);
        check(&["for=203.0.113.7"], "203.0.113.7");
        check(&["For=203.0.113.7;proto=https;by=10.0.0.1"], "203.0.113.7");
        check(&["by=10.0.0.1; FOR=\"203.0.113.7:80\""], "203.0.113.7");
        check(&["for=1.1.1.1, for=\"[2001:db8::7]:_obfuscated\""], "2001:db8::7");
        check(&["for=1.1.1.1, for=203.0.113.7", "for=10.2.3.4"], "203.0.113.7");
        check(&["for=1.1.1.1;host=\"a,b;c\\\"d\", for=203.0.113.7;host=\"x, for=9.9.9.9\""], "203.0.113.7");
        check(&["for=\"1.1.1.1, for=203.0.113.7"], "203.0.113.7");
    }

    #[test]
    fn what_is_no_address_is_the_proxy_s_own() {
        for field in [
            "",
            "unknown",
            "203.0.113",
            "203.0.113.7 1.1.1.1",
            "1.1.1.1, 203.0.113.256",
            "203.0.113.7:",
            "203.0.113.7:8 0",
            "[203.0.113.7]",
            "[2001:db8::7",
            "[2001:db8::7]x",
            "fe80::1%eth0",
            "for=203.0.113.7",
            "0x7f.0.0.1",
            "1.1.1.1, evil, 10.2.3.4",
        ] {
            check(XForwardedFor, &[field], PROXY);
        }
        for field in [
            "203.0.113.7",
            "for=unknown",
            "for=_hidden",
            "for=",
            "for",
            "by=203.0.113.7",
            "for=1.1.1.1;for=203.0.113.7",
            "for=\"203.0.113.7",
            "for=203.0.113.7\"",
            "for=203.0.113.7;;",
            "for=1.1.1.1, for=unknown",
        ] {
            check(Forwarded, &[field], PROXY);
        }
    }

    #[test]
    fn who_says_that_it_came_through_a_proxy() {
        assert!(!is_relayed(&HeaderMap::new()));
        assert!(is_relayed(&fields(XForwardedFor, &[b""])));
        assert!(is_relayed(&fields(Forwarded, &[b"for=_x"])));
    }

    fn header() -> impl Strategy<Value = ForwardedHeader> {
        prop_oneof![Just(XForwardedFor), Just(Forwarded)]
    }

    /// Bytes that can stand in a field, with a liking for those that mean something.
    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![prop::sample::select(&b"\",;=\\[]:. for10"[..]), 32_u8..127, 128_u8..=255,];
        prop::collection::vec(byte, 0..80)
    }

    proptest! {
        #[test]
        fn what_a_client_sends_does_not_change_what_the_proxy_appended(
            header in header(),
            sent in hostile(),
            own_field: bool,
            address: IpAddr,
        ) {
            let address = address.to_canonical();
            let proxy = proxy(header);
            prop_assume!(!proxy.is_trusted(address));
            let appended = match header {
                XForwardedFor => format!("{address}"),
                Forwarded if address.is_ipv6() => format!("proto=https;for=\"[{address}]:443\""),
                Forwarded => format!("for={address};host=\"a\\\"b,c\""),
            };
            let headers = if own_field {
                fields(header, &[&sent, appended.as_bytes()])
            } else {
                fields(header, &[&[&sent, &b", "[..], appended.as_bytes()].concat()])
            };
            prop_assert_eq!(proxy.client(PROXY.parse().unwrap(), &headers), address);
        }

        #[test]
        fn nobody_else_is_believed(header in header(), sent in hostile(), peer: IpAddr) {
            let proxy = proxy(header);
            prop_assume!(!proxy.is_trusted(peer));
            prop_assert_eq!(proxy.client(peer, &fields(header, &[&sent])), peer);
        }
    }
}
