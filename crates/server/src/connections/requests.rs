//! The requests of one connection on their way to the router.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, Version, header};
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use tower::ServiceExt as _;

use super::bodies::{InFlight, Paced, Sent};
use super::lobby::{Lobby, Place, Through};
use crate::accounts::{Arrival, Machine, Peer, Standing};
use crate::app::State;
use crate::bulwark::Counted;
use crate::error::ApiError;
use crate::forwarded::Proxy;

/// The other end of a connection, which each of its requests is marked with. Requests that came over the network never
/// get the mark of the machine, whatever they say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin {
    Network(Arrival),
    Control,
}

impl Origin {
    fn mark<B>(self, proxy: Option<&Proxy>, request: &mut Request<B>) {
        match self {
            Self::Network(arrival) => {
                let peer = Peer::new(arrival, proxy, request.headers());
                request.extensions_mut().insert(peer);
            }
            Self::Control => Machine::mark(request),
        }
    }

    /// How far whoever asks is trusted, which the request is marked with.
    fn judge<B>(self, app: &State, request: &mut Request<B>) -> Standing {
        let standing = match self {
            Self::Network(_) => Standing::of(app, Peer::of(request.extensions()), request.headers()),
            Self::Control => Standing::MACHINE,
        };
        request.extensions_mut().insert(standing);
        standing
    }
}

/// A connection as its requests see it.
pub(super) struct Line {
    pub(super) origin: Origin,
    /// None for the control socket's, of which nothing is counted.
    pub(super) place: Option<Place>,
    pub(super) lobby: Arc<Lobby>,
    /// Whether a request on it has shown whose it is.
    is_known: AtomicBool,
    /// Whether its next request was counted when it was accepted.
    is_counted: AtomicBool,
}

impl Line {
    pub(super) fn new(origin: Origin, place: Option<Place>, lobby: Arc<Lobby>, is_counted: bool) -> Self {
        let (is_known, is_counted) = (AtomicBool::new(false), AtomicBool::new(is_counted));
        Self { origin, place, lobby, is_known, is_counted }
    }

    pub(super) fn lobby(&self) -> &Lobby {
        &self.lobby
    }

    fn began(&self, is_http2: bool) {
        let Some(place) = &self.place else { return };
        let now = self.lobby.now();
        place.activity.note_and(
            |watch| watch.began(is_http2, now),
            |is_first| {
                if is_first && !self.is_known() {
                    place.busy();
                }
                false
            },
        );
    }

    pub(super) fn ended(&self, is_given_up: bool) {
        let Some(place) = &self.place else { return };
        let now = self.lobby.now();
        place.activity.note_and(
            |watch| watch.ended(is_given_up, now),
            |is_last| {
                if is_last && !self.is_known() {
                    place.idle();
                }
                is_last || is_given_up
            },
        );
    }

    pub(super) fn claimed(&self, bytes: usize) {
        if let Some(place) = &self.place {
            place.activity.note(|watch| watch.claimed(bytes as u64));
        }
    }

    fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// Looks, until one of its requests has shown whose the connection is.
    fn recognise(&self, standing: Standing) {
        if let Some(place) = &self.place
            && !place.is_proxy
            && !self.is_known()
            && let Some(user) = standing.user()
            && place.recognise(user, standing.class)
        {
            self.is_known.store(true, Ordering::Relaxed);
        }
    }
}

/// What is wrong with a request before it has come to the router, which says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objection {
    /// It asks two hosts.
    TwoHosts,
    /// There are too many through a proxy from where it comes.
    TooMany,
}

impl Objection {
    pub(crate) fn of<B>(request: &Request<B>) -> Option<Self> {
        request.extensions().get().copied()
    }
}

impl From<Objection> for ApiError {
    fn from(objection: Objection) -> Self {
        match objection {
            Objection::TwoHosts => {
                let message = "Host, if it is there, must be what :authority is";
                Self::new(StatusCode::BAD_REQUEST, "invalid_host", message)
            }
            Objection::TooMany => {
                Self::too_many("too_many_requests", "too many requests at once from your network", 1)
            }
        }
    }
}

