use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// Randomness as an argument: a seeded `ChaCha8` stream. The same seed gives the same numbers on every machine.
#[derive(Debug, Clone)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// A reproducible stream.
    pub fn from_seed(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A stream seeded by the operating system, for ids and unseeded sampling.
    ///
    /// # Errors
    /// When the operating system has no entropy to give.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's entropy")]
    pub fn from_os() -> Result<Self, getrandom::Error> {
        let mut seed = [0_u8; 32];
        getrandom::fill(&mut seed)?;
        Ok(Self(ChaCha8Rng::from_seed(seed)))
    }

    /// Another stream, seeded with 256 bits of this one: neither tells anything about the other.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut seed = [0_u8; 32];
        self.fill(&mut seed);
        Self(ChaCha8Rng::from_seed(seed))
    }

    /// Uniform over all 64-bit values.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`, with 24 random bits.
    pub fn next_f32(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in `0..bound` (by widening multiplication; the bias is below 2^-32 for bounds under 2^32).
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "Rng::below needs a bound of at least 1");
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Fills a buffer with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_stream() {
        let draw = |seed| {
            let mut rng = Rng::from_seed(seed);
            (0..8).map(|_| rng.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_fork_is_another_stream_and_the_same_each_time() {
        let draw = || {
            let mut rng = Rng::from_seed(7);
            let mut fork = rng.fork();
            [rng.next_u64(), fork.next_u64(), rng.next_u64(), fork.next_u64()]
        };
        let drawn = draw();
        assert_eq!(drawn, draw());
        for (index, number) in drawn.iter().enumerate() {
            assert!(!drawn[..index].contains(number));
        }
    }

    #[test]
    fn floats_and_bounds_stay_in_range() {
        let mut rng = Rng::from_seed(1);
        for _ in 0..10_000 {
            let x = rng.next_f32();
            assert!((0.0..1.0).contains(&x));
            assert!(rng.below(3) < 3);
        }
    }
}
