//! Tickets that are good once. Who asks for many fills nothing: only those that were answered are remembered.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{lock, millis};
use crate::app::State;
use crate::error::ApiError;

/// Answered challenges that are remembered.
const ANSWERED_MAX: usize = 1 << 14;
/// Longest time for which a challenge may be good.
const LIFETIME_MAX: Duration = Duration::from_mins(15);

/// Which challenges were answered.
#[derive(Debug)]
pub(super) struct Challenges {
    /// Tells this process's challenges from those of one before, whose answered ones are forgotten. Drawn when it is
    /// first asked for.
    process: OnceLock<[u8; 8]>,
    answered: Mutex<Answered>,
}

/// What a challenge's ticket says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Challenge<T> {
    process: [u8; 8],
    id: [u8; 16],
    issued_ms: i64,
    pub(crate) content: T,
}

impl Challenges {
    pub(super) fn new() -> Self {
        Self { process: OnceLock::new(), answered: Mutex::new(Answered::new(ANSWERED_MAX)) }
    }
}

impl State {
    /// A ticket for `purpose` that is good once, within `lifetime`, in this process.
    pub(crate) fn challenge<T: Serialize>(
        &self,
        purpose: &'static str,
        content: T,
        lifetime: Duration,
    ) -> Result<String, ApiError> {
        let challenge = Challenge {
            process: self.process(),
            id: self.random_bytes(),
            issued_ms: self.clock.unix_ms(),
            content,
        };
        self.ticket(purpose, &challenge, lifetime.min(LIFETIME_MAX))
    }

    /// What is in a ticket for `purpose`. It counts as answered when it is said to be, by [`answer`](Self::answer).
    pub(crate) fn open_challenge<T: DeserializeOwned>(
        &self,
        purpose: &'static str,
        ticket: &str,
    ) -> Result<Challenge<T>, ApiError> {
        let challenge: Challenge<T> = self.open_ticket(purpose, ticket).map_err(|_| ticket_expired())?;
        if challenge.process == self.process() { Ok(challenge) } else { Err(ticket_expired()) }
    }

    fn process(&self) -> [u8; 8] {
        *self.accounts.challenges.process.get_or_init(|| self.random_bytes())
    }

    /// Notes that a challenge was answered, rightly; the second time it is refused.
    pub(crate) fn answer<T>(&self, challenge: &Challenge<T>) -> Result<(), ApiError> {
        let now_ms = self.clock.unix_ms();
        let first = lock(&self.accounts.challenges.answered).add(challenge.id, challenge.issued_ms, now_ms);
        if first { Ok(()) } else { Err(ticket_expired()) }
    }
}

/// One text for a ticket that is too old, was used, or never was one. The status is 401: it is by such a ticket that
/// somebody shows who they are. Links of letters, which are no ceremonies, answer 400 `ticket_expired` when they are too
/// old.
pub(crate) fn ticket_expired() -> ApiError {
    let message = "this took too long or was done already; begin again";
    ApiError::new(StatusCode::UNAUTHORIZED, "ticket_expired", message)
}

/// A pure automaton of fixed size. If more are answered than it remembers, the oldest are forgotten, and all that are
/// as old as these count as answered.
#[derive(Debug)]
struct Answered {
    capacity: usize,
    ids: HashSet<[u8; 16]>,
    by_age: BTreeSet<(i64, [u8; 16])>,
    /// Challenges issued at this time or before are refused.
    forgotten_ms: i64,
}

impl Answered {
    fn new(capacity: usize) -> Self {
        Self { capacity, ids: HashSet::new(), by_age: BTreeSet::new(), forgotten_ms: i64::MIN }
    }

    /// Adds one; whether it is the first time.
    fn add(&mut self, id: [u8; 16], issued_ms: i64, now_ms: i64) -> bool {
        let too_old_ms = now_ms.saturating_sub(millis(LIFETIME_MAX));
        while let Some((issued_ms, _)) = self.by_age.first()
            && (*issued_ms <= too_old_ms || self.by_age.len() >= self.capacity)
        {
            self.forget_oldest();
        }
        if issued_ms <= self.forgotten_ms || !self.ids.insert(id) {
            return false;
        }
        self.by_age.insert((issued_ms, id));
        true
    }

    fn forget_oldest(&mut self) {
        if let Some((issued_ms, id)) = self.by_age.pop_first() {
            self.ids.remove(&id);
            self.forgotten_ms = self.forgotten_ms.max(issued_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_once() {
        let mut answered = Answered::new(4);
        assert!(answered.add([1; 16], 5, 10));
        assert!(!answered.add([1; 16], 5, 10));
        assert!(answered.add([2; 16], 5, 10));
        assert!(!answered.add([1; 16], 5, 10));
    }

    #[test]
    fn what_is_forgotten_is_refused() {
        let mut answered = Answered::new(2);
        for id in 1..=3 {
            assert!(answered.add([id; 16], i64::from(id), 10));
        }
        assert!(!answered.add([1; 16], 1, 10), "it was answered and forgotten");
        assert!(!answered.add([9; 16], 1, 10), "nobody knows any more");
        assert!(answered.add([9; 16], 4, 10));
        // Also when the clock goes back.
        let mut answered = Answered::new(100);
        assert!(answered.add([1; 16], 1, 10));
        assert!(answered.add([2; 16], millis(LIFETIME_MAX), millis(LIFETIME_MAX) + 1));
        assert_eq!(answered.by_age.len(), 1);
        assert!(!answered.add([1; 16], 1, 10));
    }

    proptest! {
        #[test]
        fn none_is_taken_twice_and_the_size_is_fixed(
            tries in proptest::collection::vec((0_u8..30, 0_i64..20), 1..200),
        ) {
            let mut answered = Answered::new(7);
            let mut taken = HashSet::new();
            for (id, later_ms) in tries {
                // A challenge has one time at which it was issued.
                let issued_ms = i64::from(id) * 3;
                if answered.add([id; 16], issued_ms, issued_ms + later_ms) {
                    prop_assert!(taken.insert(id));
                }
                prop_assert!(answered.ids.len() <= 7 && answered.ids.len() == answered.by_age.len());
            }
        }
    }
}
