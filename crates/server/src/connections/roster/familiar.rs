//! Addresses from which somebody has shown who they are, in memory that is fixed.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use defence::Prefix;

/// Places of one set: where a prefix can stand.
const WAYS: usize = 4;

/// For how long an address is remembered.
const MEMORY: Duration = Duration::from_hours(24);

/// A set of prefixes that forgets the one seen longest ago when there is no room. Two prefixes of one fingerprint (of
/// 64 bits, under a key that nobody knows) are taken for one another, which lets a stranger into a queue at most.
#[derive(Debug)]
pub(super) struct Familiar {
    hasher: RandomState,
    sets: Box<[[Option<Seen>; WAYS]]>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    fingerprint: u64,
    at: Duration,
}

impl Familiar {
    /// Room for `sets` times four prefixes of 24 bytes each.
    pub(super) fn new(sets: usize) -> Self {
        Self { hasher: RandomState::new(), sets: vec![[None; WAYS]; sets.max(1)].into_boxed_slice() }
    }

    fn place(&self, prefix: Prefix) -> (usize, u64) {
        let fingerprint = self.hasher.hash_one(prefix);
        ((fingerprint % self.sets.len() as u64) as usize, fingerprint)
    }

    /// Remembers a prefix.
    pub(super) fn note(&mut self, prefix: Prefix, now: Duration) {
        let (set, fingerprint) = self.place(prefix);
        let set = &mut self.sets[set];
        let known = set.iter().position(|seen| seen.is_some_and(|seen| seen.fingerprint == fingerprint));
        let oldest = || (0..WAYS).min_by_key(|way| set[*way].map(|seen| seen.at)).unwrap_or(0);
        let way = known.unwrap_or_else(oldest);
        set[way] = Some(Seen { fingerprint, at: now });
    }

    /// Whether a prefix is remembered.
    pub(super) fn knows(&self, prefix: Prefix, now: Duration) -> bool {
        let (set, fingerprint) = self.place(prefix);
        let is_it = |seen: &Seen| seen.fingerprint == fingerprint && now.saturating_sub(seen.at) < MEMORY;
        self.sets[set].iter().flatten().any(is_it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(number: u32) -> Prefix {
        Prefix::narrow(std::net::Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn it_remembers_for_a_day() {
        let mut familiar = Familiar::new(16);
        familiar.note(prefix(1), Duration::ZERO);
        assert!(familiar.knows(prefix(1), MEMORY - Duration::from_secs(1)));
        assert!(!familiar.knows(prefix(2), Duration::ZERO));
        assert!(!familiar.knows(prefix(1), MEMORY));
        familiar.note(prefix(1), MEMORY);
        assert!(familiar.knows(prefix(1), MEMORY));
    }

    #[test]
    fn who_was_seen_longest_ago_makes_room() {
        let mut familiar = Familiar::new(1);
        for number in 0..4 {
            familiar.note(prefix(number), Duration::from_secs(u64::from(number)));
        }
        familiar.note(prefix(0), Duration::from_secs(5));
        familiar.note(prefix(9), Duration::from_secs(6));
        let known = |number| familiar.knows(prefix(number), Duration::from_secs(6));
        assert_eq!([0, 1, 2, 3, 9].map(known), [true, false, true, true, true]);
    }
}
