//! Causal attention with online softmax, for prefill and decode alike.
//!
//! The query heads of one KV head (GQA) and neighbouring tokens make query rows; a tile of them shares each load of
//! keys and values. For one tile:
//!
//! ```text
//! for each split of 256 positions j, from the first, up to the last that a row of the tile sees:
//!     s[r][j] = q[r] . k[j] * scale / ln 2, -inf where row r doesn't see j
//!     m = max_j s[r][j];  p[j] = 2^(s[r][j] - m);  l = sum_j p[j];  o = sum_j p[j] v[j]
//!     total = merge(total, (m, l, o))          // the first split is taken as it is, an empty one is left out
//! out[r] = total.o / total.l
//! ```
//!
//! Splits and the order within them are fixed, so that a row's bits depend neither on what shares its tile, nor on
//! chunks, nor on threads. With few tiles and a long past, the splits of a tile are tasks of their own, and merged
//! in the same order afterwards; if there are enough of them, a task takes all KV heads of its positions, so that the
//! cache is read from front to back, which is what a processor's own prefetching follows.

use std::ops::Range;

use super::softmax::{EMPTY, State, score, weigh};
use super::{KV_TILE, KvCache, check_blocks, padded};
use crate::isa::Isa;
use crate::memory::{Disjoint, give_scratch, take_scratch};
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Simd, store_part};

/// Positions of a split.
pub(super) const SPLIT: usize = 256;
/// Tiles for each thread from which on splits aren't made into tasks.
const TILES_PER_THREAD: usize = 6;
/// Tasks for each thread from which on a task takes all KV heads of its positions.
const FUSED_TASKS_PER_THREAD: usize = 2;
/// Query rows of a tile up to which memory, not arithmetic, bounds it, so that prefetching pays.
const PREFETCHING_ROWS_MAX: usize = 8;
/// Values that a task merges, at least.
const MERGED_VALUES: usize = 16 << 10;

/// Query rows of one sequence.
#[derive(Debug, Clone)]
pub struct AttentionChunk<'a> {
    /// Which rows of the queries.
    pub rows: Range<usize>,
    /// The position of the first row in its sequence; row i sees positions `0..=position + i`.
    pub position: usize,
    /// The sequence's block table, at least up to the last row's position.
    pub blocks: &'a [u32],
}

