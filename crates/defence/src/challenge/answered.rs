use std::collections::{BTreeSet, HashSet};

/// Which challenges were answered. Who asks for many fills nothing: only answers are remembered.
///
/// If more are answered than it remembers, the oldest are forgotten, and all that are as old as these count as
/// answered: none is ever good twice.
#[derive(Debug)]
pub(super) struct Answered {
    capacity: usize,
    nonces: HashSet<[u8; 16]>,
    by_age: BTreeSet<(i64, [u8; 16])>,
    /// Challenges that expire at this second or before are refused.
    forgotten: i64,
}

impl Answered {
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self { capacity, nonces: HashSet::new(), by_age: BTreeSet::new(), forgotten: i64::MIN }
    }

    /// Adds one that expires at a Unix second and isn't expired `now`; whether it is the first time.
    pub(super) fn add(&mut self, nonce: [u8; 16], expires: i64, now: i64) -> bool {
        while let Some((oldest, _)) = self.by_age.first()
            && (*oldest < now || self.by_age.len() >= self.capacity)
        {
            self.forget_oldest();
        }
        if expires <= self.forgotten || !self.nonces.insert(nonce) {
            return false;
        }
        self.by_age.insert((expires, nonce));
        true
    }

    /// Whether one that expires at a Unix second counts as answered.
    pub(super) fn has(&self, nonce: [u8; 16], expires: i64) -> bool {
        expires <= self.forgotten || self.nonces.contains(&nonce)
    }

    fn forget_oldest(&mut self) {
        if let Some((expires, nonce)) = self.by_age.pop_first() {
            self.nonces.remove(&nonce);
            self.forgotten = self.forgotten.max(expires);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn none_is_taken_twice_and_the_size_is_fixed(
            tries in proptest::collection::vec((0_u8..30, 0_i64..20), 1..200),
        ) {
            let mut answered = Answered::new(7);
            let mut taken = HashSet::new();
            for (id, earlier) in tries {
                let expires = i64::from(id) * 3;
                let had = answered.has([id; 16], expires);
                prop_assert!(had || !taken.contains(&id));
                if answered.add([id; 16], expires, expires - earlier) {
                    prop_assert!(taken.insert(id) && !had);
                }
                prop_assert!(answered.nonces.len() <= 7 && answered.nonces.len() == answered.by_age.len());
            }
        }
    }

    #[test]
    fn what_is_forgotten_is_refused() {
        let mut answered = Answered::new(2);
        for id in 1..=3 {
            assert!(answered.add([id; 16], i64::from(id), 0));
        }
        assert!(!answered.add([1; 16], 1, 0), "it was answered and forgotten");
        assert!(!answered.add([9; 16], 1, 0), "nobody knows any more");
        assert!(answered.add([9; 16], 4, 0));
    }
}
