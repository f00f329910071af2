//! Products of activation rows with packed matrices: one algorithm for one row and for hundreds.
//!
//! ```text
//! for each tile of activation rows c, panel of 16 weight rows r:
//!     acc[c][r] = 0
//!     for each block b of 32 columns, group g of the block:
//!         dots[c][r] = -zero_point * sum(x codes of g)  +  sum over g of code[r] * x code[c]        (exact, int32;
//!                      for the high plane of x, then, if there are two, 256 times that and the same for the low plane)
//!         low[c][r] += low dots[c][r] * (scale[r][g] / 256 * x scale[c][b])      (mixed rows, where the block is fine)
//!         acc[c][r] += dots[c][r] * (scale[r][g] * x scale[c][b])                                   (f32)
//!         acc[c][r] += min[r][g] * (x scale[c][b] * sum(x codes of g))
//!     out[c][r] = (acc[c][r] + low[c][r]) * multiplier[r]
//! ```
//!
//! Every lane sees the same operations in the same order whatever the tile's width, so that a row's bits don't
//! depend on its neighbours, on the chunks or on the threads. A tile's width is chosen so that its accumulators stay
//! in registers; each line of weights is decoded once for all rows of the tile. Which rows are fine changes from block to
//! block, so that their low sums stand in memory, where an index may choose.

use std::ops::Range;

use crate::activations::{Activations, CodeTile, Precision, Tile};
use crate::isa::Isa;
use crate::memory::{Disjoint, give_words, take_words};
use crate::packed::{CodeWidth, Codes, PackedMatrix, Weights};
use crate::pool::Pool;
use crate::simd::{BLOCK, Kernel, LANES, Line, NONLINEAR, Simd, block_lines};

/// `out[i][r] = sum_c x[i][c] * w[r][c]`; `out` is `[x.rows(), w.rows()]`.
///
/// # Panics
/// When shapes don't fit, or `x` wasn't prepared for this instruction set and matrix.
pub fn matmul(isa: Isa, pool: &Pool, w: &PackedMatrix, x: &Activations, out: &mut [f32]) {
    matmul_many(isa, pool, x, &mut [(w, out)]);
}

/// Several products of the same input, in one parallel region.
///
/// # Panics
/// As [`matmul`].
pub fn matmul_many(isa: Isa, pool: &Pool, x: &Activations, jobs: &mut [(&PackedMatrix, &mut [f32])]) {
    const JOBS_MAX: usize = 4;
    for jobs in jobs.chunks_mut(JOBS_MAX) {
        let mut plans: [Option<Job<'_>>; JOBS_MAX] = [const { None }; JOBS_MAX];
        let panels_all: usize = jobs.iter().map(|(w, _)| w.panels()).sum();
        let mut tasks = 0;
        for ((w, out), plan) in jobs.iter_mut().zip(&mut plans) {
            let job = Job::new(isa, pool, w, x, out, panels_all);
            tasks += job.tasks();
            *plan = Some(job);
        }
        pool.run(tasks, &|mut task| {
            for job in plans.iter().flatten() {
                if task < job.tasks() {
                    return job.run(isa, task);
                }
                task -= job.tasks();
            }
        });
    }
}

/// One product and how it is cut into tasks: rectangles of panels by tiles.
struct Job<'a> {
    w: &'a PackedMatrix,
    x: &'a Activations,
    out: Disjoint<'a, f32>,
    panels_per_task: usize,
    tiles_per_task: usize,
}

/// What a task's weights may take of a core's second-level cache.
const WEIGHT_BYTES: usize = 192 << 10;
/// What a task's activations may take of it.
const ACTIVATION_BYTES: usize = 256 << 10;
/// Tasks for each thread where arithmetic bounds the product, so that a slow thread is relieved.
const TASKS_PER_THREAD: usize = 6;
/// The same where memory bounds it: long runs of weights keep the prefetches of one core from being another's.
const TASKS_PER_THREAD_FEW: usize = 3;
/// Tiles up to which memory is taken for the bound.
const FEW_TILES: usize = 2;
/// Weights of the smallest task worth claiming.
const TASK_BYTES_MIN: usize = 12 << 10;