/// `out = softmax(q k^T * scale) v` for each query row and head; q and out are `[n, heads * head_dim]`. The chunks'
/// rows are `0..n` in order. Keys and values of all positions that rows see must have been written.
///
/// A NaN makes NaN of what sees it: in a query its row of one head, in a key the rows from its position on, in a value one
/// dimension of these rows, and perhaps of earlier ones of their chunk.
///
/// # Panics
/// When lengths don't fit, heads aren't a multiple of the cache's, chunks leave out rows, or a block table is too
/// short or names a block that isn't there.
#[expect(clippy::too_many_arguments, reason = "inputs, where they are, and the output")]
pub fn attention(
    isa: Isa,
    pool: &Pool,
    cache: &KvCache,
    layer: usize,
    chunks: &[AttentionChunk<'_>],
    q: &[f32],
    scale: f32,
    out: &mut [f32],
) {
    let n = check(cache, layer, chunks, q, out);
    if n == 0 {
        return;
    }
    let cols = q.len() / n;
    let shape = cache.shape();
    let mut job = Job {
        cache,
        layer,
        chunks,
        q,
        out: Disjoint::new(out),
        cols,
        group: cols / shape.head_dim / shape.kv_heads,
        scale: scale * std::f32::consts::LOG2_E,
        widest: widest(isa),
        split: false,
        heads_per_task: 1,
    };
    job.split = job.units() < TILES_PER_THREAD * pool.threads() && job.tasks(true) > job.units();
    let parts = job.tasks(job.split);
    if job.split && parts / shape.kv_heads >= FUSED_TASKS_PER_THREAD * pool.threads() {
        job.heads_per_task = shape.kv_heads;
    }
    let tasks = parts / job.heads_per_task;
    let mut parts = take_scratch(if job.split { parts * job.part_len() } else { 0 });
    let shared = Disjoint::new(&mut parts);
    pool.run(tasks, &|task| job.run(isa, task, &shared));
    if job.split {
        let units_per_task = MERGED_VALUES / job.part_len() + 1;
        pool.run(job.units().div_ceil(units_per_task), &|task| {
            let first = task * units_per_task;
            (first..job.units().min(first + units_per_task)).for_each(|unit| job.merge(isa, unit, &parts));
        });
    }
    give_scratch(parts);
}

/// Checks the arguments of [`attention`] and returns the number of query rows.
fn check(cache: &KvCache, layer: usize, chunks: &[AttentionChunk<'_>], q: &[f32], out: &[f32]) -> usize {
    let shape = cache.shape();
    assert!(layer < shape.layers, "layer {layer} of {}", shape.layers);
    assert_eq!(q.len(), out.len(), "queries and results must be of one length");
    let mut n = 0;
    for chunk in chunks {
        assert!(
            chunk.rows.start == n && chunk.rows.end >= n,
            "rows {:?} of a chunk must begin at {n}",
            chunk.rows
        );
        n = chunk.rows.end;
        check_blocks(shape, chunk.blocks, chunk.position + chunk.rows.len());
    }
    let cols = shape.kv_heads * shape.head_dim;
    let whole = if n * cols == 0 { q.is_empty() } else { q.len().is_multiple_of(n * cols) && !q.is_empty() };
    assert!(whole, "{} values aren't {n} rows of a multiple of {cols}", q.len());
    if cols == 0 { 0 } else { n }
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

struct Job<'a> {
    cache: &'a KvCache,
    layer: usize,
    chunks: &'a [AttentionChunk<'a>],
    q: &'a [f32],
    out: Disjoint<'a, f32>,
    /// Values of a row of q.
    cols: usize,
    /// Query heads of a KV head.
    group: usize,
    /// Scale of the scores, in units of 2^x.
    scale: f32,
    /// Query rows of the widest tile.
    widest: usize,
    /// Whether the splits of a tile are tasks of their own.
    split: bool,
    /// KV heads of a task: one, or all if splits are tasks.
    heads_per_task: usize,
}

/// A tile of query rows of one KV head.
struct Unit<'a> {
    chunk: &'a AttentionChunk<'a>,
    kv_head: usize,
    /// Which of the chunk's `tokens * group` rows, token by token.
    rows: Range<usize>,
}

impl<'a> Unit<'a> {
    /// The same rows of the `further`-th next KV head.
    #[inline(always)]
    fn of_head(&self, further: usize) -> Unit<'a> {
        Unit { chunk: self.chunk, kv_head: self.kv_head + further, rows: self.rows.clone() }
    }
}

impl<'a> Job<'a> {
    /// Tiles of a chunk, of one KV head.
    fn tiles(&self, chunk: &AttentionChunk<'_>) -> usize {
        (chunk.rows.len() * self.group).div_ceil(self.widest)
    }

    fn units_of(&self, chunk: &AttentionChunk<'_>) -> usize {
        self.tiles(chunk) * self.cache.shape().kv_heads
    }

    fn units(&self) -> usize {
        self.chunks.iter().map(|chunk| self.units_of(chunk)).sum()
    }

    fn splits(chunk: &AttentionChunk<'_>) -> usize {
        (chunk.position + chunk.rows.len()).div_ceil(SPLIT)
    }

    fn tasks(&self, split: bool) -> usize {
        let of = |chunk| self.units_of(chunk) * if split { Self::splits(chunk) } else { 1 };
        self.chunks.iter().map(of).sum()
    }

    /// Values that a task leaves for merging: m `[tile]`, l `[tile]`, o `[tile][padded]`.
    fn part_len(&self) -> usize {
        self.widest * (2 + padded(self.cache.shape().head_dim))
    }

