//! The scores of a tile, and the softmax over a split and over splits: see [`super::attention`] for the algorithm.

use super::attention::SPLIT;
use crate::simd::{LANES, Simd, exp2};

/// Softmax so far of one row: the largest score, the sum, and the weighted values elsewhere.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) m: f32,
    pub(super) l: f32,
}

pub(super) const EMPTY: State = State { m: f32::NEG_INFINITY, l: 0.0 };

impl State {
    /// Adds a split's state and values to this one and its values, all `[padded]`.
    #[inline(always)]
    pub(super) fn merge<S: Simd>(&mut self, s: S, o: &mut [f32], part: State, part_o: &[f32]) {
        if part.m == f32::NEG_INFINITY && part.l == 0.0 {
            return;
        }
        if self.m == f32::NEG_INFINITY && self.l == 0.0 {
            *self = part;
            o.copy_from_slice(part_o);
            return;
        }
        let m = if part.m > self.m { part.m } else { self.m };
        let mut powers = [0.0; LANES];
        (powers[0], powers[1]) = (self.m - m, part.m - m);
        s.store(exp2(s, s.load(&powers), 1.0), &mut powers);
        let (a, b) = (s.splat(powers[0]), s.splat(powers[1]));
        for (o, part) in o.as_chunks_mut::<LANES>().0.iter_mut().zip(part_o.as_chunks::<LANES>().0) {
            s.store(s.fma(s.load(part), b, s.mul(s.load(o), a)), o);
        }
        *self = State { m, l: self.l * powers[0] + part.l * powers[1] };
    }
}

/// Scores of V vectors of positions:
///
/// ```text
/// scores[r][first + 16 v + lane] = sum_d q[d][r] * keys[v][d][lane]
/// ```
///
/// Meanwhile asks for the lines of both slices of `ahead`, each as long as V vectors of keys or longer.
#[inline(always)]
pub(super) fn score<S: Simd, const R: usize, const V: usize>(
    s: S,
    q: &[[f32; R]],
    keys: &[[u16; LANES]],
    first: usize,
    ahead: Option<[&[[u16; LANES]]; 2]>,
    scores: &mut [f32],
) {
    let mut acc = [[s.splat(0.0); V]; R];
    let head_dim = q.len();
    let keys = &keys[..V * head_dim];
    for (d, q) in q.iter().enumerate() {
        if let Some(ahead) = ahead {
            // Two vectors of f16 are a line, and a tile has two of keys for each dimension.
            for part in ahead {
                s.prefetch(&part[(2 * d).min(part.len() - 1)], 0);
            }
        }
        let mut k = [s.splat(0.0); V];
        for v in 0..V {
            k[v] = s.load_f16(&keys[v * head_dim + d]);
        }
        for r in 0..R {
            let q = s.splat(q[r]);
            for v in 0..V {
                acc[r][v] = s.fma(q, k[v], acc[r][v]);
            }
        }
    }
    for r in 0..R {
        let vectors = scores[r * SPLIT + first..][..V * LANES].as_chunks_mut::<LANES>().0;
        for v in 0..V {
            s.store(acc[r][v], &mut vectors[v]);
        }
    }
}

/// Of R rows, how many are turned into weights at a time: a divisor of R.
pub(super) const fn rows_at_once(rows: usize) -> usize {
    match rows {
        4 | 8 | 12 => 4,
        3 | 6 => 3,
        2 => 2,
        _ => 1,
    }
}

/// Of N rows' scores, rows `SPLIT` apart, `count` vectors each, all but the first `seen` become -inf.
#[inline(always)]
pub(super) fn leave_unseen_out<S: Simd, const N: usize>(
    s: S,
    scores: &mut [f32],
    count: usize,
    seen: &[usize; N],
) {
    let unseen = s.splat(f32::NEG_INFINITY);
    for n in 0..N {
        let vectors = scores[n * SPLIT..][..count * LANES].as_chunks_mut::<LANES>().0;
        for (v, vector) in vectors.iter_mut().enumerate().skip(seen[n] / LANES) {
            s.store(s.first(seen[n].saturating_sub(v * LANES), s.load(vector), unseen), vector);
        }
    }
}

/// The largest of each of N rows' scores, as for [`leave_unseen_out`].
#[inline(always)]
fn largest<S: Simd, const N: usize>(s: S, scores: &[f32], count: usize) -> [f32; N] {
    let mut largest = [s.splat(f32::NEG_INFINITY); N];
    for v in 0..count {
        for n in 0..N {
            let vector = scores[n * SPLIT + v * LANES..].first_chunk().expect("a split is whole vectors");
            largest[n] = s.max(s.load(vector), largest[n]);
        }
    }
    let mut m = [f32::NEG_INFINITY; N];
    for n in 0..N {
        m[n] = largest_number(s, largest[n]);
    }
    m
}

/// The largest lane; -inf, not NaN, if there is no number that is larger.
#[inline(always)]
pub(super) fn largest_number<S: Simd>(s: S, x: S::F) -> f32 {
    let largest = s.largest(x);
    if largest > f32::NEG_INFINITY { largest } else { f32::NEG_INFINITY }
}

/// What scores are taken less: the largest of them, or where nothing is seen 0, so that 2^(-inf - 0) is 0 as it should be.
#[inline(always)]
pub(super) fn shift<S: Simd>(s: S, largest: f32) -> S::F {
    s.splat(if largest == f32::NEG_INFINITY { 0.0 } else { largest })
}

/// Turns the first `count` vectors of scores of N rows, of which the first `seen` scores count, into weights; several
/// rows at a time, as each step of one waits for the step before.
#[inline(always)]
pub(super) fn weigh<S: Simd, const N: usize>(
    s: S,
    scores: &mut [f32],
    count: usize,
    seen: &[usize; N],
    states: &mut [State],
) {
    leave_unseen_out(s, scores, count, seen);
    let m = largest::<S, N>(s, scores, count);
    let (mut shifts, mut sums) = ([s.splat(0.0); N], [s.splat(0.0); N]);
    for n in 0..N {
        shifts[n] = shift(s, m[n]);
    }
    for v in 0..count {
        for n in 0..N {
            let vector = scores[n * SPLIT + v * LANES..].first_chunk_mut().expect("a split is whole vectors");
            let weights = exp2(s, s.sub(s.load(vector), shifts[n]), 1.0);
            s.store(weights, vector);
            sums[n] = s.add(sums[n], weights);
        }
    }
    for n in 0..N {
        states[n] = State { m: m[n], l: s.sum(sums[n]) };
    }
}