/// Answers the requests of one connection.
#[derive(Clone)]
pub(super) struct Requests {
    pub(super) line: Arc<Line>,
    pub(super) router: Router,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let line = Arc::clone(&self.line);
        line.began(request.version() == Version::HTTP_2);
        // From here on: this may be dropped before it is polled.
        let mut in_flight = InFlight::new(Arc::clone(&line));
        let named = name_host(&mut request);
        line.origin.mark(line.lobby.app.settings.proxy.as_ref(), &mut request);
        let standing = line.origin.judge(&line.lobby.app, &mut request);
        line.recognise(standing);
        if line.is_counted.swap(false, Ordering::Relaxed) {
            request.extensions_mut().insert(Counted);
        }
        match named.and_then(|()| through_proxy(&line, &request, standing)) {
            Ok(through) => in_flight.through = through,
            Err(objection) => {
                request.extensions_mut().insert(objection);
            }
        }
        let is_head = request.method() == Method::HEAD;
        let request = request.map(|body| Body::new(Paced::new(body, line)));
        let router = self.router.clone();
        Box::pin(async move {
            let response = router.oneshot(request).await?;
            Ok(response.map(|body| Body::new(Sent::new(body, in_flight, is_head))))
        })
    }
}

/// Gives a request of HTTP/2, which says in another place whom it asks, the field that one of HTTP/1 has (RFC 9113,
/// section 8.3.1).
fn name_host<B>(request: &mut Request<B>) -> Result<(), Objection> {
    if request.version() != Version::HTTP_2 {
        return Ok(());
    }
    let Some(authority) = request.uri().authority().map(|authority| authority.as_str().to_owned()) else {
        return Ok(());
    };
    match request.headers().get(header::HOST) {
        Some(host) if host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => Ok(()),
        Some(_) => Err(Objection::TwoHosts),
        None => {
            if let Ok(value) = HeaderValue::from_str(&authority) {
                request.headers_mut().insert(header::HOST, value);
            }
            Ok(())
        }
    }
}

/// Counts a request for whom a declared proxy asks. Who has shown who they are is counted elsewhere.
fn through_proxy<B>(
    line: &Line,
    request: &Request<B>,
    standing: Standing,
) -> Result<Option<Through>, Objection> {
    let peer = Peer::of(request.extensions());
    if !peer.through_proxy() || standing.user().is_some() {
        return Ok(None);
    }
    match line.lobby.through(peer.ip()) {
        Some(through) => Ok(Some(through)),
        None => {
            line.lobby.app.metrics.connection_refused("prefix_through_proxy");
            Err(Objection::TooMany)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn only_the_control_socket_marks_the_machine() {
        let marked = |origin: Origin| {
            let mut request = Request::new(());
            origin.mark(None, &mut request);
            Machine::made(&request)
        };
        assert!(marked(Origin::Control));
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        for tls in [false, true] {
            for is_relayed in [false, true] {
                assert!(!marked(Origin::Network(Arrival { address, tls, is_relayed })));
            }
        }
    }

    #[test]
    fn whom_http_2_asks_is_its_host() {
        let check = |version, uri: &str, host: Option<&str>, expected: Result<Option<&str>, Objection>| {
            let mut request = Request::builder().version(version).uri(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let mut request = request.body(()).unwrap();
            let named = name_host(&mut request);
            let host = request.headers().get("host").map(|host| host.to_str().unwrap());
            assert_eq!(named.map(|()| host), expected, "{uri} {host:?}");
        };
        let two = Version::HTTP_2;
        check(two, "https://a.example:1/x", None, Ok(Some("a.example:1")));
        check(two, "https://a.example/x", Some("A.example"), Ok(Some("A.example")));
        check(two, "https://a.example/x", Some("b.example"), Err(Objection::TwoHosts));
        check(two, "/x", None, Ok(None));
        check(Version::HTTP_11, "http://a.example/x", Some("b.example"), Ok(Some("b.example")));
    }
}
