//! How many requests strangers may make in a second, by what they come for, so that who floods one errand is in nobody's
//! way who has another, and visits give way to all else while tasks wait for a core. And whether so many come that each is
//! looked at before anything is done for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::Rng;
use defence::challenge::LIFETIME;
use defence::{Bucket, Class, Rates};
use store::UserId;

use crate::accounts::Who;
use crate::error::ApiError;
use crate::settings::Defence;

/// New connections in a second from which on it is looked first: as many as a crowd makes that is none.
const CALM_CONNECTIONS: f64 = 200.0;
/// Of these, how many may come at once: more would all be taken in before the first user who comes with them.
const CALM_AT_ONCE: f64 = 40.0;
/// A connection of HTTP/2 counts as so many requests.
const HTTP2_PART: f64 = 25.0;
/// Connections in a second that are told why they are closed. To say it costs more than all the rest of it.
const ANSWERS: f64 = 500.0;
/// Of them and of the challenges of a second, how many may be told at once: the first user who comes with very many waits
/// behind each.
const ANSWERS_AT_ONCE: f64 = 0.05;
/// The same of users, whose programs wait when they are told to, and of whom there are not so many.
const ANSWERS_TO_USERS_AT_ONCE: f64 = 0.2;
/// For how long it is looked, from the last that was too many on.
const PRESSED: Duration = Duration::from_secs(2);

/// Visits are fewer while a task waits for longer than this part of what makes all requests fewer.
const LATE_PART: u32 = 10;
/// Of the visits of a second, how many may come at once.
const VISITS_AT_ONCE: f64 = 0.25;
/// What is left of them each time that one does, and what they grow by each time that none does.
const LESS: f64 = 0.7;
const MORE: f64 = 1.1;
/// The part of visits that is left in any case.
const VISITS_MIN: f64 = 0.04;
/// The part that is left while no task waits and yet all cores are busy: what strangers have of them, answers have not.
const VISITS_WHILE_BUSY: f64 = 0.1;
/// The part that is left when very many begin to come, until it is known how much they take.
const VISITS_AT_FIRST: f64 = 0.2;
/// Of those of a second for other errands, how many may then come at once: each is work that a user waits behind.
const AT_ONCE_AT_FIRST: f64 = 0.05;
/// The part of all cores' time from which on they are busy.
const BUSY: f64 = 0.9;

/// New connections of one user in a window, while very many come, and of one who is not known for long. More are nothing
/// that a person does, and come with each other.
const OF_USER_MAX: u64 = 60;
const OF_NEW_USER_MAX: u64 = 20;
const OF_USER_WINDOW: Duration = Duration::from_secs(2);
/// Of those of strangers, so many there may be of them.
const EXCESS_PART: f64 = 0.1;
const OF_USER_COLUMNS: usize = 1 << 12;

/// While very many come, the part of those of a second who may sign in or sign up without having solved a challenge for
/// it: to ask for one takes a tenth of what their request does.
const UNPAID: f64 = 0.1;
/// Challenges in a second that they are given.
const CHALLENGES: f64 = 1000.0;
/// How often one answer lets somebody in: it is used up when a request of theirs is answered, and not every one is.
const ENTRIES_MAX: u64 = 3;
const PAID_COLUMNS: usize = 1 << 12;

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
    /// What a user who is not known for long asks beyond what a person does.
    Excess,
}

impl Errand {
    const COUNT: usize = 5;

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
    by_errand: [Bucket; Errand::COUNT],
    /// Who has shown a device that somebody signed in with.
    guests: Bucket,
    /// Who has solved a challenge.
    paid: Bucket,
    /// How often one was shown.
    entries: Rates,
    answers: Bucket,
    answers_to_users: Bucket,
    challenges: Bucket,
    rate: f64,
    /// While a task waits for longer, visits are fewer.
    late: Duration,
    /// The part of visits that there may be now.
    visits: f64,
    of_users: Rates,
}

impl Inner {
    /// Very many begin to come: what was saved up for a moment like any other is not for this one.
    fn begin_pressed(&mut self, now: Duration) {
        self.let_visit(self.visits.min(VISITS_AT_FIRST), now);
        self.let_unpaid(UNPAID, now);
        for errand in [Errand::SignIn, Errand::SignUp] {
            self.by_errand[errand as usize].leave((self.rate * AT_ONCE_AT_FIRST).max(1.0), now);
        }
    }

    /// This part of those who sign in and sign up in calm.
    fn let_unpaid(&mut self, part: f64, now: Duration) {
        let rate = (self.rate * part).max(1.0);
        for errand in [Errand::SignIn, Errand::SignUp] {
            self.by_errand[errand as usize].change(rate, rate, now);
        }
    }

    /// This part of the visits of calm.
    fn let_visit(&mut self, part: f64, now: Duration) {
        self.visits = part;
        let rate = (self.rate * part).max(1.0);
        self.by_errand[Errand::Visit as usize].change((rate * VISITS_AT_ONCE).max(1.0), rate, now);
    }
}

