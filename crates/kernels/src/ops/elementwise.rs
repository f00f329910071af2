//! Steps that treat every number alike, and reductions of one row.

use super::rows::silu_mul_row;
use super::{check_rows, rows_per_task};
use crate::isa::Isa;
use crate::memory::Disjoint;
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Simd, exp, load_part, store_part};

/// Values that a task of an element-wise step takes.
const VALUES_PER_TASK: usize = 16 << 10;

/// `x += y`.
///
/// # Panics
/// When the lengths differ.
pub fn add(isa: Isa, pool: &Pool, x: &mut [f32], y: &[f32]) {
    assert_eq!(x.len(), y.len(), "add: both must be of one length");
    let len = x.len();
    let x = Disjoint::new(x);
    pool.run(len.div_ceil(VALUES_PER_TASK), &|task| {
        let first = task * VALUES_PER_TASK;
        let count = VALUES_PER_TASK.min(len - first);
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each range belongs to one task.
        let x = unsafe { x.part(first, count) };
        isa.run(Add { x, y: &y[first..first + count] });
    });
}

struct Add<'a> {
    x: &'a mut [f32],
    y: &'a [f32],
}

impl Kernel for Add<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (xs, x_rest) = self.x.as_chunks_mut::<LANES>();
        let (ys, y_rest) = self.y.as_chunks::<LANES>();
        for (x, y) in xs.iter_mut().zip(ys) {
            s.store(s.add(s.load(x), s.load(y)), x);
        }
        for (x, y) in x_rest.iter_mut().zip(y_rest) {
            *x += y;
        }
    }
}

/// `x[i] += bias` for each row of x, `[n, bias.len()]`.
///
/// # Panics
/// When `x` isn't whole rows.
pub fn add_bias(isa: Isa, pool: &Pool, x: &mut [f32], bias: &[f32]) {
    let (cols, n) = (bias.len(), check_rows("add_bias", x.len(), bias.len()));
    let per_task = rows_per_task(pool, n, cols);
    let x = Disjoint::new(x);
    pool.run(n.div_ceil(per_task), &|task| {
        let first = task * per_task;
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each row belongs to one task.
        let x = unsafe { x.part(first * cols, per_task.min(n - first) * cols) };
        for row in x.chunks_exact_mut(cols) {
            isa.run(Add { x: row, y: bias });
        }
    });
}

/// SwiGLU: `out = gate / (1 + e^-gate) * up`, relative error of the first factor below 5e-7.
///
/// # Panics
/// When the lengths differ.
pub fn silu_mul(isa: Isa, pool: &Pool, gate: &[f32], up: &[f32], out: &mut [f32]) {
    struct SiluMul<'a> {
        gate: &'a [f32],
        up: &'a [f32],
        out: &'a mut [f32],
    }
    impl Kernel for SiluMul<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            silu_mul_row(s, self.gate, self.up, self.out);
        }
    }
    assert!(gate.len() == up.len() && up.len() == out.len(), "silu_mul: all three must be of one length");
    let len = out.len();
    let out = Disjoint::new(out);
    pool.run(len.div_ceil(VALUES_PER_TASK), &|task| {
        let first = task * VALUES_PER_TASK;
        let range = first..len.min(first + VALUES_PER_TASK);
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each range belongs to one task.
        let out = unsafe { out.part(first, range.len()) };
        isa.run(SiluMul { gate: &gate[range.clone()], up: &up[range], out });
    });
}

/// `x = e^(x - max) / sum`, one row. A row of which some number is NaN becomes NaN; so does
/// one of -inf alone, and +inf where it stands. An empty one stays so.
pub fn softmax(isa: Isa, x: &mut [f32]) {
    struct Softmax<'a>(&'a mut [f32]);
    impl Kernel for Softmax<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let low = s.splat(f32::NEG_INFINITY);
            let mut largest = low;
            for part in self.0.chunks(LANES) {
                largest = s.max(s.first(part.len(), load_part(s, part), low), largest);
            }
            let largest = s.largest(largest);
            let shift = s.splat(if largest.is_finite() { largest } else { 0.0 });
            let mut sum = s.splat(0.0);
            for part in self.0.chunks_mut(LANES) {
                let powers = exp(s, s.sub(load_part(s, part), shift));
                let powers = s.first(part.len(), powers, s.splat(0.0));
                sum = s.add(sum, powers);
                store_part(s, powers, part);
            }
            let factor = s.splat(1.0 / s.sum(sum));
            for part in self.0.chunks_mut(LANES) {
                store_part(s, s.mul(load_part(s, part), factor), part);
            }
        }
    }
    isa.run(Softmax(x));
}

