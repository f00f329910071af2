//! The inputs of matrix products, quantised once and shared by all matrices that read them.
//!
//! Each row is cut into blocks of 32 columns, each with its own scale:
//!
//! ```text
//! step = max |x| / 127;   high = round(x / step), int8
//! x ~ scale * high,   scale = step
//! ```
//!
//! That moves the logits of a small model by a mean KL divergence of 3e-3 from the f32 forward, and the perplexity of a
//! text by less than half a percent (`golden/README.md`). With [`Precision::Sixteen`] there is a second plane:
//!
//! ```text
//! low = round(256 * (x / step - high)), int8
//! x ~ scale * (256 * high + low),   scale = step / 256
//! ```
//!
//! Two planes of int8 stand for what one of 16 bits would, within 1/65,000 of a block's largest magnitude: logits are
//! those of the f32 forward but for the last digits. Weights are loaded once for both, so that decoding, which memory
//! bounds, doesn't pay for it. Prefill, which arithmetic bounds, does.
//!
//! With [`Precision::Mixed`] only the blocks have a second plane whose step is coarse beside the row, because one number
//! in them is far larger than the others (as `LLM.int8()` keeps outliers apart, Dettmers et al. 2022):
//!
//! ```text
//! fine = max |x of the block| > 5 * sqrt(mean of x^2 over the row);   x ~ step * high + step / 256 * low where fine
//! ```
//!
//! Of normal numbers hardly a block is; of those within a model one in ten, which carry most of the error. Which blocks
//! are fine is a matter of the row alone, and a plane of zeros adds nothing to a product, so that a row's bits don't
//! depend on its neighbours here either.
//!
//! A block whose largest magnitude is below 1e-30 counts as zero. A block with an infinity or NaN gets an infinite
//! or NaN scale, so that every product of it is infinite or NaN.
//!
//! Rows stand in tiles of as many as a kernel's registers hold: within a tile of width W, the numbers that one step
//! of the kernel needs are neighbours. Shapes, for each tile: codes of each plane `[block][W][32]`, scales, negative
//! sums of both planes and scaled sums `[block][W]`, the sums of half blocks `[block][2][W]`, which rows are fine `[block]`,
//! floats `[col][W]`.

use std::ops::{BitOr, Range};

use crate::isa::Isa;
use crate::memory::{Disjoint, give_scratch, take_scratch};
use crate::ops::rows::{NormRow, PlainRow, RowMaker, SiluRow, sum_of_squares};
use crate::pool::Pool;
use crate::simd::{BLOCK, Kernel, LANES, Simd};

/// Magnitudes below this are zero: their reciprocal would overflow.
const TINY: f32 = 1e-30;

/// Numbers below which rounding them isn't worth a second thread.
const SHARED_VALUES_MIN: usize = 8 << 10;
/// Columns that are rounded side by side.
const PIECE: usize = LANES * BLOCK;

/// How many times the root mean square of its row the largest number of a mixed block may be without a second plane.
/// With 5 the mean divergence of SmolLM2-135M is a fifth of that of 8 bits, and a product takes a seventh longer.
const FINE_FROM: f32 = 5.0;

/// To how many bits the inputs of integer products are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// One plane: twice as fast as two where arithmetic bounds a product.
    Eight,
    /// Two planes where a block has an outlier, else one.
    #[default]
    Mixed,
    /// Two planes.
    Sixteen,
}

impl Precision {
    /// All of them, the coarsest first.
    pub const ALL: [Self; 3] = [Self::Eight, Self::Mixed, Self::Sixteen];

    /// What settings call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Eight => "8-bit",
            Self::Mixed => "mixed",
            Self::Sixteen => "16-bit",
        }
    }

    /// The one that settings call so.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.name() == name)
    }
}

/// What the matrices of a product want of their input. Combine with `|`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    codes: bool,
    half_sums: bool,
    floats: bool,
}

