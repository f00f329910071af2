//! Whom passkeys are made for: browsers bind each one to a domain, and use it on that domain's pages only.

use axum::http::{HeaderMap, StatusCode, header};
use url::{Host, Url};

use crate::error::ApiError;

/// The domain that passkeys belong to, and the origin of the pages that may use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelyingParty {
    pub(super) domain: String,
    pub(super) origin: String,
}

const LOCALHOST: &str = "localhost";
/// What browsers leave out of an origin.
const HTTP_PORT: u16 = 80;

impl RelyingParty {
    /// The one that this server is by its public URL or, if it has none, as the browser on this machine sees it.
    /// `None` where browsers make no passkeys: for bare addresses, and on pages that came without TLS.
    pub(crate) fn of(public_url: Option<&Url>, headers: &HeaderMap) -> Option<Self> {
        match public_url {
            Some(url) => Self::of_url(url),
            None => Self::of_localhost(headers.get(header::HOST)?.to_str().ok()?),
        }
    }

    /// [`of`](Self::of) for an endpoint that does nothing without.
    ///
    /// # Errors
    /// 409, with what it takes.
    pub(crate) fn required(public_url: Option<&Url>, headers: &HeaderMap) -> Result<Self, ApiError> {
        let message = "passkeys need a domain and TLS: set the server's public URL to https://NAME, or open it as \
                       http://localhost on its own machine";
        let unavailable = || ApiError::new(StatusCode::CONFLICT, "passkeys_unavailable", message);
        Self::of(public_url, headers).ok_or_else(unavailable)
    }

    fn of_url(url: &Url) -> Option<Self> {
        let Host::Domain(domain) = url.host()? else { return None };
        if url.scheme() != "https" && !(url.scheme() == "http" && domain == LOCALHOST) {
            return None;
        }
        Some(Self { domain: domain.to_owned(), origin: url.origin().ascii_serialization() })
    }

    fn of_localhost(host: &str) -> Option<Self> {
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, port.parse::<u16>().ok()?),
            None => (host, HTTP_PORT),
        };
        if !name.eq_ignore_ascii_case(LOCALHOST) {
            return None;
        }
        let origin = match port {
            HTTP_PORT => format!("http://{LOCALHOST}"),
            port => format!("http://{LOCALHOST}:{port}"),
        };
        Some(Self { domain: LOCALHOST.to_owned(), origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_or_this_machine_by_its_name() {
        let check = |public_url: Option<&str>, host: &str, expected: Option<(&str, &str)>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            let url = public_url.map(|url| url.parse().unwrap());
            let found = RelyingParty::of(url.as_ref(), &headers);
            let found = found.as_ref().map(|party| (party.domain.as_str(), party.origin.as_str()));
            assert_eq!(found, expected, "{public_url:?} {host}");
            assert_eq!(RelyingParty::required(url.as_ref(), &headers).is_ok(), expected.is_some());
        };
        check(None, "localhost", Some(("localhost", "http://localhost")));
        check(None, "localhost:80", Some(("localhost", "http://localhost")));
        check(None, "LOCALHOST:8080", Some(("localhost", "http://localhost:8080")));
        for host in
            ["127.0.0.1:8080", "[::1]:8080", "localhost.evil.example", "a@localhost", "", "localhost:x"]
        {
            check(None, host, None);
        }
        // What a client says its host is matters no more as soon as it is known.
        for host in ["localhost:8080", "evil.example"] {
            let chat = Some(("chat.example.org", "https://chat.example.org"));
            check(Some("https://Chat.Example.org:443/"), host, chat);
            check(
                Some("https://chat.example.org:8443/x"),
                host,
                Some(("chat.example.org", "https://chat.example.org:8443")),
            );
            check(Some("http://localhost:9000"), host, Some(("localhost", "http://localhost:9000")));
            for url in
                ["http://chat.example.org", "https://192.0.2.1", "https://[2001:db8::1]", "ftp://localhost"]
            {
                check(Some(url), host, None);
            }
        }
        assert_eq!(RelyingParty::of(None, &HeaderMap::new()), None);
    }
}
