use std::time::Duration;

use base::Rng;

use crate::bucket::Bucket;
use crate::prefix::{Prefix, Width};
use crate::rates::Rates;
use crate::source::{Network, Source};

/// How many accounts may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetSettings {
    /// In any minute, by everybody together.
    pub per_minute: u32,
    /// In any ten minutes from a /32 or /64.
    pub per_narrow: u32,
    /// In any ten minutes from a /56.
    pub per_middle: u32,
    /// In any ten minutes from a /24 or /48: a school or a village behind one router.
    pub per_wide: u32,
    /// In any ten minutes from one autonomous system, of addresses whose system is known.
    pub per_asn: u32,
}

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { per_minute: 60, per_narrow: 5, per_middle: 10, per_wide: 30, per_asn: 300 }
    }
}

/// What a budget lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Spent {
    /// All accounts of this while are made.
    #[error("all new accounts of this minute are made")]
    Everybody {
        /// When there is another.
        retry_after: Duration,
    },
    /// Those of an autonomous system are.
    #[error("{allowed} accounts were made from AS{asn} within ten minutes, which is the limit")]
    Asn {
        /// Its number.
        asn: u32,
        /// Its share.
        allowed: u32,
        /// When there is another.
        retry_after: Duration,
    },
    /// Those of a prefix are.
    #[error("{allowed} accounts were made from {prefix} within ten minutes, which is the limit")]
    Prefix {
        /// The widest whose share is spent.
        prefix: Prefix,
        /// Its share.
        allowed: u32,
        /// When there is another.
        retry_after: Duration,
    },
}

impl Spent {
    /// When there is another.
    pub fn retry_after(self) -> Duration {
        match self {
            Self::Everybody { retry_after }
            | Self::Asn { retry_after, .. }
            | Self::Prefix { retry_after, .. } => retry_after,
        }
    }
}

/// The window of a network's share.
const NETWORK_WINDOW: Duration = Duration::from_mins(10);
/// 640 KiB of counters. The accounts of ten minutes are few against so many columns.
const COLUMNS: usize = 1 << 13;

/// The hard budget of new accounts: at every level, whatever proof somebody has and however long they waited.
#[derive(Debug)]
pub(crate) struct Budget {
    settings: BudgetSettings,
    everybody: Bucket,
    by_network: Rates,
}

impl Budget {
    pub(crate) fn new(settings: BudgetSettings, rng: &mut Rng) -> Self {
        Self {
            settings,
            everybody: Bucket::per_minute(settings.per_minute),
            by_network: Rates::new(NETWORK_WINDOW, COLUMNS, rng),
        }
    }

    /// Accounts that could be made at once.
    pub(crate) fn available(&self, now: Duration) -> f64 {
        self.everybody.available(now)
    }

    /// Takes one account for somebody, and leaves at least `left` to others.
    pub(crate) fn take(&mut self, from: Source, left: f64, now: Duration) -> Result<(), Spent> {
        self.check_networks(from, now)?;
        self.everybody.take(left, now).map_err(|retry_after| Spent::Everybody { retry_after })?;
        for network in Prefix::all(from.address).map(Network::Prefix).chain(from.asn.map(Network::Asn)) {
            self.by_network.add(&network, 1, now);
        }
        Ok(())
    }

    /// An account that was taken was not made. What it counts against its networks stays: a sketch forgets nothing early.
    pub(crate) fn give_back(&mut self, now: Duration) {
        self.everybody.give_back(now);
    }

