//! Attention over a cache of int8: integer dot products of keys with queries, and of values with weights.
//!
//! Keys and values are rotated by a Hadamard matrix before they are rounded (Ashkboos et al. 2024, QuaRot): a few numbers
//! that are far larger than the others, as keys have them, are spread over all, and the scale, which the largest sets, is
//! smaller. Queries are rotated likewise, which leaves scores as they are, and sums of values are rotated back at the end.
//!
//! A query row is rounded as a whole: to 8 bits where the inputs of products are, else to 16, in two planes of int8. The
//! weights of 32 positions, a tile, are rounded to 8 bits beside the largest of them. They are taken times the values'
//! scales, whose logarithms join the scores. In a split, t being tiles:
//!
//! ```text
//! q[d] ~ a (256 high[d] + low[d]),   a = max |q| / 32512;  of one plane a q'[d],   a = max |q| / 127
//! s[j] = a key_scale[j] sum_d q'[d] (code[j][d] - 128) + log2 value_scale[j]
//!
//! top[t] = max_j s[j];  m = max_t top[t];  f[t] = 2^(top[t] - m);  w[j] = 254 * 2^(s[j] - top[t])
//! l = sum_t f[t] sum_j w[j] / value_scale[j];  o[d] = sum_t f[t] sum_j round(w[j]) (code[j][d] - 128)
//! ```
//!
//! so that l and o are those of the plain softmax, times a number that is the same for both. Weights are stored less 127,
//! to be signed, and what that takes off is added by one more row of weights that all rows of queries share. The integer
//! sums are exact: |code - 128| and int8 are at most 127 and |q'| at most 32512, so that 512 dimensions and 32 positions fit
//! 32 bits, and what wraps on the way wraps back. The 128s are taken off by one number for each row, unless the instruction
//! set takes them off codes itself. Weights of positions that a row doesn't see are 0, and whatever a stale block holds is
//! an integer or a finite inverse, so that nothing else need be left out.

use std::ops::Range;

use super::attention::{Format, Job, PREFETCHING_ROWS_MAX, SPLIT, Unit};
use super::rotation::rotate_into;
use super::softmax::{EMPTY, State, largest_number, leave_unseen_out, rows_at_once, shift};
use super::{KV_TILE, KvShape, Rows, padded};
use crate::memory::{give_scratch, take_scratch};
use crate::simd::{BLOCK, Kernel, LANES, Line, Simd, exp2, put_words};

/// Magnitudes of keys and queries below this are zero: their reciprocal would overflow.
const TINY: f32 = 1e-30;
/// Magnitudes of values below this are zero: a weight times a scale must not vanish where the weight doesn't.
const TINY_VALUE: f32 = 1e-18;
/// Magnitudes of what is rounded to 16 bits: 127 * 256, so that both planes fit int8.
const WHOLE_MAX: f32 = 32_512.0;
/// What weights are stored less, and half of the largest.
const MIDDLE: i32 = 127;
/// Weights of a row that adds what all rows were stored less: [`MIDDLE`] in each byte.
const MIDDLES: [[i32; 8]; 1] = [[i32::from_le_bytes([MIDDLE as u8; 4]); 8]];
/// Vectors of positions in a tile.
const TILE_VECTORS: usize = KV_TILE / LANES;
/// Words of four columns in a block.
const WORDS: usize = BLOCK / 4;
/// Lines of 16 positions of 16 dimensions.
const VALUE_LINES: usize = LANES / 4;
/// Tiles of a split.
const TILES: usize = SPLIT / KV_TILE;
// What there is of each tile of a split, one for each row, is a vector.
const _: () = assert!(TILES <= LANES);

/// Lines that the keys of 16 positions take, and those of their values.
pub(super) fn lines_of_tile(head_dim: usize) -> (usize, usize) {
    (padded(head_dim) / 4, padded(head_dim) / LANES * VALUE_LINES)
}

/// Lines of a head in a block.
pub(super) fn lines(shape: KvShape) -> usize {
    let (keys, values) = lines_of_tile(shape.head_dim);
    shape.block_tokens / LANES * (keys + values)
}