impl<'a> Job<'a> {
    fn new(
        isa: Isa,
        pool: &Pool,
        w: &'a PackedMatrix,
        x: &'a Activations,
        out: &'a mut [f32],
        panels_all: usize,
    ) -> Self {
        let (n, rows, cols) = (x.rows(), w.rows(), w.cols());
        assert!(n == 0 || x.cols() == cols, "the matrix has {cols} columns, its input {}", x.cols());
        assert_eq!(out.len(), n * rows, "a product of {n} inputs with {rows} rows");
        x.check(isa, w.needs());
        let panel_bytes = w.bytes().div_ceil(w.panels().max(1)).max(1);
        let tiles = x.tiles().len().max(1);
        let wanted =
            pool.threads() * if tiles <= FEW_TILES { TASKS_PER_THREAD_FEW } else { TASKS_PER_THREAD };
        let value_bytes = if matches!(w.weights, Weights::Codes(_)) { 1 } else { size_of::<f32>() };
        let tile_bytes = cols * value_bytes * x.tiles().first().map_or(1, |tile| tile.width) + 1;
        let tiles_per_task = (ACTIVATION_BYTES / tile_bytes).clamp(1, tiles);
        let by_size = (WEIGHT_BYTES / panel_bytes).max(1);
        let by_share = (panels_all * tiles.div_ceil(tiles_per_task)).div_ceil(wanted);
        let smallest = TASK_BYTES_MIN.div_ceil(panel_bytes * tiles_per_task);
        let panels_per_task = if tiles == 1 { by_share } else { by_share.min(by_size) }.max(smallest).max(1);
        Self { w, x, out: Disjoint::new(out), panels_per_task, tiles_per_task }
    }

    fn tasks(&self) -> usize {
        self.w.panels().div_ceil(self.panels_per_task) * self.x.tiles().len().div_ceil(self.tiles_per_task)
    }

    fn run(&self, isa: Isa, task: usize) {
        let across = self.w.panels().div_ceil(self.panels_per_task);
        let (down, across) = (task / across, task % across);
        let first = across * self.panels_per_task;
        let panels = first..self.w.panels().min(first + self.panels_per_task);
        let first = down * self.tiles_per_task;
        for &tile in &self.x.tiles()[first..self.x.tiles().len().min(first + self.tiles_per_task)] {
            self.run_tile(isa, tile, panels.clone());
        }
    }

    fn run_tile(&self, isa: Isa, tile: Tile, panels: Range<usize>) {
        match tile.width {
            1 => self.run_width::<1>(isa, tile, panels),
            2 => self.run_width::<2>(isa, tile, panels),
            3 => self.run_width::<3>(isa, tile, panels),
            4 => self.run_width::<4>(isa, tile, panels),
            6 => self.run_width::<6>(isa, tile, panels),
            8 => self.run_width::<8>(isa, tile, panels),
            12 => self.run_width::<12>(isa, tile, panels),
            other => unreachable!("no kernel takes tiles of width {other}"),
        }
    }

    fn run_width<const C: usize>(&self, isa: Isa, tile: Tile, panels: Range<usize>) {
        match &self.w.weights {
            // Only these groups are packed, see `CodeWidth::groups`.
            Weights::Codes(weights) => match (weights.layout.width, weights.layout.group == BLOCK) {
                (CodeWidth::Four, true) => self.run_codes::<4, 32, C>(isa, weights, tile, panels),
                (CodeWidth::Four, false) => self.run_codes::<4, 16, C>(isa, weights, tile, panels),
                (CodeWidth::NonlinearFour, _) => {
                    self.run_codes::<NONLINEAR, 32, C>(isa, weights, tile, panels);
                }
                (CodeWidth::Five, _) => self.run_codes::<5, 32, C>(isa, weights, tile, panels),
                (CodeWidth::Six, _) => self.run_codes::<6, 16, C>(isa, weights, tile, panels),
                (CodeWidth::Eight, _) => self.run_codes::<8, 32, C>(isa, weights, tile, panels),
            },
            Weights::F32(columns) => self.run_floats::<F32, C>(isa, columns, tile, panels),
            Weights::F16(columns) => self.run_floats::<F16, C>(isa, columns, tile, panels),
            Weights::Bf16(columns) => self.run_floats::<Bf16, C>(isa, columns, tile, panels),
        }
    }

