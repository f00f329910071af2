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

use std::marker::PhantomData;
use std::ops::Range;

use super::eight::Eight;
use super::half::Half;
use super::rotation::rotate;
use super::softmax::{EMPTY, State};
use super::{KV_TILE, KvCache, KvFormat, check_chunks, padded};
use crate::activations::Precision;
use crate::isa::Isa;
use crate::memory::{Disjoint, give_scratch, give_words, take_scratch, take_words};
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Simd, store_part};

/// Positions of a split.
pub(super) const SPLIT: usize = 256;
/// Tiles for each thread from which on splits aren't made into tasks.
const TILES_PER_THREAD: usize = 6;
/// Tasks for each thread from which on a task takes all KV heads of its positions.
const FUSED_TASKS_PER_THREAD: usize = 2;
/// Query rows of a tile up to which memory, not arithmetic, bounds it, so that prefetching pays.
pub(super) const PREFETCHING_ROWS_MAX: usize = 8;
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

impl AttentionChunk<'_> {
    /// Positions that its sequence has.
    pub(super) fn end(&self) -> usize {
        self.position + self.rows.len()
    }
}

/// `out = softmax(q k^T * scale) v` for each query row and head; q and out are `[n, heads * head_dim]`. The chunks'
/// rows are `0..n` in order. Keys and values of all positions that rows see must have been written. Where keys are int8,
/// queries are rounded to 8 bits if that is the precision, else to 16.
///
/// A NaN makes NaN of what sees it: in a query its row of one head, in a key the rows from its position on, in a value these
/// rows too: of f16 one dimension, and perhaps of earlier rows of their chunk; of int8 all dimensions.
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
    precision: Precision,
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
        coarse_queries: precision == Precision::Eight,
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
    let n = check_chunks(shape, chunks);
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

/// The parts of attention that depend on how keys and values are kept. R is the number of rows that a tile has room
/// for; scores of the rows of a tile are `[R][SPLIT]`.
pub(super) trait Format: Sync {
    /// Numbers that the queries of one head take, for tiles of `rows` rows.
    fn query_numbers(head_dim: usize, rows: usize) -> usize;
    /// Words that they take.
    fn query_words(head_dim: usize, rows: usize) -> usize;
    /// Words that the weights of a split take.
    fn weight_words(rows: usize) -> usize;

    /// Prepares the queries of a unit; rows that it hasn't give no scores that anybody looks at.
    fn fill_queries<S: Simd, const R: usize>(
        s: S,
        job: &Job<'_>,
        unit: &Unit<'_>,
        q: &mut [f32],
        words: &mut [[i32; 8]],
    );

    /// Scores of the 32 positions from `start` on; `scores` begins at them.
    fn score_tile<S: Simd, const R: usize>(
        s: S,
        job: &Job<'_>,
        unit: &Unit<'_>,
        start: usize,
        q: &[f32],
        words: &[[i32; 8]],
        scores: &mut [f32],
    );

    /// Softmax over `positions`, which begin at a split, of `scores`, which are lost; row r sees those below
    /// `limits[r]`. `o`, `[R][padded]`, becomes the weighted sums of values.
    #[expect(clippy::too_many_arguments, reason = "inputs, where they are, and what is made of them")]
    fn attend_split<S: Simd, const R: usize>(
        s: S,
        job: &Job<'_>,
        unit: &Unit<'_>,
        positions: Range<usize>,
        limits: &[usize; R],
        scores: &mut [f32],
        words: &mut [[i32; 8]],
        o: &mut [f32],
    ) -> [State; R];
}

pub(super) struct Job<'a> {
    pub(super) cache: &'a KvCache,
    pub(super) layer: usize,
    chunks: &'a [AttentionChunk<'a>],
    q: &'a [f32],
    out: Disjoint<'a, f32>,
    /// Values of a row of q.
    cols: usize,
    /// Query heads of a KV head.
    group: usize,
    /// Scale of the scores, in units of 2^x.
    pub(super) scale: f32,
    /// Whether queries of int8 keys have one plane, not two.
    pub(super) coarse_queries: bool,
    /// Query rows of the widest tile.
    widest: usize,
    /// Whether the splits of a tile are tasks of their own.
    split: bool,
    /// KV heads of a task: one, or all if splits are tasks.
    heads_per_task: usize,
}

/// A tile of query rows of one KV head.
pub(super) struct Unit<'a> {
    pub(super) chunk: &'a AttentionChunk<'a>,
    pub(super) kv_head: usize,
    /// Which of the chunk's `tokens * group` rows, token by token.
    pub(super) rows: Range<usize>,
}

impl<'a> Unit<'a> {
    /// Positions that the sequence has.
    #[inline(always)]
    pub(super) fn end(&self) -> usize {
        self.chunk.end()
    }

