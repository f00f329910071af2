use std::error::Error as _;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{Error, PoolConfig};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use tokio_rustls::rustls;

use super::Letter;
use super::texts::{Text, text};
use crate::settings::{Mail, MailSecurity};

/// Longest that one answer of the mail server is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How a certificate begins in PEM.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The way to the mail server.
pub(crate) struct Post {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    site: String,
    base: String,
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("site", &self.site).finish_non_exhaustive()
    }
}

/// Why a letter was not taken, in words of the program's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may be taken later.
    Later(&'static str),
    /// It will never be.
    Never(&'static str),
}

impl Post {
    /// Nothing is connected before there is a letter. `site` and `base` stand in the letters.
    ///
    /// # Errors
    /// What is wrong with the settings, in words for the operator.
    pub(crate) fn new(mail: &Mail, site: &str, base: &str) -> Result<Self, String> {
        let from = mail.from.parse().map_err(|_| {
            format!(
                "letters must be from an address such as Cachalot <chat@example.org>, not {:?}",
                mail.from
            )
        })?;
        let tls = match mail.security {
            MailSecurity::Tls => Tls::Wrapper(parameters(mail)?),
            MailSecurity::StartTls => Tls::Required(parameters(mail)?),
            MailSecurity::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&mail.server)
            .port(mail.port)
            .tls(tls)
            .timeout(Some(ANSWER_TIMEOUT))
            .pool_config(PoolConfig::new().max_size(1));
        if let Some((name, password)) = &mail.login {
            builder = builder.credentials(Credentials::new(name.clone(), password.clone()));
        }
        Ok(Self { transport: builder.build(), from, site: site.to_owned(), base: base.to_owned() })
    }

    /// Sends one letter.
    pub(super) async fn send(&self, letter: &Letter) -> Result<(), Failure> {
        let message = self.message(letter).ok_or(Failure::Never("it could not be written"))?;
        self.transport.send(message).await.map(|_| ()).map_err(|error| failure(&error))
    }

    fn message(&self, letter: &Letter) -> Option<Message> {
        let Text { subject, body } = text(&letter.subject, letter.language, &self.site, &self.base);
        let written = UNIX_EPOCH + Duration::from_millis(letter.written_ms.unsigned_abs());
        // Nobody's machine is to answer it (RFC 3834).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, letter.to.clone()))
            .date(written)
            .message_id(Some(format!("<{}@{}>", letter.name, self.from.email.domain())))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .ok()
    }
}

/// By whom the mail server is known.
fn parameters(mail: &Mail) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(mail.server.clone());
    if let Some(path) = &mail.server_ca {
        let unusable = |why: &str| {
            format!("the authority of the mail server in {} can't be used: {why}", path.display())
        };
        let text = std::fs::read(path).map_err(|error| unusable(&error.to_string()))?;
        // What holds none at all is read without an error too.
        if !text.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
            return Err(unusable("it holds no certificate in PEM"));
        }
        let authority = Certificate::from_pem(&text).map_err(|error| unusable(&error.to_string()))?;
        builder = builder.add_root_certificate(authority);
    }
    builder
        .build()
        .map_err(|error| format!("TLS to the mail server {:?} can't be set up: {error}", mail.server))
}

/// What the mail server said may repeat the address, so only the kind of it is kept.
fn failure(error: &Error) -> Failure {
    if error.is_permanent() {
        Failure::Never("the mail server refused it for good")
    } else if error.is_client() {
        Failure::Never(
            "the mail server can't do what is asked of it, such as STARTTLS or this way to sign in",
        )
    } else if error.is_transient() {
        Failure::Later("the mail server refused it for now")
    } else if is_tls(error) {
        Failure::Later(
            "TLS with the mail server failed; its certificate may not be trusted, or not be for its name",
        )
    } else if error.is_timeout() {
        Failure::Later("the mail server did not answer in time")
    } else {
        Failure::Later("the mail server could not be reached")
    }
}

/// A certificate that is not trusted comes as an error of the connection.
fn is_tls(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(found) = cause {
        let within = found.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if found.is::<rustls::Error>()
            || within.is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
        {
            return true;
        }
        cause = found.source();
    }
    error.is_tls()
}
