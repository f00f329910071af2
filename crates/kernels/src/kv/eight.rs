//! Attention over a cache of int8: integer dot products of keys and values with queries and weights of 16 bits.
//!
//! A query row is rounded to 16 bits as a whole, and so are the weights of a row in a split, in two planes of int8:
//!
//! ```text
//! q[d] ~ a (256 high[d] + low[d]),   a = max |q| / 32512
//! score[j] = a key_scale[j] sum_d q'[d] (code[j][d] - 128)
//!
//! p[j] value_scale[j] ~ b w[j],   w[j] = 256 high[j] + low[j] >= 0,   b = max_j p[j] value_scale[j] / 32512
//! o[d] = b sum_j w[j] (code[j][d] - 128)
//! ```
//!
//! The sums are exact: |code - 128| is at most 127 and |q'| and w at most 32512, so that 512 dimensions and 256
//! positions fit 32 bits, and what wraps on the way wraps back. The 128s are taken off by one number for each row.
//! Weights of positions that a row doesn't see are 0, and whatever a stale block holds is an integer, so that nothing
//! else need be left out.

use std::ops::Range;

use super::attention::{Format, Job, PREFETCHING_ROWS_MAX, SPLIT, Unit};
use super::softmax::{EMPTY, State, largest_seen};
use super::{KV_TILE, KvShape, Rows, clamp, padded};
use crate::simd::{BLOCK, Kernel, LANES, Line, Simd, exp2, load_part};

/// Magnitudes below this are zero: their reciprocal would overflow.
const TINY: f32 = 1e-30;
/// Magnitudes of what is rounded to 16 bits: 127 * 256, so that both planes fit int8.
const WHOLE_MAX: f32 = 32_512.0;
/// Words of four columns in a block.
const WORDS: usize = BLOCK / 4;
/// Lines of 16 positions of 16 dimensions.
const VALUE_LINES: usize = LANES / 4;
/// Tiles of a split.
const TILES: usize = SPLIT / KV_TILE;

/// Lines that the keys of 16 positions take, and those of their values.
pub(super) fn lines_of_tile(head_dim: usize) -> (usize, usize) {
    (head_dim.div_ceil(4), padded(head_dim) / LANES * VALUE_LINES)
}

/// Lines of a head in a block.
pub(super) fn lines(shape: KvShape) -> usize {
    let (keys, values) = lines_of_tile(shape.head_dim);
    shape.block_tokens / LANES * (keys + values)
}

/// Vectors of scales of a head in a block.
pub(super) fn scale_vectors(shape: KvShape) -> usize {
    2 * shape.block_tokens / LANES
}

/// Keys and values of neighbouring positions of one head, or where those of 16 are written.
#[derive(Clone, Copy)]
pub(super) struct Eights<'a> {
    /// `[tiles of 16][words]`.
    keys: &'a [Line],
    /// `[tiles of 16][padded / 16][4]`.
    values: &'a [Line],
    /// `[tiles of 16]`.
    key_scales: &'a [[f32; LANES]],
    /// `[tiles of 16]`.
    value_scales: &'a [[f32; LANES]],
}

impl<'a> Eights<'a> {
    #[inline(always)]
    pub(super) fn new(shape: KvShape, lines: &'a [Line], scales: &'a [[f32; LANES]]) -> Self {
        let tiles = shape.block_tokens / LANES;
        let (keys, values) = lines.split_at(tiles * lines_of_tile(shape.head_dim).0);
        let (key_scales, value_scales) = scales.split_at(tiles);
        Self { keys, values, key_scales, value_scales }
    }

    /// The 32 positions from `start`, a multiple of 32, on.
    #[inline(always)]
    fn tile(self, head_dim: usize, start: usize) -> Self {
        const TILES: usize = KV_TILE / LANES;
        let (first, (keys, values)) = (start / LANES, lines_of_tile(head_dim));
        Self {
            keys: &self.keys[first * keys..][..TILES * keys],
            values: &self.values[first * values..][..TILES * values],
            key_scales: &self.key_scales[first..][..TILES],
            value_scales: &self.value_scales[first..][..TILES],
        }
    }
}