/// Index of the largest number, the first of equals. NaN is never chosen; 0 if there is nothing to choose.
pub fn argmax(isa: Isa, x: &[f32]) -> usize {
    struct Largest<'a>(&'a [f32]);
    impl Kernel for Largest<'_> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            let low = s.splat(f32::NEG_INFINITY);
            let mut acc = [low; 4];
            let (quads, rest) = self.0.as_chunks::<{ 4 * LANES }>();
            for quad in quads {
                let (vectors, _) = quad.as_chunks::<LANES>();
                for a in 0..4 {
                    acc[a] = s.max(s.load(&vectors[a]), acc[a]);
                }
            }
            for part in rest.chunks(LANES) {
                acc[0] = s.max(s.first(part.len(), load_part(s, part), low), acc[0]);
            }
            s.largest(s.max(s.max(acc[0], acc[1]), s.max(acc[2], acc[3])))
        }
    }
    let largest = isa.run(Largest(x));
    // Not by total order: -0 equals 0, and NaN equals nothing.
    x.iter().position(|&x| x >= largest).unwrap_or(0)
}

/// How [`f16_to_f32`] and the like load and store a vector of each type.
trait Convert {
    type From: Copy + Default;
    type To: Copy + Default;
    fn convert<S: Simd>(s: S, from: &[Self::From; LANES], to: &mut [Self::To; LANES]);
}

struct ConvertSlice<'a, C: Convert>(&'a [C::From], &'a mut [C::To]);

impl<C: Convert> Kernel for ConvertSlice<'_, C> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert_eq!(self.0.len(), self.1.len(), "conversion: both must be of one length");
        let (from, from_rest) = self.0.as_chunks::<LANES>();
        let (to, to_rest) = self.1.as_chunks_mut::<LANES>();
        for (from, to) in from.iter().zip(to) {
            C::convert(s, from, to);
        }
        let (mut from, mut to) = ([C::From::default(); LANES], [C::To::default(); LANES]);
        from[..from_rest.len()].copy_from_slice(from_rest);
        C::convert(s, &from, &mut to);
        to_rest.copy_from_slice(&to[..to_rest.len()]);
    }
}

/// Widens half floats, exactly.
///
/// # Panics
/// When the lengths differ.
pub fn f16_to_f32(isa: Isa, x: &[u16], out: &mut [f32]) {
    struct Widen;
    impl Convert for Widen {
        type From = u16;
        type To = f32;
        #[inline(always)]
        fn convert<S: Simd>(s: S, from: &[u16; LANES], to: &mut [f32; LANES]) {
            s.store(s.load_f16(from), to);
        }
    }
    isa.run(ConvertSlice::<Widen>(x, out));
}

/// Rounds to half floats, ties to even; too large becomes infinite.
///
/// # Panics
/// When the lengths differ.
pub fn f32_to_f16(isa: Isa, x: &[f32], out: &mut [u16]) {
    struct Narrow;
    impl Convert for Narrow {
        type From = f32;
        type To = u16;
        #[inline(always)]
        fn convert<S: Simd>(s: S, from: &[f32; LANES], to: &mut [u16; LANES]) {
            s.store_f16(s.load(from), to);
        }
    }
    isa.run(ConvertSlice::<Narrow>(x, out));
}

/// Widens brain floats, exactly.
///
/// # Panics
/// When the lengths differ.
pub fn bf16_to_f32(isa: Isa, x: &[u16], out: &mut [f32]) {
    struct Widen;
    impl Convert for Widen {
        type From = u16;
        type To = f32;
        #[inline(always)]
        fn convert<S: Simd>(s: S, from: &[u16; LANES], to: &mut [f32; LANES]) {
            s.store(s.load_bf16(from), to);
        }
    }
    isa.run(ConvertSlice::<Widen>(x, out));
}
