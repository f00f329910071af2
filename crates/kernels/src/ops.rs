//! The small steps of a layer: norms, sums, SwiGLU, softmax, rotations, conversions.
//!
//! Each row is computed by one thread in a fixed order, so that results depend on neither batch nor threads.

mod elementwise;
mod rope;
pub(crate) mod rows;

pub use elementwise::{add, add_bias, argmax, bf16_to_f32, f16_to_f32, f32_to_f16, silu_mul, softmax};
pub use rope::{RopeStyle, RopeTable, rope};

use crate::isa::Isa;
use crate::memory::Disjoint;
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Simd, load_part, store_part};
use rows::{RowMaker, inverse_rms};

/// Values below which a step isn't worth a second thread (some five microseconds of work).
const SHARED_VALUES_MIN: usize = 16 << 10;

/// How many rows of `cols` values a task takes: all if there is little to do.
fn rows_per_task(pool: &Pool, rows: usize, cols: usize) -> usize {
    if rows * cols < SHARED_VALUES_MIN { rows.max(1) } else { rows.div_ceil(4 * pool.threads()).max(1) }
}

fn check_rows(name: &str, len: usize, cols: usize) -> usize {
    assert!(
        if cols == 0 { len == 0 } else { len.is_multiple_of(cols) },
        "{name}: {len} values aren't whole rows of {cols}"
    );
    len.checked_div(cols).unwrap_or(0)
}

/// `out[i] = x[i] / sqrt(mean(x[i]^2) + eps) * weight`; x and out are `[n, weight.len()]`.
///
/// A row with a NaN becomes NaN. Where squares add up to more than f32 holds, finite numbers become 0, infinite ones NaN.
///
/// # Panics
/// When lengths don't fit.
pub fn rms_norm(isa: Isa, pool: &Pool, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    struct Rows<'a> {
        maker: rows::NormRow<'a>,
        first: usize,
        out: &'a mut [f32],
    }
    impl Kernel for Rows<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for (i, out) in self.out.chunks_exact_mut(self.maker.weight.len()).enumerate() {
                self.maker.make(s, self.first + i, out);
            }
        }
    }
    let cols = weight.len();
    let n = check_rows("rms_norm", x.len(), cols);
    assert_eq!(out.len(), x.len(), "rms_norm: the output must be as long as the input");
    let per_task = rows_per_task(pool, n, cols);
    let out = Disjoint::new(out);
    pool.run(n.div_ceil(per_task), &|task| {
        let first = task * per_task;
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each row belongs to one task.
        let out = unsafe { out.part(first * cols, per_task.min(n - first) * cols) };
        isa.run(Rows { maker: rows::NormRow { x, weight, eps }, first, out });
    });
}

/// [`rms_norm`] of `x`, `[n, weight.len()]`, in place.
///
/// # Panics
/// When lengths don't fit.
pub fn rms_norm_in_place(isa: Isa, pool: &Pool, x: &mut [f32], weight: &[f32], eps: f32) {
    struct Rows<'a> {
        x: &'a mut [f32],
        weight: &'a [f32],
        eps: f32,
    }
    impl Kernel for Rows<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for row in self.x.chunks_exact_mut(self.weight.len()) {
                let inverse = s.splat(inverse_rms(s, row, self.eps));
                for (x, w) in row.chunks_mut(LANES).zip(self.weight.chunks(LANES)) {
                    let y = s.mul(s.mul(load_part(s, x), inverse), load_part(s, w));
                    store_part(s, y, x);
                }
            }
        }
    }
    let cols = weight.len();
    let n = check_rows("rms_norm_in_place", x.len(), cols);
    let per_task = rows_per_task(pool, n, cols);
    let x = Disjoint::new(x);
    pool.run(n.div_ceil(per_task), &|task| {
        let first = task * per_task;
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each row belongs to one task.
        let x = unsafe { x.part(first * cols, per_task.min(n - first) * cols) };
        isa.run(Rows { x, weight, eps });
    });
}
