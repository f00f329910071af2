//! One file over HTTP, gone on with where an earlier run stopped.

use std::time::Duration;

use ureq::Agent;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response};
use ureq::tls::{RootCerts, TlsConfig};

use super::error::PullError;
use super::partial::{CopyError, Origin, Partial};
use super::progress::Progress;
use super::{Settings, space};

/// A connection that breaks is made again this often, provided that every one brings something.
const RECONNECTIONS_MAX: usize = 100;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What to fetch.
pub(super) struct Request {
    pub(super) url: String,
    /// Sent as `Authorization: Bearer`, only to the URL's own host.
    pub(super) token: Option<String>,
    /// The exact size, when it is known.
    pub(super) bytes: Option<u64>,
}

/// How one connection ended.
enum Outcome {
    Complete,
    /// What is there does not belong to what the server has now.
    StartOver,
    Broken {
        problem: String,
        total: Option<u64>,
    },
}

/// Makes the client: proxies from the environment, the system's certificates, no waiting for ever.
pub(super) fn agent(settings: &Settings) -> Agent {
    let stall = settings.stall;
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .redirect_auth_headers(RedirectAuthHeaders::SameHost)
        .accept_encoding("identity")
        .user_agent(concat!("cachalot/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(stall))
        .timeout_per_read(Some(stall))
        .timeout_per_write(Some(stall))
        .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build());
    let config = if settings.proxies { config } else { config.proxy(None) };
    config.build().into()
}

/// Fetches the file into `partial`, whole.
pub(super) fn download(
    agent: &Agent,
    request: &Request,
    partial: &mut Partial,
    progress: &mut dyn Progress,
) -> Result<(), PullError> {
    let mut started_over = false;
    for connection in 0..RECONNECTIONS_MAX {
        let before = partial.length();
        let outcome = match connect(agent, request, partial, progress) {
            // The network went away in the middle of a download.
            Err(PullError::Network { problem, .. }) if connection > 0 => {
                Outcome::Broken { problem, total: None }
            }
            other => other?,
        };
        progress.end();
        match outcome {
            Outcome::Complete => return Ok(()),
            Outcome::StartOver if !started_over => {
                started_over = true;
                progress.say("The server has another file than before: starting over");
                partial.restart()?;
            }
            Outcome::StartOver => {
                let problem = "the server's answers do not fit together".to_owned();
                return Err(PullError::Interrupted { at: partial.length(), total: None, problem });
            }
            Outcome::Broken { .. } if partial.length() > before => {
                progress.say("The connection broke: going on where it stopped");
            }
            Outcome::Broken { problem, total } => {
                return Err(PullError::Interrupted { at: partial.length(), total, problem });
            }
        }
    }
    let problem = format!("{RECONNECTIONS_MAX} connections broke");
    Err(PullError::Interrupted { at: partial.length(), total: None, problem })
}

/// One connection: asks for what is missing and takes what comes.
fn connect(
    agent: &Agent,
    request: &Request,
    partial: &mut Partial,
    progress: &mut dyn Progress,
) -> Result<Outcome, PullError> {
    let mut call = agent.get(&request.url);
    if let Some(token) = &request.token {
        call = call.header("authorization", format!("Bearer {token}"));
    }
    let origin = partial.origin();
    // Without a validator only a checksum can tell whether old and new parts fit; then the exact size is known too.
    if partial.length() > 0 && origin.validator.is_none() && request.bytes.is_none() {
        partial.restart()?;
    }
    if partial.length() > 0 {
        call = call.header("range", format!("bytes={}-", partial.length()));
        if let Some(validator) = &origin.validator {
            call = call.header("if-range", validator);
        }
    }
    let response = call.call().map_err(|error| network(&request.url, &error))?;
    let have = partial.length();
    let Some(total) = accept(&response, request, partial, &origin)? else { return Ok(Outcome::StartOver) };
    if total == Some(partial.length()) && response.status() == 416 {
        return Ok(Outcome::Complete);
    }
    if have > 0 && partial.length() == 0 {
        progress.say("The server sends the file from its beginning: starting over");
    }
    check_total(request, partial, total)?;
    progress.begin("Downloading", partial.length(), total);
    take_body(response, partial, total, progress)
}

/// Reads status and headers. Gives the file's total size if the server tells it, `None` when what is there is of no
/// use; a server that sends everything makes `partial` empty.
#[expect(clippy::option_option, reason = "outer: whether to go on, inner: whether the size is known")]
fn accept(
    response: &Response<ureq::Body>,
    request: &Request,
    partial: &mut Partial,
    origin: &Origin,
) -> Result<Option<Option<u64>>, PullError> {
    let headers = response.headers();
    let validator = validator(headers);
    match response.status().as_u16() {
        200 => {
            partial.restart()?;
            partial.set_origin(&Origin { validator })?;
            Ok(Some(number(headers, "content-length")))
        }
        206 => {
            let range = content_range(headers);
            let same = origin.validator.is_none() || validator.is_none() || validator == origin.validator;
            match range {
                Some((Some(start), total)) if start == partial.length() && same => Ok(Some(total)),
                _ => Ok(None),
            }
        }
        416 if partial.length() > 0 => match content_range(headers) {
            Some((None, Some(total))) if total == partial.length() => Ok(Some(Some(total))),
            _ => Ok(None),
        },
        status => Err(PullError::Status { status, hint: hint(status, request) }),
    }
}

fn hint(status: u16, request: &Request) -> &'static str {
    match (status, request.token.is_some()) {
        (401 | 403, true) => " (the token in HF_TOKEN may not read this file)",
        (401 | 403, false) => {
            " (not allowed; for a gated Hugging Face repository set HF_TOKEN to a token that may read it)"
        }
        (404 | 410, _) => " (there is no such file)",
        (429, _) => " (too many requests: try again later)",
        (500..=599, _) => " (the server has a problem: try again later)",
        _ => "",
    }
}

