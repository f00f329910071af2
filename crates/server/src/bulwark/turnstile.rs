//! Room for requests, by class: asked before a body is read, before a query and before a hash.
//!
//! There are two kinds of room. *Short* requests are let in as far as the server keeps up ([`Adaptive`]): how long its
//! tasks wait for a core says whether it does. *Long* ones, which wait for a model or bring a file, have slots of their
//! own, so that they and the short ones never wait for each other. A slot is held until the response begins; what is
//! streamed from then on is bounded elsewhere ([`berths`](super::berths), [`underway`](super::underway)).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base::Rng;
use defence::{Adaptive, AdaptiveSettings, Class, Full, Pool, Shares, Shed, Slot};

use super::patience::TooOften;
use super::{Counted, Errand, Toll, too_many};
use crate::accounts::{Machine, Standing, Who};
use crate::app::App;
use crate::error::ApiError;
use crate::metrics::Counted as Counting;
use crate::settings::Defence;

/// After so many seconds a long request may have ended.
const RETRY_S: u64 = 5;

#[derive(Debug)]
pub(crate) struct Turnstile {
    inner: Mutex<Inner>,
    is_on: bool,
}

#[derive(Debug)]
struct Inner {
    adaptive: Adaptive,
    short: Pool<Who>,
    long: Pool<Who>,
    rng: Rng,
}

/// What a request is to the turnstile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Short,
    /// A model answers it.
    Answer,
    /// It brings a file.
    Import,
    /// What asks whether the server lives must not be told that it is busy.
    Free,
}

impl Kind {
    fn is_long(self) -> bool {
        matches!(self, Self::Answer | Self::Import)
    }

    fn of(method: &Method, path: &str) -> Self {
        match path {
            "/healthz" | "/readyz" => Self::Free,
            _ if waits_for_model(method.as_str(), path) => Self::Answer,
            _ if method == Method::POST && path.ends_with("/account/import") => Self::Import,
            _ => Self::Short,
        }
    }
}

/// Whether a request is answered by a model, as long as that takes.
pub(crate) fn waits_for_model(method: &str, path: &str) -> bool {
    const ANSWERS: [&str; 3] = ["/completions", "/responses", "/messages"];
    method == Method::POST.as_str()
        && !path.starts_with("/api/conversations")
        && ANSWERS.iter().any(|end| path.ends_with(end))
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoRoom {
    Shed(Shed),
    Full(Full),
    /// Strangers ask too often, all together.
    Rate(Duration),
    /// They were refused too often already.
    TooOften(TooOften),
}

impl NoRoom {
    /// A word for metrics.
    fn word(self) -> &'static str {
        match self {
            Self::Shed(_) => "overload",
            Self::Rate(_) => "request_rate",
            Self::TooOften(_) => "patience",
            Self::Full(Full::Class { .. }) => "request_slots",
            Self::Full(Full::Key { .. }) => "caller_slots",
        }
    }
}

impl From<NoRoom> for ApiError {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Shed(shed) => {
                let seconds = shed.retry_after.as_secs_f64().ceil() as u64;
                Self::busy("overloaded", format!("the server is busy: {shed}")).after(seconds)
            }
            NoRoom::Rate(wait) => too_many(wait),
            NoRoom::TooOften(refusals) => refusals.into(),
            NoRoom::Full(full @ Full::Class { .. }) => {
                Self::busy("overloaded", format!("the server is busy: {full}")).after(RETRY_S)
            }
            NoRoom::Full(full @ Full::Key { .. }) => {
                Self::too_many("too_many_requests_at_once", full.to_string(), RETRY_S)
            }
        }
    }
}

/// A slot, until it is dropped.
struct Held {
    app: App,
    kind: Kind,
    slot: Option<Slot<Who>>,
    _counted: Counting,
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let now = self.app.clock.monotonic();
        let mut inner = self.app.bulwark.turnstile.lock();
        if self.kind.is_long() {
            inner.long.give_back(slot);
        } else {
            inner.short.give_back(slot);
            inner.adaptive.ended(now);
        }
    }
}