    fn run_codes<const WIDTH: usize, const GROUP: usize, const C: usize>(
        &self,
        isa: Isa,
        weights: &Codes,
        tile: Tile,
        panels: Range<usize>,
    ) {
        match (weights.layout.has_min, self.x.precision()) {
            (false, Precision::Eight | Precision::Mixed) => {
                isa.run(CodeRegion::<WIDTH, GROUP, false, 1, C> { job: self, weights, tile, panels });
            }
            (true, Precision::Eight | Precision::Mixed) => {
                isa.run(CodeRegion::<WIDTH, GROUP, true, 1, C> { job: self, weights, tile, panels });
            }
            (false, Precision::Sixteen) => {
                isa.run(CodeRegion::<WIDTH, GROUP, false, 2, C> { job: self, weights, tile, panels });
            }
            (true, Precision::Sixteen) => {
                isa.run(CodeRegion::<WIDTH, GROUP, true, 2, C> { job: self, weights, tile, panels });
            }
        }
    }

    fn run_floats<T: FloatColumn, const C: usize>(
        &self,
        isa: Isa,
        columns: &[[T::Stored; LANES]],
        tile: Tile,
        panels: Range<usize>,
    ) {
        isa.run(FloatRegion::<T, C> { job: self, columns, tile, panels });
    }

    /// Writes a finished panel of a tile.
    #[inline(always)]
    fn write<S: Simd, const C: usize>(&self, s: S, tile: Tile, panel: usize, results: &[S::F; C]) {
        let rows = self.w.rows();
        let lanes = LANES.min(rows - panel * LANES);
        for c in 0..C {
            if c < tile.rows {
                #[expect(unsafe_code, reason = "tasks write disjoint parts")]
                // SAFETY: each pair of a tile and a panel is computed by one task.
                let out = unsafe { self.out.part((tile.first + c) * rows + panel * LANES, lanes) };
                if let Ok(out) = <&mut [f32; LANES]>::try_from(&mut *out) {
                    s.store(results[c], out);
                } else {
                    crate::simd::store_part(s, results[c], out);
                }
            }
        }
    }
}

/// Some panels of an integer matrix with one tile of one plane, and a second where a block is fine, or of two.
struct CodeRegion<
    'a,
    const WIDTH: usize,
    const GROUP: usize,
    const MIN: bool,
    const PLANES: usize,
    const C: usize,
> {
    job: &'a Job<'a>,
    weights: &'a Codes,
    tile: Tile,
    panels: Range<usize>,
}

/// How far ahead of the running load weights are asked for. Measured: 4 KiB are too few for memory, and with 16 KiB
/// too much is asked for beyond a task's end, which another core then wants.
const PREFETCH_BYTES: usize = 8 << 10;
/// The same for scales, of which there are fewer.
const PREFETCH_SCALE_BYTES: usize = 1 << 10;

