use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openidconnect::core::CoreProviderMetadata;
use openidconnect::{DiscoveryError, IssuerUrl, RedirectUrl, SyncHttpClient};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::Reason;
use super::http::Client;
use crate::settings::Provider;

/// How long what a provider says about itself is believed.
const FRESH: Duration = Duration::from_mins(10);
/// How long it is left alone after it did not say anything about itself.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// Conversations with one provider at once: each holds a thread for as long as the provider takes.
const TURNS: usize = 2;
/// Those that have a turn or wait for one.
const PLACES: usize = 32;

/// A provider, how it is asked, and what it said about itself.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) settings: Provider,
    /// Where it sends browsers back to.
    pub(super) callback: RedirectUrl,
    pub(super) client: Client,
    pub(super) turns: Turns,
    said: Mutex<Said>,
}

/// What came of asking a provider about itself.
#[derive(Debug, Default)]
struct Said {
    found: Option<Found>,
    /// Why it last said nothing, and when.
    failed: Option<(Reason, Duration)>,
}

/// Turns at a provider, for some at once; few wait, and none of them for another provider's.
#[derive(Debug)]
pub(super) struct Turns {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _turn: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Turns {
    fn new() -> Self {
        Self { turns: Arc::new(Semaphore::new(TURNS)), places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Waits for a turn; `None` at once if too many do.
    pub(super) async fn take(&self) -> Option<Turn> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
        Some(Turn { _turn: turn, _place: place })
    }
}

/// Its endpoints and keys, and when they were asked for.
#[derive(Debug, Clone)]
struct Found {
    metadata: Arc<CoreProviderMetadata>,
    at: Duration,
}

impl Known {
    pub(super) fn new(settings: &Provider, public_url: &Url) -> Self {
        let mut callback = public_url.clone();
        callback.set_path(&format!(
            "{}/oidc/{}/callback",
            public_url.path().trim_end_matches('/'),
            settings.id
        ));
        Self {
            callback: RedirectUrl::from_url(callback),
            client: Client::new(settings.private),
            settings: settings.clone(),
            turns: Turns::new(),
            said: Mutex::default(),
        }
    }

    /// Its endpoints and keys, asked for anew if that was long ago or before `since`, but not soon after it failed.
    /// Blocks, one asks at a time.
    pub(super) fn metadata(
        &self,
        now: Duration,
        since: Option<Duration>,
    ) -> Result<(Arc<CoreProviderMetadata>, Duration), Reason> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |found: &&Found| {
            now.saturating_sub(found.at) < FRESH && since.is_none_or(|since| found.at > since)
        };
        if let Some(found) = said.found.as_ref().filter(fresh) {
            return Ok((Arc::clone(&found.metadata), found.at));
        }
        if let Some((reason, at)) = &said.failed
            && now.saturating_sub(*at) < LEFT_ALONE
        {
            return Err(reason.clone());
        }
        match discover(&self.settings.issuer, &|request| self.client.ask(request)) {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                said.found = Some(Found { metadata: Arc::clone(&metadata), at: now });
                said.failed = None;
                Ok((metadata, now))
            }
            Err(error) => {
                // What a provider says about itself is no secret, nor is what was wrong with it.
                let reason = Reason::from(format!("it did not say how to sign in: {}", chain(&error)));
                said.failed = Some((reason.clone(), now));
                Err(reason)
            }
        }
    }
}

/// Asks a provider for its endpoints and its keys.
pub(super) fn discover<C: SyncHttpClient>(
    issuer: &Url,
    client: &C,
) -> Result<CoreProviderMetadata, DiscoveryError<C::Error>> {
    let ask = |text: &str| {
        let issuer = IssuerUrl::new(text.to_owned()).map_err(DiscoveryError::UrlParse)?;
        CoreProviderMetadata::discover(&issuer, client)
    };
    let text = issuer.as_str();
    // A provider's name must be its own to the letter, and our settings don't tell `https://host` from `https://host/`.
    match text.strip_suffix('/').filter(|_| issuer.path() == "/") {
        Some(bare) => match ask(bare) {
            Err(DiscoveryError::Validation(_)) => ask(text),
            other => other,
        },
        None => ask(text),
    }
}