impl Needs {
    /// Everything that any matrix could want.
    pub const ALL: Self = Self { codes: true, half_sums: true, floats: true };
    /// For float matrices.
    pub(crate) const FLOATS: Self = Self { codes: false, half_sums: false, floats: true };

    /// For integer matrices with a scale for each `group` columns.
    pub(crate) fn codes(group: usize) -> Self {
        Self { codes: true, half_sums: group < BLOCK, floats: false }
    }

    fn covers(self, other: Self) -> bool {
        self | other == self
    }
}

impl BitOr for Needs {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self {
            codes: self.codes | other.codes,
            half_sums: self.half_sums | other.half_sums,
            floats: self.floats | other.floats,
        }
    }
}

/// Neighbouring rows that a kernel takes together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// The first of its rows.
    pub(crate) first: usize,
    /// How many rows it has.
    pub(crate) rows: usize,
    /// How many it has room for: the kernel's width. What is beyond `rows` is computed in vain.
    pub(crate) width: usize,
    /// The widths of the tiles before, added up.
    start: usize,
    /// How many tiles there are before.
    index: usize,
}

/// Rows of inputs, ready for products with packed matrices. Keep it and reuse it: its buffers only grow.
#[derive(Debug, Default)]
pub struct Activations {
    rows: usize,
    cols: usize,
    isa: Option<Isa>,
    has: Option<Needs>,
    precision: Precision,
    tiles: Vec<Tile>,
    high_words: Vec<[i32; 8]>,
    low_words: Vec<[i32; 8]>,
    scales: Vec<f32>,
    negative_sums: Vec<[i32; 2]>,
    scaled_sums: Vec<f32>,
    fine: Vec<u16>,
    negative_half_sums: Vec<[i32; 2]>,
    scaled_half_sums: Vec<f32>,
    floats: Vec<f32>,
}

/// The integer form of a tile, of width C.
#[derive(Clone, Copy)]
pub(crate) struct CodeTile<'a, const C: usize> {
    /// `[blocks]`: the high plane, 32 int8 as 8 words, of each row.
    pub(crate) high_words: &'a [[[i32; 8]; C]],
    /// `[blocks]`: the low plane likewise; empty if no row has one.
    pub(crate) low_words: &'a [[[i32; 8]; C]],
    /// `[blocks]`.
    pub(crate) scales: &'a [[f32; C]],
    /// `[groups]`: minus the sums of the codes of the high and of the low plane.
    pub(crate) negative_sums: &'a [[[i32; 2]; C]],
    /// `[groups]`: scale times the sum of the joined codes.
    pub(crate) scaled_sums: &'a [[f32; C]],
    /// `[blocks]`: which mixed rows have a low plane there, row c as bit c; empty if rows aren't mixed.
    pub(crate) fine: &'a [u16],
}

