//! What a machine can do at most: bandwidth and arithmetic that no kernel can pass.
//!
//! Each measure runs on all threads of a pool and is repeated; what counts is the median. The loops do nothing but
//! what they measure: read lines and add them up, multiply int8 into int32, multiply and add f32.

use std::time::Duration;

use base::Clock;

use crate::isa::Isa;
use crate::memory::{Aligned, Disjoint};
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Line, Simd};

/// A rate over some repetitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// The middle one.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Rate {
    /// Of some rates, at least one.
    ///
    /// # Panics
    /// When there is none.
    pub fn of(mut rates: Vec<f64>) -> Self {
        rates.sort_by(f64::total_cmp);
        Self { median: rates[rates.len() / 2], min: rates[0], max: rates[rates.len() - 1] }
    }
}

/// How long and how often to measure.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// What one repetition takes at least.
    pub repetition: Duration,
    /// Repetitions, of which the median counts; 0 is taken as 1.
    pub repetitions: usize,
}

/// Repeats `work`, which does `amount` of something, and gives the amount per second.
fn rate(clock: &dyn Clock, effort: Effort, amount: f64, work: &mut dyn FnMut()) -> Rate {
    // Wakes the threads, and fills the caches where the work fits them.
    work();
    let mut rates = Vec::new();
    for _ in 0..effort.repetitions.max(1) {
        let (start, mut done) = (clock.monotonic(), 0.0);
        let spent = loop {
            work();
            done += amount;
            let spent = clock.monotonic().saturating_sub(start);
            if spent >= effort.repetition {
                break spent;
            }
        };
        rates.push(done / spent.as_secs_f64().max(1e-9));
    }
    Rate::of(rates)
}

/// Bytes that a task of a reading region takes.
const READ_BYTES: usize = 256 << 10;
/// How far ahead a reading loop asks for lines, where it does.
const PREFETCH_BYTES: usize = 16 << 10;

/// Bytes/s at which all threads together read an array of `bytes` again and again: the bandwidth of the memory, or
/// of the cache that the array fits into. Of two loops, with and without prefetches, the faster one's.
pub fn bytes_per_second(isa: Isa, pool: &Pool, clock: &dyn Clock, bytes: usize, effort: Effort) -> Rate {
    let per_task = READ_BYTES / size_of::<[f32; LANES]>();
    let tasks = bytes.div_ceil(READ_BYTES).max(1);
    let mut array = Aligned::<[f32; LANES]>::zeroed(tasks * per_task);
    // Untouched memory is one page of zeros.
    let parts = Disjoint::new(&mut array);
    pool.run(tasks, &|task| {
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each part belongs to one task.
        unsafe { parts.part(task * per_task, per_task) }.fill([1.0; LANES]);
    });
    let read = |ahead: usize| {
        rate(clock, effort, (tasks * READ_BYTES) as f64, &mut || {
            pool.run(tasks, &|task| {
                let part = &array[task * per_task..][..per_task];
                std::hint::black_box(isa.run(Read { part, ahead }));
            });
        })
    };
    let (plain, ahead) = (read(0), read(PREFETCH_BYTES));
    if plain.median > ahead.median { plain } else { ahead }
}

/// Adds up an array.
struct Read<'a> {
    part: &'a [[f32; LANES]],
    /// Bytes to prefetch ahead; 0 for none.
    ahead: usize,
}

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut acc = [s.splat(0.0); 4];
        for quad in self.part.as_chunks::<4>().0 {
            for i in 0..4 {
                if self.ahead > 0 {
                    s.prefetch(&quad[i], self.ahead);
                }
                acc[i] = s.add(acc[i], s.load(&quad[i]));
            }
        }
        s.sum(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3])))
    }
}

/// Passes over its registers that a task of an arithmetic region makes.
const PASSES: usize = 20_000;
/// Lines of codes of 4 bits, those that every instruction set takes fastest, that a pass of [`Dots`] takes.
const DOT_LINES: usize = 4;
/// Codes of a line.
const LINE_CODES: usize = 128;

/// int8 operations/s of all threads together, a multiplication and an addition being two: the peak of the
/// instructions that the products of this instruction set are made of.
pub fn int8_ops_per_second(isa: Isa, pool: &Pool, clock: &dyn Clock, effort: Effort) -> Rate {
    let each = 2 * PASSES * DOT_LINES * LINE_CODES * widest(isa);
    rate(clock, effort, (pool.threads() * each) as f64, &mut || {
        pool.run(pool.threads(), &|task| {
            std::hint::black_box(isa.run(Dots { seed: task as u8 }));
        });
    })
}