impl Strangers {
    pub(super) fn new(settings: &Defence, rng: &mut Rng) -> Self {
        let rate = f64::from(settings.strangers_per_second.max(1));
        let bucket = || Bucket::new(rate, rate);
        let inner = Inner {
            arrivals: Bucket::new(CALM_AT_ONCE, CALM_CONNECTIONS),
            pressed_until: Duration::ZERO,
            by_errand: [
                bucket(),
                bucket(),
                Bucket::new(rate * VISITS_AT_ONCE, rate),
                Bucket::new(rate / HTTP2_PART, rate / HTTP2_PART),
                Bucket::new((rate * EXCESS_PART).max(1.0), rate * EXCESS_PART),
            ],
            guests: bucket(),
            paid: bucket(),
            entries: Rates::new(LIFETIME, PAID_COLUMNS, rng),
            answers: Bucket::new(ANSWERS * ANSWERS_AT_ONCE, ANSWERS),
            answers_to_users: Bucket::new(ANSWERS * ANSWERS_TO_USERS_AT_ONCE, ANSWERS),
            challenges: Bucket::new(CHALLENGES * ANSWERS_AT_ONCE, CHALLENGES),
            rate,
            late: settings.delay_max / LATE_PART,
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
            if now >= inner.pressed_until {
                inner.begin_pressed(now);
            }
            inner.pressed_until = now + PRESSED;
        }
        now < inner.pressed_until
    }

    /// Takes how long a task waited for a core, and the part of all cores' time that this program had lately.
    pub(super) fn waited(&self, delay: Duration, used: f64, now: Duration) {
        let mut inner = self.lock();
        // Whoever uses the cores to the full without a flood is a server that is put to good use.
        let is_busy = used > BUSY && now < inner.pressed_until;
        let is_late = delay > inner.late;
        let least = if is_late { VISITS_MIN } else { VISITS_WHILE_BUSY };
        let part = if is_late || is_busy {
            (inner.visits * LESS).max(least.min(inner.visits))
        } else {
            (inner.visits * MORE).min(1.0)
        };
        inner.let_visit(part, now);
        let unpaid = if now < inner.pressed_until { UNPAID } else { 1.0 };
        inner.let_unpaid(unpaid, now);
    }

    /// Counts a user's new connection; whether it is one of as many as a user has.
    pub(crate) fn is_usual(&self, user: UserId, class: Class, now: Duration) -> bool {
        let most = if class >= Class::Established { OF_USER_MAX } else { OF_NEW_USER_MAX };
        self.lock().of_users.take(&<[u8; 16]>::from(user), most, now).is_ok()
    }

    /// Whether one more who is turned away may be told so.
    pub(crate) fn may_answer(&self, who: Who, now: Duration) -> bool {
        let mut inner = self.lock();
        let answers =
            if matches!(who, Who::User(_)) { &mut inner.answers_to_users } else { &mut inner.answers };
        answers.take(0.0, now).is_ok()
    }

    /// Whether one more who is turned away may be given a challenge to come back with.
    pub(crate) fn may_challenge(&self, now: Duration) -> bool {
        self.lock().challenges.take(0.0, now).is_ok()
    }

    /// Counts a stranger's request that came with an answer to the challenge of this number; whether there may be one more
    /// now.
    pub(super) fn take_paid(&self, challenge: [u8; 16], now: Duration) -> bool {
        let mut inner = self.lock();
        inner.entries.take(&challenge, ENTRIES_MAX, now).is_ok() && inner.paid.take(0.0, now).is_ok()
    }