/// The 32 positions of a unit's head from `start`, a multiple of 32, on.
#[inline(always)]
fn tile<'a>(job: &Job<'a>, unit: &Unit<'_>, start: usize) -> Eights<'a> {
    let shape = job.cache.shape();
    let block = unit.chunk.blocks[start / shape.block_tokens];
    job.cache.eight_head(job.layer, block, unit.kv_head).tile(shape.head_dim, start % shape.block_tokens)
}

/// Where 16 positions of one head are written.
pub(super) struct EightsMut<'a> {
    /// `[words]`.
    pub(super) keys: &'a mut [Line],
    /// `[padded / 16][4]`.
    pub(super) values: &'a mut [Line],
    pub(super) key_scales: &'a mut [f32; LANES],
    pub(super) value_scales: &'a mut [f32; LANES],
}

pub(super) struct WriteEights<'a> {
    pub(super) to: EightsMut<'a>,
    pub(super) rows: Rows<'a>,
}

impl Kernel for WriteEights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let EightsMut { keys, values, key_scales, value_scales } = self.to;
        for (row, lane) in self.rows.lanes.clone().enumerate() {
            let (k, v) = self.rows.get(row);
            let (scale, factor) = scale_of(largest(s, k), 127.0);
            key_scales[lane] = scale;
            for (part, x) in k.chunks(LANES).enumerate() {
                let codes = codes(s, x, factor);
                for (line, word) in keys[part * 4..].iter_mut().zip(codes.as_chunks::<4>().0) {
                    line.0[4 * lane..][..4].copy_from_slice(word);
                }
            }
            let (scale, factor) = scale_of(largest(s, v), 127.0);
            value_scales[lane] = scale;
            for (part, x) in v.chunks(LANES).enumerate() {
                let codes = codes(s, x, factor);
                let line = &mut values[part * VALUE_LINES + lane / 4].0;
                for d in 0..LANES {
                    line[4 * d + lane % 4] = codes[d];
                }
            }
        }
    }
}

/// The largest magnitude within f16's range, or NaN if there is one.
#[inline(always)]
fn largest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let mut largest = s.splat(0.0);
    for part in x.chunks(LANES) {
        largest = s.larger_magnitude(clamp(s, load_part(s, part)), largest);
    }
    f32::from_bits(s.largest_magnitude(largest, largest))
}

/// Scale and its inverse for codes up to `code_max`, of numbers up to `largest`.
#[inline(always)]
fn scale_of(largest: f32, code_max: f32) -> (f32, f32) {
    if largest < TINY { (0.0, 0.0) } else { (largest / code_max, code_max / largest) }
}

/// The codes of up to 16 numbers as they are stored.
#[inline(always)]
fn codes<S: Simd>(s: S, x: &[f32], factor: f32) -> [u8; LANES] {
    let mut codes = [0_i8; LANES];
    s.quantize(clamp(s, load_part(s, x)), s.splat(factor), &mut codes);
    let mut stored = [0; LANES];
    for (stored, code) in stored.iter_mut().zip(codes) {
        *stored = code as u8 ^ 128;
    }
    stored
}

/// Cuts 16 numbers into planes, as words `first..first + 4` of a block; gives the integers.
#[inline(always)]
fn cut<S: Simd>(s: S, x: S::F, factor: S::F, planes: [&mut [i32; 8]; 2], first: usize) -> S::I {
    let (mut high, mut low) = ([0_i8; LANES], [0_i8; LANES]);
    let whole = s.cut(x, factor, &mut high, &mut low);
    for (words, bytes) in planes.into_iter().zip([high, low]) {
        for (word, bytes) in words[first..][..4].iter_mut().zip(bytes.as_chunks::<4>().0) {
            *word = i32::from_le_bytes(bytes.map(|byte| byte as u8));
        }
    }
    whole
}

