//! How providers are asked: by a client that reaches nothing but the public Internet, follows nobody elsewhere, and
//! takes neither much nor long.

use std::io;
use std::time::Duration;

use openidconnect::{HttpRequest, HttpResponse};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::address::is_global;

/// Longest that a provider may take for one answer, from the look-up of its name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer, in bytes.
const BYTES_MAX: u64 = 1 << 20;
/// Largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A client for one provider. `private` ones, of which an operator says so, may be anywhere and without TLS.
#[derive(Debug, Clone)]
pub(super) struct Client(Agent);

impl Client {
    pub(super) fn new(private: bool) -> Self {
        let config = Agent::config_builder()
            .https_only(!private)
            // The resolver's word is the last one: no proxy of the environment looks names up itself.
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_response_header_size(HEAD_BYTES_MAX)
            .max_idle_connections(0)
            .accept_encoding("identity")
            .user_agent(concat!("cachalot/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build();
        Self(Agent::with_parts(
            config,
            DefaultConnector::default(),
            Guarded { private, inner: DefaultResolver::default() },
        ))
    }

    /// Asks, on this thread.
    pub(super) fn ask(&self, request: HttpRequest) -> Result<HttpResponse, Error> {
        let (head, mut body) = self.0.run(request)?.into_parts();
        let bytes = body.with_config().limit(BYTES_MAX).read_to_vec()?;
        Ok(HttpResponse::from_parts(head, bytes))
    }
}

/// Looks names up and keeps the addresses that may be asked. What is connected to is what was looked at: nothing looks
/// the name up a second time.
#[derive(Debug)]
struct Guarded {
    private: bool,
    inner: DefaultResolver,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        if self.private {
            return Ok(found);
        }
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| is_global(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            let message = "the host is at a private address, and the provider is not set to be private";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message).into());
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn get(client: &Client, url: &str) -> Result<HttpResponse, Error> {
        client.ask(ureq::http::Request::get(url).body(Vec::new()).unwrap())
    }

    /// A listener on loopback that must not be called, and its port.
    fn never_called() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[test]
    fn what_only_this_machine_and_its_neighbours_reach_is_not_asked() {
        let (listener, port) = never_called();
        let client = Client::new(false);
        for host in [
            "127.0.0.1",
            "127.8.9.1",
            "0.0.0.0",
            "localhost",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "169.254.169.254",
            "[fe80::1]",
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "[fd00:ec2::254]",
        ] {
            let url = format!("https://{host}:{port}/.well-known/openid-configuration");
            let error = get(&client, &url).unwrap_err();
            let refused =
                matches!(&error, Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied);
            assert!(refused, "{host}: {error:?}");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody was called");
    }

    #[test]
    fn without_tls_only_private_providers_are_asked() {
        let (listener, port) = never_called();
        let error = get(&Client::new(false), &format!("http://127.0.0.1:{port}/")).unwrap_err();
        assert!(matches!(error, Error::RequireHttpsOnly(_)), "{error:?}");
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock, "nobody was called");
    }
}