impl Activations {
    /// Empty: no rows. Those to come are rounded as [`Precision::default`] says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty: no rows. Those to come are rounded as `precision` says.
    pub fn with_precision(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    /// How rows are rounded.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Rows that it holds.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of each row.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Takes `x`, `[n, cols]`, for products with any matrix.
    pub fn quantize(&mut self, isa: Isa, pool: &Pool, x: &[f32], cols: usize) {
        self.prepare(isa, pool, x, cols, Needs::ALL);
    }

    /// Takes `x`, `[n, cols]`, for products with matrices that want no more than `needs`.
    ///
    /// # Panics
    /// When `x` isn't a whole number of rows.
    pub fn prepare(&mut self, isa: Isa, pool: &Pool, x: &[f32], cols: usize, needs: Needs) {
        self.fill(isa, pool, count_rows(x, cols), cols, needs, &PlainRow { x, cols });
    }

    /// As [`crate::ops::rms_norm`] of `x`, `[n, weight.len()]`, followed by [`Self::prepare`].
    ///
    /// # Panics
    /// When `x` isn't a whole number of rows.
    pub fn prepare_rms_norm(
        &mut self,
        isa: Isa,
        pool: &Pool,
        x: &[f32],
        weight: &[f32],
        eps: f32,
        needs: Needs,
    ) {
        let cols = weight.len();
        self.fill(isa, pool, count_rows(x, cols), cols, needs, &NormRow { x, weight, eps });
    }

    /// As [`crate::ops::silu_mul`] of `gate` and `up`, `[n, cols]`, followed by [`Self::prepare`].
    ///
    /// # Panics
    /// When `gate` isn't a whole number of rows or `up` isn't as long.
    pub fn prepare_silu_mul(
        &mut self,
        isa: Isa,
        pool: &Pool,
        gate: &[f32],
        up: &[f32],
        cols: usize,
        needs: Needs,
    ) {
        assert_eq!(gate.len(), up.len(), "gate and up must be of one length");
        self.fill(isa, pool, count_rows(gate, cols), cols, needs, &SiluRow { gate, up, cols });
    }

    fn fill<R: RowMaker>(
        &mut self,
        isa: Isa,
        pool: &Pool,
        rows: usize,
        cols: usize,
        needs: Needs,
        maker: &R,
    ) {
        self.shape(isa, rows, cols, needs);
        let parts = Parts {
            cols,
            needs,
            precision: self.precision,
            high_words: Disjoint::new(&mut self.high_words),
            low_words: Disjoint::new(&mut self.low_words),
            scales: Disjoint::new(&mut self.scales),
            negative_sums: Disjoint::new(&mut self.negative_sums),
            scaled_sums: Disjoint::new(&mut self.scaled_sums),
            fine: Disjoint::new(&mut self.fine),
            negative_half_sums: Disjoint::new(&mut self.negative_half_sums),
            scaled_half_sums: Disjoint::new(&mut self.scaled_half_sums),
            floats: Disjoint::new(&mut self.floats),
        };
        let tiles = &self.tiles;
        if tiles.len() >= pool.threads() || rows * cols < SHARED_VALUES_MIN {
            pool.run(tiles.len(), &|task| isa.run(FillTile { parts: &parts, tile: tiles[task], maker }));
            return;
        }
        // Fewer tiles than threads: rows are made by all of these, and then columns rounded by all of them. Columns, since
        // what belongs to neighbouring rows lies in the same cache lines.
        let mut made = take_scratch(rows * (cols + 1));
        let (values, coarse_up_to) = made.split_at_mut(rows * cols);
        let (shared_values, shared_limits) = (Disjoint::new(values), Disjoint::new(coarse_up_to));
        pool.run(rows, &|row| {
            #[expect(unsafe_code, reason = "tasks write disjoint parts")]
            // SAFETY: each row is made by one task.
            let (out, limit) =
                unsafe { (shared_values.part(row * cols, cols), &mut shared_limits.part(row, 1)[0]) };
            isa.run(MakeRow { maker, row, precision: parts.precision, out, limit });
        });
        let pieces = cols.div_ceil(PIECE);
        let of_task = pieces.div_ceil(pool.threads().div_ceil(tiles.len()));
        let tasks = pieces.div_ceil(of_task);
        pool.run(tiles.len() * tasks, &|task| {
            let first = task % tasks * of_task * PIECE;
            let columns = first..cols.min(first + of_task * PIECE);
            let tile = tiles[task / tasks];
            isa.run(KeepColumns { parts: &parts, tile, columns, values, coarse_up_to });
        });
        give_scratch(made);
    }

    /// Lays out the tiles and makes the buffers large enough.
    fn shape(&mut self, isa: Isa, rows: usize, cols: usize, needs: Needs) {
        self.tiles.clear();
        let (mut first, mut start) = (0, 0);
        while first < rows {
            let width = tile_width(rows - first, widest(isa));
            let tile = Tile { first, rows: width.min(rows - first), width, start, index: self.tiles.len() };
            self.tiles.push(tile);
            first += tile.rows;
            start += width;
        }
        (self.rows, self.cols, self.isa, self.has) = (rows, cols, Some(isa), Some(needs));
        let blocks = start * cols.div_ceil(BLOCK);
        let of = |wanted: bool, len: usize| if wanted { len } else { 0 };
        self.high_words.resize(of(needs.codes, blocks), [0; 8]);
        self.low_words.resize(of(needs.codes && self.precision != Precision::Eight, blocks), [0; 8]);
        self.fine.clear();
        let mixed = needs.codes && self.precision == Precision::Mixed;
        self.fine.resize(of(mixed, self.tiles.len() * cols.div_ceil(BLOCK)), 0);
        self.scales.resize(of(needs.codes, blocks), 0.0);
        self.negative_sums.resize(of(needs.codes, blocks), [0; 2]);
        self.scaled_sums.resize(of(needs.codes, blocks), 0.0);
        self.negative_half_sums.resize(of(needs.half_sums, 2 * blocks), [0; 2]);
        self.scaled_half_sums.resize(of(needs.half_sums, 2 * blocks), 0.0);
        self.floats.resize(of(needs.floats, start * cols), 0.0);
    }

    /// Fails unless prepared for this instruction set and with what `needs` says.
    pub(crate) fn check(&self, isa: Isa, needs: Needs) {
        assert_eq!(
            self.isa,
            Some(isa),
            "activations must be prepared for the instruction set of the product"
        );
        let has = self.has.expect("set together with isa");
        assert!(
            has.covers(needs),
            "the matrix needs {needs:?} of its input, which was prepared with {has:?}"
        );
    }

    pub(crate) fn tiles(&self) -> &[Tile] {
        &self.tiles
    }

    /// The integer form of a tile of width C, with the sums of groups of `group`.
    pub(crate) fn codes<const C: usize>(&self, tile: Tile, group: usize) -> CodeTile<'_, C> {
        assert_eq!(tile.width, C);
        let blocks = tile.range(self.cols.div_ceil(BLOCK));
        let (sums, scaled) = if group == BLOCK {
            (&self.negative_sums[blocks.clone()], &self.scaled_sums[blocks.clone()])
        } else {
            let halves = 2 * blocks.start..2 * blocks.end;
            (&self.negative_half_sums[halves.clone()], &self.scaled_half_sums[halves])
        };
        CodeTile {
            high_words: self.high_words[blocks.clone()].as_chunks().0,
            low_words: self.low_words.get(blocks.clone()).unwrap_or_default().as_chunks().0,
            fine: self.fine.get(tile.blocks(self.cols)).unwrap_or_default(),
            scales: self.scales[blocks].as_chunks().0,
            negative_sums: sums.as_chunks().0,
            scaled_sums: scaled.as_chunks().0,
        }
    }

