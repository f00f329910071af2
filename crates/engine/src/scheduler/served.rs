use std::collections::HashMap;
use std::time::Duration;

use crate::prefix::CacheScope;

/// In which what somebody had counts half.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// What a generated token counts, in tokens read: generating reads all weights for few tokens.
const GENERATED: f64 = 4.0;
/// Up to here nobody has had more than another.
const LITTLE: f64 = 256.0;
/// Below this somebody is forgotten.
const NOTHING: f64 = 1.0;
/// Users that are remembered before those are forgotten who had least.
const USERS_MAX: usize = 4096;
/// How often those who had nothing of late are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(1);

/// What each user has had of the model of late, so that who had least comes first (the virtual token counter of Sheng
/// et al. 2024, that fades instead of being lifted).
#[derive(Debug, Default)]
pub(super) struct Served {
    users: HashMap<CacheScope, Had>,
    forgotten: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Had {
    tokens: f64,
    at: Duration,
}

impl Had {
    fn now(self, now: Duration) -> f64 {
        let half_lives = now.saturating_sub(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.tokens * (-half_lives).exp2()
    }
}

impl Served {
    /// Counts tokens that are read for somebody.
    pub(super) fn read(&mut self, user: CacheScope, tokens: usize, now: Duration) {
        self.add(user, tokens as f64, now);
    }

    /// Counts a token that was generated for somebody.
    pub(super) fn generated(&mut self, user: CacheScope, now: Duration) {
        self.add(user, GENERATED, now);
    }

    fn add(&mut self, user: CacheScope, tokens: f64, now: Duration) {
        let had = self.users.entry(user).or_insert(Had { tokens: 0.0, at: now });
        *had = Had { tokens: had.now(now) + tokens, at: now };
        self.forget(now);
    }

    /// How much somebody had: 0 for little, and one more for each time that it doubles. Steps are coarse, so that of
    /// two who had about the same the one who came first goes first.
    pub(super) fn level(&self, user: CacheScope, now: Duration) -> u32 {
        self.level_with(user, 0, now)
    }

    /// The same when somebody will have had so many tokens more.
    pub(super) fn level_with(&self, user: CacheScope, more: usize, now: Duration) -> u32 {
        let tokens = self.users.get(&user).map_or(0.0, |had| had.now(now)) + more as f64;
        if tokens < LITTLE { 0 } else { 1 + (tokens / LITTLE).log2() as u32 }
    }

    /// Whether more than one had anything of late.
    pub(super) fn is_shared(&self) -> bool {
        self.users.len() > 1
    }

    fn forget(&mut self, now: Duration) {
        if self.users.len() > USERS_MAX {
            let mut had: Vec<f64> = self.users.values().map(|had| had.now(now)).collect();
            let (_, median, _) = had.select_nth_unstable_by(USERS_MAX / 2, f64::total_cmp);
            let median = *median;
            self.users.retain(|_, had| had.now(now) > median);
        }
        if now >= self.forgotten + FORGET_INTERVAL {
            self.forgotten = now;
            self.users.retain(|_, had| had.now(now) >= NOTHING);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: u64) -> CacheScope {
        let mut scope = [0; 16];
        scope[..8].copy_from_slice(&number.to_be_bytes());
        CacheScope(scope)
    }

    #[test]
    fn levels_are_doublings_and_fade() {
        let mut served = Served::default();
        let at = Duration::from_secs;
        assert_eq!(served.level(user(1), at(0)), 0);
        served.read(user(1), 255, at(0));
        assert_eq!(served.level(user(1), at(0)), 0);
        served.generated(user(1), at(0));
        assert_eq!(served.level(user(1), at(0)), 1);
        served.read(user(1), 1200, at(0));
        assert_eq!([0, 10, 20, 30].map(|seconds| served.level(user(1), at(seconds))), [3, 2, 1, 0]);
        assert_eq!(served.level(user(2), at(0)), 0);
    }

    #[test]
    fn who_had_nothing_of_late_is_forgotten_and_memory_is_bounded() {
        let mut served = Served::default();
        served.read(user(1), 1000, Duration::ZERO);
        assert!(!served.is_shared());
        served.read(user(2), 10, Duration::ZERO);
        assert!(served.is_shared());
        served.read(user(1), 1, Duration::from_secs(60));
        assert!(!served.is_shared());
        for number in 0..20_000 {
            served.read(user(number), 1 + (number % 7) as usize, Duration::from_secs(61));
            assert!(served.users.len() <= USERS_MAX);
        }
        assert!(served.level(user(1), Duration::from_secs(61)) == 0 && served.is_shared());
    }
}
