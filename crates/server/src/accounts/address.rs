use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::app::App;
use crate::error::ApiError;
use crate::forwarded::{Proxy, is_relayed};

/// Who asks, as far as the network tells. Put into each request by the accept loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    address: IpAddr,
    way: Way,
    tls: bool,
    proxied: bool,
}

/// A connection, as its requests are marked with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its other end, or where a declared proxy says that it comes from (the PROXY protocol).
    pub(crate) address: SocketAddr,
    /// Whether TLS ends here.
    pub(crate) tls: bool,
    /// Whether the address is a proxy's word, for another or for itself.
    pub(crate) is_relayed: bool,
}

/// How a request came here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a program on this machine, and, as far as can be known, for nobody else.
    Local,
    /// From this machine, but perhaps for somebody else: from a declared proxy, or with fields that proxies send.
    Loopback,
    /// Through a declared proxy.
    Proxied,
    /// From another machine.
    Remote,
}

impl Peer {
    /// Who asks with these fields over a connection.
    pub(crate) fn new(arrival: Arrival, proxy: Option<&Proxy>, headers: &HeaderMap) -> Self {
        let Arrival { address, tls, is_relayed: relayed } = arrival;
        // A listener for both IPv4 and IPv6 shows the former as the latter.
        let connected = address.ip().to_canonical();
        let proxy = proxy.filter(|proxy| proxy.is_trusted(connected));
        let address = proxy.map_or(connected, |proxy| proxy.client(connected, headers));
        let way = match (address.is_loopback(), proxy.is_some() || relayed) {
            (true, false) if !is_relayed(headers) => Way::Local,
            (true, _) => Way::Loopback,
            (false, true) => Way::Proxied,
            (false, false) => Way::Remote,
        };
        Self { address, way, tls, proxied: proxy.is_some() }
    }

    pub(crate) fn ip(self) -> IpAddr {
        self.address
    }

    pub(crate) fn way(self) -> Way {
        self.way
    }

    /// Whether the connection is over TLS that ends here.
    pub(crate) fn tls(self) -> bool {
        self.tls
    }

    /// Whether a declared proxy asks, for whomever. One that only passes a connection on, by the PROXY protocol, asks for
    /// nothing: what a request has is its client's word.
    pub(crate) fn through_proxy(self) -> bool {
        self.proxied
    }

    /// Who asked, as the accept loop noted it.
    pub(crate) fn of(extensions: &axum::http::Extensions) -> Self {
        // Without an accept loop, as in a test of one route, there is nobody to tell apart.
        let address = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let nobody = Self { address, way: Way::Remote, tls: false, proxied: false };
        extensions.get::<Self>().copied().unwrap_or(nobody)
    }
}

impl FromRequestParts<App> for Peer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        Ok(Self::of(&parts.extensions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarded::ForwardedHeader;

    fn check(address: &str, proxies: &[&str], forwarded: Option<&str>, expected: (&str, Way)) {
        let trusted = proxies.iter().map(|network| network.parse().unwrap()).collect();
        let proxy = Proxy { trusted, header: ForwardedHeader::XForwardedFor, protocol: false };
        let mut headers = HeaderMap::new();
        if let Some(forwarded) = forwarded {
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
        }
        let arrival = Arrival { address: address.parse().unwrap(), tls: false, is_relayed: false };
        let peer = Peer::new(arrival, Some(&proxy), &headers);
        assert_eq!(
            (peer.ip().to_string().as_str(), peer.way()),
            expected,
            "{address} {proxies:?} {forwarded:?}"
        );
    }

    #[test]
    fn what_a_proxy_passes_on_is_nobody_s_on_this_machine() {
        let relayed = |address: &str, proxies: &[&str], forwarded: &str| {
            let trusted = proxies.iter().map(|network| network.parse().unwrap()).collect();
            let proxy = Proxy { trusted, header: ForwardedHeader::XForwardedFor, protocol: true };
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", forwarded.parse().unwrap());
            let arrival = Arrival { address: address.parse().unwrap(), tls: false, is_relayed: true };
            let peer = Peer::new(arrival, Some(&proxy), &headers);
            (peer.ip().to_string(), peer.way(), peer.through_proxy())
        };
        let expected = |ip: &str, way, through| (ip.to_owned(), way, through);
        // A client's own word about others is not believed, a proxy's before the proxy is.
        assert_eq!(
            relayed("203.0.113.7:5", &["10.0.0.0/8"], "1.1.1.1"),
            expected("203.0.113.7", Way::Proxied, false)
        );
        assert_eq!(
            relayed("127.0.0.1:5", &["10.0.0.0/8"], "1.1.1.1"),
            expected("127.0.0.1", Way::Loopback, false)
        );
        assert_eq!(
            relayed("10.0.0.2:5", &["10.0.0.0/8"], "1.1.1.1"),
            expected("1.1.1.1", Way::Proxied, true)
        );
    }

    #[test]
    fn how_a_request_came() {
        check("127.0.0.1:5", &[], None, ("127.0.0.1", Way::Local));
        check("[::1]:5", &[], None, ("::1", Way::Local));
        check("[::ffff:127.0.0.1]:5", &[], None, ("127.0.0.1", Way::Local));
        check("127.0.0.1:5", &[], Some("203.0.113.7"), ("127.0.0.1", Way::Loopback));
        check("127.0.0.1:5", &["127.0.0.0/8"], None, ("127.0.0.1", Way::Loopback));
        check("127.0.0.1:5", &["127.0.0.0/8"], Some("127.0.0.1"), ("127.0.0.1", Way::Loopback));
        check("127.0.0.1:5", &["127.0.0.0/8"], Some("203.0.113.7"), ("203.0.113.7", Way::Proxied));
        check("[::ffff:10.0.0.1]:5", &["10.0.0.0/8"], Some("203.0.113.7"), ("203.0.113.7", Way::Proxied));
        check("10.0.0.1:5", &["10.0.0.0/8"], None, ("10.0.0.1", Way::Proxied));
        check("10.0.0.1:5", &["127.0.0.0/8"], Some("127.0.0.1"), ("10.0.0.1", Way::Remote));
    }
}
