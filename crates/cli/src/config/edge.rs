//! How the server is reached: addresses, name, certificate, proxies.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use ipnet::IpNet;
use server::{Acme, CertificateFiles, ForwardedHeader, Proxy, Tls};
use url::Url;

use super::{Certificate, Checker};

pub(super) struct Edge {
    pub(super) listen: Vec<SocketAddr>,
    pub(super) public_url: Option<Url>,
    /// Names of the certificates to order.
    pub(super) domains: Vec<String>,
    pub(super) certificate: Option<Certificate>,
    pub(super) proxy: Option<Proxy>,
}

/// Settings that make no sense without `tls.acme`.
const OF_ACME: [&str; 4] = ["tls.domains", "tls.email", "tls.directory", "tls.directory_ca"];

impl Checker<'_> {
    pub(super) fn edge(&mut self) -> Edge {
        let proxy = self.proxy();
        let given = self.public_url();
        let mut edge =
            Edge { listen: Vec::new(), public_url: given, domains: Vec::new(), certificate: None, proxy };
        if self.raw.flag("tls.acme") {
            self.acme(&mut edge);
        } else {
            self.files(&mut edge);
        }
        let tls = edge.certificate.is_some() || self.raw.flag("tls.acme");
        self.check_url(&edge, tls);
        let may_be = |name| self.raw.is_set(name) || self.raw.is_broken(name);
        edge.listen =
            self.listen(tls || may_be("tls.certificate") || may_be("tls.acme") || may_be("proxy.trusted"));
        if self.raw.flag("tls.acme") && !edge.listen.iter().any(|address| address.port() == 443) {
            let warning = "the ACME server connects to port 443, which is not listened on: something must forward it here";
            self.warnings.push(warning.to_owned());
        }
        edge
    }

    fn public_url(&mut self) -> Option<Url> {
        let given = self.raw.text("public_url")?;
        let url = Url::parse(given).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.host_str().is_some_and(|host| !host.is_empty())
                && (url.username(), url.password(), url.path()) == ("", None, "/")
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if url.is_none() {
            let allowed =
                "must be https:// and a host, such as https://chat.example.org, and nothing after it";
            self.mistake("public_url", &format!("{allowed}, got {given:?}"));
        }
        url
    }

    fn check_url(&mut self, edge: &Edge, tls: bool) {
        if edge.proxy.is_some() {
            self.missing(
                "public_url",
                &self.raw.place("proxy.trusted"),
                "with proxy.trusted: only requests to it are answered to others",
            );
        }
        let Some(url) = &edge.public_url else { return };
        let is_https = url.scheme() == "https";
        if tls && !is_https {
            self.mistake(
                "public_url",
                &format!("must begin with https:// where there is [tls], got {:?}", url.as_str()),
            );
        } else if !is_https && !is_here(url) {
            let warning = "public_url is http: whoever is on the way reads every password and conversation";
            self.warnings.push(warning.to_owned());
        } else if is_https && !tls && edge.proxy.is_none() {
            let warning = "public_url is https, but there is neither [tls] nor proxy.trusted: whoever has TLS in front of \
                           this server is taken for one person, whose failed logins count for all";
            self.warnings.push(warning.to_owned());
        }
    }

    fn proxy(&mut self) -> Option<Proxy> {
        if !self.raw.is_set("proxy.trusted") {
            self.useless("proxy.header", "proxy.trusted", "");
            self.useless("proxy.protocol", "proxy.trusted", "");
            return None;
        }
        let mut trusted = Vec::new();
        for given in self.raw.list("proxy.trusted") {
            let network = given.parse::<IpNet>().or_else(|_| given.parse::<IpAddr>().map(IpNet::from));
            match network {
                Ok(network) if network.prefix_len() > 0 => trusted.push(network.trunc()),
                Ok(_) => {
                    self.mistake("proxy.trusted", &format!("would let anybody be anybody, got {given:?}"));
                }
                Err(_) => {
                    let allowed = "must be addresses or networks such as 10.0.0.2 or 10.0.0.0/24";
                    self.mistake("proxy.trusted", &format!("{allowed}, got {given:?}"));
                }
            }
        }
        let header = match self.raw.text("proxy.header") {
            Some("forwarded") => ForwardedHeader::Forwarded,
            _ => ForwardedHeader::XForwardedFor,
        };
        if trusted.is_empty() {
            None
        } else {
            Some(Proxy { trusted, header, protocol: self.raw.flag("proxy.protocol") })
        }
    }

    fn files(&mut self, edge: &mut Edge) {
        for name in OF_ACME {
            self.useless(name, "tls.acme", " = true");
        }
        let (certificate, key) = (self.raw.place("tls.certificate"), self.raw.place("tls.key"));
        if self.raw.is_set("tls.certificate") || self.raw.is_set("tls.key") {
            let because = if certificate.is_set() { &certificate } else { &key };
            self.missing("tls.key", because, "with tls.certificate");
            self.missing("tls.certificate", because, "with tls.key");
            self.missing("public_url", because, "with tls.certificate: it is what browsers must ask for");
        }
        let (Some(chain), Some(secret)) = (self.raw.text("tls.certificate"), self.raw.text("tls.key")) else {
            return;
        };
        let files = CertificateFiles { certificate: certificate.path(chain), key: key.path(secret) };
        let name = edge.public_url.as_ref().and_then(Url::host_str);
        match Tls::from_files(files, name, self.context.clock.unix_ms()) {
            Ok(tls) => {
                self.warnings.extend_from_slice(tls.warnings());
                edge.certificate = Some(Certificate::Files(Box::new(tls)));
            }
            Err(error) => self.mistakes.add(&certificate, format!("[tls] can't be used: {error}")),
        }
    }

    fn acme(&mut self, edge: &mut Edge) {
        let raw = self.raw;
        let because = raw.place("tls.acme");
        for name in ["tls.certificate", "tls.key"] {
            if raw.is_set(name) {
                self.mistake(name, "can't be set beside tls.acme = true: it is either files or ACME");
            }
        }
        self.missing("tls.domains", &because, "with tls.acme");
        let mut domains = Vec::new();
        for given in raw.list("tls.domains") {
            match domain(given) {
                Some(domain) => domains.push(domain),
                None => {
                    let allowed = "must be names such as chat.example.org, without * and no addresses";
                    self.mistake("tls.domains", &format!("{allowed}, got {given:?}"));
                }
            }
        }
        if let Some(email) = raw.text("tls.email")
            && !is_email(email)
        {
            self.mistake(
                "tls.email",
                &format!("must be an address such as admin@example.org, got {email:?}"),
            );
        }
        let directory = raw.text("tls.directory").unwrap_or_default();
        if !raw.is_broken("tls.directory") && !Url::parse(directory).is_ok_and(|url| url.scheme() == "https")
        {
            self.mistake(
                "tls.directory",
                &format!("must be an address that begins with https://, got {directory:?}"),
            );
        }
        if edge.public_url.is_none()
            && !raw.is_set("public_url")
            && let Some(first) = domains.first()
        {
            edge.public_url = Url::parse(&format!("https://{first}")).ok();
        }
        let host = edge.public_url.as_ref().and_then(Url::host_str);
        if let Some(host) = host
            && !domains.is_empty()
            && !domains.iter().any(|domain| domain == host)
        {
            self.warnings.push(format!(
                "tls.domains has no {host}, the host of public_url: its visitors get a wrong certificate"
            ));
        }
        edge.domains = domains.clone();
        edge.certificate = Some(Certificate::Acme(Acme {
            domains,
            email: raw.text("tls.email").map(str::to_owned),
            directory: directory.to_owned(),
            directory_ca: raw.text("tls.directory_ca").map(|given| raw.place("tls.directory_ca").path(given)),
            folder: self.context.home.join("acme"),
        }));
    }

    /// Addresses to listen on. Those beyond loopback must be `covered` by TLS or a proxy.
    fn listen(&mut self, covered: bool) -> Vec<SocketAddr> {
        let mut listen = Vec::new();
        for given in self.raw.list("listen") {
            let Some(address) = given.to_socket_addrs().ok().and_then(|mut addresses| addresses.next())
            else {
                let allowed = "must be addresses and ports such as 127.0.0.1:8080 or [::1]:8080";
                self.mistake("listen", &format!("{allowed}, got {given:?}"));
                continue;
            };
            if listen.contains(&address) && address.port() != 0 {
                self.mistake("listen", &format!("has {given:?} twice"));
            }
            if !address.ip().to_canonical().is_loopback() && !covered {
                self.mistake("listen", &beyond_loopback(given, address));
            }
            listen.push(address);
        }
        if listen.is_empty() && !self.raw.is_broken("listen") && self.raw.list("listen").is_empty() {
            self.mistake("listen", "must have at least one address");
        }
        listen
    }
}

/// What is wrong with listening there, and the ways out.
fn beyond_loopback(given: &str, address: SocketAddr) -> String {
    let shown = if given == address.to_string() { given.to_owned() } else { format!("{given} ({address})") };
    let port = address.port();
    format!(
        "has {shown}, which can be reached from other machines, and without TLS whoever is on the way reads every \
         password and conversation. Set [tls] (certificate and key, or acme = true), or proxy.trusted if a reverse proxy \
         has the TLS; or listen on 127.0.0.1:{port} and forward it, as with ssh -L {port}:127.0.0.1:{port} HOST"
    )
}

/// Whether an address is this machine's own.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A name for which certificates are given, as browsers send it.
fn domain(given: &str) -> Option<String> {
    let Ok(url::Host::Domain(name)) = url::Host::parse(given) else { return None };
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.contains('.') && name.len() <= 253 && name.split('.').all(is_label)).then_some(name)
}

pub(super) fn is_email(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    parts.is_some_and(|(name, domain)| {
        !name.is_empty() && !domain.is_empty() && !text.contains([' ', '<', '>', ','])
    })
}