    /// The floats of a tile of width C, `[cols]` of C.
    pub(crate) fn floats<const C: usize>(&self, tile: Tile) -> &[[f32; C]] {
        assert_eq!(tile.width, C);
        self.floats[tile.range(self.cols)].as_chunks().0
    }
}

impl Tile {
    /// Where a tile's part of a buffer with `per_row` values for each row stands.
    fn range(self, per_row: usize) -> Range<usize> {
        self.start * per_row..(self.start + self.width) * per_row
    }

    /// Where a tile's part of a buffer with a value for each block of `cols` columns stands.
    fn blocks(self, cols: usize) -> Range<usize> {
        let blocks = cols.div_ceil(BLOCK);
        self.index * blocks..(self.index + 1) * blocks
    }
}

fn count_rows(x: &[f32], cols: usize) -> usize {
    if cols == 0 {
        assert!(x.is_empty(), "rows of 0 columns hold nothing, not {} values", x.len());
        return 0;
    }
    assert!(x.len().is_multiple_of(cols), "{} values aren't a whole number of rows of {cols}", x.len());
    x.len() / cols
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

/// The width of the next tile when `left` rows are left: one of 1, 2, 3, 4, 6, 8, 12 and at most `widest`.
fn tile_width(left: usize, widest: usize) -> usize {
    match left {
        5 if widest >= 6 => 6,
        7 if widest >= 8 => 8,
        9 | 10 if widest >= 12 => 6,
        _ => [12, 8, 6, 4, 3, 2, 1].into_iter().find(|&width| width <= left && width <= widest).unwrap_or(1),
    }
}

/// The buffers of [`Activations`] while tasks fill them, each its own part of a tile.
struct Parts<'a> {
    cols: usize,
    needs: Needs,
    precision: Precision,
    high_words: Disjoint<'a, [i32; 8]>,
    low_words: Disjoint<'a, [i32; 8]>,
    scales: Disjoint<'a, f32>,
    negative_sums: Disjoint<'a, [i32; 2]>,
    scaled_sums: Disjoint<'a, f32>,
    fine: Disjoint<'a, u16>,
    negative_half_sums: Disjoint<'a, [i32; 2]>,
    scaled_half_sums: Disjoint<'a, f32>,
    floats: Disjoint<'a, f32>,
}