/// Vectors of scales of a head in a block.
pub(super) fn scale_vectors(shape: KvShape) -> usize {
    3 * shape.block_tokens / LANES
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
    /// `[tiles of 16]`: logarithms, base 2, of the values' scales.
    value_logs: &'a [[f32; LANES]],
    /// `[tiles of 16]`: 1 / the values' scales.
    value_inverses: &'a [[f32; LANES]],
}

impl<'a> Eights<'a> {
    #[inline(always)]
    pub(super) fn new(shape: KvShape, lines: &'a [Line], scales: &'a [[f32; LANES]]) -> Self {
        let tiles = shape.block_tokens / LANES;
        let (keys, values) = lines.split_at(tiles * lines_of_tile(shape.head_dim).0);
        let (key_scales, value_scales) = scales.split_at(tiles);
        let (value_logs, value_inverses) = value_scales.split_at(tiles);
        Self { keys, values, key_scales, value_logs, value_inverses }
    }

    /// The 32 positions from `start`, a multiple of 32, on.
    #[inline(always)]
    fn tile(self, head_dim: usize, start: usize) -> Self {
        let (first, (keys, values)) = (start / LANES, lines_of_tile(head_dim));
        Self {
            keys: &self.keys[first * keys..][..TILE_VECTORS * keys],
            values: &self.values[first * values..][..TILE_VECTORS * values],
            key_scales: &self.key_scales[first..][..TILE_VECTORS],
            value_logs: &self.value_logs[first..][..TILE_VECTORS],
            value_inverses: &self.value_inverses[first..][..TILE_VECTORS],
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
    pub(super) value_logs: &'a mut [f32; LANES],
    pub(super) value_inverses: &'a mut [f32; LANES],
}

pub(super) struct WriteEights<'a> {
    pub(super) to: EightsMut<'a>,
    pub(super) rows: Rows<'a>,
}

impl Kernel for WriteEights<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let EightsMut { keys, values, key_scales, value_logs, value_inverses } = self.to;
        let mut scratch = take_scratch(padded(self.rows.head_dim));
        let rotated = scratch.as_chunks_mut().0;
        for (row, lane) in self.rows.lanes.clone().enumerate() {
            let (k, v) = self.rows.get(row);
            let (scale, factor) = scale_of(rotate_into(s, k, true, rotated), 127.0, TINY);
            key_scales[lane] = scale;
            for (part, x) in rotated.iter().enumerate() {
                let codes = codes(s, x, factor);
                for (line, word) in keys[part * 4..].iter_mut().zip(codes.as_chunks::<4>().0) {
                    line.0[4 * lane..][..4].copy_from_slice(word);
                }
            }
            let (scale, factor) = scale_of(rotate_into(s, v, true, rotated), 127.0, TINY_VALUE);
            // Zeros have any scale.
            value_logs[lane] = if factor == 0.0 { 0.0 } else { scale.log2() };
            // Not NaN even if the logarithm is, as those who don't see the position multiply it with 0.
            value_inverses[lane] = if scale > 0.0 { 1.0 / scale } else { 1.0 };
            for (part, x) in rotated.iter().enumerate() {
                let codes = codes(s, x, factor);
                let line = &mut values[part * VALUE_LINES + lane / 4].0;
                for d in 0..LANES {
                    line[4 * d + lane % 4] = codes[d];
                }
            }
        }
        give_scratch(scratch);
    }
}

/// Scale and its inverse for codes up to `code_max`, of numbers up to `largest`; zeros if that is below `tiny`.
#[inline(always)]
fn scale_of(largest: f32, code_max: f32, tiny: f32) -> (f32, f32) {
    if largest < tiny { (0.0, 0.0) } else { (largest / code_max, code_max / largest) }
}

/// The codes of 16 numbers as they are stored.
#[inline(always)]
fn codes<S: Simd>(s: S, x: &[f32; LANES], factor: f32) -> [u8; LANES] {
    let mut codes = [0_i8; LANES];
    s.quantize(s.load(x), s.splat(factor), &mut codes);
    let mut stored = [0; LANES];
    for (stored, code) in stored.iter_mut().zip(codes) {
        *stored = code as u8 ^ 128;
    }
    stored
}