    /// Where the last 32 positions that the sequence has begin.
    #[inline(always)]
    pub(super) fn last_tile(&self) -> usize {
        (self.end() - 1) / KV_TILE * KV_TILE
    }

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
        chunk.end().div_ceil(SPLIT)
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
        match self.cache.shape().format {
            KvFormat::F16 => self.attend_as::<Half>(isa, unit, splits, parts),
            KvFormat::Q8 => self.attend_as::<Eight>(isa, unit, splits, parts),
        }
    }

    fn attend_as<F: Format>(
        &self,
        isa: Isa,
        unit: &Unit<'_>,
        splits: Range<usize>,
        parts: Option<PartPlace<'_>>,
    ) {
        let (job, format) = (self, PhantomData::<F>);
        match unit.rows.len() {
            1 => isa.run(Attend::<1, F> { job, unit, splits, parts, format }),
            2 => isa.run(Attend::<2, F> { job, unit, splits, parts, format }),
            3 => isa.run(Attend::<3, F> { job, unit, splits, parts, format }),
            4 => isa.run(Attend::<4, F> { job, unit, splits, parts, format }),
            5 | 6 => isa.run(Attend::<6, F> { job, unit, splits, parts, format }),
            7 | 8 => isa.run(Attend::<8, F> { job, unit, splits, parts, format }),
            _ => isa.run(Attend::<12, F> { job, unit, splits, parts, format }),
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

    /// Where row `row` of a unit's chunk stands in q and out.
    fn place(&self, unit: &Unit<'_>, row: usize) -> usize {
        let (token, head) = (row / self.group, unit.kv_head * self.group + row % self.group);
        (unit.chunk.rows.start + token) * self.cols + head * self.cache.shape().head_dim
    }

    /// The query of row `row` of a unit's chunk.
    #[inline(always)]
    pub(super) fn query(&self, unit: &Unit<'_>, row: usize) -> &[f32] {
        &self.q[self.place(unit, row)..][..self.cache.shape().head_dim]
    }

    /// `out = o / l` for one row; o is lost.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, unit: &Unit<'_>, row: usize, l: f32, o: &mut [f32]) {
        let o = o.as_chunks_mut::<LANES>().0;
        if self.cache.shape().format == KvFormat::Q8 {
            rotate(s, o);
        }
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each row of each head belongs to one unit, and each unit is finished by one task.
        let out = unsafe { self.out.part(self.place(unit, row), self.cache.shape().head_dim) };
        let factor = s.splat(1.0 / l);
        for (out, o) in out.chunks_mut(LANES).zip(o) {
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
            self.job.finish(s, self.unit, row, total.l, &mut total_o);
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
struct Attend<'a, const R: usize, F> {
    job: &'a Job<'a>,
    unit: &'a Unit<'a>,
    splits: Range<usize>,
    parts: Option<PartPlace<'a>>,
    format: PhantomData<F>,
}

impl<const R: usize, F: Format> Kernel for Attend<'_, R, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(R <= S::TILE && self.unit.rows.len() <= R);
        let (job, unit) = (self.job, self.unit);
        let head_dim = job.cache.shape().head_dim;
        let (heads, width) = (job.heads_per_task, padded(head_dim));
        let (numbers, words) = (F::query_numbers(head_dim, R), F::query_words(head_dim, R));
        // q [heads] of them, scores [heads][R][SPLIT], o [R][width], o of the splits before [R][width].
        let mut scratch = take_scratch(heads * (numbers + R * SPLIT) + 2 * R * width);
        let (q, rest) = scratch.split_at_mut(heads * numbers);
        let (scores, rest) = rest.split_at_mut(R * heads * SPLIT);
        let (o, total_o) = rest.split_at_mut(R * width);
        let mut word_scratch = take_words(heads * words + F::weight_words(R));
        let (q_words, weight_words) = word_scratch.split_at_mut(heads * words);
        let mut limits = [0; R];
        for (r, row) in unit.rows.clone().enumerate() {
            limits[r] = unit.chunk.position + row / job.group + 1;
        }
        for head in 0..heads {
            let (q, q_words) = (&mut q[head * numbers..][..numbers], &mut q_words[head * words..][..words]);
            F::fill_queries::<S, R>(s, job, &unit.of_head(head), q, q_words);
        }
        let last = limits[unit.rows.len() - 1];
        let mut total = [EMPTY; R];
        for split in self.splits {
            let positions = split * SPLIT..last.min((split + 1) * SPLIT);
            for start in positions.clone().step_by(KV_TILE) {
                for head in 0..heads {
                    let scores = &mut scores[head * R * SPLIT + start - positions.start..];
                    let (q, q_words) = (&q[head * numbers..][..numbers], &q_words[head * words..][..words]);
                    F::score_tile::<S, R>(s, job, &unit.of_head(head), start, q, q_words, scores);
                }
            }
            for head in 0..heads {
                let scores = &mut scores[head * R * SPLIT..][..R * SPLIT];
                let unit_of_head = unit.of_head(head);
                let states = F::attend_split::<S, R>(
                    s,
                    job,
                    &unit_of_head,
                    positions.clone(),
                    &limits,
                    scores,
                    weight_words,
                    o,
                );
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
                job.finish(s, unit, row, total[r].l, &mut total_o[r * width..][..width]);
            }
        }
        give_words(word_scratch);
        give_scratch(scratch);
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
