//! Rotary position embedding.
//!
//! ```text
//! Interleaved:  (a, b) = (x[2 i], x[2 i + 1])       HalfSplit:  (a, b) = (x[i], x[i + rotary / 2])
//! (a, b) -> (a cos_i - b sin_i,  b cos_i + a sin_i)
//! ```

use super::{check_rows, rows_per_task};
use crate::isa::Isa;
use crate::memory::{Disjoint, give_scratch, take_scratch};
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Simd, load_part, store_part};

/// Which two numbers of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeStyle {
    /// Neighbours, as the `llama` architecture's files have them.
    Interleaved,
    /// One from each half of the rotated part, as `qwen2` and `qwen3` have it (NEOX).
    HalfSplit,
}

/// Cosines and sines for every position.
#[derive(Debug, Clone, Copy)]
pub struct RopeTable<'a> {
    /// `[positions, rotary / 2]`.
    pub cos: &'a [f32],
    /// `[positions, rotary / 2]`.
    pub sin: &'a [f32],
    /// How many numbers of each head, from the first, are rotated; even. The others stay as they are.
    pub rotary: usize,
}

/// Rotates the heads of each row of x, `[n, heads * head_dim]`, row i by the table's row `positions[i]`.
///
/// # Panics
/// When lengths don't fit or a position is beyond the table.
pub fn rope(
    isa: Isa,
    pool: &Pool,
    style: RopeStyle,
    x: &mut [f32],
    head_dim: usize,
    table: RopeTable<'_>,
    positions: &[usize],
) {
    let n = positions.len();
    let rotary = table.rotary;
    assert!(rotary.is_multiple_of(2) && rotary <= head_dim, "rope: {rotary} of {head_dim} dimensions");
    assert_eq!(table.cos.len(), table.sin.len(), "rope: cosines and sines must be of one length");
    if n == 0 || rotary == 0 {
        return;
    }
    let cols = x.len() / n;
    assert!(cols * n == x.len(), "rope: {} values for {n} positions", x.len());
    check_rows("rope", cols, head_dim);
    let per_task = rows_per_task(pool, n, cols);
    let x = Disjoint::new(x);
    pool.run(n.div_ceil(per_task), &|task| {
        let first = task * per_task;
        let count = per_task.min(n - first);
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each row belongs to one task.
        let x = unsafe { x.part(first * cols, count * cols) };
        isa.run(Rotate { style, x, cols, head_dim, table, positions: &positions[first..first + count] });
    });
}

struct Rotate<'a> {
    style: RopeStyle,
    x: &'a mut [f32],
    cols: usize,
    head_dim: usize,
    table: RopeTable<'a>,
    positions: &'a [usize],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rotary = self.table.rotary;
        let half = rotary / 2;
        let mut scratch = take_scratch(2 * rotary);
        let (cos_pairs, sin_pairs) = scratch.split_at_mut(rotary);
        for (row, &position) in self.x.chunks_exact_mut(self.cols).zip(self.positions) {
            let cos = &self.table.cos[position * half..][..half];
            let sin = &self.table.sin[position * half..][..half];
            if self.style == RopeStyle::Interleaved {
                for (pair, (&c, &s)) in cos.iter().zip(sin).enumerate() {
                    (cos_pairs[2 * pair], cos_pairs[2 * pair + 1]) = (c, c);
                    (sin_pairs[2 * pair], sin_pairs[2 * pair + 1]) = (-s, s);
                }
                for head in row.chunks_exact_mut(self.head_dim) {
                    rotate_pairs(s, &mut head[..rotary], cos_pairs, sin_pairs);
                }
            } else {
                for head in row.chunks_exact_mut(self.head_dim) {
                    rotate_halves(s, &mut head[..rotary], cos, sin);
                }
            }
        }
        give_scratch(scratch);
    }
}

/// `x = x cos + swapped(x) sin`, the sines being negative for the first of each pair.
#[inline(always)]
fn rotate_pairs<S: Simd>(s: S, x: &mut [f32], cos: &[f32], sin: &[f32]) {
    for ((x, cos), sin) in x.chunks_mut(LANES).zip(cos.chunks(LANES)).zip(sin.chunks(LANES)) {
        if let (Ok(x), Ok(cos), Ok(sin)) = (
            <&mut [f32; LANES]>::try_from(&mut *x),
            <&[f32; LANES]>::try_from(cos),
            <&[f32; LANES]>::try_from(sin),
        ) {
            let v = s.load(x);
            s.store(s.fma(v, s.load(cos), s.mul(s.swap_pairs(v), s.load(sin))), x);
        } else {
            let v = load_part(s, x);
            let y = s.fma(v, load_part(s, cos), s.mul(s.swap_pairs(v), load_part(s, sin)));
            store_part(s, y, x);
        }
    }
}

#[inline(always)]
fn rotate_halves<S: Simd>(s: S, x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (a, b) = x.split_at_mut(x.len() / 2);
    let (a, a_rest) = a.as_chunks_mut::<LANES>();
    let (b, b_rest) = b.as_chunks_mut::<LANES>();
    let (cos, cos_rest) = cos.as_chunks::<LANES>();
    let (sin, sin_rest) = sin.as_chunks::<LANES>();
    for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
        let (x, y, cos, sin) = (s.load(a), s.load(b), s.load(cos), s.load(sin));
        s.store(s.sub(s.mul(x, cos), s.mul(y, sin)), a);
        s.store(s.fma(y, cos, s.mul(x, sin)), b);
    }
    if !a_rest.is_empty() {
        let (x, y) = (load_part(s, a_rest), load_part(s, b_rest));
        let (cos, sin) = (load_part(s, cos_rest), load_part(s, sin_rest));
        store_part(s, s.sub(s.mul(x, cos), s.mul(y, sin)), a_rest);
        store_part(s, s.fma(y, cos, s.mul(x, sin)), b_rest);
    }
}
