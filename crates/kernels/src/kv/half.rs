//! Attention over a cache of f16: everything in f32.

use std::ops::Range;

use super::attention::{Format, Job, PREFETCHING_ROWS_MAX, SPLIT, Unit};
use super::softmax::{EMPTY, State, rows_at_once, score, weigh};
use super::{KV_TILE, padded};
use crate::simd::{LANES, Simd};

/// Keys and values of f16. The queries of a head are `[head_dim][R]` numbers.
pub(super) struct Half;

impl Format for Half {
    fn query_numbers(head_dim: usize, rows: usize) -> usize {
        head_dim * rows
    }

    fn query_words(_: usize, _: usize) -> usize {
        0
    }

    fn weight_words(_: usize) -> usize {
        0
    }

    #[inline(always)]
    fn fill_queries<S: Simd, const R: usize>(
        _: S,
        job: &Job<'_>,
        unit: &Unit<'_>,
        q: &mut [f32],
        _: &mut [[i32; 8]],
    ) {
        q.fill(0.0);
        for (r, row) in unit.rows.clone().enumerate() {
            for (d, &x) in job.query(unit, row).iter().enumerate() {
                q[d * R + r] = x * job.scale;
            }
        }
    }

    #[inline(always)]
    fn score_tile<S: Simd, const R: usize>(
        s: S,
        job: &Job<'_>,
        unit: &Unit<'_>,
        start: usize,
        q: &[f32],
        _: &[[i32; 8]],
        scores: &mut [f32],
    ) {
        let q = q.as_chunks::<R>().0;
        let (keys, values) = tile(job, unit, start);
        // Prefetching goes on into the next split, up to the last tile that the sequence has.
        let (keys_ahead, _) = tile(job, unit, (start + 2 * KV_TILE).min(unit.last_tile()));
        // Keys of the tile after next, and values for the time when all scores are there.
        let ahead = if R <= PREFETCHING_ROWS_MAX { Some([keys_ahead, values]) } else { None };
        if S::TILE >= 12 {
            score::<S, R, 2>(s, q, keys, 0, ahead, scores);
        } else {
            score::<S, R, 1>(s, q, &keys[..q.len()], 0, ahead, scores);
            score::<S, R, 1>(s, q, &keys[q.len()..], LANES, None, scores);
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
        _: &mut [[i32; 8]],
        o: &mut [f32],
    ) -> [State; R] {
        let vectors = o.len() / R / LANES;
        let mut states = [EMPTY; R];
        let (count, start) = (positions.len().div_ceil(LANES), positions.start);
        let seen = limits.map(|limit| limit.saturating_sub(start));
        for first in (0..R).step_by(rows_at_once(R)) {
            let (scores, seen, states) = (&mut scores[first * SPLIT..], &seen[first..], &mut states[first..]);
            match rows_at_once(R) {
                4 => weigh::<S, 4>(s, scores, count, chunk(seen), states),
                3 => weigh::<S, 3>(s, scores, count, chunk(seen), states),
                2 => weigh::<S, 2>(s, scores, count, chunk(seen), states),
                _ => weigh::<S, 1>(s, scores, count, chunk(seen), states),
            }
        }
        let mut vector = 0;
        // As many dimensions at a time as the registers hold sums of.
        while S::TILE >= 12 && R <= 6 && vector + 4 <= vectors {
            add_values::<S, R, 4>(s, job, unit, positions.clone(), scores, vector, o);
            vector += 4;
        }
        while S::TILE >= 12 && vector + 2 <= vectors {
            add_values::<S, R, 2>(s, job, unit, positions.clone(), scores, vector, o);
            vector += 2;
        }
        while vector < vectors {
            add_values::<S, R, 1>(s, job, unit, positions.clone(), scores, vector, o);
            vector += 1;
        }
        states
    }
}

/// Keys and values of the 32 positions from `start`, a multiple of 32, on.
#[inline(always)]
fn tile<'a>(job: &Job<'a>, unit: &Unit<'_>, start: usize) -> (&'a [[u16; LANES]], &'a [[u16; LANES]]) {
    let shape = job.cache.shape();
    let block = unit.chunk.blocks[start / shape.block_tokens];
    let (keys, values) = job.cache.half_head(job.layer, block, unit.kv_head);
    let (offset, vectors) = (start % shape.block_tokens, padded(shape.head_dim) / LANES);
    let keys = &keys[offset / LANES * shape.head_dim..][..KV_TILE / LANES * shape.head_dim];
    (keys, &values[offset * vectors..][..KV_TILE * vectors])
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
    weights: &[f32],
    first: usize,
    o: &mut [f32],
) {
    let vectors = o.len() / R / LANES;
    let mut acc = [[s.splat(0.0); V]; R];
    for start in positions.clone().step_by(KV_TILE) {
        let (_, values) = tile(job, unit, start);
        let ahead = (R <= PREFETCHING_ROWS_MAX && start + SPLIT < unit.end())
            .then(|| tile(job, unit, start + SPLIT).0);
        let count = KV_TILE.min(positions.end - start);
        let mut of_rows = [&[0.0; KV_TILE]; R];
        for r in 0..R {
            let weights = weights[r * SPLIT + start - positions.start..].first_chunk();
            of_rows[r] = weights.expect("a split is whole tiles");
        }
        for (j, value) in values.chunks_exact(vectors).take(count).enumerate() {
            let mut x = [s.splat(0.0); V];
            for v in 0..V {
                x[v] = s.load_f16(&value[first + v]);
            }
            if let Some(keys) = ahead {
                // Two vectors of f16 are a line.
                for v in (0..V).step_by(2) {
                    s.prefetch(&keys[(j * vectors + first + v).min(keys.len() - 1)], 0);
                }
            }
            for r in 0..R {
                let weight = s.splat(of_rows[r][j]);
                for v in 0..V {
                    acc[r][v] = s.fma(weight, x[v], acc[r][v]);
                }
            }
        }
    }
    let o = o.as_chunks_mut::<LANES>().0;
    for r in 0..R {
        for v in 0..V {
            s.store(acc[r][v], &mut o[r * vectors + first + v]);
        }
    }
}

/// The first N rows' numbers of positions.
#[inline(always)]
fn chunk<const N: usize>(seen: &[usize]) -> &[usize; N] {
    seen.first_chunk().expect("R is a multiple of N")
}
