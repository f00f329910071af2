use std::hash::Hash;
use std::time::Duration;

use base::Rng;

use crate::sketch::{Cells, Hashing, Sketch};

/// Slices of a window.
const SLICES: u32 = 4;

/// How often each key was seen in the last while, in memory that is fixed when this is made.
///
/// A key is whatever is counted together: `(Prefix, Action)`, say. The window slides in quarters: what is counted is
/// the last window and at most a quarter of a window before it. So an estimate is
///
/// - never below the true count of the last `window`, and
/// - above the true count of the last `1.25 · window` by more than `e·n/columns`, where `n` are all events of that
///   time, with a probability of at most 1.8 % in each of five slices.
///
/// Two keys that meet in the hash are refused earlier for it, never later.
///
/// `pingora-limits` has the same sketch but reads the machine's clock (inside of its `Rate`) and draws its
/// hash keys itself, so it can't be run on simulated time; hence this.
#[derive(Debug)]
pub struct Rates {
    hashing: Hashing,
    slice: Duration,
    /// The slice with number `n` since the origin of time is at `n % slices.len()`.
    slices: Box<[Sketch]>,
    /// Number of the newest slice.
    newest: u64,
}

impl Rates {
    /// Counters of `columns` (rounded up to a power of two) for a window of at least 4 ms. They take
    /// 80 bytes for each column.
    pub fn new(window: Duration, columns: usize, rng: &mut Rng) -> Self {
        let hashing = Hashing::new(columns, rng);
        let columns = hashing.columns();
        Self {
            hashing,
            slice: (window / SLICES).max(Duration::from_millis(1)),
            slices: (0..=SLICES).map(|_| Sketch::new(columns)).collect(),
            newest: 0,
        }
    }

    /// The length of the window.
    pub fn window(&self) -> Duration {
        self.slice * SLICES
    }

    /// Counts a key `count` times more and says how often it was seen in the window.
    pub fn add(&mut self, key: &impl Hash, count: u32, now: Duration) -> u64 {
        let cells = self.hashing.cells(key);
        self.add_at(&cells, count, now);
        self.estimate_at(&cells, now)
    }

    /// How often a key was seen in the window.
    pub fn estimate(&self, key: &impl Hash, now: Duration) -> u64 {
        self.estimate_at(&self.hashing.cells(key), now)
    }

    /// How often all keys were seen in the window; exact but for the quarter of a window.
    pub fn total(&self, now: Duration) -> u64 {
        self.live(now).map(|(_, sketch)| sketch.total()).sum()
    }

    /// Counts a key once if it was seen fewer than `limit` times.
    ///
    /// # Errors
    /// If not, the time after which it may be tried again.
    pub fn take(&mut self, key: &impl Hash, limit: u64, now: Duration) -> Result<(), Duration> {
        self.check(key, limit, now)?;
        let cells = self.hashing.cells(key);
        self.add_at(&cells, 1, now);
        Ok(())
    }

    /// Whether a key was seen fewer than `limit` times. Counts nothing.
    ///
    /// # Errors
    /// If not, the time after which it may be tried again.
    pub fn check(&self, key: &impl Hash, limit: u64, now: Duration) -> Result<(), Duration> {
        let cells = self.hashing.cells(key);
        let mut seen = self.estimate_at(&cells, now);
        if seen < limit {
            return Ok(());
        }
        // The slices end one after the other, the oldest first.
        let mut live: Vec<_> = self.live(now).collect();
        live.sort_by_key(|(number, _)| *number);
        for (number, sketch) in live {
            seen -= u64::from(sketch.estimate(&cells));
            if seen < limit {
                return Err(self.ends(number).saturating_sub(now));
            }
        }
        Err(self.window())
    }

    /// When a slice is no longer counted.
    fn ends(&self, number: u64) -> Duration {
        self.slice * u32::try_from(number + u64::from(SLICES) + 1).unwrap_or(u32::MAX)
    }

    fn number(&self, now: Duration) -> u64 {
        (now.as_nanos() / self.slice.as_nanos()) as u64
    }

    /// The slices that are counted at `now`, with their numbers.
    fn live(&self, now: Duration) -> impl Iterator<Item = (u64, &Sketch)> {
        let current = self.number(now).max(self.newest);
        let oldest = current.saturating_sub(u64::from(SLICES));
        (oldest..=self.newest).map(|number| (number, &self.slices[self.place(number)]))
    }

