//! How long users wait and what their answers cost, by the age of their accounts.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use defence::Moment;
use store::UserId;

/// An account that is younger is young.
const YOUNG_MS: i64 = 24 * 60 * 60 * 1000;

/// Of answers that ended: for one that goes on it is not known yet what it costs, and a wait is told with it.
#[derive(Debug, Default)]
pub(super) struct Load {
    waits: Waits,
    costs: Costs,
}

impl Load {
    /// An answer of `tokens` tokens ended, which somebody waited for.
    pub(super) fn add(&mut self, user: UserId, tokens: u64, queued: Duration, now: Moment) {
        let is_young = now.unix_ms.saturating_sub(made_ms(user)) < YOUNG_MS;
        // That newcomers wait must not close the gate.
        if !is_young {
            self.waits.add(queued, now.monotonic);
        }
        self.costs.add(user, is_young, tokens, now.monotonic);
    }

    /// How long the tenth of established users waited at least that waited longest; nothing if there were few.
    pub(super) fn queue_delay(&mut self, now: Duration) -> Duration {
        self.waits.high(now)
    }

    /// The tokens of a young account as a multiple of those of another; 0 if there were few of either.
    pub(super) fn cost_per_account(&mut self, now: Duration) -> f64 {
        self.costs.ratio(now)
    }
}

/// When an account was made: its id begins with the time (UUID version 7).
fn made_ms(user: UserId) -> i64 {
    let bytes = <[u8; 16]>::from(user);
    bytes[..6].iter().fold(0, |ms, byte| ms << 8 | i64::from(*byte))
}

/// Waits of the last seconds, the newest of them if there are many.
#[derive(Debug, Default)]
struct Waits(VecDeque<(Duration, Duration)>);

impl Waits {
    const WINDOW: Duration = Duration::from_secs(15);
    const MAX: usize = 1024;
    const ENOUGH: usize = 10;

    fn add(&mut self, wait: Duration, now: Duration) {
        if self.0.len() == Self::MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, wait));
    }

    fn high(&mut self, now: Duration) -> Duration {
        while self.0.front().is_some_and(|(at, _)| *at + Self::WINDOW <= now) {
            self.0.pop_front();
        }
        if self.0.len() < Self::ENOUGH {
            return Duration::ZERO;
        }
        let mut waits: Vec<_> = self.0.iter().map(|(_, wait)| *wait).collect();
        let at = waits.len() * 9 / 10;
        *waits.select_nth_unstable(at).1
    }
}

/// Tokens by account, over this part of the window and the one before.
#[derive(Debug, Default)]
struct Costs {
    part: u64,
    current: HashMap<UserId, Cost>,
    previous: HashMap<UserId, Cost>,
}

#[derive(Debug, Clone, Copy)]
struct Cost {
    is_young: bool,
    tokens: u64,
}

impl Costs {
    const PART: Duration = Duration::from_mins(5);
    /// Accounts of a part; those that come when there are so many are not looked at.
    const MAX: usize = 4096;
    /// Accounts of each kind whose mean says something.
    const ENOUGH: usize = 8;

    fn add(&mut self, user: UserId, is_young: bool, tokens: u64, now: Duration) {
        self.turn(now);
        if self.current.len() < Self::MAX || self.current.contains_key(&user) {
            let cost = self.current.entry(user).or_insert(Cost { is_young, tokens: 0 });
            cost.tokens = cost.tokens.saturating_add(tokens);
        }
    }

    fn ratio(&mut self, now: Duration) -> f64 {
        self.turn(now);
        let (mut young, mut old) = ((0, 0_u64), (0, 0_u64));
        for (user, cost) in &self.current {
            let before = self.previous.get(user).map_or(0, |cost| cost.tokens);
            let sum = if cost.is_young { &mut young } else { &mut old };
            *sum = (sum.0 + 1, sum.1.saturating_add(cost.tokens).saturating_add(before));
        }
        for cost in self.previous.iter().filter(|(user, _)| !self.current.contains_key(user)).map(|(_, c)| c)
        {
            let sum = if cost.is_young { &mut young } else { &mut old };
            *sum = (sum.0 + 1, sum.1.saturating_add(cost.tokens));
        }
        if young.0 < Self::ENOUGH || old.0 < Self::ENOUGH || old.1 == 0 {
            return 0.0;
        }
        let mean = |(count, tokens): (usize, u64)| tokens as f64 / count as f64;
        mean(young) / mean(old)
    }

    fn turn(&mut self, now: Duration) {
        let part = (now.as_nanos() / Self::PART.as_nanos()) as u64;
        if part > self.part {
            let ended = std::mem::take(&mut self.current);
            self.previous = if part == self.part + 1 { ended } else { HashMap::new() };
            self.part = part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: i64 = YOUNG_MS;

    fn user(made_ms: i64, number: u8) -> UserId {
        let mut bytes = [number; 16];
        bytes[..6].copy_from_slice(&made_ms.to_be_bytes()[2..]);
        bytes.into()
    }

    fn at(seconds: u64) -> Moment {
        Moment { monotonic: Duration::from_secs(seconds), unix_ms: 10 * DAY_MS + seconds as i64 * 1000 }
    }

    #[test]
    fn an_id_tells_when_its_account_was_made() {
        assert_eq!(made_ms(user(1_764_000_000_123, 7)), 1_764_000_000_123);
    }

    #[test]
    fn only_the_waits_of_the_established_count_and_not_for_long() {
        let mut load = Load::default();
        for number in 0..30 {
            load.add(user(10 * DAY_MS, number), 1, Duration::from_secs(60), at(1));
        }
        assert_eq!(load.queue_delay(at(1).monotonic), Duration::ZERO);
        for number in 0..20 {
            let wait = Duration::from_millis(100 * u64::from(number));
            load.add(user(DAY_MS, number), 1, wait, at(2));
            let enough = number >= 9;
            assert_eq!(load.queue_delay(at(2).monotonic) > Duration::ZERO, enough, "{number}");
        }
        assert_eq!(load.queue_delay(at(16).monotonic), Duration::from_millis(1800));
        assert_eq!(load.queue_delay(at(17).monotonic), Duration::ZERO);
        for _ in 0..5000 {
            load.add(user(DAY_MS, 1), 1, Duration::ZERO, at(20));
        }
        assert_eq!(load.waits.0.len(), Waits::MAX);
    }

    #[test]
    fn young_accounts_are_held_against_others() {
        let mut load = Load::default();
        for number in 0..8 {
            assert!(load.cost_per_account(at(1).monotonic) == 0.0, "{number} of a kind are few");
            load.add(user(DAY_MS, number), 50, Duration::ZERO, at(1));
            load.add(user(10 * DAY_MS, number), 700, Duration::ZERO, at(1));
        }
        for number in 0..8 {
            load.add(user(DAY_MS, number), 50, Duration::ZERO, at(301));
        }
        assert!((load.cost_per_account(at(301).monotonic) - 7.0).abs() < 1e-9);
        assert!(load.cost_per_account(at(601).monotonic) == 0.0, "only those who were there since count");
        for number in 0..5000_u32 {
            let made_ms = DAY_MS + i64::from(number);
            load.add(user(made_ms, 0), 1, Duration::ZERO, at(602));
        }
        assert_eq!(load.costs.current.len(), Costs::MAX);
    }
}