    /// Unit `index` of a chunk. The last tiles, which see the most, come first.
    fn unit(&self, chunk: &'a AttentionChunk<'a>, index: usize) -> Unit<'a> {
        let (tiles, heads) = (self.tiles(chunk), self.cache.shape().kv_heads);
        let tile = tiles - 1 - index / heads;
        let rows = chunk.rows.len() * self.group;
        // Tiles of equal size, as nearly as may be.
        Unit { chunk, kv_head: index % heads, rows: tile * rows / tiles..(tile + 1) * rows / tiles }
    }

    fn run(&self, isa: Isa, task: usize, parts: &Disjoint<'_, f32>) {
        let mut left = task;
        for chunk in self.chunks {
            let splits = Self::splits(chunk);
            let tasks = self.units_of(chunk) / self.heads_per_task * if self.split { splits } else { 1 };
            if left >= tasks {
                left -= tasks;
                continue;
            }
            if !self.split {
                return self.attend(isa, &self.unit(chunk, left), 0..splits, None);
            }
            // Parts stand unit by unit, a unit's splits one after another.
            let first_part = (task - left) * self.heads_per_task;
            let (first_unit, split) = (left / splits * self.heads_per_task, left % splits);
            let place = PartPlace { parts, first: first_part + first_unit * splits + split, step: splits };
            return self.attend(isa, &self.unit(chunk, first_unit), split..split + 1, Some(place));
        }
    }

    fn attend(&self, isa: Isa, unit: &Unit<'_>, splits: Range<usize>, parts: Option<PartPlace<'_>>) {
        match unit.rows.len() {
            1 => isa.run(Attend::<1> { job: self, unit, splits, parts }),
            2 => isa.run(Attend::<2> { job: self, unit, splits, parts }),
            3 => isa.run(Attend::<3> { job: self, unit, splits, parts }),
            4 => isa.run(Attend::<4> { job: self, unit, splits, parts }),
            5 | 6 => isa.run(Attend::<6> { job: self, unit, splits, parts }),
            7 | 8 => isa.run(Attend::<8> { job: self, unit, splits, parts }),
            _ => isa.run(Attend::<12> { job: self, unit, splits, parts }),
        }
    }

    /// Adds up the parts of unit `unit` of all chunks' and writes its rows.
    fn merge(&self, isa: Isa, mut unit: usize, parts: &[f32]) {
        let mut first = 0;
        for chunk in self.chunks {
            let (units, splits) = (self.units_of(chunk), Self::splits(chunk));
            if unit < units {
                let parts = &parts[(first + unit * splits) * self.part_len()..][..splits * self.part_len()];
                return isa.run(Merge { job: self, unit: &self.unit(chunk, unit), parts });
            }
            unit -= units;
            first += units * splits;
        }
    }

    /// Keys and values of the 32 positions from `start`, a multiple of 32, on.
    #[inline(always)]
    fn tile(&self, unit: &Unit<'_>, start: usize) -> (&[[u16; LANES]], &[[u16; LANES]]) {
        let shape = self.cache.shape();
        let block = unit.chunk.blocks[start / shape.block_tokens];
        let (keys, values) = self.cache.head(self.layer, block, unit.kv_head);
        let (offset, vectors) = (start % shape.block_tokens, padded(shape.head_dim) / LANES);
        let keys = &keys[offset / LANES * shape.head_dim..][..KV_TILE / LANES * shape.head_dim];
        (keys, &values[offset * vectors..][..KV_TILE * vectors])
    }

    /// Where row `row` of a unit's chunk stands in q and out.
    fn place(&self, unit: &Unit<'_>, row: usize) -> usize {
        let (token, head) = (row / self.group, unit.kv_head * self.group + row % self.group);
        (unit.chunk.rows.start + token) * self.cols + head * self.cache.shape().head_dim
    }

    /// `out = o / l` for one row.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, unit: &Unit<'_>, row: usize, l: f32, o: &[f32]) {
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each row of each head belongs to one unit, and each unit is finished by one task.
        let out = unsafe { self.out.part(self.place(unit, row), self.cache.shape().head_dim) };
        let factor = s.splat(1.0 / l);
        for (out, o) in out.chunks_mut(LANES).zip(o.as_chunks::<LANES>().0) {
            store_part(s, s.mul(s.load(o), factor), out);
        }
    }
}

