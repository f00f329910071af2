//! Causal attention with online softmax, for prefill and decode alike.
//!
//! The query heads of one KV head (GQA) and neighbouring tokens make query rows; a tile of them shares each load of
//! keys and values. For one tile:
//!
//! ```text
//! for each split of 256 positions, from the first:
//!     m, l, o = -inf, 0, 0
//!     for each 32 positions j of the split, up to the last that a row of the tile sees:
//!         s[r][j] = q[r] . k[j] * scale / ln 2, -inf where row r doesn't see j
//!         m' = max(m, max_j s[r][j]);  p[j] = 2^(s[r][j] - m');  a = 2^(m - m')
//!         l = l a + sum_j p[j];  o = o a + sum_j p[j] v[j];  m = m'
//!     total = merge(total, (m, l, o))          // the first split is taken as it is, an empty one is left out
//! out[r] = total.o / total.l
//! ```
//!
//! Splits and the order within them are fixed, so that a row's bits depend neither on what shares its tile, nor on
//! chunks, nor on threads. With few tiles and a long past, the splits of a tile are tasks of their own, and merged
//! in the same order afterwards.

use std::ops::Range;

use super::{KV_TILE, KvCache, check_blocks, padded};
use crate::isa::Isa;
use crate::memory::{Disjoint, give_scratch, take_scratch};
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Simd, exp2, store_part};

/// Positions of a split.
const SPLIT: usize = 256;
/// Tiles for each thread from which on splits aren't made into tasks.
const TILES_PER_THREAD: usize = 6;
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
    };
    job.split = job.units() < TILES_PER_THREAD * pool.threads() && job.tasks(true) > job.units();
    let tasks = job.tasks(job.split);
    let mut parts = take_scratch(if job.split { tasks * job.part_len() } else { 0 });
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
}

