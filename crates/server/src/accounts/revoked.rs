use std::collections::HashMap;
use std::hash::Hash;

/// Sessions or keys that were ended before they expired. What is signed can't be taken back, so each one is compared with
/// these until it would have expired anyway. The store bounds how many there are of each user's sessions; keys, which
/// may never expire, are bounded by [`of_at_most`](Self::of_at_most).
#[derive(Debug)]
pub(super) struct Revoked<Id> {
    /// When each would have expired, in Unix milliseconds.
    ids: HashMap<Id, i64>,
    /// Size at which those that have expired are looked for.
    sweep_at: usize,
    max: usize,
}

const SWEEP_MIN: usize = 1024;

impl<Id> Default for Revoked<Id> {
    fn default() -> Self {
        Self::of_at_most(usize::MAX)
    }
}

impl<Id> Revoked<Id> {
    /// When there are so many, no more are taken in: for what the store is asked about again later.
    pub(super) fn of_at_most(max: usize) -> Self {
        Self { ids: HashMap::new(), sweep_at: 0, max }
    }
}

impl<Id: Eq + Hash> Revoked<Id> {
    pub(super) fn add(&mut self, id: Id, expires_ms: i64, now_ms: i64) {
        if self.ids.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.ids.retain(|_, expires_ms| *expires_ms > now_ms);
            // Amortised: the next sweep comes when as many again have been added.
            self.sweep_at = 2 * self.ids.len();
        }
        if self.ids.len() < self.max {
            self.ids.insert(id, expires_ms);
        }
    }

    pub(super) fn contains(&self, id: &Id) -> bool {
        self.ids.contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use store::SessionId;

    use super::*;

    fn id(number: u64) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        SessionId::from(bytes)
    }

    #[test]
    fn what_has_expired_makes_room_and_nothing_else_does() {
        let mut revoked = Revoked::default();
        for number in 0_u64..100_000 {
            // Each expires after a thousand more.
            let now_ms = number.cast_signed();
            revoked.add(id(number), now_ms + 1000, now_ms);
            assert!(revoked.contains(&id(number)));
            assert!(revoked.contains(&id(number.saturating_sub(999))), "{number}");
            assert!(revoked.ids.len() <= 4000, "{}", revoked.ids.len());
        }
    }

    #[test]
    fn what_never_expires_is_bounded() {
        let mut revoked = Revoked::of_at_most(2000);
        for number in 0_u64..5000 {
            revoked.add(id(number), i64::MAX, 0);
        }
        assert_eq!(revoked.ids.len(), 2000);
        assert!(revoked.contains(&id(0)));
    }
}
