//! Who asks models again and again though they are refused: what they ask is then refused before anything is read, looked
//! up or written for it, so that to ask once more costs the server no more than what any stranger asks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use base::Rng;
use defence::Rates;

use crate::accounts::Who;
use crate::error::ApiError;

/// Refusals of one caller in a window: more than come of a program that waits as long as it was told, with some
/// conversations at once.
const REFUSALS_MAX: u64 = 8;
const WINDOW: Duration = Duration::from_secs(2);
const COLUMNS: usize = 1 << 12;
/// After so many seconds it may be tried again.
const RETRY_S: u64 = 5;

#[derive(Debug)]
pub(crate) struct Patience {
    refused: Mutex<Rates>,
    is_on: bool,
}

/// Somebody was refused too often of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooOften {
    refusals: u64,
}

impl From<TooOften> for ApiError {
    fn from(TooOften { refusals }: TooOften) -> Self {
        let message = format!(
            "{refusals} of your requests were refused in the last {} s, {REFUSALS_MAX} may be; wait as long as \
             Retry-After says",
            WINDOW.as_secs()
        );
        Self::too_many("too_many_requests", message, RETRY_S)
    }
}

impl Patience {
    pub(super) fn new(is_on: bool, rng: &mut Rng) -> Self {
        Self { refused: Mutex::new(Rates::new(WINDOW, COLUMNS, rng)), is_on }
    }

    /// Takes what somebody who asked a model was answered.
    pub(super) fn answered(&self, who: Who, status: StatusCode, now: Duration) {
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            self.lock().add(&who, 1, now);
        }
    }

    /// What is refused for this is not counted again: who asks all the time gets as far as others, now and then.
    pub(super) fn check(&self, who: Who, now: Duration) -> Result<(), TooOften> {
        let refusals = if self.is_on { self.lock().estimate(&who, now) } else { 0 };
        if refusals <= REFUSALS_MAX { Ok(()) } else { Err(TooOften { refusals }) }
    }

    /// Whether somebody would be refused for it now.
    pub(crate) fn is_lost_on(&self, who: Who, now: Duration) -> bool {
        self.check(who, now).is_err()
    }

    fn lock(&self) -> MutexGuard<'_, Rates> {
        // What is behind it is good wherever a panic leaves it.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert_eq!(patience.check(one, now), Err(TooOften { refusals: 9 }));
        assert!(!patience.is_lost_on(other, now));
        // Asking on changes nothing.
        (0..50).for_each(|_| assert!(patience.is_lost_on(one, now + WINDOW / 2)));
        assert!(!patience.is_lost_on(one, now + 2 * WINDOW));
        let error = ApiError::from(TooOften { refusals: 9 });
        assert_eq!(
            error.message(),
            "9 of your requests were refused in the last 2 s, 8 may be; wait as long as Retry-After says"
        );
    }

    #[test]
    fn switched_off_it_refuses_nobody() {
        let patience = Patience::new(false, &mut Rng::from_seed(1));
        let who = Who::User(UserId::from([1; 16]));
        (0..50).for_each(|_| patience.answered(who, StatusCode::SERVICE_UNAVAILABLE, Duration::ZERO));
        assert!(!patience.is_lost_on(who, Duration::ZERO));
    }
}
