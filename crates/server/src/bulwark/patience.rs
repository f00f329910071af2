//! Who asks models again and again though they are refused more often than answered: what they ask is then refused before
//! anything is read, looked up or written for it, so that to ask once more costs the server no more than what any stranger
//! asks. A program that is answered may be refused as often, as one is that asks for as much at once as it is given.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use base::Rng;
use defence::Rates;

use crate::accounts::Who;
use crate::error::ApiError;

/// Refusals of one caller in a window, beyond as many as there were answers: more than come of a program that waits as long
/// as it was told, with some conversations at once.
const REFUSALS_MAX: u64 = 8;
const WINDOW: Duration = Duration::from_secs(2);
const COLUMNS: usize = 1 << 12;
/// After so many seconds it may be tried again.
const RETRY_S: u64 = 5;

#[derive(Debug)]
pub(crate) struct Patience {
    inner: Mutex<Inner>,
    is_on: bool,
}

#[derive(Debug)]
struct Inner {
    refused: Rates,
    answered: Rates,
}

/// Somebody was refused too often of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooOften {
    refusals: u64,
    allowed: u64,
}

impl From<TooOften> for ApiError {
    fn from(TooOften { refusals, allowed }: TooOften) -> Self {
        let message = format!(
            "{refusals} of your requests were refused in the last {} s, {allowed} may be; wait as long as Retry-After \
             says",
            WINDOW.as_secs()
        );
        Self::too_many("too_many_requests", message, RETRY_S)
    }
}

impl Patience {
    pub(super) fn new(is_on: bool, rng: &mut Rng) -> Self {
        let mut rates = || Rates::new(WINDOW, COLUMNS, rng);
        Self { inner: Mutex::new(Inner { refused: rates(), answered: rates() }), is_on }
    }

    /// Takes what somebody who asked a model was answered.
    pub(super) fn answered(&self, who: Who, status: StatusCode, now: Duration) {
        let mut inner = self.lock();
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                inner.refused.add(&who, 1, now)
            }
            _ if status.is_success() => inner.answered.add(&who, 1, now),
            _ => 0,
        };
    }

    /// What is refused for this is not counted again: who asks all the time gets as far as others, now and then.
    pub(super) fn check(&self, who: Who, now: Duration) -> Result<(), TooOften> {
        if !self.is_on {
            return Ok(());
        }
        let inner = self.lock();
        let refusals = inner.refused.estimate(&who, now);
        let allowed = REFUSALS_MAX + inner.answered.estimate(&who, now);
        if refusals <= allowed { Ok(()) } else { Err(TooOften { refusals, allowed }) }
    }

    /// Whether somebody would be refused for it now.
    pub(crate) fn is_lost_on(&self, who: Who, now: Duration) -> bool {
        self.check(who, now).is_err()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is behind it is good wherever a panic leaves it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use store::UserId;

    use super::*;

    #[test]
    fn who_is_refused_again_and_again_is_refused_at_once_and_only_they() {
        let patience = Patience::new(true, &mut Rng::from_seed(1));
        let [one, other] = [1, 2].map(|number| Who::User(UserId::from([number; 16])));
        let now = Duration::from_secs(9);
        for _ in 0..50 {
            patience.answered(other, StatusCode::OK, now);
            patience.answered(other, StatusCode::BAD_REQUEST, now);
        }
        for refusal in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].repeat(4) {
            assert_eq!(patience.check(one, now), Ok(()));
            patience.answered(one, refusal, now);
        }
        assert!(!patience.is_lost_on(one, now));
        patience.answered(one, StatusCode::SERVICE_UNAVAILABLE, now);
        assert_eq!(patience.check(one, now), Err(TooOften { refusals: 9, allowed: 8 }));
        assert!(!patience.is_lost_on(other, now));
        // Asking on changes nothing.
        (0..50).for_each(|_| assert!(patience.is_lost_on(one, now + WINDOW / 2)));
        assert!(!patience.is_lost_on(one, now + 2 * WINDOW));
        let error = ApiError::from(TooOften { refusals: 9, allowed: 8 });
        assert_eq!(
            error.message(),
            "9 of your requests were refused in the last 2 s, 8 may be; wait as long as Retry-After says"
        );
    }

    #[test]
    fn who_is_answered_may_be_refused_as_often() {
        let patience = Patience::new(true, &mut Rng::from_seed(1));
        let who = Who::User(UserId::from([1; 16]));
        let now = Duration::from_secs(9);
        for _ in 0..20 {
            patience.answered(who, StatusCode::TOO_MANY_REQUESTS, now);
            patience.answered(who, StatusCode::OK, now);
        }
        (0..8).for_each(|_| patience.answered(who, StatusCode::TOO_MANY_REQUESTS, now));
        assert_eq!(patience.check(who, now), Ok(()));
        patience.answered(who, StatusCode::TOO_MANY_REQUESTS, now);
        assert_eq!(patience.check(who, now), Err(TooOften { refusals: 29, allowed: 28 }));
    }

    #[test]
    fn switched_off_it_refuses_nobody() {
        let patience = Patience::new(false, &mut Rng::from_seed(1));
        let who = Who::User(UserId::from([1; 16]));
        (0..50).for_each(|_| patience.answered(who, StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
        assert!(!patience.is_lost_on(who, Duration::ZERO));
    }
}
