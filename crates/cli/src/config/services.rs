//! Others that the server works with: what takes letters, and organisations whose members sign in.

use server::{Mail, MailSecurity, Provider};
use url::Url;

use super::edge::is_email;
use super::mistakes::Place;
use super::secret;
use super::table::PROVIDERS;
use super::{Checker, spoken};

/// Settings of letters that make no sense without a server.
const OF_MAIL: [&str; 7] = [
    "mail.port",
    "mail.security",
    "mail.server_ca",
    "mail.username",
    "mail.password",
    "mail.password_file",
    "mail.from",
];

/// Most providers: each is a button on a page.
const PROVIDERS_MAX: usize = 20;

impl Checker<'_> {
    /// How letters are sent; their links take a public address.
    pub(super) fn mail(&mut self, has_url: bool) -> Option<Mail> {
        let raw = self.raw;
        let Some(server) = raw.text("mail.server") else {
            for name in OF_MAIL {
                self.useless(name, "mail.server", "");
            }
            return None;
        };
        let because = raw.place("mail.server");
        if !has_url {
            self.missing("public_url", &because, "with mail.server: it stands in the links of letters");
        }
        self.missing("mail.from", &because, "with mail.server");
        if url::Host::parse(server).is_err() {
            self.mistake("mail.server", &format!("must be a name such as smtp.example.org, got {server:?}"));
        }
        let from = raw.text("mail.from").unwrap_or_default();
        let address = from
            .strip_suffix('>')
            .and_then(|from| from.rsplit_once('<'))
            .map_or(from, |(_, address)| address);
        if !from.is_empty() && !is_email(address) {
            let allowed = "must be an address such as Cachalot <chat@example.org>";
            self.mistake("mail.from", &format!("{allowed}, got {from:?}"));
        }
        let (security, port) = match raw.text("mail.security") {
            Some("starttls") => (MailSecurity::StartTls, 587),
            Some("none") => (MailSecurity::None, 25),
            _ => (MailSecurity::Tls, 465),
        };
        if security == MailSecurity::None && !matches!(server, "localhost" | "127.0.0.1" | "::1" | "[::1]") {
            let allowed = "may be none only for a server on this machine, such as localhost";
            self.mistake("mail.security", &format!("{allowed}, got {server:?}"));
        }
        if security == MailSecurity::None && raw.is_set("mail.server_ca") {
            self.mistake("mail.server_ca", "is of no use with mail.security = \"none\"");
        }
        Some(Mail {
            server: server.to_owned(),
            port: raw.whole("mail.port").map_or(port, |port| port as u16),
            security,
            server_ca: raw.text("mail.server_ca").map(|given| raw.place("mail.server_ca").path(given)),
            login: self.mail_login(),
            from: from.to_owned(),
        })
    }

    /// A collector's address, to which the path of traces is added as OpenTelemetry says (OTLP 1.8, section OTLP/HTTP).
    pub(super) fn collector(&mut self) -> Option<Url> {
        let given = self.raw.text("telemetry.otlp_endpoint")?;
        let url = Url::parse(given).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
        });
        let traces = url.and_then(|mut url| {
            url.path_segments_mut().ok()?.pop_if_empty().extend(["v1", "traces"]);
            Some(url)
        });
        if traces.is_none() {
            let allowed = "must be the address of a collector such as http://127.0.0.1:4318";
            self.mistake("telemetry.otlp_endpoint", &format!("{allowed}, got {given:?}"));
        }
        traces
    }

    fn mail_login(&mut self) -> Option<(String, String)> {
        let password = self.secret("mail.password");
        let has_password = self.raw.is_set("mail.password") || self.raw.is_set("mail.password_file");
        match self.raw.text("mail.username") {
            Some(name) => {
                if !has_password {
                    self.missing(
                        "mail.password",
                        &self.raw.place("mail.username"),
                        "with mail.username, or mail.password_file",
                    );
                }
                password.map(|password| (name.to_owned(), password))
            }
            None => {
                for name in ["mail.password", "mail.password_file"] {
                    self.useless(name, "mail.username", "");
                }
                None
            }
        }
    }

    /// A secret: as it is, or from the file that `name_file` names.
    fn secret(&mut self, name: &str) -> Option<String> {
        let in_file = format!("{name}_file");
        let (own, place) = (self.raw.text(name), self.raw.place(name));
        if own.is_some() && self.raw.is_set(&in_file) {
            self.mistake(&in_file, &format!("can't be set beside {}: it is one or the other", spoken(name)));
            return None;
        }
        if let (Some(own), Place::File(path, _)) = (own, &place)
            && let Some(mode) = self.file_mode.filter(|mode| secret::is_exposed(*mode))
        {
            let text = format!(
                "stands in a file with mode {mode:03o}, which others may read: chmod 600 {}, or set {} instead",
                path.display(),
                spoken(&in_file)
            );
            self.mistake(name, &text);
            return Some(own.to_owned());
        }
        if let Some(own) = own {
            return Some(own.to_owned());
        }
        let path = self.raw.place(&in_file).path(self.raw.text(&in_file)?);
        match secret::read(&path) {
            Ok(secret) => Some(secret),
            Err(why) => {
                self.mistake(&in_file, &format!("can't be used: {why}"));
                None
            }
        }
    }

    /// Organisations whose members sign in.
    pub(super) fn providers(&mut self, has_url: bool) -> Vec<Provider> {
        let places = self.raw.begins(PROVIDERS);
        if let Some(place) = places.get(PROVIDERS_MAX) {
            self.mistakes
                .add(place, format!("there may be at most {PROVIDERS_MAX} [[oidc]], got {}", places.len()));
        }
        let mut providers: Vec<Provider> = Vec::new();
        for (number, place) in places.iter().enumerate().take(PROVIDERS_MAX) {
            if !has_url {
                self.missing(
                    "public_url",
                    place,
                    "with [[oidc]]: it is where the provider sends people back to",
                );
            }
            let name = |key: &str| format!("oidc.{number}.{key}");
            for key in ["id", "issuer", "client_id"] {
                self.missing(&name(key), place, "in each [[oidc]]");
            }
            let provider = self.provider(&name);
            if let Some(provider) = provider {
                if providers.iter().any(|other| other.id == provider.id) {
                    self.mistake(
                        &name("id"),
                        &format!("must be another for each provider, got {:?} twice", provider.id),
                    );
                }
                providers.push(provider);
            }
        }
        providers
    }

    fn provider(&mut self, name: &dyn Fn(&str) -> String) -> Option<Provider> {
        let raw = self.raw;
        let private = raw.flag(&name("private"));
        let id = raw.text(&name("id"));
        let is_id = |id: &&str| {
            id.len() <= 32
                && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        if let Some(id) = id.filter(|id| !is_id(id)) {
            let allowed = "must be at most 32 lower-case letters, digits and -";
            self.mistake(&name("id"), &format!("{allowed}, got {id:?}"));
        }
        let issuer = raw.text(&name("issuer")).and_then(|given| {
            let url = Url::parse(given)
                .ok()
                .filter(|url| url.has_host() && url.query().is_none() && url.fragment().is_none());
            let url = url.filter(|url| url.scheme() == "https" || (private && url.scheme() == "http"));
            if url.is_none() {
                let allowed =
                    "must be an address that begins with https:// (or, with private = true, http://)";
                self.mistake(&name("issuer"), &format!("{allowed}, got {given:?}"));
            }
            url
        });
        let mut email_domains = Vec::new();
        for given in raw.list(&name("email_domains")) {
            match url::Host::parse(given) {
                Ok(url::Host::Domain(domain)) => email_domains.push(domain),
                _ => self.mistake(
                    &name("email_domains"),
                    &format!("must be names such as example.org, got {given:?}"),
                ),
            }
        }
        let client_secret = self.secret(&name("client_secret"));
        let id = id?.to_owned();
        Some(Provider {
            name: raw.text(&name("name")).unwrap_or(&id).to_owned(),
            id,
            issuer: issuer?,
            client_id: raw.text(&name("client_id"))?.to_owned(),
            client_secret,
            creates_accounts: raw.flag(&name("creates_accounts")),
            email_domains,
            private,
        })
    }
}