/// Cuts 16 numbers into planes, as a half, 0 or 1, of a block's words; gives the integers.
#[inline(always)]
fn cut<S: Simd>(s: S, x: S::F, factor: S::F, planes: [&mut [i32; 8]; 2], half: usize) -> S::I {
    let (mut high, mut low) = ([0_i8; LANES], [0_i8; LANES]);
    let whole = s.cut(x, factor, &mut high, &mut low);
    for (words, codes) in planes.into_iter().zip([high, low]) {
        put_words(words, half, &codes);
    }
    whole
}

/// What the 128s of codes, as far as [`Simd::dots`] leaves them, add to their products with integers of this sum, negated.
#[inline(always)]
fn offset<S: Simd>(sum: i32) -> i32 {
    sum.wrapping_mul(S::EIGHT_BIAS - 128)
}

/// Keys and values of int8. The queries of a head are the words `[planes][blocks][R]`, of one plane the first half of
/// them, and, in the first of eight, `[R]` of what the integer sums begin with; and the numbers `[R]`, their scales.
pub(super) struct Eight;

impl Format for Eight {
    fn query_numbers(_: usize, rows: usize) -> usize {
        rows
    }

    fn query_words(head_dim: usize, rows: usize) -> usize {
        (2 * head_dim.div_ceil(BLOCK) + 1) * rows
    }

