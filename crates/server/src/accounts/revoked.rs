use std::collections::HashMap;

use store::SessionId;

/// Sessions that were ended before they expired. A signed cookie can't be taken back, so each one is compared with
/// these until it would have expired anyway. The store bounds how many there are of each user's.
#[derive(Debug, Default)]
pub(super) struct Revoked {
    /// When each would have expired, in Unix milliseconds.
    sessions: HashMap<SessionId, i64>,
    /// Size at which those that have expired are looked for.
    sweep_at: usize,
}

const SWEEP_MIN: usize = 1024;

impl Revoked {
    pub(super) fn add(&mut self, session: SessionId, expires_ms: i64, now_ms: i64) {
        if self.sessions.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.sessions.retain(|_, expires_ms| *expires_ms > now_ms);
            // Amortised: the next sweep comes when as many again have been added.
            self.sweep_at = 2 * self.sessions.len();
        }
        self.sessions.insert(session, expires_ms);
    }

    pub(super) fn contains(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_expired_makes_room_and_nothing_else_does() {
        let mut revoked = Revoked::default();
        let id = |number: u64| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            SessionId::from(bytes)
        };
        for number in 0_u64..100_000 {
            // Each expires after a thousand more.
            let now_ms = number.cast_signed();
            revoked.add(id(number), now_ms + 1000, now_ms);
            assert!(revoked.contains(id(number)));
            assert!(revoked.contains(id(number.saturating_sub(999))), "{number}");
            assert!(revoked.sessions.len() <= 4000, "{}", revoked.sessions.len());
        }
    }
}