    /// Counts a stranger's request, if there may be one more now; else the time after which there may.
    pub(crate) fn take(&self, class: Class, errand: Errand, now: Duration) -> Result<(), Duration> {
        if !self.is_on || class > Class::Guest {
            return Ok(());
        }
        let mut inner = self.lock();
        match (class, errand) {
            (Class::Guest, errand) if errand != Errand::Excess => inner.guests.take(0.0, now),
            _ => inner.by_errand[errand as usize].take(0.0, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twice as long as visits don't mind.
    const LATE: Duration = Duration::from_millis(20);

    /// Of a hundred a second, when very many have begun to come.
    fn pressed(now: Duration) -> Strangers {
        let settings = Defence { strangers_per_second: 100, ..Defence::default() };
        let strangers = Strangers::new(&settings, &mut Rng::from_seed(1));
        (0..300).for_each(|_| {
            strangers.is_pressed_by_one_more(now);
        });
        strangers
    }

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
        let each = Duration::from_millis(5);
        assert!((1..=200).all(|number| !strangers.is_pressed_by_one_more(now + number * each)));
        now += 200 * each;
        let is_pressed = (0..40).map(|_| strangers.is_pressed_by_one_more(now));
        assert_eq!(is_pressed.filter(|is_pressed| *is_pressed).count(), 1, "as one more is there already");
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
        (0..20).for_each(|_| strangers.waited(LATE, 0.5, Duration::ZERO));
        assert_eq!((let_in(Errand::Visit, 1), let_in(Errand::SignIn, 1)), (1, 10));
        (0..50).for_each(|_| strangers.waited(Duration::ZERO, 0.5, Duration::from_secs(2)));
        assert_eq!(let_in(Errand::Visit, 3), 2);
    }

    #[test]
    fn visits_give_way_to_answers_while_very_many_come_and_never_otherwise() {
        let settings = Defence { strangers_per_second: 1000, ..Defence::default() };
        let strangers = Strangers::new(&settings, &mut Rng::from_seed(1));
        let in_a_second = |second: u64| {
            let now = |part| Duration::from_millis(1000 * second + part);
            (0..1000_u64)
                .filter(|part| strangers.take(Class::Unknown, Errand::Visit, now(*part)).is_ok())
                .count()
        };
        (0..50).for_each(|_| strangers.waited(Duration::ZERO, 1.0, Duration::from_secs(1)));
        assert_eq!(in_a_second(1), 1000);
        let pressed = (0..300).map(|_| strangers.is_pressed_by_one_more(Duration::from_secs(3)));
        assert_eq!(pressed.filter(|is_pressed| *is_pressed).count(), 260);
        assert!((200..260).contains(&in_a_second(3)), "at first");
        (0..50).for_each(|_| strangers.waited(Duration::ZERO, 1.0, Duration::from_secs(4)));
        assert!((100..130).contains(&in_a_second(4)));
        // Those that are fewer already, as tasks waited, don't become more by it.
        (0..50).for_each(|_| strangers.waited(LATE, 1.0, Duration::from_millis(4990)));
        strangers.waited(Duration::ZERO, 1.0, Duration::from_millis(4995));
        assert!((40..60).contains(&in_a_second(5)));
    }

    #[test]
    fn a_flood_finds_nothing_saved_up() {
        let now = Duration::from_secs(1);
        let strangers = pressed(now);
        for errand in [Errand::SignIn, Errand::SignUp, Errand::Visit] {
            let at_once =
                |now| (0..100).filter(|_| strangers.take(Class::Unknown, errand, now).is_ok()).count();
            assert_eq!(at_once(now), 5, "{errand:?}");
            assert_eq!(at_once(now + Duration::from_millis(500)), 5, "{errand:?}");
        }
    }

    #[test]
    fn who_has_solved_a_challenge_comes_in_while_very_many_come() {
        let now = Duration::from_secs(1);
        let strangers = pressed(now);
        let unpaid =
            |now| (0..200).filter(|_| strangers.take(Class::Unknown, Errand::SignIn, now).is_ok()).count();
        assert_eq!(unpaid(now), 5);
        assert_eq!(unpaid(now + Duration::from_secs(1)), 10, "a tenth of those of calm");
        // Each answer some times only, and all together as many as come in calm.
        let entries = |number: u8| (0..9).filter(|_| strangers.take_paid([number; 16], now)).count();
        assert_eq!(entries(1), 3);
        assert_eq!((2..=200).map(entries).sum::<usize>(), 97);
        assert_eq!((0..2000).filter(|_| strangers.may_challenge(now)).count(), 50);
        let each = Duration::from_millis(1);
        assert!((1..=1000).all(|number| strangers.may_challenge(now + number * each)), "a thousand a second");
        let later = now + PRESSED + Duration::from_secs(1);
        strangers.waited(Duration::ZERO, 0.5, later);
        assert_eq!(unpaid(later + Duration::from_secs(1)), 100, "as in calm");
    }

    #[test]
    fn a_user_has_no_end_of_connections() {
        let strangers = strangers();
        let usual = |number: u8| {
            let user = UserId::from([number; 16]);
            let class = if number < 3 { Class::Established } else { Class::New };
            (0..100).filter(|_| strangers.is_usual(user, class, Duration::from_secs(9))).count()
        };
        assert_eq!([usual(1), usual(2), usual(3)], [60, 60, 20]);
        let now = Duration::from_secs(9);
        let beyond = |class| (0..100).filter(|_| strangers.take(class, Errand::Excess, now).is_ok()).count();
        assert_eq!(beyond(Class::Guest), 1, "they come with each other");
        assert!(strangers.take(Class::Guest, Errand::Visit, now).is_ok());
    }

    #[test]
    fn users_who_are_turned_away_are_told_so_also_where_strangers_no_longer_are() {
        let (strangers, now) = (strangers(), Duration::from_secs(9));
        let told = |who| (0..500).filter(|_| strangers.may_answer(who, now)).count();
        assert_eq!(told(Who::Network(defence::Prefix::narrow([192, 0, 2, 1].into()))), 25);
        assert_eq!(told(Who::User(UserId::from([1; 16]))), 100);
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