/// Merges the parts of a unit, `[splits]` of [`Job::part_len`], in order.
struct Merge<'a> {
    job: &'a Job<'a>,
    unit: &'a Unit<'a>,
    parts: &'a [f32],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = padded(self.job.cache.shape().head_dim);
        let widest = self.job.widest;
        let mut total_o = take_scratch(width);
        for (r, row) in self.unit.rows.clone().enumerate() {
            let mut total = EMPTY;
            for part in self.parts.chunks_exact(self.job.part_len()) {
                let state = State { m: part[r], l: part[widest + r] };
                total.merge(s, &mut total_o, state, &part[2 * widest + r * width..][..width]);
            }
            self.job.finish(s, self.unit, row, total.l, &total_o);
        }
        give_scratch(total_o);
    }
}

/// Where a task leaves one split of its units for merging: as part `first`, and each next unit's `step` further.
#[derive(Clone, Copy)]
struct PartPlace<'a> {
    parts: &'a Disjoint<'a, f32>,
    first: usize,
    step: usize,
}

/// Some splits of a unit, whose rows are at most R; writes the rows. Or one split of `heads_per_task` units, the KV
/// heads from the unit's on; writes a part of each.
struct Attend<'a, const R: usize> {
    job: &'a Job<'a>,
    unit: &'a Unit<'a>,
    splits: Range<usize>,
    parts: Option<PartPlace<'a>>,
}

impl<const R: usize> Kernel for Attend<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(R <= S::TILE && self.unit.rows.len() <= R);
        let (job, unit) = (self.job, self.unit);
        let head_dim = job.cache.shape().head_dim;
        let (heads, width) = (job.heads_per_task, padded(head_dim));
        // q [heads][head_dim][R], scores [heads][R][SPLIT], o [R][width], o of the splits before [R][width].
        let mut scratch = take_scratch(R * (heads * (head_dim + SPLIT) + 2 * width));
        let (q, rest) = scratch.split_at_mut(R * heads * head_dim);
        let (scores, rest) = rest.split_at_mut(R * heads * SPLIT);
        let (o, total_o) = rest.split_at_mut(R * width);
        let mut limits = [0; R];
        for (r, row) in unit.rows.clone().enumerate() {
            limits[r] = unit.chunk.position + row / job.group + 1;
        }
        for (head, q) in q.chunks_exact_mut(R * head_dim).enumerate() {
            fill_queries::<R>(job, &unit.of_head(head), q);
        }
        let q = q.as_chunks::<R>().0;
        let last = limits[unit.rows.len() - 1];
        let mut total = [EMPTY; R];
        for split in self.splits {
            let positions = split * SPLIT..last.min((split + 1) * SPLIT);
            for start in positions.clone().step_by(KV_TILE) {
                for head in 0..heads {
                    let scores = &mut scores[head * R * SPLIT + start - positions.start..];
                    score_tile::<S, R>(
                        s,
                        job,
                        &unit.of_head(head),
                        start,
                        &q[head * head_dim..][..head_dim],
                        scores,
                    );
                }
            }
            for head in 0..heads {
                let scores = &mut scores[head * R * SPLIT..][..R * SPLIT];
                let states =
                    attend_split::<S, R>(s, job, &unit.of_head(head), positions.clone(), &limits, scores, o);
                if let Some(PartPlace { parts, first, step }) = self.parts {
                    #[expect(unsafe_code, reason = "tasks write disjoint parts")]
                    // SAFETY: each pair of a unit and a split has a part of its own, and one task has the pair.
                    let part = unsafe { parts.part((first + head * step) * job.part_len(), job.part_len()) };
                    write_part(job.widest, &states, o, part);
                } else {
                    for r in 0..unit.rows.len() {
                        let of_row = r * width..(r + 1) * width;
                        total[r].merge(s, &mut total_o[of_row.clone()], states[r], &o[of_row]);
                    }
                }
            }
        }
        if self.parts.is_none() {
            for (r, row) in unit.rows.clone().enumerate() {
                job.finish(s, unit, row, total[r].l, &total_o[r * width..][..width]);
            }
        }
        give_scratch(scratch);
    }
}

