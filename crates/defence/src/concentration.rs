use std::time::Duration;

/// Keys that are followed.
const FOLLOWED: usize = 64;
/// The busiest of them, whose share counts.
const BUSIEST: usize = 8;

/// How much of what happens comes from few: the share of the 8 busiest keys (prefixes, or networks by their number).
///
/// Fixed memory: the Space-Saving summary (Metwally, Agrawal and El Abbadi, 2005) of 64 keys over two halves of a
/// window. A key's count is never below the truth and above it by at most a 64th of all; so a share is at most an
/// eighth too high, and then only if no key stands out.
#[derive(Debug)]
pub struct Concentration<K> {
    half: Duration,
    /// Number of the current half since the origin of time.
    number: u64,
    current: Summary<K>,
    previous: Summary<K>,
}

#[derive(Debug)]
struct Summary<K> {
    counts: Vec<(K, u64)>,
    total: u64,
}

impl<K> Summary<K> {
    const fn new() -> Self {
        Self { counts: Vec::new(), total: 0 }
    }
}

impl<K: PartialEq + Copy> Concentration<K> {
    /// Over a window of at least 2 ms.
    pub fn new(window: Duration) -> Self {
        Self {
            half: (window / 2).max(Duration::from_millis(1)),
            number: 0,
            current: Summary::new(),
            previous: Summary::new(),
        }
    }

    /// Counts one event of a key.
    pub fn add(&mut self, key: K, now: Duration) {
        self.turn(now);
        self.current.total += 1;
        let counts = &mut self.current.counts;
        if let Some((_, count)) = counts.iter_mut().find(|(other, _)| *other == key) {
            *count += 1;
        } else if counts.len() < FOLLOWED {
            counts.push((key, 1));
        } else if let Some(least) = counts.iter_mut().min_by_key(|(_, count)| *count) {
            // The newcomer may have been seen as often as the one that it displaces.
            *least = (key, least.1 + 1);
        }
    }

    /// The share of the busiest keys, from 0 to 1, and the number of events that it is of.
    pub fn share(&mut self, now: Duration) -> (f64, u64) {
        self.turn(now);
        let total = self.current.total + self.previous.total;
        let mut merged = self.current.counts.clone();
        for (key, count) in &self.previous.counts {
            match merged.iter_mut().find(|(other, _)| other == key) {
                Some((_, sum)) => *sum += count,
                None => merged.push((*key, *count)),
            }
        }
        merged.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
        let busiest: u64 = merged.iter().take(BUSIEST).map(|(_, count)| count).sum();
        (if total == 0 { 0.0 } else { (busiest as f64 / total as f64).min(1.0) }, total)
    }

    fn turn(&mut self, now: Duration) {
        let number = (now.as_nanos() / self.half.as_nanos()) as u64;
        if number <= self.number {
            return;
        }
        let ended = std::mem::replace(&mut self.current, Summary::new());
        self.previous = if number == self.number + 1 { ended } else { Summary::new() };
        self.number = number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn few_and_many() {
        let mut concentration = Concentration::new(10 * SECOND);
        assert_eq!(concentration.share(SECOND), (0.0, 0));
        for event in 0..1000_u32 {
            concentration.add(event % 4, SECOND);
        }
        assert_eq!(concentration.share(SECOND), (1.0, 1000));
        for event in 0..1000_u32 {
            concentration.add(1000 + event, 6 * SECOND);
        }
        let (share, total) = concentration.share(6 * SECOND);
        assert!((0.5..0.57).contains(&share) && total == 2000, "{share}");
        let (share, total) = concentration.share(11 * SECOND);
        assert!(share < 0.14 && total == 1000, "{share}");
        assert_eq!(concentration.share(100 * SECOND), (0.0, 0));
    }

    #[test]
    fn the_memory_is_fixed() {
        let mut concentration = Concentration::new(10 * SECOND);
        for event in 0..100_000_u32 {
            concentration.add(event, SECOND);
        }
        assert_eq!(concentration.current.counts.len(), FOLLOWED);
    }
}