impl Turnstile {
    pub(super) fn new(settings: &Defence, now: Duration, rng: Rng) -> Self {
        let slots = settings.requests_max.max(2);
        let adaptive = AdaptiveSettings {
            // Of a slow or busy machine too: as many as one page asks at once, for some users.
            limit_min: (slots / 16).max(2),
            limit_max: slots,
            target_delay: settings.delay_max,
            ..AdaptiveSettings::default()
        };
        let pool = || Pool::new(slots, Shares::default(), slots / 2);
        let inner = Inner { adaptive: Adaptive::new(adaptive, now), short: pool(), long: pool(), rng };
        Self { inner: Mutex::new(inner), is_on: settings.request_slots }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is behind it is good wherever a panic leaves it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Short requests that may be under way at once.
    pub(super) fn limit(&self) -> u32 {
        self.lock().adaptive.limit()
    }

    /// Takes how long a task waited for a core.
    pub(super) fn waited(&self, delay: Duration, now: Duration) {
        self.lock().adaptive.began(delay, now);
    }

    fn take(&self, kind: Kind, standing: Standing, now: Duration) -> Result<Slot<Who>, NoRoom> {
        let Standing { class, who } = standing;
        let mut inner = self.lock();
        if kind.is_long() {
            return inner.long.take(class, who).map_err(NoRoom::Full);
        }
        // Of those who are trusted as much or more: what others do is held against nobody.
        let in_flight = Class::ALL.into_iter().filter(|other| *other >= class);
        let in_flight = in_flight.map(|other| inner.short.held(other)).sum();
        let Inner { adaptive, rng, short, .. } = &mut *inner;
        adaptive.admit(class, in_flight, now, rng).map_err(NoRoom::Shed)?;
        short.take(class, who).map_err(NoRoom::Full)
    }
}

/// Lets a request in while there is room for its class. Whoever has the machine always finds some.
pub(crate) async fn turnstile(State(app): State<App>, request: Request, next: Next) -> Response {
    let kind = Kind::of(request.method(), request.uri().path());
    let turnstile = &app.bulwark.turnstile;
    if kind == Kind::Free || !turnstile.is_on || Machine::made(&request) {
        return next.run(request).await;
    }
    let standing = Standing::noted(request.extensions());
    let is_counted = request.extensions().get::<Counted>().is_some();
    let now = app.clock.monotonic();
    let errand = Errand::of(request.uri().path());
    let counted = if is_counted { Ok(()) } else { app.bulwark.strangers.take(standing.class, errand, now) };
    let toll = counted.err().and_then(|_| Toll::of_request(&request));
    let is_paid = toll.as_ref().is_some_and(|toll| app.is_paid(toll));
    let counted = if is_paid { Ok(()) } else { counted };
    let patience = &app.bulwark.patience;
    let heard = if kind == Kind::Answer { patience.check(standing.who, now) } else { Ok(()) };
    let counted = counted.map_err(NoRoom::Rate).and_then(|()| heard.map_err(NoRoom::TooOften));
    match counted.and_then(|()| turnstile.take(kind, standing, now)) {
        Ok(slot) => {
            let counted = app.metrics.request_of(standing.class);
            let held = Held { app: App::clone(&app), kind, slot: Some(slot), _counted: counted };
            let response = next.run(request).await;
            drop(held);
            if kind == Kind::Answer {
                patience.answered(standing.who, response.status(), app.clock.monotonic());
            }
            response
        }
        Err(why) => {
            app.metrics.refused(standing.class, why.word());
            let mut response = match (why, toll) {
                (NoRoom::Rate(_), Some(toll)) => {
                    (StatusCode::PRECONDITION_REQUIRED, Json(app.ask_toll(&toll))).into_response()
                }
                _ => ApiError::from(why).into_response(),
            };
            if standing.class == Class::Unknown {
                // What else comes on it would only be refused.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use defence::Prefix;

    use super::*;

    fn of(class: Class, number: u32) -> Standing {
        let address = std::net::Ipv4Addr::from_bits(number).into();
        Standing { class, who: Who::Network(Prefix::narrow(address)) }
    }

    fn turnstile() -> Turnstile {
        let settings = Defence { requests_max: 100, ..Defence::default() };
        Turnstile::new(&settings, Duration::ZERO, Rng::from_seed(1))
    }

    #[test]
    fn what_waits_for_a_model_has_slots_of_its_own() {
        let check = |method: Method, path: &str, expected: Kind| {
            assert_eq!(Kind::of(&method, path), expected, "{path}");
        };
        check(Method::POST, "/v1/chat/completions", Kind::Answer);
        check(Method::POST, "/beta/completions", Kind::Answer);
        check(Method::POST, "/v1/responses", Kind::Answer);
        check(Method::POST, "/anthropic/v1/messages", Kind::Answer);
        check(Method::POST, "/api/account/import", Kind::Import);
        // Its answer is written by a task of its own.
        check(Method::POST, "/api/conversations/1/messages", Kind::Short);
        check(Method::GET, "/v1/responses", Kind::Short);
        check(Method::POST, "/v1/messages/count_tokens", Kind::Short);
        check(Method::POST, "/api/login", Kind::Short);
        check(Method::GET, "/healthz", Kind::Free);
    }

    #[test]
    fn a_flood_of_strangers_leaves_room_for_users() {
        let turnstile = turnstile();
        let mut held = Vec::new();
        let refused = (0..1000).find_map(|number| {
            let taken = turnstile.take(Kind::Short, of(Class::Unknown, number), Duration::ZERO);
            taken.map(|slot| held.push(slot)).err()
        });
        let Some(NoRoom::Shed(shed)) = refused else { panic!("{refused:?}") };
        assert_eq!((held.len(), shed.allowed), (26, 26), "half of the 53 that are let in at first");
        for number in 0..20 {
            held.push(turnstile.take(Kind::Short, of(Class::Established, number), Duration::ZERO).unwrap());
        }
        let text = ApiError::from(NoRoom::Shed(shed)).message().to_owned();
        assert!(text.contains("26 requests are under way; allowed for this class: 26"), "{text}");
        // Those of the other kind are no matter.
        let _ = turnstile.take(Kind::Answer, of(Class::Unknown, 1), Duration::ZERO).unwrap();
    }

    #[test]
    fn one_network_has_not_all_the_slots() {
        let turnstile = turnstile();
        let mut held = Vec::new();
        let refused = (0..100).find_map(|_| {
            let taken = turnstile.take(Kind::Answer, of(Class::Established, 1), Duration::ZERO);
            taken.map(|slot| held.push(slot)).err()
        });
        assert_eq!(refused, Some(NoRoom::Full(Full::Key { allowed: 50, held: 50 })));
        let _ = turnstile.take(Kind::Answer, of(Class::Established, 2), Duration::ZERO).unwrap();
    }
}