impl<const WIDTH: usize, const GROUP: usize, const MIN: bool, const PLANES: usize, const C: usize> Kernel
    for CodeRegion<'_, WIDTH, GROUP, MIN, PLANES, C>
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(C <= S::TILE);
        let x = self.job.x.codes::<C>(self.tile, GROUP);
        let blocks = x.high_words.len();
        let block_scales = BLOCK / GROUP * if MIN { 2 } else { 1 };
        let zero_point = i32::from(self.weights.layout.zero_point) - bias::<S, WIDTH>();
        let sums = if has_zero_point::<S, WIDTH, MIN>() { x.negative_sums.as_flattened() } else { &[] };
        let mut space = take_words(sums.len().div_ceil(4));
        let offsets = space.as_flattened_mut().as_chunks_mut::<2>().0;
        for (offsets, sums) in offsets.iter_mut().zip(sums) {
            *offsets = [zero_point * sums[0], zero_point * sums[1]];
        }
        let offsets: &[[[i32; 2]; C]] = offsets.as_chunks().0;
        for panel in self.panels {
            let lines = &self.weights.lines[panel * blocks * block_lines::<WIDTH>()..];
            let lines = &lines[..blocks * block_lines::<WIDTH>()];
            let scales = &self.weights.scales[panel * blocks * block_scales..][..blocks * block_scales];
            let mut acc = [s.splat(0.0); C];
            let mut low = LowSums([[0.0; LANES]; C]);
            for block in 0..blocks {
                let lines = &lines[block * block_lines::<WIDTH>()..][..block_lines::<WIDTH>()];
                let scales = &scales[block * block_scales..][..block_scales];
                for line in lines {
                    s.prefetch(line, PREFETCH_BYTES);
                }
                s.prefetch(&scales[0], PREFETCH_SCALE_BYTES);
                block_step::<S, WIDTH, GROUP, MIN, PLANES, C>(
                    s, lines, scales, &x, block, offsets, &mut acc, &mut low,
                );
            }
            if PLANES == 1 && !x.fine.is_empty() {
                for c in 0..C {
                    acc[c] = s.add(acc[c], s.load(&low.0[c]));
                }
            }
            let multipliers = s.load(&self.weights.multipliers[panel]);
            for c in 0..C {
                acc[c] = s.mul(acc[c], multipliers);
            }
            self.job.write(s, self.tile, panel, &acc);
        }
        give_words(space);
    }
}

/// What codes are taken less when they are multiplied.
const fn bias<S: Simd, const WIDTH: usize>() -> i32 {
    if WIDTH >= 8 { S::EIGHT_BIAS } else { 0 }
}

/// Whether codes as they are multiplied have a zero point. Beside mins the weights have none.
const fn has_zero_point<S: Simd, const WIDTH: usize, const MIN: bool>() -> bool {
    !MIN || bias::<S, WIDTH>() != 0
}

/// The sums of the low planes of a tile's mixed rows with a panel.
#[repr(align(64))]
struct LowSums<const C: usize>([[f32; LANES]; C]);

/// Adds one block of 32 columns to the accumulators.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "the loop's state, which is to stay in registers")]
fn block_step<
    S: Simd,
    const WIDTH: usize,
    const GROUP: usize,
    const MIN: bool,
    const PLANES: usize,
    const C: usize,
>(
    s: S,
    lines: &[Line],
    scales: &[[u16; LANES]],
    x: &CodeTile<'_, C>,
    block: usize,
    offsets: &[[[i32; 2]; C]],
    acc: &mut [S::F; C],
    low: &mut LowSums<C>,
) {
    for g in 0..BLOCK / GROUP {
        let group = block * (BLOCK / GROUP) + g;
        let group_lines = block_lines::<WIDTH>() * GROUP / BLOCK;
        let lines = &lines[g * group_lines..][..group_lines];
        let mut space = [Line([0; 64]); BLOCK / 4];
        let bytes = s.decode::<WIDTH>(lines, &mut space);
        let part = Part {
            lines,
            bytes,
            first_word: g * GROUP / 4,
            block,
            high_words: &x.high_words[block],
            x_scales: &x.scales[block],
            offsets: if has_zero_point::<S, WIDTH, MIN>() { Some(&offsets[group]) } else { None },
            scale: s.load_f16(&scales[if MIN { 2 * g } else { g }]),
        };
        if PLANES == 1 {
            let fine = x.fine.get(block).copied().unwrap_or(0);
            if fine != 0 {
                part.add_low::<WIDTH>(s, x, fine, low);
            }
        }
        macro_rules! add_rows {
            ($count:literal from $($first:literal)+) => {{
                $(part.add::<WIDTH, PLANES, $first, $count>(s, x, acc);)+
            }};
        }
        // With the codes of all words in registers there is room for the sums of a few rows at a time.
        match (bytes.is_some(), C) {
            (true, 6) => add_rows!(3 from 0 3),
            (true, 8) => add_rows!(4 from 0 4),
            (true, 12) => add_rows!(4 from 0 4 8),
            _ => part.add::<WIDTH, PLANES, 0, C>(s, x, acc),
        }
        if MIN {
            let min = s.load_f16(&scales[2 * g + 1]);
            for c in 0..C {
                acc[c] = s.fma(min, s.splat(x.scaled_sums[group][c]), acc[c]);
            }
        }
    }
}

