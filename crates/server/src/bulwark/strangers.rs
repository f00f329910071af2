//! How many requests strangers may make in a second, by what they come for, so that who floods one errand is in nobody's
//! way who has another. And whether so many come that each is looked at before anything is done for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use defence::{Bucket, Class};

use crate::settings::Defence;

/// New connections in a second from which on it is looked first: as many as a crowd makes that is none.
const CALM_CONNECTIONS: f64 = 200.0;
/// A connection of HTTP/2 counts as so many requests.
const HTTP2_PART: f64 = 25.0;
/// Connections in a second that are told why they are closed. To say it costs more than all the rest of it.
const ANSWERS: f64 = 500.0;
/// For how long it is looked, from the last that was too many on.
const PRESSED: Duration = Duration::from_secs(2);

/// What a stranger comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand {
    /// A user who has to show it first.
    SignIn,
    /// An account, or a place in the queue for one.
    SignUp,
    /// Pages, and what needs no account or is refused without one.
    Visit,
    /// To ask many things at once, by HTTP/2 in the clear, which browsers don't speak.
    Http2,
}

impl Errand {
    const COUNT: usize = 4;

    pub(crate) fn of(path: &str) -> Self {
        const SIGN_IN: [&str; 3] = ["/api/login", "/api/reset", "/oidc/"];
        const SIGN_UP: [&str; 4] = ["/api/sign-up", "/api/places", "/api/challenges", "/api/verify"];
        let is = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
        if is(&SIGN_IN) {
            Self::SignIn
        } else if is(&SIGN_UP) {
            Self::SignUp
        } else {
            Self::Visit
        }
    }
}

/// A request that was counted when its connection was accepted: once is enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted;

#[derive(Debug)]
pub(crate) struct Strangers {
    inner: Mutex<Inner>,
    is_on: bool,
}

#[derive(Debug)]
struct Inner {
    arrivals: Bucket,
    pressed_until: Duration,
    unknown: [Bucket; Errand::COUNT],
    /// Who has shown a device that somebody signed in with.
    guests: Bucket,
    answers: Bucket,
}

impl Strangers {
    pub(super) fn new(settings: &Defence) -> Self {
        let rate = f64::from(settings.strangers_per_second.max(1));
        let bucket = || Bucket::new(rate, rate);
        let inner = Inner {
            arrivals: Bucket::new(CALM_CONNECTIONS, CALM_CONNECTIONS),
            pressed_until: Duration::ZERO,
            unknown: [bucket(), bucket(), bucket(), Bucket::new(rate / HTTP2_PART, rate / HTTP2_PART)],
            guests: bucket(),
            answers: Bucket::new(ANSWERS, ANSWERS),
        };
        Self { inner: Mutex::new(inner), is_on: settings.request_rates }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is behind it is good wherever a panic leaves it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a new connection, and says whether so many come that each is to be looked at.
    pub(crate) fn is_pressed_by_one_more(&self, now: Duration) -> bool {
        if !self.is_on {
            return false;
        }
        let mut inner = self.lock();
        if inner.arrivals.take(0.0, now).is_err() {
            inner.pressed_until = now + PRESSED;
        }
        now < inner.pressed_until
    }

    /// Whether one more who is turned away may be told so.
    pub(crate) fn may_answer(&self, now: Duration) -> bool {
        self.lock().answers.take(0.0, now).is_ok()
    }

    /// Counts a stranger's request, if there may be one more now; else the time after which there may.
    pub(crate) fn take(&self, class: Class, errand: Errand, now: Duration) -> Result<(), Duration> {
        if !self.is_on || class > Class::Guest {
            return Ok(());
        }
        let mut inner = self.lock();
        match class {
            Class::Guest => inner.guests.take(0.0, now),
            _ => inner.unknown[errand as usize].take(0.0, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strangers() -> Strangers {
        Strangers::new(&Defence { strangers_per_second: 10, ..Defence::default() })
    }

    #[test]
    fn who_floods_one_errand_is_in_nobody_s_way_who_has_another() {
        let (strangers, now) = (strangers(), Duration::from_secs(1));
        let let_in =
            |errand, now| (0..100).filter(|_| strangers.take(Class::Unknown, errand, now).is_ok()).count();
        assert_eq!(let_in(Errand::Visit, now), 10);
        assert_eq!(let_in(Errand::SignIn, now), 10);
        assert_eq!(let_in(Errand::Visit, now + Duration::from_millis(500)), 5);
        assert!(strangers.take(Class::Unknown, Errand::SignUp, now).is_ok());
        assert!(strangers.take(Class::Guest, Errand::Visit, now).is_ok());
        assert!((0..100).all(|_| strangers.take(Class::New, Errand::Visit, now).is_ok()));
    }

    #[test]
    fn many_connections_are_looked_at_and_a_few_are_not() {
        let strangers = strangers();
        let mut now = Duration::from_secs(1);
        assert!((0..200).all(|_| !strangers.is_pressed_by_one_more(now)));
        assert!(strangers.is_pressed_by_one_more(now));
        now += Duration::from_secs(1);
        assert!(strangers.is_pressed_by_one_more(now), "for a while");
        now += PRESSED;
        assert!(!strangers.is_pressed_by_one_more(now));
    }

    #[test]
    fn errands_are_told_by_paths() {
        let check = |path: &str, expected: Errand| assert_eq!(Errand::of(path), expected, "{path}");
        check("/api/login", Errand::SignIn);
        check("/api/login/second-factor", Errand::SignIn);
        check("/api/sign-up", Errand::SignUp);
        check("/api/places/x", Errand::SignUp);
        check("/", Errand::Visit);
        check("/v1/chat/completions", Errand::Visit);
    }
}
