//! Weight matrices in panels of 16 rows: one 64-byte load feeds one dot-product instruction without a shuffle.
//!
//! ```text
//! value[r][c] = multiplier[r] * (scale[r][g] * (code[r][c] - zero_point) + min[r][g]),   g = c / group
//! ```
//!
//! Shapes, with P = ceil(rows / 16) panels and B = ceil(cols / 32) blocks:
//!
//! - codes, 4 bits: `[P][B][4 lines]`; byte `4 r + i` of line l holds column `8 l + i` of row r in its low nibble and
//!   column `8 l + 4 + i` in its high one. 8 bits: `[P][B][8 lines]`; byte `4 r + i` of line l holds column `4 l + i`.
//!   5 bits: `[P][B][5 lines]`: the low four as 4 lines of 4 bits, then a line whose byte `4 r + i` has the fifth bit of
//!   column `4 w + i` as its bit w. 6 bits: `[P][B][2][3 lines]`: for each 16 columns 2 lines of 4 bits, then a line
//!   whose byte `4 r + i` has the upper two bits of column `4 w + i` as its bits `2 w` and `2 w + 1`. Nonlinear codes: which
//!   of the 16 they are, as 4 bits.
//! - scales: `[P][B * 32 / group][16 rows]` f16, each group's followed by its 16 mins where the layout has mins.
//! - multipliers: `[P][16]` f32, powers of two: 1 where all scales and mins of the row are f16 numbers, so that
//!   they are kept exactly; otherwise such that the largest fills the range of f16 and nothing that matters
//!   underflows (the others are rounded to 11 bits).
//! - float matrices: `[P][cols][16 rows]`.
//!
//! Missing rows and columns are zeros; activations are zero there too.

use std::io::Write;

use half::{bf16, f16};

use crate::activations::Needs;
use crate::isa::Isa;
use crate::memory::{Aligned, Arena, Disjoint, Frozen, Image, Plain};
use crate::pool::Pool;
use crate::simd::{BLOCK, LANES, Line};

/// The bytes that nonlinear codes of four bits are: the code book of ggml's IQ4 formats, -127 to 113, plus 128.
pub const NONLINEAR_FOUR: [u8; 16] =
    [1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241];

/// How many bits a code is stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeWidth {
    /// Codes 0 to 15.
    Four,
    /// Codes of [`NONLINEAR_FOUR`], of which four bits are stored; groups are of 32 columns.
    NonlinearFour,
    /// Codes 0 to 31; groups are of 32 columns.
    Five,
    /// Codes 0 to 63; groups are of 16 columns.
    Six,
    /// Codes 0 to 255; groups are of 32 columns.
    Eight,
}

impl CodeWidth {
    /// Lines of a block of 32 columns, which is the number of bits too.
    pub(crate) fn lines(self) -> usize {
        match self {
            Self::Four | Self::NonlinearFour => 4,
            Self::Five => 5,
            Self::Six => 6,
            Self::Eight => 8,
        }
    }

    /// Every code, by what is stored of it.
    pub fn codes(self) -> Vec<u8> {
        (0..=u8::MAX >> (8 - self.lines())).map(|stored| self.code(stored)).collect()
    }

    /// The code that is stored so.
    fn code(self, stored: u8) -> u8 {
        if self == Self::NonlinearFour { NONLINEAR_FOUR[usize::from(stored & 15)] } else { stored }
    }

    /// What is stored of a code; of one that there isn't, its low bits or 0.
    fn stored(self, code: u8) -> u8 {
        if self != Self::NonlinearFour {
            return code;
        }
        NONLINEAR_FOUR.iter().position(|&other| other == code).map_or(0, |index| index as u8)
    }

    /// How many columns may share a scale.
    pub fn groups(self) -> &'static [usize] {
        match self {
            Self::Four => &[16, 32],
            Self::NonlinearFour | Self::Five | Self::Eight => &[32],
            Self::Six => &[16],
        }
    }
}

/// The canonical integer form of a matrix: `scale * (code - zero_point) + min` per group of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeLayout {
    /// Storage of a code.
    pub width: CodeWidth,
    /// Columns that share a scale: one of [`CodeWidth::groups`].
    pub group: usize,
    /// The code that stands for 0 (before the minimum is added).
    pub zero_point: u8,
    /// Whether groups have a minimum, added after scaling.
    pub has_min: bool,
}

/// One row in canonical form.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CodeRow {
    /// `[cols]`, each one of [`CodeWidth::codes`].
    pub codes: Vec<u8>,
    /// `[ceil(cols / group)]`.
    pub scales: Vec<f32>,
    /// `[ceil(cols / group)]`; may be empty where the layout has no minimum.
    pub mins: Vec<f32>,
}