struct FillTile<'a, R> {
    parts: &'a Parts<'a>,
    tile: Tile,
    maker: &'a R,
}

impl<R: RowMaker> Kernel for FillTile<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (parts, tile) = (self.parts, self.tile);
        let mut scratch = take_scratch(parts.cols);
        for c in 0..tile.rows {
            let row = self.maker.make(s, tile.first + c, &mut scratch);
            let limit = coarse_up_to(s, parts.precision, row);
            keep(s, parts, tile, c, 0, row, limit);
        }
        give_scratch(scratch);
    }
}

/// Makes one row, and says up to which magnitude its blocks are coarse.
struct MakeRow<'a, R> {
    maker: &'a R,
    row: usize,
    precision: Precision,
    out: &'a mut [f32],
    limit: &'a mut f32,
}

impl<R: RowMaker> Kernel for MakeRow<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut scratch = take_scratch(self.out.len());
        self.out.copy_from_slice(self.maker.make(s, self.row, &mut scratch));
        give_scratch(scratch);
        *self.limit = coarse_up_to(s, self.precision, self.out);
    }
}

/// Some columns of a tile whose rows are made.
struct KeepColumns<'a> {
    parts: &'a Parts<'a>,
    tile: Tile,
    columns: Range<usize>,
    /// `[n, cols]`, and for each row what [`coarse_up_to`] gave.
    values: &'a [f32],
    coarse_up_to: &'a [f32],
}

impl Kernel for KeepColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (parts, tile, columns) = (self.parts, self.tile, self.columns);
        for c in 0..tile.rows {
            let row = &self.values[(tile.first + c) * parts.cols..][..parts.cols];
            let limit = self.coarse_up_to[tile.first + c];
            keep(s, parts, tile, c, columns.start, &row[columns.clone()], limit);
        }
    }
}

/// Up to which magnitude blocks of a row have no second plane.
#[inline(always)]
fn coarse_up_to<S: Simd>(s: S, precision: Precision, row: &[f32]) -> f32 {
    match precision {
        Precision::Eight => f32::INFINITY,
        Precision::Mixed => FINE_FROM * root_mean_square(s, row),
        Precision::Sixteen => f32::NEG_INFINITY,
    }
}

