//! How often somebody may try: a pure automaton of fixed size, driven by time that is an argument.
//!
//! Each key (a name seen from a network, or a network alone) has an allowance that refills steadily (GCRA, the generic
//! cell rate algorithm of ITU-T I.371). Keys share slots by a keyed hash, so that memory is fixed whatever strangers
//! send: two keys of one slot share an allowance, which can only refuse earlier, never later.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// `burst` tries at once, and one more each `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Tries at once.
    pub burst: u32,
    /// Time after which there is one more.
    pub interval: Duration,
}

/// Allowances of many keys.
#[derive(Debug)]
pub(crate) struct Attempts {
    allowance: Allowance,
    hasher: RandomState,
    /// For each slot the time at which its allowance is full again.
    full_at: Box<[Duration]>,
}

impl Attempts {
    pub(crate) fn new(allowance: Allowance, slots: usize) -> Self {
        Self {
            allowance,
            hasher: RandomState::new(),
            full_at: vec![Duration::ZERO; slots.max(1)].into_boxed_slice(),
        }
    }

    /// Whether the key may try at `now` (monotonic); how long to wait if not. Takes nothing.
    pub(crate) fn check(&self, key: &impl Hash, now: Duration) -> Result<(), Duration> {
        let full_at = self.full_at[self.slot(key)].max(now);
        let used = full_at - now;
        let room = self.allowance.interval * self.allowance.burst.saturating_sub(1);
        if used > room { Err(used - room) } else { Ok(()) }
    }

    /// Takes one try of the key's.
    pub(crate) fn take(&mut self, key: &impl Hash, now: Duration) {
        let most = now + self.allowance.interval * self.allowance.burst;
        let full_at = &mut self.full_at[self.slot(key)];
        *full_at = (now.max(*full_at) + self.allowance.interval).min(most);
    }

    /// Gives the key its whole allowance back.
    pub(crate) fn forgive(&mut self, key: &impl Hash) {
        self.full_at[self.slot(key)] = Duration::ZERO;
    }

    fn slot(&self, key: &impl Hash) -> usize {
        let slots = self.full_at.len() as u64;
        (self.hasher.hash_one(key) % slots) as usize
    }
}

/// The network that an address is counted under: what one customer of a provider usually has.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (!0 << 64))),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_then_one_each_interval() {
        let mut attempts = Attempts::new(Allowance { burst: 3, interval: 10 * SECOND }, 64);
        let mut now = 1000 * SECOND;
        for _ in 0..3 {
            assert_eq!(attempts.check(&"a", now), Ok(()));
            attempts.take(&"a", now);
        }
        assert_eq!(attempts.check(&"a", now), Err(10 * SECOND));
        now += 4 * SECOND;
        assert_eq!(attempts.check(&"a", now), Err(6 * SECOND));
        now += 6 * SECOND;
        assert_eq!(attempts.check(&"a", now), Ok(()));
        attempts.take(&"a", now);
        assert_eq!(attempts.check(&"a", now), Err(10 * SECOND));
        attempts.forgive(&"a");
        assert_eq!(attempts.check(&"a", now), Ok(()));
    }

    #[test]
    fn trying_on_does_not_make_the_wait_longer_than_the_whole_allowance() {
        let mut attempts = Attempts::new(Allowance { burst: 3, interval: 10 * SECOND }, 1);
        for _ in 0..1000 {
            attempts.take(&"a", SECOND);
        }
        assert_eq!(attempts.check(&"a", SECOND), Err(10 * SECOND));
    }

    #[test]
    fn a_network_is_what_one_customer_has() {
        let check = |address: &str, expected: &str| {
            assert_eq!(network(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        };
        check("192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("::ffff:192.0.2.7", "192.0.2.7");
    }

    proptest! {
        #[test]
        fn no_more_than_the_allowance_however_it_is_tried(
            steps in proptest::collection::vec(0_u64..4000, 1..200),
            burst in 1_u32..8,
            interval_ms in 1_u64..5000,
        ) {
            let interval = Duration::from_millis(interval_ms);
            let mut attempts = Attempts::new(Allowance { burst, interval }, 16);
            let mut now = Duration::ZERO;
            let mut taken = 0_u128;
            for step in steps {
                now += Duration::from_millis(step);
                if attempts.check(&1, now).is_ok() {
                    attempts.take(&1, now);
                    taken += 1;
                }
                prop_assert!(taken <= u128::from(burst) + now.as_millis() / u128::from(interval_ms));
            }
        }
    }
}