/// What the rows of a source are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceLayout {
    /// Integer codes: [`RowSource::codes`] is called.
    Codes(CodeLayout),
    /// Half floats: [`RowSource::floats`] is called, and gives numbers that f16 holds exactly.
    F16,
    /// Brain floats: [`RowSource::floats`] is called, and gives numbers that bf16 holds exactly.
    Bf16,
    /// [`RowSource::floats`] is called.
    F32,
}

/// A matrix as the packer reads it, row by row, from several threads.
pub trait RowSource: Sync {
    /// Outputs of the matrix.
    fn rows(&self) -> usize;
    /// Inputs of the matrix.
    fn cols(&self) -> usize;
    /// What the rows are.
    fn layout(&self) -> SourceLayout;
    /// Writes row `row` in canonical form; only called for [`SourceLayout::Codes`]. `out` is reused between rows.
    fn codes(&self, row: usize, out: &mut CodeRow);
    /// Writes row `row`, `[cols]`; only called for the float layouts.
    fn floats(&self, row: usize, out: &mut [f32]);
}

/// A weight matrix in the form that the kernels read. See the module's text for the shapes. Clones share the weights.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    rows: usize,
    cols: usize,
    pub(crate) weights: Weights,
}

#[derive(Debug, Clone)]
pub(crate) enum Weights {
    Codes(Codes),
    F32(Frozen<[f32; LANES]>),
    F16(Frozen<[u16; LANES]>),
    Bf16(Frozen<[u16; LANES]>),
}

#[derive(Debug, Clone)]
pub(crate) struct Codes {
    pub(crate) layout: CodeLayout,
    /// `[panels][blocks][4, 5, 6 or 8]`.
    pub(crate) lines: Frozen<Line>,
    /// `[panels][groups]`, or with mins `[panels][groups][2]`, of 16 f16.
    pub(crate) scales: Frozen<[u16; LANES]>,
    /// `[panels]` of 16.
    pub(crate) multipliers: Frozen<[f32; LANES]>,
}

impl CodeLayout {
    fn check(self) {
        let groups = self.width.groups();
        assert!(groups.contains(&self.group), "groups of {groups:?} columns are allowed, not {}", self.group);
        assert!(
            !self.has_min || self.zero_point == 0,
            "a zero point, here {}, is no use beside mins",
            self.zero_point
        );
    }

    /// Lines of a block of 32 columns.
    pub(crate) fn block_lines(self) -> usize {
        self.width.lines()
    }

    /// Vectors of scales and mins of a block of 32 columns.
    pub(crate) fn block_scales(self) -> usize {
        BLOCK / self.group * if self.has_min { 2 } else { 1 }
    }
}

impl PackedMatrix {
    /// Packs a matrix; rows are read in parallel. The packed form is the same for every instruction set.
    ///
    /// # Panics
    /// When the source's group isn't one that its width has, it has a zero point beside mins, or it gives a row of another length than it says.
    pub fn pack(source: &dyn RowSource, isa: Isa, pool: &Pool) -> Self {
        let _ = isa;
        Self::pack_into(source, pool, None)
    }

    /// As [`Self::pack`], in the arena's memory: for models, which have many matrices.
    ///
    /// # Panics
    /// As [`Self::pack`].
    pub fn pack_in(arena: &Arena, source: &dyn RowSource, isa: Isa, pool: &Pool) -> Self {
        let _ = isa;
        Self::pack_into(source, pool, Some(arena))
    }

    fn pack_into(source: &dyn RowSource, pool: &Pool, arena: Option<&Arena>) -> Self {
        let (rows, cols) = (source.rows(), source.cols());
        let weights = match source.layout() {
            SourceLayout::Codes(layout) => Weights::Codes(pack_codes(source, layout, pool, arena)),
            SourceLayout::F32 => Weights::F32(pack_floats(source, pool, arena, |x| x).into()),
            SourceLayout::F16 => {
                Weights::F16(pack_floats(source, pool, arena, |x| f16::from_f32(x).to_bits()).into())
            }
            SourceLayout::Bf16 => {
                Weights::Bf16(pack_floats(source, pool, arena, |x| bf16::from_f32(x).to_bits()).into())
            }
        };
        Self { rows, cols, weights }
    }

