//! Ways to make a row of numbers, so that making it and quantising it can be one pass.

use crate::simd::{LANES, Simd, exp, load_part, store_part};

/// Makes row `index`; may use `scratch`, which is as long as a row.
pub(crate) trait RowMaker: Sync {
    fn make<'a, S: Simd>(&'a self, s: S, index: usize, scratch: &'a mut [f32]) -> &'a [f32];
}

/// The row as it stands.
pub(crate) struct PlainRow<'x> {
    pub(crate) x: &'x [f32],
    pub(crate) cols: usize,
}

impl RowMaker for PlainRow<'_> {
    #[inline(always)]
    fn make<'a, S: Simd>(&'a self, _: S, index: usize, _: &'a mut [f32]) -> &'a [f32] {
        &self.x[index * self.cols..][..self.cols]
    }
}

/// The row after RMSNorm.
pub(crate) struct NormRow<'x> {
    pub(crate) x: &'x [f32],
    pub(crate) weight: &'x [f32],
    pub(crate) eps: f32,
}

impl RowMaker for NormRow<'_> {
    #[inline(always)]
    fn make<'a, S: Simd>(&'a self, s: S, index: usize, scratch: &'a mut [f32]) -> &'a [f32] {
        let cols = self.weight.len();
        let row = &self.x[index * cols..][..cols];
        let inverse = s.splat(inverse_rms(s, row, self.eps));
        let (x, x_rest) = row.as_chunks::<LANES>();
        let (w, w_rest) = self.weight.as_chunks::<LANES>();
        let (out, out_rest) = scratch[..cols].as_chunks_mut::<LANES>();
        for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
            s.store(s.mul(s.mul(s.load(x), inverse), s.load(w)), out);
        }
        if !x_rest.is_empty() {
            let y = s.mul(s.mul(load_part(s, x_rest), inverse), load_part(s, w_rest));
            store_part(s, y, out_rest);
        }
        &scratch[..cols]
    }
}

/// `1 / sqrt(mean(x^2) + eps)`.
#[inline(always)]
pub(crate) fn inverse_rms<S: Simd>(s: S, row: &[f32], eps: f32) -> f32 {
    1.0 / (sum_of_squares(s, row) / row.len() as f32 + eps).sqrt()
}

/// Lane l of accumulator a sums the squares of columns `64 i + 16 a + l`.
#[inline(always)]
pub(crate) fn sum_of_squares<S: Simd>(s: S, row: &[f32]) -> f32 {
    let mut acc = [s.splat(0.0); 4];
    let (quads, rest) = row.as_chunks::<{ 4 * LANES }>();
    for quad in quads {
        let (vectors, _) = quad.as_chunks::<LANES>();
        for a in 0..4 {
            let x = s.load(&vectors[a]);
            acc[a] = s.fma(x, x, acc[a]);
        }
    }
    for (a, part) in rest.chunks(LANES).enumerate() {
        let x = load_part(s, part);
        acc[a] = s.fma(x, x, acc[a]);
    }
    s.sum(s.add(s.add(acc[0], acc[1]), s.add(acc[2], acc[3])))
}

/// The row of SwiGLU.
pub(crate) struct SiluRow<'x> {
    pub(crate) gate: &'x [f32],
    pub(crate) up: &'x [f32],
    pub(crate) cols: usize,
}

impl RowMaker for SiluRow<'_> {
    #[inline(always)]
    fn make<'a, S: Simd>(&'a self, s: S, index: usize, scratch: &'a mut [f32]) -> &'a [f32] {
        let at = index * self.cols..(index + 1) * self.cols;
        silu_mul_row(s, &self.gate[at.clone()], &self.up[at], &mut scratch[..self.cols]);
        &scratch[..self.cols]
    }
}

/// `out = gate / (1 + e^-gate) * up`.
#[inline(always)]
pub(crate) fn silu_mul_row<S: Simd>(s: S, gate: &[f32], up: &[f32], out: &mut [f32]) {
    let (gates, gate_rest) = gate.as_chunks::<LANES>();
    let (ups, up_rest) = up.as_chunks::<LANES>();
    let (outs, out_rest) = out.as_chunks_mut::<LANES>();
    for ((out, gate), up) in outs.iter_mut().zip(gates).zip(ups) {
        s.store(silu_mul_vector(s, s.load(gate), s.load(up)), out);
    }
    if !gate_rest.is_empty() {
        store_part(s, silu_mul_vector(s, load_part(s, gate_rest), load_part(s, up_rest)), out_rest);
    }
}

#[inline(always)]
fn silu_mul_vector<S: Simd>(s: S, gate: S::F, up: S::F) -> S::F {
    let one = s.splat(1.0);
    let denominator = s.add(one, exp(s, s.sub(s.splat(0.0), gate)));
    s.mul(s.div(gate, denominator), up)
}