/// A tile of query rows of one KV head.
struct Unit<'a> {
    chunk: &'a AttentionChunk<'a>,
    kv_head: usize,
    /// Which of the chunk's `tokens * group` rows, token by token.
    rows: Range<usize>,
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
            let tasks = self.units_of(chunk) * if self.split { splits } else { 1 };
            if left >= tasks {
                left -= tasks;
                continue;
            }
            if !self.split {
                return self.attend(isa, &self.unit(chunk, left), 0..splits, None);
            }
            let split = left % splits;
            #[expect(unsafe_code, reason = "tasks write disjoint parts")]
            // SAFETY: each task has a part of its own.
            let part = unsafe { parts.part(task * self.part_len(), self.part_len()) };
            return self.attend(isa, &self.unit(chunk, left / splits), split..split + 1, Some(part));
        }
    }

    fn attend(&self, isa: Isa, unit: &Unit<'_>, splits: Range<usize>, part: Option<&mut [f32]>) {
        match unit.rows.len() {
            1 => isa.run(Attend::<1> { job: self, unit, splits, part }),
            2 => isa.run(Attend::<2> { job: self, unit, splits, part }),
            3 => isa.run(Attend::<3> { job: self, unit, splits, part }),
            4 => isa.run(Attend::<4> { job: self, unit, splits, part }),
            5 | 6 => isa.run(Attend::<6> { job: self, unit, splits, part }),
            7 | 8 => isa.run(Attend::<8> { job: self, unit, splits, part }),
            _ => isa.run(Attend::<12> { job: self, unit, splits, part }),
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

/// Softmax so far of one row: the largest score, the sum, and the weighted values elsewhere.
#[derive(Clone, Copy)]
struct State {
    m: f32,
    l: f32,
}

const EMPTY: State = State { m: f32::NEG_INFINITY, l: 0.0 };

impl State {
    /// Adds a split's state and values to this one and its values, all `[padded]`.
    #[inline(always)]
    fn merge<S: Simd>(&mut self, s: S, o: &mut [f32], part: State, part_o: &[f32]) {
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
        s.store(exp2(s, s.load(&powers)), &mut powers);
        let (a, b) = (s.splat(powers[0]), s.splat(powers[1]));
        for (o, part) in o.as_chunks_mut::<LANES>().0.iter_mut().zip(part_o.as_chunks::<LANES>().0) {
            s.store(s.fma(s.load(part), b, s.mul(s.load(o), a)), o);
        }
        *self = State { m, l: self.l * powers[0] + part.l * powers[1] };
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

/// Some splits of a unit, whose rows are at most R. Writes the rows, or a part of one split.
struct Attend<'a, const R: usize> {
    job: &'a Job<'a>,
    unit: &'a Unit<'a>,
    splits: Range<usize>,
    part: Option<&'a mut [f32]>,
}

impl<const R: usize> Kernel for Attend<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(R <= S::TILE && self.unit.rows.len() <= R);
        let (job, unit) = (self.job, self.unit);
        let head_dim = job.cache.shape().head_dim;
        let width = padded(head_dim);
        // q [head_dim][R], o [R][width], o of the splits before [R][width].
        let mut scratch = take_scratch(R * (head_dim + 2 * width));
        let (q, rest) = scratch.split_at_mut(R * head_dim);
        let (o, total_o) = rest.split_at_mut(R * width);
        q.fill(0.0);
        let mut limits = [0; R];
        for (r, row) in unit.rows.clone().enumerate() {
            let from = &job.q[job.place(unit, row)..][..head_dim];
            for (d, &x) in from.iter().enumerate() {
                q[d * R + r] = x * job.scale;
            }
            limits[r] = unit.chunk.position + row / job.group + 1;
        }
        let q = q.as_chunks::<R>().0;
        let mut total = [EMPTY; R];
        let last = limits[unit.rows.len() - 1];
        let mut split_states = [EMPTY; R];
        for split in self.splits {
            let positions = split * SPLIT..last.min((split + 1) * SPLIT);
            split_states = attend_split::<S, R>(s, job, unit, positions, &limits, q, o);
            if self.part.is_none() {
                for r in 0..unit.rows.len() {
                    let of_row = r * width..(r + 1) * width;
                    total[r].merge(s, &mut total_o[of_row.clone()], split_states[r], &o[of_row]);
                }
            }
        }
        if let Some(part) = self.part {
            for (r, state) in split_states.iter().enumerate() {
                part[r] = state.m;
                part[job.widest + r] = state.l;
            }
            part[2 * job.widest..][..o.len()].copy_from_slice(o);
        } else {
            for (r, row) in unit.rows.clone().enumerate() {
                job.finish(s, unit, row, total[r].l, &total_o[r * width..][..width]);
            }
        }
        give_scratch(scratch);
    }
}

/// Online softmax over `positions`, which begin at a split; o is `[R][width]` and begins anew.
#[inline(always)]
fn attend_split<S: Simd, const R: usize>(
    s: S,
    job: &Job<'_>,
    unit: &Unit<'_>,
    positions: Range<usize>,
    limits: &[usize; R],
    q: &[[f32; R]],
    o: &mut [f32],
) -> [State; R] {
    let block_tokens = job.cache.shape().block_tokens;
    let (head_dim, vectors) = (q.len(), o.len() / R / LANES);
    let mut m = [f32::NEG_INFINITY; LANES];
    let mut l = [s.splat(0.0); R];
    o.fill(0.0);
    // Prefetching goes on into the next split, up to the last tile that the sequence has.
    let last_tile = (unit.chunk.position + unit.chunk.rows.len() - 1) / KV_TILE * KV_TILE;
    let mut start = positions.start;
    while start < positions.end {
        let (keys, values) = job.cache.head(job.layer, unit.chunk.blocks[start / block_tokens], unit.kv_head);
        let offset = start % block_tokens;
        let keys = &keys[offset / LANES * head_dim..][..KV_TILE / LANES * head_dim];
        let count = KV_TILE.min(positions.end - start);
        let values = &values[offset * vectors..][..count * vectors];
        if R <= PREFETCHING_ROWS_MAX {
            let ahead = (start + 2 * KV_TILE).min(last_tile);
            let block = unit.chunk.blocks[ahead / block_tokens];
            let (keys, values) = job.cache.head(job.layer, block, unit.kv_head);
            let offset = ahead % block_tokens;
            prefetch(s, &keys[offset / LANES * head_dim..][..KV_TILE / LANES * head_dim]);
            prefetch(s, &values[offset * vectors..][..KV_TILE * vectors]);
        }
        let mut scores = [[0.0; KV_TILE]; R];
        if S::TILE >= 12 {
            score::<S, R, 2>(s, q, keys, 0, &mut scores);
        } else {
            score::<S, R, 1>(s, q, keys, 0, &mut scores);
            score::<S, R, 1>(s, q, keys, 1, &mut scores);
        }
        let factors = weigh::<S, R>(s, start, limits, &mut scores, &mut m, &mut l);
        let mut vector = 0;
        while S::TILE >= 12 && vector + 2 <= vectors {
            add_values::<S, R, 2>(s, &scores, values, vectors, vector, &factors, o);
            vector += 2;
        }
        while vector < vectors {
            add_values::<S, R, 1>(s, &scores, values, vectors, vector, &factors, o);
            vector += 1;
        }
        start += KV_TILE;
    }
    let mut states = [EMPTY; R];
    for r in 0..R {
        states[r] = State { m: m[r], l: s.sum(l[r]) };
    }
    states
}

/// Asks for all of the lines.
#[inline(always)]
fn prefetch<S: Simd>(s: S, vectors: &[[u16; LANES]]) {
    // Two vectors of f16 are a line.
    for line in vectors.chunks(2) {
        s.prefetch(&line[0], 0);
    }
}

/// Scores of V vectors of positions, from the `first`-th on:
///
/// ```text
/// scores[r][16 v + lane] = sum_d q[d][r] * keys[v][d][lane]
/// ```
#[inline(always)]
fn score<S: Simd, const R: usize, const V: usize>(
    s: S,
    q: &[[f32; R]],
    keys: &[[u16; LANES]],
    first: usize,
    scores: &mut [[f32; KV_TILE]; R],
) {
    let mut acc = [[s.splat(0.0); V]; R];
    let head_dim = q.len();
    let keys = &keys[first * head_dim..][..V * head_dim];
    for (d, q) in q.iter().enumerate() {
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
        let vectors = scores[r].as_chunks_mut::<LANES>().0;
        for v in 0..V {
            s.store(acc[r][v], &mut vectors[first + v]);
        }
    }
}

/// Turns scores of the positions from `start` on into weights, and brings m and l up to date. Returns what the values
/// so far must be multiplied with, `[R]`.
#[inline(always)]
fn weigh<S: Simd, const R: usize>(
    s: S,
    start: usize,
    limits: &[usize; R],
    scores: &mut [[f32; KV_TILE]; R],
    m: &mut [f32; LANES],
    l: &mut [S::F; R],
) -> [f32; LANES] {
    let unseen = s.splat(f32::NEG_INFINITY);
    let before = *m;
    let mut shifts = [0.0; LANES];
    for r in 0..R {
        let seen = limits[r].saturating_sub(start);
        let vectors = scores[r].as_chunks_mut::<LANES>().0;
        let mut low = s.load(&vectors[0]);
        let mut high = s.load(&vectors[1]);
        if seen < KV_TILE {
            low = s.first(seen, low, unseen);
            high = s.first(seen.saturating_sub(LANES), high, unseen);
            s.store(low, &mut vectors[0]);
            s.store(high, &mut vectors[1]);
        }
        let largest = s.largest(s.max(low, high));
        m[r] = if largest > m[r] { largest } else { m[r] };
        // Where nothing is seen yet, 2^(-inf - 0) is 0 as it should be.
        shifts[r] = if m[r] == f32::NEG_INFINITY { 0.0 } else { m[r] };
    }
    let mut factors = [0.0; LANES];
    s.store(exp2(s, s.sub(s.load(&before), s.load(&shifts))), &mut factors);
    for r in 0..R {
        let vectors = scores[r].as_chunks_mut::<LANES>().0;
        let shift = s.splat(shifts[r]);
        let low = exp2(s, s.sub(s.load(&vectors[0]), shift));
        let high = exp2(s, s.sub(s.load(&vectors[1]), shift));
        s.store(low, &mut vectors[0]);
        s.store(high, &mut vectors[1]);
        l[r] = s.fma(l[r], s.splat(factors[r]), s.add(low, high));
    }
    factors
}

/// `o[r] = o[r] * factors[r] + sum_j weights[r][j] * values[j]`, for V vectors of dimensions from the `first`-th on.
#[inline(always)]
fn add_values<S: Simd, const R: usize, const V: usize>(
    s: S,
    weights: &[[f32; KV_TILE]; R],
    values: &[[u16; LANES]],
    vectors: usize,
    first: usize,
    factors: &[f32; LANES],
    o: &mut [f32],
) {
    let (o, _) = o.as_chunks_mut::<LANES>();
    let mut acc = [[s.splat(0.0); V]; R];
    for r in 0..R {
        for v in 0..V {
            acc[r][v] = s.mul(s.load(&o[r * vectors + first + v]), s.splat(factors[r]));
        }
    }
    for (j, value) in values.chunks_exact(vectors).take(KV_TILE).enumerate() {
        let mut x = [s.splat(0.0); V];
        for v in 0..V {
            x[v] = s.load_f16(&value[first + v]);
        }
        for r in 0..R {
            let weight = s.splat(weights[r][j]);
            for v in 0..V {
                acc[r][v] = s.fma(weight, x[v], acc[r][v]);
            }
        }
    }
    for r in 0..R {
        for v in 0..V {
            s.store(acc[r][v], &mut o[r * vectors + first + v]);
        }
    }
}