/// What the 128s of codes add to their products with numbers whose sum is that of the lanes, negated.
#[inline(always)]
fn offset<S: Simd>(s: S, wholes: S::I) -> i32 {
    // At most 512 times 32512, which f32 holds exactly whatever the order.
    (s.sum(s.to_f32(wholes)) as i32).wrapping_mul(-128)
}

/// Keys and values of int8. The queries of a head are the words `[planes][blocks][R]`, and the numbers `[2][R]`: scales
/// and what is to be added to the integer sums.
pub(super) struct Eight;

impl Format for Eight {
    fn query_numbers(_: usize, rows: usize) -> usize {
        2 * rows
    }

    fn query_words(head_dim: usize, rows: usize) -> usize {
        2 * head_dim.div_ceil(BLOCK) * rows
    }

    fn weight_words(rows: usize) -> usize {
        2 * TILES * rows
    }

    #[inline(always)]
    fn fill_queries<S: Simd, const R: usize>(
        s: S,
        job: &Job<'_>,
        unit: &Unit<'_>,
        q: &mut [f32],
        words: &mut [[i32; 8]],
    ) {
        q.fill(0.0);
        words.fill([0; 8]);
        let (high, low) = words.split_at_mut(words.len() / 2);
        let scale = s.splat(job.scale);
        for (r, row) in unit.rows.clone().enumerate() {
            let x = job.query(unit, row);
            let mut largest = s.splat(0.0);
            for part in x.chunks(LANES) {
                largest = s.larger_magnitude(s.mul(load_part(s, part), scale), largest);
            }
            let largest = f32::from_bits(s.largest_magnitude(largest, largest));
            let (step, factor) = scale_of(largest, WHOLE_MAX);
            let mut sums = s.zero_i();
            for (part, x) in x.chunks(LANES).enumerate() {
                let at = part / 2 * R + r;
                let planes = [&mut high[at], &mut low[at]];
                let whole =
                    cut(s, s.mul(load_part(s, x), scale), s.splat(factor), planes, part % 2 * WORDS / 2);
                sums = s.add_i(sums, whole);
            }
            q[r] = step;
            // Exact: at most 128 * 512 * 32512, with seven zero bits at the end.
            q[R + r] = offset(s, sums) as f32;
        }
    }

    #[inline(always)]
    fn score_tile<S: Simd, const R: usize>(
        s: S,
        job: &Job<'_>,
        unit: &Unit<'_>,
        start: usize,
        q: &[f32],
        words: &[[i32; 8]],
        scores: &mut [f32],
    ) {
        let of = tile(job, unit, start);
        let (key_len, value_len) = lines_of_tile(job.cache.shape().head_dim);
        // Keys of the tile after next, and values for the time when all scores are there.
        let ahead = (R <= PREFETCHING_ROWS_MAX)
            .then(|| (tile(job, unit, (start + 2 * KV_TILE).min(unit.last_tile())).keys, of.values));
        for half in 0..KV_TILE / LANES {
            if let Some((keys, values)) = ahead {
                prefetch(s, &keys[half * key_len..][..key_len]);
                prefetch(s, &values[half * value_len..][..value_len]);
            }
            let keys = &of.keys[half * key_len..][..key_len];
            score::<S, R>(s, q, words, keys, &of.key_scales[half], &mut scores[half * LANES..]);
        }
    }