/// An error with what caused it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::task::{Context, Waker};

    use openidconnect::{HttpRequest, HttpResponse};
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://login.acme.example";

    /// What a provider at a public address says about itself, which we can't be in a test.
    fn document(issuer: &str, inner: &str) -> Vec<u8> {
        let document = json!({
            "issuer": issuer,
            "authorization_endpoint": "https://login.acme.example/authorize",
            "token_endpoint": format!("{inner}/token"),
            "jwks_uri": format!("{inner}/keys"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        serde_json::to_vec(&document).unwrap()
    }

    #[test]
    fn endpoints_that_a_provider_names_are_guarded_like_its_own_address() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = Client::new(false);
        for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]"] {
            for scheme in ["https", "http"] {
                let inner = format!("{scheme}://{host}:{port}");
                let ask = |request: HttpRequest| -> Result<HttpResponse, ureq::Error> {
                    if request.uri().path().starts_with("/.well-known/") {
                        return Ok(HttpResponse::new(document(ISSUER, &inner)));
                    }
                    client.ask(request)
                };
                let error = discover(&Url::parse(ISSUER).unwrap(), &ask).unwrap_err();
                let DiscoveryError::Request(error) = error else { panic!("{error:?}") };
                let refused = match (&error, scheme) {
                    (ureq::Error::Io(error), "https") => error.kind() == std::io::ErrorKind::PermissionDenied,
                    (ureq::Error::RequireHttpsOnly(_), "http") => true,
                    _ => false,
                };
                assert!(refused, "{inner}: {error:?}");
            }
        }
        assert!(listener.accept().is_err(), "nobody was called");
    }

    #[test]
    fn a_provider_may_call_itself_with_or_without_a_slash_but_not_something_else() {
        let check = |issuer: &str, says: &str, expected: bool| {
            let ask = |request: HttpRequest| -> Result<HttpResponse, ureq::Error> {
                let body = if request.uri().path().starts_with("/.well-known/") {
                    document(says, "https://login.acme.example")
                } else {
                    b"{\"keys\":[]}".to_vec()
                };
                Ok(HttpResponse::new(body))
            };
            let found = discover(&Url::parse(issuer).unwrap(), &ask);
            assert_eq!(found.is_ok(), expected, "{issuer} {says}");
            if let Ok(found) = found {
                assert_eq!(found.issuer().as_str(), says);
            }
        };
        check(ISSUER, "https://login.acme.example", true);
        check(ISSUER, "https://login.acme.example/", true);
        check(ISSUER, "https://login.evil.example", false);
        check(ISSUER, "https://login.acme.example/realm", false);
    }

    #[tokio::test]
    async fn few_have_a_turn_and_few_wait() {
        let turns = Turns::new();
        let mut taken = Vec::new();
        for _ in 0..TURNS {
            taken.push(turns.take().await.unwrap());
        }
        let mut waiting: Vec<_> = (TURNS..PLACES).map(|_| Box::pin(turns.take())).collect();
        let mut context = Context::from_waker(Waker::noop());
        for other in &mut waiting {
            assert!(other.as_mut().poll(&mut context).is_pending());
        }
        assert!(turns.take().await.is_none());
        drop(taken.pop());
        assert!(waiting[0].as_mut().poll(&mut context).is_ready());
        // Another provider's are its own.
        assert!(Turns::new().take().await.is_some());
    }

    #[test]
    fn where_a_provider_sends_browsers_back_to() {
        let settings = Provider {
            id: "acme".to_owned(),
            name: "Acme".to_owned(),
            issuer: Url::parse(ISSUER).unwrap(),
            client_id: "cachalot".to_owned(),
            client_secret: None,
            creates_accounts: false,
            email_domains: Vec::new(),
            private: false,
        };
        for (public_url, expected) in [
            ("https://chat.example", "https://chat.example/oidc/acme/callback"),
            ("https://chat.example:8443/", "https://chat.example:8443/oidc/acme/callback"),
        ] {
            let known = Known::new(&settings, &Url::parse(public_url).unwrap());
            assert_eq!(known.callback.as_str(), expected);
        }
    }
}
