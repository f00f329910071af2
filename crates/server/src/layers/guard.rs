use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use url::Url;

use crate::accounts::{Machine, Peer, Way};
use crate::app::App;
use crate::connections::Objection;
use crate::error::{ApiError, shortened};
use crate::routes::is_api;
use crate::settings::Settings;

/// A browser that can reach this server runs other people's pages. A page that points its own name at this machine
/// (DNS rebinding) is told by the `Host` it sends; a page of another origin by `Origin` and `Sec-Fetch-Site`. And what
/// comes from another machine without TLS is answered only to a declared proxy.
///
/// No page reaches the control socket, and there is no name to call it by.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    if Machine::made(&request) {
        return next.run(request).await;
    }
    if let Some(objection) = Objection::of(&request) {
        return ApiError::from(objection).into_response();
    }
    match check(&app.settings, Peer::of(request.extensions()), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Whether a request names this machine as only its own programs do. One that names it as others know it has come from
/// others.
pub(crate) fn is_asked_as_local(headers: &HeaderMap) -> bool {
    the_host(headers).is_ok_and(is_loopback)
}

/// Refuses what a browser sends for a page of another site: for endpoints that answer no pages at all.
pub(crate) fn refuse_other_sites(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get("sec-fetch-site").and_then(|site| site.to_str().ok()) {
        Some(site @ ("cross-site" | "same-site")) => {
            Err(refused("forbidden_origin", "only pages of this server may call it", site))
        }
        _ => Ok(()),
    }
}

fn check(settings: &Settings, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    if peer.way() == Way::Remote && !peer.tls() {
        let message = "without TLS, only this machine and declared proxies (proxy.trusted) are answered";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "not_encrypted", message));
    }
    let host = the_host(headers)?;
    let names = [Some(host), uri.authority().map(Authority::as_str)];
    if let Some(given) = names.into_iter().flatten().find(|name| !is_allowed(settings, peer, name)) {
        return Err(refused("forbidden_host", &allowed_hosts(settings), given));
    }
    for origin in headers.get_all(header::ORIGIN) {
        if !origin.to_str().is_ok_and(|origin| is_own(settings, peer, host, origin)) {
            let given = String::from_utf8_lossy(origin.as_bytes());
            return Err(refused("forbidden_origin", "only pages of this server may call it", &given));
        }
    }
    // Links from elsewhere may open the page; that is not a call.
    if is_api(uri.path()) { refuse_other_sites(headers) } else { Ok(()) }
}

fn refused(code: &'static str, allowed: &str, given: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, format!("{allowed}, got {:?}", shortened(given)))
}

fn allowed_hosts(settings: &Settings) -> String {
    match settings.public_url.as_ref().and_then(Url::host_str) {
        None => "only requests to localhost, 127.0.0.1 or [::1] are answered".to_owned(),
        Some(name) => format!(
            "only requests to {name} (public_url) and, from this machine, to localhost, 127.0.0.1 or [::1] are answered"
        ),
    }
}

fn the_host(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next().map(|host| host.to_str()), hosts.next()) {
        (Some(Ok(host)), None) => Ok(host),
        _ => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_host",
            format!(
                "a request must have exactly one Host of plain text, got {}",
                headers.get_all(header::HOST).iter().count()
            ),
        )),
    }
}

/// Whether this peer may ask for `name[:port]`. The port is the peer's or its proxy's matter.
fn is_allowed(settings: &Settings, peer: Peer, host: &str) -> bool {
    let here = matches!(peer.way(), Way::Local | Way::Loopback);
    is_public(settings, host) || (here && is_loopback(host))
}

/// Whether a request names this server as users know it.
pub(super) fn is_by_public_name(settings: &Settings, headers: &HeaderMap) -> bool {
    the_host(headers).is_ok_and(|host| is_public(settings, host))
}

/// Whether `name[:port]` is how users know this server.
fn is_public(settings: &Settings, host: &str) -> bool {
    let Some(authority) = authority(host) else { return false };
    let name = authority.host();
    let of_url = settings.public_url.as_ref().and_then(Url::host_str);
    of_url
        .into_iter()
        .chain(settings.domains.iter().map(String::as_str))
        .any(|own| own.eq_ignore_ascii_case(name))
}

/// Whether a page of this origin is a page of ours: the same scheme, name and port as it was asked for.
fn is_own(settings: &Settings, peer: Peer, host: &str, origin: &str) -> bool {
    let public = is_public(settings, host);
    let https = if public { settings.is_https() } else { peer.tls() };
    let scheme = if https { "https://" } else { "http://" };
    let of_url = settings.public_url.as_ref().filter(|_| public);
    origin.strip_prefix(scheme).is_some_and(|same| same.eq_ignore_ascii_case(host))
        // A proxy may ask for another port than the browser did.
        || of_url.is_some_and(|url| url.origin().ascii_serialization() == origin)
}

