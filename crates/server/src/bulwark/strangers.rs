//! How many requests strangers may make in a second, by what they come for, so that who floods one errand is in nobody's
//! way who has another, and visits give way to all else while tasks wait for a core. And whether so many come that each is
//! looked at before anything is done for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Rng;
use defence::{Bucket, Class, Rates};
use store::UserId;

use crate::error::ApiError;
use crate::settings::Defence;

/// New connections in a second from which on it is looked first: as many as a crowd makes that is none.
const CALM_CONNECTIONS: f64 = 200.0;
/// A connection of HTTP/2 counts as so many requests.
const HTTP2_PART: f64 = 25.0;
/// Connections in a second that are told why they are closed. To say it costs more than all the rest of it.
const ANSWERS: f64 = 500.0;
/// For how long it is looked, from the last that was too many on.
const PRESSED: Duration = Duration::from_secs(2);

/// Visits are fewer while a task waits for longer than this.
const LATE: Duration = Duration::from_millis(10);
/// Of those of a second, how many may come at once.
const VISITS_AT_ONCE: f64 = 0.25;
/// What is left of them each time that one does, and what they grow by each time that none does.
const LESS: f64 = 0.7;
const MORE: f64 = 1.1;
/// The part of visits that is left in any case.
const VISITS_MIN: f64 = 0.04;

/// New connections of one user in a window, while very many come; more are taken for a stranger's.
const OF_USER_MAX: u64 = 60;
const OF_USER_WINDOW: Duration = Duration::from_secs(2);
const OF_USER_COLUMNS: usize = 1 << 12;

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

/// What a stranger is told when there are too many.
pub(crate) fn too_many(retry_after: Duration) -> ApiError {
    let message = "very many strangers ask at once; come back in a few seconds";
    ApiError::busy("overloaded", message).after(retry_after.as_secs_f64().ceil() as u64)
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
    rate: f64,
    /// The part of visits that there may be now.
    visits: f64,
    of_users: Rates,
}

impl Strangers {
    pub(super) fn new(settings: &Defence, rng: &mut Rng) -> Self {
        let rate = f64::from(settings.strangers_per_second.max(1));
        let bucket = || Bucket::new(rate, rate);
        let inner = Inner {
            arrivals: Bucket::new(CALM_CONNECTIONS, CALM_CONNECTIONS),
            pressed_until: Duration::ZERO,
            unknown: [
                bucket(),
                bucket(),
                Bucket::new(rate * VISITS_AT_ONCE, rate),
                Bucket::new(rate / HTTP2_PART, rate / HTTP2_PART),
            ],
            guests: bucket(),
            answers: Bucket::new(ANSWERS, ANSWERS),
            rate,
            visits: 1.0,
            of_users: Rates::new(OF_USER_WINDOW, OF_USER_COLUMNS, rng),
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

    /// Takes how long a task waited for a core.
    pub(super) fn waited(&self, delay: Duration, now: Duration) {
        let mut inner = self.lock();
        let change = if delay > LATE { LESS } else { MORE };
        inner.visits = (inner.visits * change).clamp(VISITS_MIN, 1.0);
        let rate = (inner.rate * inner.visits).max(1.0);
        inner.unknown[Errand::Visit as usize].change((rate * VISITS_AT_ONCE).max(1.0), rate, now);
    }

    /// Counts a user's new connection; whether it is one of as many as a user has.
    pub(crate) fn is_usual(&self, user: UserId, now: Duration) -> bool {
        self.lock().of_users.take(&<[u8; 16]>::from(user), OF_USER_MAX, now).is_ok()
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
        let settings = Defence { strangers_per_second: 10, ..Defence::default() };
        Strangers::new(&settings, &mut Rng::from_seed(1))
    }

    #[test]
    fn who_floods_one_errand_is_in_nobody_s_way_who_has_another() {
        let (strangers, now) = (strangers(), Duration::from_secs(1));
        let let_in =
            |errand, now| (0..100).filter(|_| strangers.take(Class::Unknown, errand, now).is_ok()).count();
        assert_eq!(let_in(Errand::Visit, now), 2);
        assert_eq!(let_in(Errand::SignIn, now), 10);
        assert_eq!(let_in(Errand::Visit, now + Duration::from_millis(100)), 1);
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
    fn visits_give_way_while_tasks_wait_and_come_back() {
        let strangers = strangers();
        let let_in = |errand, seconds| {
            let now = Duration::from_secs(seconds);
            (0..100).filter(|_| strangers.take(Class::Unknown, errand, now).is_ok()).count()
        };
        (0..20).for_each(|_| strangers.waited(2 * LATE, Duration::ZERO));
        assert_eq!((let_in(Errand::Visit, 1), let_in(Errand::SignIn, 1)), (1, 10));
        (0..50).for_each(|_| strangers.waited(Duration::ZERO, Duration::from_secs(2)));
        assert_eq!(let_in(Errand::Visit, 3), 2);
    }

    #[test]
    fn a_user_has_no_end_of_connections() {
        let strangers = strangers();
        let usual = |number: u8| {
            let user = UserId::from([number; 16]);
            (0..100).filter(|_| strangers.is_usual(user, Duration::from_secs(9))).count()
        };
        assert_eq!([usual(1), usual(2)], [60, 60]);
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