/// Keeps columns of row c of a tile, those from `first`, the beginning of a piece, on.
#[inline(always)]
fn keep<S: Simd>(
    s: S,
    parts: &Parts<'_>,
    tile: Tile,
    c: usize,
    first: usize,
    columns: &[f32],
    coarse_up_to: f32,
) {
    if parts.needs.floats {
        let start = tile.start * parts.cols + first * tile.width;
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: tiles have disjoint ranges, as have columns of a tile, and each is kept by one task.
        let floats = unsafe { parts.floats.part(start, tile.width * columns.len()) };
        for (of_column, &x) in floats.chunks_exact_mut(tile.width).zip(columns) {
            of_column[c] = x;
        }
    }
    if parts.needs.codes {
        let mut to = RowPlaces::new(parts, tile, c, first / BLOCK..(first + columns.len()).div_ceil(BLOCK));
        let (blocks, rest) = columns.as_chunks::<BLOCK>();
        for (index, blocks) in blocks.chunks(LANES).enumerate() {
            to.quantize_blocks(s, index * LANES, blocks, coarse_up_to);
        }
        if !rest.is_empty() {
            let mut last = [0.0; BLOCK];
            last[..rest.len()].copy_from_slice(rest);
            to.quantize_blocks(s, blocks.len(), &[last], coarse_up_to);
        }
    }
}

/// Where the parts of some blocks of one row stand: the b-th of these is at `b * width + c`.
struct RowPlaces<'a> {
    precision: Precision,
    width: usize,
    c: usize,
    high_words: &'a mut [[i32; 8]],
    low_words: &'a mut [[i32; 8]],
    scales: &'a mut [f32],
    sums: &'a mut [[i32; 2]],
    scaled: &'a mut [f32],
    /// Of each block, for all rows.
    fine: &'a mut [u16],
    half_sums: &'a mut [[i32; 2]],
    half_scaled: &'a mut [f32],
}

impl<'a> RowPlaces<'a> {
    #[inline(always)]
    fn new(parts: &'a Parts<'_>, tile: Tile, c: usize, blocks: Range<usize>) -> Self {
        let of_row = parts.cols.div_ceil(BLOCK);
        let start = tile.start * of_row + blocks.start * tile.width;
        let len = blocks.len() * tile.width;
        let of = |wanted: bool, factor: usize| if wanted { (factor * start, factor * len) } else { (0, 0) };
        let low = of(parts.precision != Precision::Eight, 1);
        let fine = match parts.precision {
            Precision::Mixed => (tile.index * of_row + blocks.start, blocks.len()),
            Precision::Eight | Precision::Sixteen => (0, 0),
        };
        let halves = of(parts.needs.half_sums, 2);
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: tiles have disjoint ranges, as have blocks of a tile; each is kept by one task, which takes row after row.
        unsafe {
            Self {
                precision: parts.precision,
                width: tile.width,
                c,
                high_words: parts.high_words.part(start, len),
                low_words: parts.low_words.part(low.0, low.1),
                scales: parts.scales.part(start, len),
                sums: parts.negative_sums.part(start, len),
                scaled: parts.scaled_sums.part(start, len),
                fine: parts.fine.part(fine.0, fine.1),
                half_sums: parts.negative_half_sums.part(halves.0, halves.1),
                half_scaled: parts.scaled_half_sums.part(halves.0, halves.1),
            }
        }
    }