/// A group of columns of a panel.
struct Part<'a, S: Simd, const C: usize> {
    lines: &'a [Line],
    /// The same codes as lines of 8 bits, where that is worth it.
    bytes: Option<&'a [Line]>,
    first_word: usize,
    block: usize,
    /// Of the block, as in [`CodeTile`].
    high_words: &'a [[i32; 8]; C],
    x_scales: &'a [f32; C],
    /// Of the group: minus the zero point times the sums of the codes of both planes. Whether there is one is known when
    /// this is compiled.
    offsets: Option<&'a [[i32; 2]; C]>,
    scale: S::F,
}

impl<S: Simd, const C: usize> Part<'_, S, C> {
    /// Adds rows `FIRST..FIRST + N`: their high planes, or both planes of each.
    #[inline(always)]
    fn add<const WIDTH: usize, const PLANES: usize, const FIRST: usize, const N: usize>(
        &self,
        s: S,
        x: &CodeTile<'_, C>,
        acc: &mut [S::F; C],
    ) {
        let mut dots = [s.zero_i(); N];
        let mut low_dots = [s.zero_i(); N];
        if let Some(offsets) = self.offsets {
            for n in 0..N {
                let [high, low] = offsets[FIRST + n];
                dots[n] = s.splat_i(high);
                low_dots[n] = s.splat_i(low);
            }
        }
        // Integers, so that the order is free.
        let high_words = rows_of::<C, FIRST, N>(self.high_words);
        if PLANES == 1 {
            self.dots::<WIDTH, N>(s, high_words, &mut dots);
        } else {
            let low_words = rows_of::<C, FIRST, N>(&x.low_words[self.block]);
            if N <= S::TILE_OF_PLANES {
                match self.bytes {
                    Some(bytes) => s.dots_of_planes::<8, N>(
                        bytes,
                        [high_words, low_words],
                        self.first_word,
                        [&mut dots, &mut low_dots],
                    ),
                    None => s.dots_of_planes::<WIDTH, N>(
                        self.lines,
                        [high_words, low_words],
                        self.first_word,
                        [&mut dots, &mut low_dots],
                    ),
                }
                for n in 0..N {
                    dots[n] = s.join_planes(dots[n], low_dots[n]);
                }
            } else {
                self.dots::<WIDTH, N>(s, high_words, &mut dots);
                for n in 0..N {
                    dots[n] = s.join_planes(dots[n], low_dots[n]);
                }
                self.dots::<WIDTH, N>(s, low_words, &mut dots);
            }
        }
        for n in 0..N {
            let both = s.mul(self.scale, s.splat(self.x_scales[FIRST + n]));
            acc[FIRST + n] = s.fma(s.to_f32(dots[n]), both, acc[FIRST + n]);
        }
    }

    /// Adds the low planes of the mixed rows whose bit in `fine` is set.
    #[inline(always)]
    fn add_low<const WIDTH: usize>(&self, s: S, x: &CodeTile<'_, C>, mut fine: u16, low: &mut LowSums<C>) {
        let scale = s.mul(self.scale, s.splat(1.0 / 256.0));
        while fine != 0 {
            let c = fine.trailing_zeros() as usize;
            fine &= fine - 1;
            let mut dots = [self.offsets.map_or(s.zero_i(), |offsets| s.splat_i(offsets[c][1]))];
            self.dots::<WIDTH, 1>(s, std::array::from_ref(&x.low_words[self.block][c]), &mut dots);
            let both = s.mul(scale, s.splat(self.x_scales[c]));
            s.store(s.fma(s.to_f32(dots[0]), both, s.load(&low.0[c])), &mut low.0[c]);
        }
    }

    #[inline(always)]
    fn dots<const WIDTH: usize, const N: usize>(&self, s: S, words: &[[i32; 8]; N], dots: &mut [S::I; N]) {
        match self.bytes {
            Some(bytes) => s.dots::<8, N>(bytes, words, self.first_word, dots),
            None => s.dots::<WIDTH, N>(self.lines, words, self.first_word, dots),
        }
    }
}