/// Size and room, before the first byte.
fn check_total(request: &Request, partial: &Partial, total: Option<u64>) -> Result<(), PullError> {
    if let (Some(expected), Some(given)) = (request.bytes, total)
        && expected != given
    {
        return Err(PullError::WrongSize { expected, given });
    }
    let directory = partial.path().parent().unwrap_or(partial.path());
    space::check(directory, total.unwrap_or(0).saturating_sub(partial.length()))
}

fn take_body(
    response: Response<ureq::Body>,
    partial: &mut Partial,
    total: Option<u64>,
    progress: &mut dyn Progress,
) -> Result<Outcome, PullError> {
    let mut body = response.into_body().into_reader();
    // A body without a size may be endless: the room is looked at again and again.
    let directory = partial.path().parent().map(std::path::Path::to_owned).unwrap_or_default();
    loop {
        const BETWEEN_CHECKS_BYTES: u64 = 64 << 20;
        let before = partial.length();
        let most = total.map_or(BETWEEN_CHECKS_BYTES, |total| total.saturating_sub(before));
        match partial.append_all(&mut body, most, progress) {
            Ok(()) => {}
            Err(CopyError::Local(error)) => return Err(error),
            Err(CopyError::Source(error)) => {
                return Ok(Outcome::Broken { problem: error.to_string(), total });
            }
        }
        match total {
            Some(total) if partial.length() == total => return Ok(Outcome::Complete),
            Some(_) => return Ok(Outcome::Broken { problem: "it was closed early".to_owned(), total }),
            None if partial.length() - before < most => return Ok(Outcome::Complete),
            None => space::check(&directory, BETWEEN_CHECKS_BYTES)?,
        }
    }
}

/// What can stand in `If-Range`: a strong `ETag`, else the date.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    text("etag").filter(|tag| tag.starts_with('"')).or_else(|| text("last-modified"))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// `bytes 5-9/10` is `(Some(5), Some(10))`, `bytes */10` is `(None, Some(10))`.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let text = headers.get("content-range")?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let start = match range {
        "*" => None,
        range => Some(range.split_once('-')?.0.parse().ok()?),
    };
    Some((start, total.parse().ok()))
}

fn network(url: &str, error: &ureq::Error) -> PullError {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?']).next().unwrap_or(url);
    let problem = match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        // Resolvers tell through the standard library, which has no kind for it.
        error if matches!(error, ureq::Error::HostNotFound) || error.to_string().contains("lookup") => {
            "the host was not found (is there a network?)".to_owned()
        }
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    PullError::Network { host: host.to_owned(), problem }
}