    /// Quantises up to 16 blocks, the first of which is the `first` of these; what is done once for each number of a block
    /// is done for all of them at a time. Blocks with a magnitude above `coarse_up_to` get a second plane.
    #[inline(always)]
    fn quantize_blocks<S: Simd>(&mut self, s: S, first: usize, blocks: &[[f32; BLOCK]], coarse_up_to: f32) {
        let (width, c) = (self.width, self.c);
        let mut largest = [0.0_f32; LANES];
        for (largest, [x0, x1]) in largest.iter_mut().zip(blocks.iter().map(halves)) {
            *largest = f32::from_bits(s.largest_magnitude(s.load(x0), s.load(x1)));
        }
        let mut steps = [0.0; LANES];
        let mut factors = [0.0; LANES];
        let mut is_fine = [false; LANES];
        for lane in 0..LANES {
            if largest[lane] < TINY {
                continue;
            }
            steps[lane] = largest[lane] / 127.0;
            factors[lane] = 127.0 / largest[lane];
            // Beside an infinity or NaN no block is fine: what it holds is lost in either case.
            is_fine[lane] = largest[lane] > coarse_up_to;
        }
        if self.precision == Precision::Sixteen {
            is_fine = [true; LANES];
        }
        // Of the high and of the low plane, of both halves of each block.
        let mut high_sums = [[0; LANES]; 2];
        let mut low_sums = [[0; LANES]; 2];
        let rows = first * width..(first + blocks.len()) * width;
        let words = self.high_words[rows.clone()].chunks_exact_mut(width);
        for (lane, ([x0, x1], words)) in blocks.iter().map(halves).zip(words).enumerate().take(LANES) {
            let factor = s.splat(factors[lane]);
            let x = [s.mul(s.load(x0), factor), s.mul(s.load(x1), factor)];
            [high_sums[0][lane], high_sums[1][lane]] = s.quantize_block(x, &mut words[c]);
        }
        let mut units = [1; LANES];
        let mut sum_scales = steps;
        if self.precision != Precision::Eight {
            let words = self.low_words[rows.clone()].chunks_exact_mut(width);
            for (lane, ([x0, x1], words)) in blocks.iter().map(halves).zip(words).enumerate().take(LANES) {
                if !is_fine[lane] {
                    words[c] = [0; 8];
                    continue;
                }
                let factor = s.splat(factors[lane]);
                let rest = |x| {
                    let steps = s.mul(s.load(x), factor);
                    s.mul(s.sub(steps, s.round(steps)), s.splat(256.0))
                };
                [low_sums[0][lane], low_sums[1][lane]] =
                    s.quantize_block([rest(x0), rest(x1)], &mut words[c]);
                (units[lane], sum_scales[lane]) = (256, steps[lane] / 256.0);
            }
        }
        let mut scaled = [0.0; LANES];
        let mut half_scaled = [[0.0; LANES]; 2];
        for lane in 0..LANES {
            let joined = |half: usize| units[lane] * high_sums[half][lane] + low_sums[half][lane];
            scaled[lane] = sum_scales[lane] * (joined(0) + joined(1)) as f32;
            for half in 0..2 {
                half_scaled[half][lane] = sum_scales[lane] * joined(half) as f32;
            }
        }
        let scales = if self.precision == Precision::Sixteen { sum_scales } else { steps };
        let places = self.scales[rows.clone()].chunks_exact_mut(width);
        for (place, scale) in places.zip(scales) {
            place[c] = scale;
        }
        let places = self.scaled[rows.clone()].chunks_exact_mut(width);
        for (place, scaled) in places.zip(scaled) {
            place[c] = scaled;
        }
        for (lane, place) in self.sums[rows.clone()].chunks_exact_mut(width).enumerate().take(LANES) {
            let sum = |sums: &[[i32; LANES]; 2]| -(sums[0][lane] + sums[1][lane]);
            place[c] = [sum(&high_sums), sum(&low_sums)];
        }
        if self.precision == Precision::Mixed {
            for (fine, is_fine) in self.fine[first..].iter_mut().zip(is_fine).take(blocks.len()) {
                *fine |= u16::from(is_fine) << c;
            }
        }
        if !self.half_sums.is_empty() {
            for (lane, half) in (0..blocks.len()).flat_map(|lane| [(lane, 0), (lane, 1)]) {
                let at = (2 * (first + lane) + half) * width + c;
                self.half_sums[at] = [-high_sums[half][lane], -low_sums[half][lane]];
                self.half_scaled[at] = half_scaled[half][lane];
            }
        }
    }
}

/// The two vectors of a block.
#[inline(always)]
fn halves(block: &[f32; BLOCK]) -> [&[f32; LANES]; 2] {
    let (low, high) = block.split_at(LANES);
    [low, high].map(|half| half.try_into().expect("half a block is a vector"))
}

/// The root of the mean of a row's squares.
#[inline(always)]
fn root_mean_square<S: Simd>(s: S, row: &[f32]) -> f32 {
    (sum_of_squares(s, row) / row.len() as f32).sqrt()
}
