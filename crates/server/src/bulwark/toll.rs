//! A way in for strangers when there are too many of them: the answer to a challenge, in the head of a request. There it
//! is seen before a body is read and, in the clear, before there is so much as a task for the connection. So who floods
//! an errand has to work for each request that is answered, as everybody else then does once.

use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use defence::Prefix;
use serde_json::Value;

use crate::accounts::Peer;
use crate::app::State;
use crate::gate::{Action, challenge_body};

/// The field that repeats the `challenge` of a body.
pub(crate) const FIELD: &str = "x-cachalot-challenge";

/// A request that the answer to a challenge lets in.
#[derive(Debug)]
pub(crate) struct Toll {
    action: Action,
    shown: Option<String>,
    peer: Peer,
}

impl Toll {
    pub(crate) fn of(method: &str, path: &str, headers: &HeaderMap, peer: Peer) -> Option<Self> {
        let action = match path {
            "/api/login" => Action::SignIn,
            "/api/sign-up" => Action::SignUp,
            _ => return None,
        };
        let shown = headers.get(FIELD).and_then(|value| value.to_str().ok()).map(str::to_owned);
        (method == Method::POST.as_str()).then_some(Self { action, shown, peer })
    }

    pub(super) fn of_request(request: &Request) -> Option<Self> {
        let peer = Peer::of(request.extensions());
        Self::of(request.method().as_str(), request.uri().path(), request.headers(), peer)
    }

    fn prefix(&self) -> Prefix {
        Prefix::wide(self.peer.ip())
    }
}

impl State {
    /// Whether what is shown lets somebody in. The challenge is not used up by that: it is when the request is answered.
    /// Looking takes a fraction of a millisecond, and is done as often as there are requests to be let in.
    pub(crate) fn is_paid(&self, toll: &Toll) -> bool {
        let Some(shown) = &toll.shown else { return false };
        self.gatehouse.peek(shown, (toll.prefix(), toll.action), self.moment()).is_ok_and(|claim| {
            self.bulwark.strangers.take_paid(claim.id(), self.clock.monotonic()) && claim.is_right()
        })
    }

    /// The body of what is answered to who has to pay first.
    pub(crate) fn ask_toll(&self, toll: &Toll) -> Value {
        let (action, now) = (toll.action, self.moment());
        if action == Action::SignUp {
            // Whoever comes back with the answer is not counted again.
            self.gatehouse.attempted(toll.peer.ip(), now);
        }
        let challenge = self.gatehouse.issue(toll.prefix(), action, now);
        challenge_body(toll.shown.is_some(), action, &challenge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Arrival;

    #[test]
    fn it_is_asked_of_who_comes_for_an_account_or_to_theirs() {
        let mut headers = HeaderMap::new();
        let address = std::net::SocketAddr::from(([192, 0, 2, 1], 80));
        let of = |method, path, headers: &HeaderMap| {
            let peer = Peer::new(Arrival { address, tls: false, is_relayed: false }, None, headers);
            Toll::of(method, path, headers, peer).map(|toll| (toll.action, toll.shown))
        };
        let toll = |action, shown: Option<&str>| Some((action, shown.map(str::to_owned)));
        assert_eq!(of("POST", "/api/login", &headers), toll(Action::SignIn, None));
        assert_eq!(of("POST", "/api/sign-up", &headers), toll(Action::SignUp, None));
        for (method, path) in [("GET", "/api/login"), ("POST", "/api/login/second"), ("POST", "/v1/models")] {
            assert_eq!(of(method, path, &headers), None, "{method} {path}");
        }
        headers.insert(FIELD, "YQ==".parse().unwrap());
        assert_eq!(of("POST", "/api/login", &headers), toll(Action::SignIn, Some("YQ==")));
    }
}
