use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::accounts::Machine;
use crate::error::{ApiError, shortened};

/// For `/v1`, which has no keys yet, being on this machine is the only credential, and a browser on this machine runs other
/// people's pages. A page that points its own name at 127.0.0.1 (DNS rebinding) is told by the `Host` it sends; a page
/// of another origin by `Origin` and `Sec-Fetch-Site`.
///
/// No page reaches the control socket, and there is no name to call it by.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    if Machine::made(&request) {
        return next.run(request).await;
    }
    match check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
    let host = the_host(headers)?;
    if !is_loopback(host) || uri.authority().is_some_and(|authority| !is_loopback(authority.as_str())) {
        let allowed = "only requests to localhost, 127.0.0.1 or [::1] are answered until there is TLS";
        let given = uri.authority().map(Authority::as_str).filter(|name| !is_loopback(name));
        return Err(refused("forbidden_host", allowed, given.unwrap_or(host)));
    }
    for origin in headers.get_all(header::ORIGIN) {
        let same = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        if !same.is_some_and(|same| same.eq_ignore_ascii_case(host)) {
            let given = String::from_utf8_lossy(origin.as_bytes());
            return Err(refused("forbidden_origin", "only pages of this server may call it", &given));
        }
    }
    let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
    // Links from elsewhere may open the page; that is not a call.
    let api = ["/api/", "/v1/", "/metrics"].iter().any(|prefix| uri.path().starts_with(prefix));
    if api && let Some(site @ ("cross-site" | "same-site")) = site {
        return Err(refused("forbidden_origin", "only pages of this server may call it", site));
    }
    Ok(())
}

fn refused(code: &'static str, allowed: &str, given: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, code, format!("{allowed}, got {:?}", shortened(given)))
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

/// Whether `name[:port]` is this machine whatever a resolver says.
fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let name = authority.host();
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if let Some(name) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback());
    }
    name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_request(path: &str, fields: &[(&'static str, &str)], expected: Result<(), u16>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let found =
            check(&path.parse().unwrap(), &headers).map_err(|error| error.into_response().status().as_u16());
        assert_eq!(found, expected, "{path} {fields:?}");
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