    #[inline(always)]
    fn attend_split<S: Simd, const R: usize>(
        s: S,
        job: &Job<'_>,
        unit: &Unit<'_>,
        positions: Range<usize>,
        limits: &[usize; R],
        scores: &mut [f32],
        words: &mut [[i32; 8]],
        o: &mut [f32],
    ) -> [State; R] {
        let vectors = o.len() / R / LANES;
        let mut value_scales = [[0.0; LANES]; SPLIT / LANES];
        for start in positions.clone().step_by(KV_TILE) {
            let first = (start - positions.start) / LANES;
            value_scales[first..][..KV_TILE / LANES].copy_from_slice(tile(job, unit, start).value_scales);
        }
        let (high, low) = words.split_at_mut(words.len() / 2);
        let mut weights = Weights::<R> { high: &[], low: &[], scales: [0.0; R], offsets: [0; R] };
        let mut states = [EMPTY; R];
        for r in 0..R {
            let scores = &mut scores[r * SPLIT..][..positions.len().next_multiple_of(KV_TILE)];
            let seen = limits[r].saturating_sub(positions.start).min(positions.len());
            let (state, scale, offset) =
                weigh(s, scores, seen, &value_scales, [&mut high[r..], &mut low[r..]], R);
            (states[r], weights.scales[r], weights.offsets[r]) = (state, scale, offset);
        }
        (weights.high, weights.low) = (high.as_chunks().0, low.as_chunks().0);
        let mut vector = 0;
        // As many dimensions at a time as the registers hold sums of.
        while S::TILE >= 12 && R <= 3 && vector + 4 <= vectors {
            add_values::<S, R, 4>(s, job, unit, positions.clone(), &weights, vector, o);
            vector += 4;
        }
        while S::TILE >= 12 && R <= 6 && vector + 2 <= vectors {
            add_values::<S, R, 2>(s, job, unit, positions.clone(), &weights, vector, o);
            vector += 2;
        }
        while vector < vectors {
            add_values::<S, R, 1>(s, job, unit, positions.clone(), &weights, vector, o);
            vector += 1;
        }
        states
    }
}

#[inline(always)]
fn prefetch<S: Simd>(s: S, lines: &[Line]) {
    for line in lines {
        s.prefetch(line, 0);
    }
}

/// Scores of 16 positions.
#[inline(always)]
fn score<S: Simd, const R: usize>(
    s: S,
    q: &[f32],
    words: &[[i32; 8]],
    keys: &[Line],
    key_scales: &[f32; LANES],
    scores: &mut [f32],
) {
    let (scales, offsets) = q.split_at(R);
    let (high_words, low_words) = words.split_at(words.len() / 2);
    let (high_words, low_words) = (high_words.as_chunks::<R>().0, low_words.as_chunks::<R>().0);
    let (mut high, mut low) = ([s.zero_i(); R], [s.zero_i(); R]);
    let (blocks, rest) = keys.as_chunks::<WORDS>();
    for (block, lines) in blocks.iter().enumerate() {
        let x = [&high_words[block], &low_words[block]];
        s.dots_of_planes::<8, R>(lines, x, 0, [&mut high, &mut low]);
    }
    if !rest.is_empty() {
        let x = [&high_words[blocks.len()], &low_words[blocks.len()]];
        s.dots_of_planes::<8, R>(rest, x, 0, [&mut high, &mut low]);
    }
    let key_scales = s.load(key_scales);
    for r in 0..R {
        let total = s.add_i(s.join_planes(high[r], low[r]), s.splat_i(offsets[r] as i32));
        let score = s.mul(s.mul(s.to_f32(total), s.splat(scales[r])), key_scales);
        let to = scores[r * SPLIT..].first_chunk_mut().expect("a split is whole vectors");
        s.store(score, to);
    }
}

/// The weights of a split's positions, times the values' scales, as integers.
struct Weights<'a, const R: usize> {
    /// `[tiles]`: the high plane of 32 positions of each row.
    high: &'a [[[i32; 8]; R]],
    /// `[tiles]`: the low plane likewise.
    low: &'a [[[i32; 8]; R]],
    /// What each row's integers are to be multiplied with.
    scales: [f32; R],
    /// What is to be added to each row's sums.
    offsets: [i32; R],
}

