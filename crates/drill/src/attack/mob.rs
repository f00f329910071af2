//! The accounts that attackers get hold of.

use std::sync::{Mutex, PoisonError};

/// Most sessions that are kept.
const SESSIONS_MAX: usize = 10_000;

/// Sessions of accounts that were made in the attack.
#[derive(Debug, Default)]
pub(super) struct Mob(Mutex<Vec<String>>);

impl Mob {
    /// Keeps a session for those who need one.
    pub(super) fn keep(&self, cookie: String) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < SESSIONS_MAX {
            all.push(cookie);
        }
    }

    /// The session of this number, if there is any.
    pub(super) fn session(&self, number: u64) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.len() as u64;
        (count > 0).then(|| all[(number % count) as usize].clone())
    }
}