/// The scaled queries of a unit, `[head_dim][R]`; those of rows that it hasn't are 0.
#[inline(always)]
fn fill_queries<const R: usize>(job: &Job<'_>, unit: &Unit<'_>, q: &mut [f32]) {
    q.fill(0.0);
    for (r, row) in unit.rows.clone().enumerate() {
        let from = &job.q[job.place(unit, row)..][..q.len() / R];
        for (d, &x) in from.iter().enumerate() {
            q[d * R + r] = x * job.scale;
        }
    }
}

/// A part as [`Job::part_len`] says.
#[inline(always)]
fn write_part<const R: usize>(widest: usize, states: &[State; R], o: &[f32], part: &mut [f32]) {
    for (r, state) in states.iter().enumerate() {
        part[r] = state.m;
        part[widest + r] = state.l;
    }
    part[2 * widest..][..o.len()].copy_from_slice(o);
}

/// Scores of the 32 positions from `start` on; `scores` begins at them, and its rows are `SPLIT` apart.
#[inline(always)]
fn score_tile<S: Simd, const R: usize>(
    s: S,
    job: &Job<'_>,
    unit: &Unit<'_>,
    start: usize,
    q: &[[f32; R]],
    scores: &mut [f32],
) {
    let (keys, values) = job.tile(unit, start);
    // Prefetching goes on into the next split, up to the last tile that the sequence has.
    let last_tile = (unit.chunk.position + unit.chunk.rows.len() - 1) / KV_TILE * KV_TILE;
    let (keys_ahead, _) = job.tile(unit, (start + 2 * KV_TILE).min(last_tile));
    // Keys of the tile after next, and values for the time when all scores are there.
    let ahead = if R <= PREFETCHING_ROWS_MAX { Some([keys_ahead, values]) } else { None };
    if S::TILE >= 12 {
        score::<S, R, 2>(s, q, keys, 0, ahead, scores);
    } else {
        score::<S, R, 1>(s, q, &keys[..q.len()], 0, ahead, scores);
        score::<S, R, 1>(s, q, &keys[q.len()..], LANES, None, scores);
    }
}

/// Softmax over `positions`, which begin at a split, of `scores`, `[R][SPLIT]`; o is `[R][width]`.
#[inline(always)]
fn attend_split<S: Simd, const R: usize>(
    s: S,
    job: &Job<'_>,
    unit: &Unit<'_>,
    positions: Range<usize>,
    limits: &[usize; R],
    scores: &mut [f32],
    o: &mut [f32],
) -> [State; R] {
    let vectors = o.len() / R / LANES;
    let mut states = [EMPTY; R];
    for r in 0..R {
        let scores = &mut scores[r * SPLIT..][..positions.len().next_multiple_of(LANES)];
        states[r] = weigh(s, scores, limits[r].saturating_sub(positions.start).min(positions.len()));
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
    let end = unit.chunk.position + unit.chunk.rows.len();
    for start in positions.clone().step_by(KV_TILE) {
        let (_, values) = job.tile(unit, start);
        let ahead =
            (R <= PREFETCHING_ROWS_MAX && start + SPLIT < end).then(|| job.tile(unit, start + SPLIT).0);
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