    fn place(&self, number: u64) -> usize {
        (number % self.slices.len() as u64) as usize
    }

    fn estimate_at(&self, cells: &Cells, now: Duration) -> u64 {
        self.live(now).map(|(_, sketch)| u64::from(sketch.estimate(cells))).sum()
    }

    fn add_at(&mut self, cells: &Cells, count: u32, now: Duration) {
        let current = self.number(now);
        // Time does not go back, but threads may come here in another order than they looked at the clock.
        let first = (self.newest + 1).max((current + 1).saturating_sub(self.slices.len() as u64));
        for number in first..=current {
            let place = self.place(number);
            self.slices[place].clear();
        }
        self.newest = self.newest.max(current);
        let place = self.place(self.newest);
        self.slices[place].add(cells, count);
    }
}

#[cfg(test)]
mod tests {
    use base::Rng;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rates(columns: usize) -> Rates {
        Rates::new(8 * SECOND, columns, &mut Rng::from_seed(1))
    }

    #[test]
    fn a_window_slides() {
        let mut rates = rates(1 << 10);
        assert_eq!(rates.add(&"a", 3, SECOND), 3);
        assert_eq!(rates.add(&"a", 1, 5 * SECOND), 4);
        assert_eq!(rates.estimate(&"b", 5 * SECOND), 0);
        assert_eq!(rates.estimate(&"a", 9 * SECOND), 4);
        assert_eq!(rates.estimate(&"a", 10 * SECOND), 1);
        assert_eq!(rates.total(10 * SECOND), 1);
        assert_eq!(rates.estimate(&"a", 14 * SECOND), 0);
        assert_eq!(rates.add(&"a", 2, 1000 * SECOND), 2);
        assert_eq!(rates.estimate(&"a", u32::MAX * SECOND), 0);
    }

    #[test]
    fn who_waits_as_long_as_told_is_let_in() {
        let mut rates = rates(1 << 10);
        for second in 0..4 {
            assert_eq!(rates.take(&1, 4, second * SECOND), Ok(()));
        }
        let wait = rates.take(&1, 4, 4 * SECOND).unwrap_err();
        assert_eq!(wait, 6 * SECOND);
        let just_before = 4 * SECOND + wait - Duration::from_millis(1);
        assert!(rates.take(&1, 4, just_before).is_err());
        assert_eq!(rates.take(&1, 4, 4 * SECOND + wait), Ok(()));
        assert_eq!(rates.check(&2, 0, SECOND), Err(8 * SECOND), "a limit of none never lets in");
    }

    #[test]
    fn an_event_that_comes_late_is_counted() {
        let mut rates = rates(1 << 10);
        rates.add(&1, 1, 100 * SECOND);
        assert_eq!(rates.add(&1, 1, 50 * SECOND), 2);
        assert_eq!(rates.estimate(&1, 100 * SECOND), 2);
    }

    proptest! {
        #[test]
        fn between_the_window_and_a_quarter_more(
            seed: u64,
            events in proptest::collection::vec((0_u8..6, 0_u64..3000), 1..300),
        ) {
            // So many columns that keys don't meet: what is tested is time.
            let mut rates = Rates::new(8 * SECOND, 1 << 12, &mut Rng::from_seed(seed));
            let mut now = Duration::ZERO;
            let mut seen: Vec<(u8, Duration)> = Vec::new();
            for (key, later_ms) in events {
                now += Duration::from_millis(later_ms);
                let estimate = rates.add(&key, 1, now);
                seen.push((key, now));
                let within = |window: Duration| {
                    seen.iter().filter(|(other, at)| *other == key && now - *at < window).count() as u64
                };
                prop_assert!(estimate >= within(8 * SECOND) && estimate <= within(10 * SECOND));
            }
        }

        #[test]
        fn never_more_than_the_limit_in_a_window(
            steps in proptest::collection::vec(0_u64..2000, 1..300),
            limit in 1_u64..8,
        ) {
            let mut rates = rates(16);
            let mut now = Duration::ZERO;
            let mut taken: Vec<Duration> = Vec::new();
            for later_ms in steps {
                now += Duration::from_millis(later_ms);
                if rates.take(&1, limit, now).is_ok() {
                    taken.push(now);
                }
                let recent = taken.iter().filter(|at| now - **at < 8 * SECOND).count() as u64;
                prop_assert!(recent <= limit);
            }
        }
    }
}