/// Turns one row's scores, whole tiles of which the first `seen` count, into weights: tile t's become word `t * step` of
/// both planes. Gives their scale and offset beside the softmax.
#[inline(always)]
fn weigh<S: Simd>(
    s: S,
    scores: &mut [f32],
    seen: usize,
    value_scales: &[[f32; LANES]; SPLIT / LANES],
    planes: [&mut [[i32; 8]]; 2],
    step: usize,
) -> (State, f32, i32) {
    let vectors = scores.as_chunks_mut::<LANES>().0;
    let m = largest_seen(s, vectors, seen);
    // Where nothing is seen, 2^(-inf - 0) is 0 as it should be.
    let shift = s.splat(if m == f32::NEG_INFINITY { 0.0 } else { m });
    let (mut sum, mut largest) = (s.splat(0.0), s.splat(0.0));
    for (v, vector) in vectors.iter_mut().enumerate() {
        let weights = exp2(s, s.sub(s.load(vector), shift));
        sum = s.add(sum, weights);
        let mut scaled = s.mul(weights, s.load(&value_scales[v]));
        if seen < (v + 1) * LANES {
            // The scale may be that of a stale block, even NaN.
            scaled = s.first(seen.saturating_sub(v * LANES), scaled, s.splat(0.0));
        }
        largest = s.larger_magnitude(scaled, largest);
        s.store(scaled, vector);
    }
    let (scale, factor) = scale_of(f32::from_bits(s.largest_magnitude(largest, largest)), WHOLE_MAX);
    let (factor, mut wholes) = (s.splat(factor), s.zero_i());
    let [high, low] = planes;
    for (v, vector) in vectors.iter().enumerate() {
        let at = v / 2 * step;
        let whole = cut(s, s.load(vector), factor, [&mut high[at], &mut low[at]], v % 2 * WORDS / 2);
        wholes = s.add_i(wholes, whole);
    }
    (State { m, l: s.sum(sum) }, scale, offset(s, wholes))
}

/// `o[r] = sum_j weights[r][j] * values[j]` over a split's positions, for V vectors of dimensions from the `first`-th
/// on. The values were asked for with the scores; in turn this asks for the keys of the next split, so that memory has
/// work throughout.
#[inline(always)]
fn add_values<S: Simd, const R: usize, const V: usize>(
    s: S,
    job: &Job<'_>,
    unit: &Unit<'_>,
    positions: Range<usize>,
    weights: &Weights<'_, R>,
    first: usize,
    o: &mut [f32],
) {
    let vectors = o.len() / R / LANES;
    let (mut high, mut low) = ([[s.zero_i(); R]; V], [[s.zero_i(); R]; V]);
    for (index, start) in positions.step_by(KV_TILE).enumerate() {
        let values = tile(job, unit, start).values.as_chunks::<VALUE_LINES>().0;
        let x = [&weights.high[index], &weights.low[index]];
        let ahead = (R <= PREFETCHING_ROWS_MAX && start + SPLIT < unit.end())
            .then(|| tile(job, unit, start + SPLIT).keys);
        for half in 0..KV_TILE / LANES {
            for v in 0..V {
                let at = half * vectors + first + v;
                if let Some(keys) = ahead {
                    let lines = (at * VALUE_LINES).min(keys.len())..((at + 1) * VALUE_LINES).min(keys.len());
                    prefetch(s, &keys[lines]);
                }
                let sums = [&mut high[v], &mut low[v]];
                s.dots_of_planes::<8, R>(&values[at], x, half * WORDS / 2, sums);
            }
        }
    }
    let o = o.as_chunks_mut::<LANES>().0;
    for r in 0..R {
        for v in 0..V {
            let total = s.add_i(s.join_planes(high[v][r], low[v][r]), s.splat_i(weights.offsets[r]));
            s.store(s.mul(s.to_f32(total), s.splat(weights.scales[r])), &mut o[r * vectors + first + v]);
        }
    }
}