    /// A matrix that [`Self::write_to`] wrote to byte `offset` of a file; none where the file ends before it does, or
    /// `offset` isn't a multiple of 64. Whatever the bytes are, they are some matrix.
    ///
    /// # Panics
    /// As [`Self::pack`].
    pub fn of_image(
        image: &Image,
        offset: usize,
        layout: SourceLayout,
        rows: usize,
        cols: usize,
    ) -> Option<Self> {
        let mut arrays = image.arrays(offset);
        let panels = rows.div_ceil(LANES);
        let floats = panels * cols;
        let weights = match layout {
            SourceLayout::Codes(layout) => {
                layout.check();
                let blocks = panels * cols.div_ceil(BLOCK);
                Weights::Codes(Codes {
                    layout,
                    lines: arrays.next(blocks * layout.block_lines())?,
                    scales: arrays.next(blocks * layout.block_scales())?,
                    multipliers: arrays.next(panels)?,
                })
            }
            SourceLayout::F32 => Weights::F32(arrays.next(floats)?),
            SourceLayout::F16 => Weights::F16(arrays.next(floats)?),
            SourceLayout::Bf16 => Weights::Bf16(arrays.next(floats)?),
        };
        Some(Self { rows, cols, weights })
    }

    /// Writes the matrix for [`Self::of_image`]: each of its arrays, and zeros up to a multiple of 64 bytes.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write_to(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for array in self.arrays() {
            out.write_all(array)?;
            out.write_all(&[0; size_of::<Line>()][..padding(array.len())])?;
        }
        Ok(())
    }

    /// The arrays as bytes, in the order of an image.
    fn arrays(&self) -> impl Iterator<Item = &[u8]> {
        let arrays = match &self.weights {
            Weights::Codes(it) => {
                [it.lines.as_bytes(), it.scales.as_bytes(), it.multipliers.as_bytes()].map(Some)
            }
            Weights::F32(it) => [Some(it.as_bytes()), None, None],
            Weights::F16(it) | Weights::Bf16(it) => [Some(it.as_bytes()), None, None],
        };
        arrays.into_iter().flatten()
    }

    /// How many bytes [`Self::write_to`] writes, a multiple of 64.
    pub fn image_bytes(&self) -> usize {
        self.arrays().map(|array| array.len() + padding(array.len())).sum()
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Panels of 16 rows.
    pub(crate) fn panels(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    /// Bytes in memory, all of which one matrix-vector product reads.
    pub fn bytes(&self) -> usize {
        self.arrays().map(<[u8]>::len).sum()
    }

    /// Whether its weights are integer codes, whose products are of int8, or floats.
    pub fn is_integer(&self) -> bool {
        matches!(self.weights, Weights::Codes(_))
    }

    /// What [`crate::Activations`] must hold for a product with this matrix.
    pub fn needs(&self) -> Needs {
        match &self.weights {
            Weights::Codes(codes) => Needs::codes(codes.layout.group),
            _ => Needs::FLOATS,
        }
    }

    /// Rows `rows`, dequantised, `[rows.len(), cols]`; see [`Self::row_f32`].
    ///
    /// # Panics
    /// As [`Self::row_f32`].
    pub fn rows_f32(&self, pool: &Pool, rows: &[u32], out: &mut [f32]) {
        const ROWS_PER_TASK: usize = 8;
        assert_eq!(out.len(), rows.len() * self.cols, "{} rows of {} columns", rows.len(), self.cols);
        let out = Disjoint::new(out);
        pool.run(rows.len().div_ceil(ROWS_PER_TASK), &|task| {
            let first = task * ROWS_PER_TASK;
            for (index, &row) in rows.iter().enumerate().skip(first).take(ROWS_PER_TASK) {
                #[expect(unsafe_code, reason = "tasks write disjoint parts")]
                // SAFETY: each row of the output is written by one task.
                let out = unsafe { out.part(index * self.cols, self.cols) };
                self.row_f32(row as usize, out);
            }
        });
    }

    /// Row `row`, dequantised, `[cols]`: what the source's row is, exactly, if its scales are f16 numbers.
    ///
    /// # Panics
    /// When there is no such row, or `out` is not `cols` long.
    pub fn row_f32(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of a matrix of {} rows", self.rows);
        assert_eq!(out.len(), self.cols, "a row of the matrix has {} columns", self.cols);
        let (panel, lane) = (row / LANES, row % LANES);
        let floats = panel * self.cols..(panel + 1) * self.cols;
        match &self.weights {
            Weights::F32(it) => copy_lane(&it[floats], lane, out, |x| x),
            Weights::F16(it) => copy_lane(&it[floats], lane, out, |x| f16::from_bits(x).to_f32()),
            Weights::Bf16(it) => copy_lane(&it[floats], lane, out, |x| bf16::from_bits(x).to_f32()),
            Weights::Codes(it) => it.row_f32(panel, lane, out),
        }
    }
}

/// Bytes from the end of an array to the next multiple of 64.
fn padding(bytes: usize) -> usize {
    bytes.next_multiple_of(size_of::<Line>()) - bytes
}

fn copy_lane<T: Copy>(panel: &[[T; LANES]], lane: usize, out: &mut [f32], widen: impl Fn(T) -> f32) {
    for (out, column) in out.iter_mut().zip(panel) {
        *out = widen(column[lane]);
    }
}

impl Codes {
    fn row_f32(&self, panel: usize, lane: usize, out: &mut [f32]) {
        let layout = self.layout;
        let blocks = out.len().div_ceil(BLOCK);
        let lines = &self.lines[panel * blocks * layout.block_lines()..][..blocks * layout.block_lines()];
        let scales = &self.scales[panel * blocks * layout.block_scales()..][..blocks * layout.block_scales()];
        let multiplier = self.multipliers[panel][lane];
        let number = |vector: usize| f16::from_bits(scales[vector][lane]).to_f32() * multiplier;
        for (group, out) in out.chunks_mut(layout.group).enumerate() {
            let (scale, min) = if layout.has_min {
                (number(2 * group), Some(number(2 * group + 1)))
            } else {
                (number(group), None)
            };
            for (i, out) in out.iter_mut().enumerate() {
                let code = code_at(layout.width, lines, lane, group * layout.group + i);
                let scaled = scale * (i32::from(code) - i32::from(layout.zero_point)) as f32;
                *out = min.map_or(scaled, |min| scaled + min);
            }
        }
    }
}

/// Bits of the code of a column within a panel: those of `mask`, moved left by `shift`, in one byte of a line.
struct Place {
    line: usize,
    byte: usize,
    shift: usize,
    /// Where the part stands in the code.
    code_shift: usize,
    mask: u8,
}

/// Where the parts of a column's code stand: the whole, or the low four bits and those above.
fn places(width: CodeWidth, lane: usize, col: usize) -> impl Iterator<Item = Place> {
    let byte = 4 * lane + col % 4;
    let nibble = |line| Place { line, byte, shift: 4 * (col / 4 % 2), code_shift: 0, mask: 15 };
    let above = |line, shift, mask| Place { line, byte, shift, code_shift: 4, mask };
    let parts = match width {
        CodeWidth::Four | CodeWidth::NonlinearFour => [Some(nibble(col / 8)), None],
        CodeWidth::Five => {
            let (block, word) = (col / 32, col % 32 / 4);
            [Some(nibble(5 * block + word / 2)), Some(above(5 * block + 4, word, 1))]
        }
        CodeWidth::Six => {
            let (half, word) = (col / 16, col % 16 / 4);
            [Some(nibble(3 * half + word / 2)), Some(above(3 * half + 2, 2 * word, 3))]
        }
        CodeWidth::Eight => [Some(Place { line: col / 4, byte, shift: 0, code_shift: 0, mask: 255 }), None],
    };
    parts.into_iter().flatten()
}

fn code_at(width: CodeWidth, lines: &[Line], lane: usize, col: usize) -> u8 {
    let part =
        |place: Place| (lines[place.line].0[place.byte] >> place.shift & place.mask) << place.code_shift;
    width.code(places(width, lane, col).map(part).sum())
}

/// Runs `pack(panel)` for all panels, a few at a time per task.
fn for_panels(panels: usize, pool: &Pool, pack: &(dyn Fn(usize) + Sync)) {
    const PANELS_PER_TASK: usize = 4;
    pool.run(panels.div_ceil(PANELS_PER_TASK), &|task| {
        let first = task * PANELS_PER_TASK;
        (first..panels.min(first + PANELS_PER_TASK)).for_each(pack);
    });
}

fn pack_floats<T>(
    source: &dyn RowSource,
    pool: &Pool,
    arena: Option<&Arena>,
    narrow: impl Fn(f32) -> T + Sync,
) -> Aligned<[T; LANES]>
where
    [T; LANES]: Plain,
{
    let (rows, cols) = (source.rows(), source.cols());
    let panels = rows.div_ceil(LANES);
    let mut packed: Aligned<[T; LANES]> = zeroed(arena, panels * cols);
    let shared = Disjoint::new(&mut packed);
    for_panels(panels, pool, &|panel| {
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each panel is packed by one task.
        let packed = unsafe { shared.part(panel * cols, cols) };
        let mut values = vec![0.0; cols];
        for lane in 0..LANES.min(rows - panel * LANES) {
            source.floats(panel * LANES + lane, &mut values);
            for (column, &value) in packed.iter_mut().zip(&values) {
                column[lane] = narrow(value);
            }
        }
    });
    packed
}

fn zeroed<T: Plain>(arena: Option<&Arena>, len: usize) -> Aligned<T> {
    arena.map_or_else(|| Aligned::zeroed(len), |arena| Aligned::zeroed_in(arena, len))
}

fn pack_codes(source: &dyn RowSource, layout: CodeLayout, pool: &Pool, arena: Option<&Arena>) -> Codes {
    layout.check();
    let (rows, cols) = (source.rows(), source.cols());
    let (panels, blocks) = (rows.div_ceil(LANES), cols.div_ceil(BLOCK));
    let (panel_lines, panel_scales) = (blocks * layout.block_lines(), blocks * layout.block_scales());
    let mut lines: Aligned<Line> = zeroed(arena, panels * panel_lines);
    let mut scales: Aligned<[u16; LANES]> = zeroed(arena, panels * panel_scales);
    let mut multipliers: Aligned<[f32; LANES]> = zeroed(arena, panels);
    multipliers.fill([1.0; LANES]);
    let shared = (Disjoint::new(&mut lines), Disjoint::new(&mut scales), Disjoint::new(&mut multipliers));
    for_panels(panels, pool, &|panel| {
        #[expect(unsafe_code, reason = "tasks write disjoint parts")]
        // SAFETY: each panel is packed by one task.
        let (lines, scales, multipliers) = unsafe {
            (
                shared.0.part(panel * panel_lines, panel_lines),
                shared.1.part(panel * panel_scales, panel_scales),
                &mut shared.2.part(panel, 1)[0],
            )
        };
        let mut row = CodeRow::default();
        let lanes = LANES.min(rows - panel * LANES);
        for (lane, multiplier) in multipliers[..lanes].iter_mut().enumerate() {
            source.codes(panel * LANES + lane, &mut row);
            check_row(&row, layout, cols);
            pack_row(&row, layout, lane, lines);
            *multiplier = pack_scales(&row, layout, lane, scales);
        }
    });
    Codes { layout, lines: lines.into(), scales: scales.into(), multipliers: multipliers.into() }
}

fn check_row(row: &CodeRow, layout: CodeLayout, cols: usize) {
    let groups = cols.div_ceil(layout.group);
    assert_eq!(row.codes.len(), cols, "codes of a row");
    assert_eq!(row.scales.len(), groups, "scales of a row");
    assert!(!layout.has_min || row.mins.len() == groups, "a row has {} mins, not {groups}", row.mins.len());
}

/// Spreads one row's codes over its panel, whose bytes are still 0 for this row.
fn pack_row(row: &CodeRow, layout: CodeLayout, lane: usize, lines: &mut [Line]) {
    for (col, &code) in row.codes.iter().enumerate() {
        let code = layout.width.stored(code);
        for Place { line, byte, shift, code_shift, mask } in places(layout.width, lane, col) {
            lines[line].0[byte] |= (code >> code_shift & mask) << shift;
        }
    }
}

/// Writes one row's scales and mins as f16 and returns the row's multiplier.
fn pack_scales(row: &CodeRow, layout: CodeLayout, lane: usize, scales: &mut [[u16; LANES]]) -> f32 {
    let mins: &[f32] = if layout.has_min { &row.mins } else { &[] };
    let multiplier = row_multiplier(row.scales.iter().chain(mins));
    let narrow = |value: f32| f16::from_f32(value / multiplier).to_bits();
    let step = if layout.has_min { 2 } else { 1 };
    for (group, &scale) in row.scales.iter().enumerate() {
        scales[step * group][lane] = narrow(scale);
    }
    for (group, &min) in mins.iter().enumerate() {
        scales[2 * group + 1][lane] = narrow(min);
    }
    multiplier
}

/// 1 if f16 holds all of `values`; else the power of two that brings the largest finite one into 2^14..2^15.
fn row_multiplier<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> f32 {
    let exact = |&value: &f32| f16::from_f32(value).to_f32().to_bits() == value.to_bits() || value.is_nan();
    if values.clone().all(exact) {
        return 1.0;
    }
    let largest = values.map(|value| value.abs()).filter(|value| value.is_finite()).fold(0.0, f32::max);
    // The exponent of a normal number; -127 for zero and denormals.
    let exponent = (largest.to_bits() >> 23) as i32 - 127;
    // 2^-126, the smallest normal power of two, for tiny rows.
    f32::from_bits(((exponent - 14).max(-126) + 127) as u32 * (1 << 23))
}