/// f32 operations/s of all threads together, a multiplication and an addition being two.
pub fn f32_ops_per_second(isa: Isa, pool: &Pool, clock: &dyn Clock, effort: Effort) -> Rate {
    let each = 2 * PASSES * widest(isa) * LANES;
    rate(clock, effort, (pool.threads() * each) as f64, &mut || {
        pool.run(pool.threads(), &|task| {
            std::hint::black_box(isa.run(MultiplyAdds { seed: task as f32 }));
        });
    })
}

fn widest(isa: Isa) -> usize {
    struct Widest;
    impl Kernel for Widest {
        type Output = usize;
        fn run<S: Simd>(self, _: S) -> usize {
            S::TILE
        }
    }
    isa.run(Widest)
}

/// Dot products of codes and activations that stay in registers and the first cache.
struct Dots {
    seed: u8,
}

impl Kernel for Dots {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        match S::TILE {
            12 => dots::<S, 12>(s, self.seed),
            6 => dots::<S, 6>(s, self.seed),
            _ => dots::<S, 4>(s, self.seed),
        }
    }
}

#[inline(always)]
fn dots<S: Simd, const C: usize>(s: S, seed: u8) -> f32 {
    let lines = std::hint::black_box([Line([(seed & 3) * 0x11; 64]); DOT_LINES]);
    let words = std::hint::black_box([[0x0102_0301; 8]; C]);
    let mut sums = [s.zero_i(); C];
    for _ in 0..PASSES {
        // As if they were others each time: what adds to its sums at the end would be computed once.
        s.dots::<4, C>(&lines, std::hint::black_box(&words), 0, &mut sums);
    }
    let mut all = s.splat(0.0);
    for c in 0..C {
        all = s.add(all, s.to_f32(sums[c]));
    }
    s.sum(all)
}

/// Multiplications and additions of numbers that stay in registers.
struct MultiplyAdds {
    seed: f32,
}

impl Kernel for MultiplyAdds {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        match S::TILE {
            12 => multiply_adds::<S, 12>(s, self.seed),
            6 => multiply_adds::<S, 6>(s, self.seed),
            _ => multiply_adds::<S, 4>(s, self.seed),
        }
    }
}

#[inline(always)]
fn multiply_adds<S: Simd, const C: usize>(s: S, seed: f32) -> f32 {
    let (a, b) = (s.splat(std::hint::black_box(0.5)), s.splat(std::hint::black_box(seed)));
    let mut acc = [s.splat(seed); C];
    for _ in 0..PASSES {
        for c in 0..C {
            acc[c] = s.fma(acc[c], a, b);
        }
    }
    let mut all = s.splat(0.0);
    for c in 0..C {
        all = s.add(all, acc[c]);
    }
    s.sum(all)
}

#[cfg(test)]
mod tests {
    use base::SystemClock;

    use super::*;

    #[test]
    fn every_measure_gives_a_rate_on_every_instruction_set() {
        let effort = Effort { repetition: Duration::from_micros(1), repetitions: 3 };
        let (clock, pool) = (SystemClock::new(), Pool::new(2));
        for isa in Isa::available() {
            for rate in [
                bytes_per_second(isa, &pool, &clock, 1 << 20, effort),
                int8_ops_per_second(isa, &pool, &clock, effort),
                f32_ops_per_second(isa, &pool, &clock, effort),
            ] {
                assert!(rate.min > 0.0 && rate.min <= rate.median && rate.median <= rate.max, "{rate:?}");
            }
        }
    }

    /// What the loops claim to have done is what they have done.
    #[test]
    fn the_loops_do_the_work_that_is_counted() {
        for isa in Isa::available() {
            let read = isa.run(Read { part: &[[1.0; LANES]; 8], ahead: 0 });
            assert!((read - 128.0).abs() < f32::EPSILON, "{read}");
            // Codes of 1 times words of 1, 3, 2, 1, of which a line meets two, in each of 16 lanes.
            let lanes = (widest(isa) * LANES) as f32;
            let sum = isa.run(Dots { seed: 1 });
            assert!((sum / (14.0 * lanes * (PASSES * DOT_LINES) as f32) - 1.0).abs() < 1e-3, "{sum}");
            // The limit of x / 2 + 1.
            let sum = isa.run(MultiplyAdds { seed: 1.0 });
            assert!((sum / (2.0 * lanes) - 1.0).abs() < 1e-3, "{sum}");
        }
    }
}