/// Rows `FIRST..FIRST + N` of a tile's.
#[inline(always)]
fn rows_of<const C: usize, const FIRST: usize, const N: usize>(words: &[[i32; 8]; C]) -> &[[i32; 8]; N] {
    words[FIRST..].first_chunk().expect("FIRST + N is at most C")
}

/// How a float matrix stores its numbers.
trait FloatColumn {
    type Stored: Copy;
    fn load<S: Simd>(s: S, column: &[Self::Stored; LANES]) -> S::F;
}

struct F32;
struct F16;
struct Bf16;

impl FloatColumn for F32 {
    type Stored = f32;
    #[inline(always)]
    fn load<S: Simd>(s: S, column: &[f32; LANES]) -> S::F {
        s.load(column)
    }
}

impl FloatColumn for F16 {
    type Stored = u16;
    #[inline(always)]
    fn load<S: Simd>(s: S, column: &[u16; LANES]) -> S::F {
        s.load_f16(column)
    }
}

impl FloatColumn for Bf16 {
    type Stored = u16;
    #[inline(always)]
    fn load<S: Simd>(s: S, column: &[u16; LANES]) -> S::F {
        s.load_bf16(column)
    }
}

/// Some panels of a float matrix with one tile:
///
/// ```text
/// even[c][r] = sum over even columns of x[c] * w[r];  odd likewise;  out[c][r] = even[c][r] + odd[c][r]
/// ```
struct FloatRegion<'a, T: FloatColumn, const C: usize> {
    job: &'a Job<'a>,
    columns: &'a [[T::Stored; LANES]],
    tile: Tile,
    panels: Range<usize>,
}

impl<T: FloatColumn, const C: usize> Kernel for FloatRegion<'_, T, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        assert!(C <= S::TILE);
        let x = self.job.x.floats::<C>(self.tile);
        for panel in self.panels {
            let columns = &self.columns[panel * x.len()..][..x.len()];
            let mut even = [s.splat(0.0); C];
            let mut odd = [s.splat(0.0); C];
            let (pairs, last) = columns.as_chunks::<2>();
            let (x_pairs, x_last) = x.as_chunks::<2>();
            for (pair, x) in pairs.iter().zip(x_pairs) {
                s.prefetch(&pair[0], PREFETCH_BYTES);
                let w = T::load(s, &pair[0]);
                for c in 0..C {
                    even[c] = s.fma(w, s.splat(x[0][c]), even[c]);
                }
                let w = T::load(s, &pair[1]);
                for c in 0..C {
                    odd[c] = s.fma(w, s.splat(x[1][c]), odd[c]);
                }
            }
            if let (Some(w), Some(x)) = (last.first(), x_last.first()) {
                let w = T::load(s, w);
                for c in 0..C {
                    even[c] = s.fma(w, s.splat(x[c]), even[c]);
                }
            }
            for c in 0..C {
                even[c] = s.add(even[c], odd[c]);
            }
            self.job.write(s, self.tile, panel, &even);
        }
    }
}