    fn weight_words(rows: usize) -> usize {
        TILES * rows
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
        let (planes, offsets) = words.split_at_mut(words.len() - R);
        let (high, low) = planes.split_at_mut(planes.len() / 2);
        let mut scratch = take_scratch(padded(job.cache.shape().head_dim));
        let rotated = scratch.as_chunks_mut().0;
        let code_max = if job.coarse_queries { 127.0 } else { WHOLE_MAX };
        for (r, row) in unit.rows.clone().enumerate() {
            let (step, factor) =
                scale_of(rotate_into(s, job.query(unit, row), false, rotated), code_max, TINY);
            let (mut sums, mut sum) = (s.zero_i(), 0);
            for (part, x) in rotated.iter().enumerate() {
                let (at, x, factor) = (part / 2 * R + r, s.load(x), s.splat(factor));
                if job.coarse_queries {
                    let mut codes = [0_i8; LANES];
                    sum += s.quantize(x, factor, &mut codes);
                    put_words(&mut high[at], part % 2, &codes);
                } else {
                    let whole = cut(s, x, factor, [&mut high[at], &mut low[at]], part % 2);
                    sums = s.add_i(sums, whole);
                }
            }
            q[r] = step * job.scale;
            // At most 512 times 32512, which f32 holds exactly whatever the order.
            offsets[r][0] = offset::<S>(sum + s.sum(s.to_f32(sums)) as i32);
        }
        give_scratch(scratch);
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
            .then(|| (tile(job, unit, (start + 2 * KV_TILE).min(unit.last_tile())), of.values));
        for half in 0..TILE_VECTORS {
            if let Some((ahead, values)) = ahead {
                prefetch(s, &ahead.keys[half * key_len..][..key_len]);
                for scales in [ahead.key_scales, ahead.value_logs, ahead.value_inverses] {
                    s.prefetch(&scales[half], 0);
                }
                prefetch(s, &values[half * value_len..][..value_len]);
            }
            let keys = &of.keys[half * key_len..][..key_len];
            let scales = [&of.key_scales[half], &of.value_logs[half]];
            score::<S, R>(s, job.coarse_queries, q, words, keys, scales, &mut scores[half * LANES..]);
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
        let mut inverses = [[0.0; LANES]; SPLIT / LANES];
        for start in positions.clone().step_by(KV_TILE) {
            let (first, of) = ((start - positions.start) / LANES, tile(job, unit, start).value_inverses);
            (inverses[first], inverses[first + 1]) = (of[0], of[1]);
        }
        let mut states = [EMPTY; R];
        let mut weights =
            Weights { codes: words.as_chunks_mut().0, offsets: [[0; R]; TILES], factors: [[0.0; R]; TILES] };
        let split =
            Split { seen: limits.map(|limit| limit.saturating_sub(positions.start)), inverses: &inverses };
        let tiles = positions.len().div_ceil(KV_TILE);
        for first in (0..R).step_by(rows_at_once(R)) {
            let scores = &mut scores[first * SPLIT..];
            match rows_at_once(R) {
                4 => weigh::<S, R, 4>(s, &split, scores, tiles, first, &mut weights, &mut states),
                3 => weigh::<S, R, 3>(s, &split, scores, tiles, first, &mut weights, &mut states),
                2 => weigh::<S, R, 2>(s, &split, scores, tiles, first, &mut weights, &mut states),
                _ => weigh::<S, R, 1>(s, &split, scores, tiles, first, &mut weights, &mut states),
            }
        }
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

/// Scores of 16 positions; `scales` are those of their keys, and the logarithms of those of their values.
#[inline(always)]
fn score<S: Simd, const R: usize>(
    s: S,
    coarse: bool,
    q: &[f32],
    words: &[[i32; 8]],
    keys: &[Line],
    scales: [&[f32; LANES]; 2],
    scores: &mut [f32],
) {
    let (planes, offsets) = words.split_at(words.len() - R);
    let (high_words, low_words) = planes.split_at(planes.len() / 2);
    let (high_words, low_words) = (high_words.as_chunks::<R>().0, low_words.as_chunks::<R>().0);
    let mut sums = [s.zero_i(); R];
    for r in 0..R {
        sums[r] = s.splat_i(offsets[r][0]);
    }
    let (blocks, rest) = keys.as_chunks::<WORDS>();
    if coarse {
        for (lines, words) in blocks.iter().zip(high_words) {
            s.dots::<8, R>(lines, words, 0, &mut sums);
        }
        if !rest.is_empty() {
            s.dots::<8, R>(rest, &high_words[blocks.len()], 0, &mut sums);
        }
    } else {
        let mut high = [s.zero_i(); R];
        for (block, lines) in blocks.iter().enumerate() {
            let x = [&high_words[block], &low_words[block]];
            s.dots_of_planes::<8, R>(lines, x, 0, [&mut high, &mut sums]);
        }
        if !rest.is_empty() {
            let x = [&high_words[blocks.len()], &low_words[blocks.len()]];
            s.dots_of_planes::<8, R>(rest, x, 0, [&mut high, &mut sums]);
        }
        for r in 0..R {
            sums[r] = s.join_planes(high[r], sums[r]);
        }
    }
    let scales = [s.load(scales[0]), s.load(scales[1])];
    for r in 0..R {
        let score = s.fma(s.mul(s.to_f32(sums[r]), s.splat(q[r])), scales[0], scales[1]);
        let to = scores[r * SPLIT..].first_chunk_mut().expect("a split is whole vectors");
        s.store(score, to);
    }
}

/// What the weights of a split depend on beside its scores.
struct Split<'a, const R: usize> {
    /// Positions that each row sees.
    seen: [usize; R],
    /// 1 / the scales of the values.
    inverses: &'a [[f32; LANES]; SPLIT / LANES],
}

/// The weights of a split's positions, times the values' scales, rounded to 8 bits.
struct Weights<'a, const R: usize> {
    /// `[tiles]`: 32 positions of each row, less [`MIDDLE`].
    codes: &'a mut [[[i32; 8]; R]],
    /// What the integer sums of each row of a tile begin with.
    offsets: [[i32; R]; TILES],
    /// What these sums are multiplied with.
    factors: [[f32; R]; TILES],
}

/// Turns the scores of the first `tiles` tiles of N rows from the `first`-th on, whose scores `scores` begins with, into
/// weights; several rows at a time, as each step of one waits for the step before.
#[inline(always)]
fn weigh<S: Simd, const R: usize, const N: usize>(
    s: S,
    split: &Split<'_, R>,
    scores: &mut [f32],
    tiles: usize,
    first: usize,
    weights: &mut Weights<'_, R>,
    states: &mut [State; R],
) {
    let seen = split.seen[first..].first_chunk::<N>().expect("R is a multiple of N");
    leave_unseen_out::<S, N>(s, scores, tiles * TILE_VECTORS, seen);
    let mut tops = [[f32::NEG_INFINITY; LANES]; N];
    for tile in 0..tiles {
        for n in 0..N {
            let [a, b] = vectors(&scores[n * SPLIT..], tile);
            tops[n][tile] = largest_number(s, s.max(s.load(a), s.load(b)));
        }
    }
    let mut factors = [[0.0; LANES]; N];
    for n in 0..N {
        let tops = s.load(&tops[n]);
        let m = s.largest(tops);
        states[first + n].m = m;
        s.store(exp2(s, s.sub(tops, shift(s, m)), 1.0), &mut factors[n]);
    }
    let (largest, middle) = ((2 * MIDDLE) as f32, s.splat(MIDDLE as f32));
    let mut sums = [s.splat(0.0); N];
    for tile in 0..tiles {
        let inverses = [s.load(&split.inverses[2 * tile]), s.load(&split.inverses[2 * tile + 1])];
        for n in 0..N {
            let top = shift(s, tops[n][tile]);
            let [a, b] = vectors(&scores[n * SPLIT..], tile);
            let a = exp2(s, s.sub(s.load(a), top), largest);
            let b = exp2(s, s.sub(s.load(b), top), largest);
            let sum = s.fma(b, inverses[1], s.mul(a, inverses[0]));
            sums[n] = s.fma(sum, s.splat(factors[n][tile]), sums[n]);
            let of_halves =
                s.quantize_block([s.sub(a, middle), s.sub(b, middle)], &mut weights.codes[tile][first + n]);
            weights.offsets[tile][first + n] =
                offset::<S>(of_halves[0] + of_halves[1] + MIDDLE * KV_TILE as i32);
            weights.factors[tile][first + n] = factors[n][tile];
        }
    }
    for n in 0..N {
        states[first + n].l = s.sum(sums[n]);
    }
}

/// The scores of a tile of a row, whose scores these begin with.
#[inline(always)]
fn vectors(scores: &[f32], tile: usize) -> [&[f32; LANES]; TILE_VECTORS] {
    let scores = scores[tile * KV_TILE..].first_chunk::<KV_TILE>().expect("a split is whole tiles");
    let (a, b) = scores.split_at(LANES);
    [a, b].map(|half| half.try_into().expect("a tile is two vectors"))
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
    let mut total = [[s.splat(0.0); R]; V];
    for (index, start) in positions.step_by(KV_TILE).enumerate() {
        let values = tile(job, unit, start).values.as_chunks::<VALUE_LINES>().0;
        let ahead = (R <= PREFETCHING_ROWS_MAX && start + SPLIT < unit.end())
            .then(|| tile(job, unit, start + SPLIT).keys);
        if let Some(keys) = ahead {
            for half in 0..TILE_VECTORS {
                let [start, end] = [first, first + V].map(|vector| (half * vectors + vector) * VALUE_LINES);
                prefetch(s, &keys[start.min(keys.len())..end.min(keys.len())]);
            }
        }
        for v in 0..V {
            let (mut sums, mut middle) = ([s.zero_i(); R], [s.zero_i()]);
            for r in 0..R {
                sums[r] = s.splat_i(weights.offsets[index][r]);
            }
            let halves = [&values[first + v], &values[vectors + first + v]];
            let codes = &weights.codes[index];
            s.dots::<8, R>(halves[0], codes, 0, &mut sums);
            s.dots::<8, 1>(halves[0], &MIDDLES, 0, &mut middle);
            if R <= 4 {
                // So few would wait for their own sums.
                let (mut others, mut other) = ([s.zero_i(); R], [s.zero_i()]);
                s.dots::<8, R>(halves[1], codes, WORDS / 2, &mut others);
                s.dots::<8, 1>(halves[1], &MIDDLES, WORDS / 2, &mut other);
                middle[0] = s.add_i(middle[0], other[0]);
                for r in 0..R {
                    sums[r] = s.add_i(sums[r], others[r]);
                }
            } else {
                s.dots::<8, R>(halves[1], codes, WORDS / 2, &mut sums);
                s.dots::<8, 1>(halves[1], &MIDDLES, WORDS / 2, &mut middle);
            }
            for r in 0..R {
                let sum = s.to_f32(s.add_i(sums[r], middle[0]));
                total[v][r] = s.fma(sum, s.splat(weights.factors[index][r]), total[v][r]);
            }
        }
    }
    let o = o.as_chunks_mut::<LANES>().0;
    for r in 0..R {
        for v in 0..V {
            s.store(total[v][r], &mut o[r * vectors + first + v]);
        }
    }
}