/// Whether `name[:port]` is this machine whatever a resolver says.
fn is_loopback(host: &str) -> bool {
    let Some(authority) = authority(host) else { return false };
    let name = authority.host();
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if let Some(name) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn authority(host: &str) -> Option<Authority> {
    host.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Arrival;
    use crate::forwarded::{ForwardedHeader, Proxy};

    /// A request over a connection from `from`, with or without TLS.
    fn check_from(
        (from, tls): (&str, bool),
        settings: &Settings,
        path: &str,
        fields: &[(&'static str, &str)],
        expected: Result<(), u16>,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let arrival = Arrival { address: from.parse().unwrap(), tls, is_relayed: false };
        let peer = Peer::new(arrival, settings.proxy.as_ref(), &headers);
        let found = check(settings, peer, &path.parse().unwrap(), &headers);
        let found = found.map_err(|error| error.into_response().status().as_u16());
        assert_eq!(found, expected, "{from} {tls} {path} {fields:?}");
    }

    const HERE: (&str, bool) = ("127.0.0.1:9", false);

    fn check_request(path: &str, fields: &[(&'static str, &str)], expected: Result<(), u16>) {
        check_from(HERE, &Settings::default(), path, fields, expected);
    }

    fn public() -> Settings {
        Settings {
            public_url: Some("https://chat.example.org/".parse().unwrap()),
            domains: vec!["www.example.org".to_owned()],
            proxy: Some(Proxy {
                trusted: vec!["10.0.0.0/8".parse().unwrap()],
                header: ForwardedHeader::XForwardedFor,
                protocol: false,
            }),
            ..Settings::default()
        }
    }

    #[test]
    fn strangers_ask_by_the_public_name_over_tls_or_a_proxy() {
        let settings = public();
        let (stranger, proxy) = (("203.0.113.7:9", true), ("10.0.0.1:9", false));
        for from in [stranger, proxy, HERE] {
            for host in
                ["chat.example.org", "CHAT.example.org:443", "chat.example.org:8443", "www.example.org"]
            {
                check_from(from, &settings, "/api/models", &[("host", host)], Ok(()));
            }
            for host in [
                "evil.example",
                "example.org",
                "chat.example.org.evil.example",
                "chat.example.org.",
                "10.0.0.2",
            ] {
                check_from(from, &settings, "/api/models", &[("host", host)], Err(403));
            }
        }
        for host in ["localhost", "127.0.0.1:8080", "[::1]"] {
            check_from(HERE, &settings, "/", &[("host", host)], Ok(()));
            check_from(stranger, &settings, "/", &[("host", host)], Err(403));
            check_from(proxy, &settings, "/", &[("host", host)], Err(403));
        }
        let host = ("host", "chat.example.org");
        check_from(("203.0.113.7:9", false), &settings, "/", &[host], Err(403));
        check_from(("[::ffff:203.0.113.7]:9", false), &settings, "/", &[host], Err(403));
        check_from(stranger, &settings, "http://evil.example/", &[host], Err(403));
        check_from(stranger, &settings, "https://chat.example.org/", &[host], Ok(()));
    }

    #[test]
    fn the_origin_is_the_public_one() {
        let settings = public();
        let with = |host: &str, origin: &str, expected| {
            let fields = [("host", host), ("origin", origin)];
            check_from(("10.0.0.1:9", false), &settings, "/api/models", &fields, expected);
        };
        with("chat.example.org", "https://chat.example.org", Ok(()));
        with("chat.example.org:8443", "https://chat.example.org:8443", Ok(()));
        with("chat.example.org:8080", "https://chat.example.org", Ok(()));
        with("www.example.org", "https://www.example.org", Ok(()));
        with("chat.example.org", "http://chat.example.org", Err(403));
        with("chat.example.org", "https://chat.example.org:8443", Err(403));
        with("chat.example.org", "https://evil.example", Err(403));
        with("chat.example.org", "null", Err(403));
        let local = [("host", "localhost:8443"), ("origin", "https://localhost:8443")];
        check_from(("127.0.0.1:9", true), &settings, "/api/models", &local, Ok(()));
        check_from(HERE, &settings, "/api/models", &local, Err(403));
    }

    #[test]
    fn only_this_machine_by_its_own_name() {
        for host in [
            "localhost",
            "LocalHost:8080",
            "127.0.0.1",
            "127.0.0.1:8080",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:8080",
        ] {
            check_request("/api/models", &[("host", host)], Ok(()));
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8080",
            "192.168.0.1",
            "0.0.0.0:8080",
            "[::]:8080",
            "2130706433",
            "0x7f.1",
            "user@localhost",
            "localhost:8080:9",
        ] {
            check_request("/api/models", &[("host", host)], Err(403));
            check_request("/", &[("host", host)], Err(403));
        }
        check_request("/", &[], Err(400));
        check_request("/", &[("host", "localhost"), ("host", "localhost")], Err(400));
        check_request("http://evil.example/api/models", &[("host", "localhost")], Err(403));
    }

    #[test]
    fn only_pages_of_this_server() {
        let host = ("host", "localhost:8080");
        let with = |name, value, expected| {
            check_request("/api/models", &[host, (name, value)], expected);
            check_request("/v1/models", &[host, (name, value)], expected);
            check_request("/beta/completions", &[host, (name, value)], expected);
        };
        with("origin", "http://localhost:8080", Ok(()));
        with("sec-fetch-site", "same-origin", Ok(()));
        with("sec-fetch-site", "none", Ok(()));
        for origin in [
            "http://localhost:3000",
            "https://localhost:8080",
            "http://evil.example",
            "null",
            "http://127.0.0.1:8080",
        ] {
            with("origin", origin, Err(403));
        }
        with("sec-fetch-site", "cross-site", Err(403));
        with("sec-fetch-site", "same-site", Err(403));
        check_request("/c/1", &[host, ("sec-fetch-site", "cross-site")], Ok(()));
    }
}