    fn check_networks(&self, from: Source, now: Duration) -> Result<(), Spent> {
        // The widest last, so that it is the one that is told.
        let mut found = Ok(());
        for prefix in Prefix::all(from.address) {
            let allowed = match prefix.width() {
                Width::Narrow => self.settings.per_narrow,
                Width::Middle => self.settings.per_middle,
                Width::Wide => self.settings.per_wide,
            };
            if let Err(retry_after) = self.by_network.check(&Network::Prefix(prefix), u64::from(allowed), now)
            {
                found = Err(Spent::Prefix { prefix, allowed, retry_after });
            }
        }
        if let Some(asn) = from.asn {
            let allowed = self.settings.per_asn;
            if let Err(retry_after) = self.by_network.check(&Network::Asn(asn), u64::from(allowed), now) {
                found = Err(Spent::Asn { asn, allowed, retry_after });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_prefix_has_its_share() {
        let settings = BudgetSettings { per_minute: 4000, ..BudgetSettings::default() };
        let mut budget = Budget::new(settings, &mut Rng::from_seed(1));
        let now = 1000 * SECOND;
        let of_site =
            |host: u64| Source::from(IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(host)).to_be_bytes()));
        for host in 0..5 {
            assert_eq!(budget.take(of_site(host), 0.0, now), Ok(()));
        }
        let Err(Spent::Prefix { prefix, allowed: 5, retry_after }) = budget.take(of_site(9), 0.0, now) else {
            panic!("a /64 has five");
        };
        assert_eq!(prefix.to_string(), "2001:db8::/64");
        assert!(retry_after >= NETWORK_WINDOW && retry_after <= NETWORK_WINDOW * 5 / 4, "{retry_after:?}");
        assert_eq!(budget.take(of_site(9), 0.0, now + retry_after), Ok(()));
        let mut made = 0;
        for subnet in 0..1000_u128 {
            let address = IpAddr::from((0x2001_0db8_0001_u128 << 80 | subnet << 64).to_be_bytes());
            made += u32::from(budget.take(address.into(), 0.0, now).is_ok());
        }
        assert_eq!(made, 30, "a /48 has thirty");
    }

    #[test]
    fn an_autonomous_system_has_its_share_whatever_prefixes_it_has() {
        let settings = BudgetSettings { per_minute: 40_000, per_asn: 100, ..BudgetSettings::default() };
        let mut budget = Budget::new(settings, &mut Rng::from_seed(1));
        let of_prefix = |number: u32| IpAddr::from(Ipv4Addr::from(number << 8));
        let made = (0..1000)
            .filter(|number| {
                let from = Source { address: of_prefix(*number), asn: Some(64_500) };
                budget.take(from, 0.0, 1000 * SECOND).is_ok()
            })
            .count();
        assert_eq!(made, 100);
        let from = Source { address: of_prefix(7777), asn: Some(64_500) };
        let spent = budget.take(from, 0.0, 1000 * SECOND).unwrap_err();
        assert!(matches!(spent, Spent::Asn { asn: 64_500, allowed: 100, .. }), "{spent}");
        // What is refused takes nothing from others: a second system has all of its share, and so has one not known.
        for asn in [Some(64_501), None] {
            let made = (2000..3000)
                .filter(|number| {
                    let number = number + 10_000 * asn.map_or(0, |_| 1);
                    let from = Source { address: of_prefix(number), asn };
                    budget.take(from, 0.0, 1000 * SECOND).is_ok()
                })
                .count();
            assert_eq!(made, if asn.is_some() { 100 } else { 1000 }, "{asn:?}");
        }
        assert_eq!(budget.take(from, 0.0, 1000 * SECOND + NETWORK_WINDOW * 2), Ok(()));
    }

    #[test]
    fn memory_and_budget_are_the_same_for_a_million_addresses() {
        let mut budget = Budget::new(BudgetSettings::default(), &mut Rng::from_seed(1));
        let mut made = 0;
        for number in 0..1_000_000_u32 {
            let now = 1000 * SECOND + Duration::from_micros(60 * u64::from(number));
            let address = IpAddr::from(Ipv4Addr::from(number << 8));
            // Of as many systems, and of none.
            let asn = (number % 2 == 0).then_some(number);
            made += u32::from(budget.take(Source { address, asn }, 0.0, now).is_ok());
        }
        assert!((59..=60).contains(&made), "{made}");
    }
}
