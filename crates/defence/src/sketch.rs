use std::hash::Hash;

use base::Rng;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// Rows of a sketch.
pub(crate) const ROWS: usize = 4;

/// Where a key is counted: one column of each row.
pub(crate) type Cells = [usize; ROWS];

/// A hash under a secret key (`SipHash-1-3`, 128 bits), so that a stranger can't choose keys that meet.
#[derive(Clone)]
pub(crate) struct Hashing {
    hasher: SipHasher13,
    mask: u32,
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashing(..)")
    }
}

impl Hashing {
    /// A hash into `columns`, rounded up to a power of two of at most 2^24, under a key that is drawn now.
    pub(crate) fn new(columns: usize, rng: &mut Rng) -> Self {
        let columns = columns.clamp(1, 1 << 24).next_power_of_two();
        let hasher = SipHasher13::new_with_keys(rng.next_u64(), rng.next_u64());
        Self { hasher, mask: columns as u32 - 1 }
    }

    pub(crate) fn columns(&self) -> usize {
        self.mask as usize + 1
    }

    pub(crate) fn cells(&self, key: &impl Hash) -> Cells {
        let mut hasher = self.hasher;
        key.hash(&mut hasher);
        let bits = hasher.finish128().as_u128();
        std::array::from_fn(|row| ((bits >> (32 * row)) as u32 & self.mask) as usize)
    }
}

/// Counts of keys in fixed memory: a count-min sketch (Cormode and Muthukrishnan, 2005) with conservative update
/// (Estan and Varghese, 2002).
///
/// An estimate is never below the true count. With `w` columns and 4 rows, after `n` events it is above it by more
/// than `e·n/w` with a probability of at most `e^-4` (1.8 %), whatever keys a stranger sends, for they don't know the
/// key of the hash.
#[derive(Debug)]
pub(crate) struct Sketch {
    /// [row, column]
    counts: Box<[u32]>,
    columns: usize,
    /// All that was added.
    total: u64,
}

impl Sketch {
    pub(crate) fn new(columns: usize) -> Self {
        Self { counts: vec![0; ROWS * columns].into_boxed_slice(), columns, total: 0 }
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn estimate(&self, cells: &Cells) -> u32 {
        let counts = cells.iter().enumerate().map(|(row, column)| self.counts[row * self.columns + column]);
        counts.min().unwrap_or(0)
    }

    /// Only counters below the new estimate are raised: more would help nobody's estimate.
    pub(crate) fn add(&mut self, cells: &Cells, count: u32) {
        let raised = self.estimate(cells).saturating_add(count);
        for (row, column) in cells.iter().enumerate() {
            let counter = &mut self.counts[row * self.columns + column];
            *counter = raised.max(*counter);
        }
        self.total = self.total.saturating_add(u64::from(count));
    }

    pub(crate) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use base::Rng;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn estimates_are_never_below_and_rarely_far_above(
            seed: u64,
            events in proptest::collection::vec((0_u32..500, 1_u32..4), 1..2000),
        ) {
            let hashing = Hashing::new(256, &mut Rng::from_seed(seed));
            let mut sketch = Sketch::new(hashing.columns());
            let mut exact: HashMap<u32, u32> = HashMap::new();
            for (key, count) in events {
                sketch.add(&hashing.cells(&key), count);
                *exact.entry(key).or_default() += count;
            }
            let total: u32 = exact.values().sum();
            prop_assert_eq!(sketch.total(), u64::from(total));
            let bound = f64::from(total) * std::f64::consts::E / 256.0;
            let mut beyond = 0;
            for (key, count) in &exact {
                let estimate = sketch.estimate(&hashing.cells(key));
                prop_assert!(estimate >= *count);
                beyond += usize::from(f64::from(estimate - count) > bound);
            }
            // The bound holds for each key by itself; over all of them three times the share leaves room for chance.
            prop_assert!(beyond <= 3 + exact.len() * 55 / 1000, "{} of {}", beyond, exact.len());
        }
    }

    #[test]
    fn another_key_has_other_collisions() {
        let cells = |seed| Hashing::new(1 << 20, &mut Rng::from_seed(seed)).cells(&"key");
        assert_eq!(cells(1), cells(1));
        assert_ne!(cells(1), cells(2));
    }

    #[test]
    fn counters_stay_at_their_largest() {
        let hashing = Hashing::new(1, &mut Rng::from_seed(1));
        let mut sketch = Sketch::new(hashing.columns());
        sketch.add(&hashing.cells(&1), u32::MAX);
        sketch.add(&hashing.cells(&1), 5);
        assert_eq!(sketch.estimate(&hashing.cells(&2)), u32::MAX);
        sketch.clear();
        assert_eq!((sketch.estimate(&hashing.cells(&1)), sketch.total()), (0, 0));
    }
}
