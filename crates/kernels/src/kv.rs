//! The KV cache, in blocks of tokens that any sequence may own, and attention over it.

mod attention;
mod eight;
mod half;
mod softmax;

pub use attention::{AttentionChunk, attention};

use std::ops::Range;

use crate::isa::Isa;
use crate::memory::{Aligned, Disjoint};
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Line, Simd, load_part};
use eight::{Eights, EightsMut, WriteEights};

/// Positions that attention takes at a time: two vectors of scores.
pub(crate) const KV_TILE: usize = 32;

/// The largest number that a cache keeps, f16's; what is beyond is stored as this.
const LARGEST: f32 = 65_504.0;
/// Dimensions of a head up to which dot products of 8 by 16 bits fit 32.
const EIGHT_DIM_MAX: usize = 512;

/// How a [`KvCache`] keeps numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvFormat {
    /// As f16.
    #[default]
    F16,
    /// As int8 with an f32 scale for each head's key and each head's value of a position: a little more than half the
    /// bytes of f16.
    Q8,
}

impl KvFormat {
    /// What settings call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8 => "q8",
        }
    }
}

/// What a [`KvCache`] is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvShape {
    /// Layers, each with keys and values of its own.
    pub layers: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Numbers of a key and of a value.
    pub head_dim: usize,
    /// Tokens of a block: a multiple of 32.
    pub block_tokens: usize,
    /// Blocks.
    pub blocks: usize,
    /// How numbers are kept.
    pub format: KvFormat,
}

/// Keys and values, as f16 or as int8 with scales. A number beyond f16's range is stored as the largest that it has.
///
/// As f16: `[layers][blocks][kv_heads]` of keys `[block_tokens / 16][head_dim][16 positions]`, then values
/// `[block_tokens][head_dim rounded up to 16]`. A load of keys gives one dimension of 16 positions, a load of values 16
/// dimensions of one position: both feed 16 lanes without a shuffle.
///
/// As int8, the key (and likewise the value) x of a head at a position is rotated and then rounded:
///
/// ```text
/// y = H x / n,   H the Hadamard matrix of the n numbers that are mixed: 16, times the largest power of two of them that
///                divides the head's vectors of 16; so that x = H y
/// scale = max_d |y[d]| / 127;   code[d] = round(y[d] / scale), stored as code + 128
/// ```
///
/// Each of the mixed numbers is off by half a scale at most, and of x by n times that, seldom by much more than the root
/// of n. If all of y are below 1e-30 (of a value 1e-18) in magnitude, they are zeros; if a number is NaN, all of the head
/// are. Shape: `[layers][blocks][kv_heads]` of keys `[block_tokens / 16][head_dim / 4][16 positions]` of 4 dimensions,
/// then values `[block_tokens / 16][head_dim / 16][4][16 dimensions]` of 4 positions (`head_dim` rounded up to 16);
/// scales `[layers][blocks][kv_heads][3][block_tokens]`: of keys, logarithms and inverses of those of values. A line of
/// 64 codes feeds 16 dot products of four.
#[derive(Debug)]
pub struct KvCache {
    shape: KvShape,
    data: Data,
}

#[derive(Debug)]
enum Data {
    F16(Aligned<u16>),
    Q8 { codes: Aligned<Line>, scales: Aligned<[f32; LANES]> },
}

impl KvCache {
    /// A cache of which nothing is written. Memory is taken from the system as blocks are first used.
    ///
    /// # Panics
    /// When `block_tokens` isn't a positive multiple of 32, heads of int8 have more than 512 dimensions, or the size
    /// overflows.
    pub fn new(shape: KvShape) -> Self {
        let heads = heads(shape);
        let len = |of_head: usize| heads.checked_mul(of_head).expect(TOO_LARGE);
        let data = match shape.format {
            KvFormat::F16 => Data::F16(Aligned::zeroed(len(half_len(shape)))),
            KvFormat::Q8 => Data::Q8 {
                codes: Aligned::zeroed(len(eight::lines(shape))),
                scales: Aligned::zeroed(len(eight::scale_vectors(shape))),
            },
        };
        Self { shape, data }
    }

    /// What [`Self::bytes`] would be for a cache of this shape; none is made.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn bytes_of(shape: KvShape) -> usize {
        let of_head = match shape.format {
            KvFormat::F16 => half_len(shape) * size_of::<u16>(),
            KvFormat::Q8 => {
                eight::lines(shape) * size_of::<Line>()
                    + eight::scale_vectors(shape) * size_of::<[f32; LANES]>()
            }
        };
        heads(shape).checked_mul(of_head).expect(TOO_LARGE)
    }

    /// Takes the memory of all blocks from the system now. What is stored stays.
    ///
    /// The system clears a page when it is first touched, and a huge page takes it longer than a step may.
    pub fn claim(&mut self) {
        match &mut self.data {
            Data::F16(data) => touch(data),
            Data::Q8 { codes, scales } => {
                touch(codes);
                touch(scales);
            }
        }
    }

    /// What it was made for.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Bytes, all blocks used.
    pub fn bytes(&self) -> usize {
        match &self.data {
            Data::F16(data) => data.bytes(),
            Data::Q8 { codes, scales } => codes.bytes() + scales.bytes(),
        }
    }

    /// Stores keys and values, `[n, kv_heads * head_dim]` each, of positions `position..position + n` of the sequence
    /// whose block table is `blocks`.
    ///
    /// # Panics
    /// When lengths don't fit, the table doesn't cover the positions, or it names a block that isn't there.
    #[expect(clippy::too_many_arguments, reason = "two inputs and where they go")]
    pub fn write(
        &mut self,
        isa: Isa,
        pool: &Pool,
        layer: usize,
        blocks: &[u32],
        position: usize,
        k: &[f32],
        v: &[f32],
    ) {
        let shape = self.shape;
        let cols = shape.kv_heads * shape.head_dim;
        assert!(layer < shape.layers, "layer {layer} of {}", shape.layers);
        assert!(
            k.len() == v.len() && k.len().is_multiple_of(cols.max(1)),
            "keys and values of whole rows of {cols}"
        );
        if k.is_empty() {
            return;
        }
        let end = position + k.len() / cols;
        check_blocks(shape, blocks, end);
        let written = &blocks[position / shape.block_tokens..end.div_ceil(shape.block_tokens)];
        let twice = (1..written.len()).find(|&i| written[..i].contains(&written[i]));
        assert!(twice.is_none(), "a block table must name a block once");
        let parts = match &mut self.data {
            Data::F16(data) => Parts::F16(Disjoint::new(data)),
            Data::Q8 { codes, scales } => {
                Parts::Q8 { codes: Disjoint::new(codes), scales: Disjoint::new(scales) }
            }
        };
        let first_tile = position / LANES;
        pool.run(end.div_ceil(LANES) - first_tile, &|task| {
            let tile = first_tile + task;
            let range = position.max(tile * LANES)..end.min((tile + 1) * LANES);
            let block = blocks[range.start / shape.block_tokens] as usize;
            let tile = range.start % shape.block_tokens / LANES;
            for head in 0..shape.kv_heads {
                let first = (range.start - position) * cols + head * shape.head_dim;
                let rows = Rows {
                    lanes: range.start % LANES..range.start % LANES + range.len(),
                    head_dim: shape.head_dim,
                    k: &k[first..],
                    v: &v[first..],
                    cols,
                };
                parts.write(isa, shape, (layer * shape.blocks + block) * shape.kv_heads + head, tile, rows);
            }
        });
    }

    fn head_index(&self, layer: usize, block: u32, head: usize) -> usize {
        (layer * self.shape.blocks + block as usize) * self.shape.kv_heads + head
    }

    /// Keys and values of a head in a block of f16: `[block_tokens / 16][head_dim]` of 16 positions, and
    /// `[block_tokens][padded / 16]` of 16 dimensions.
    #[inline(always)]
    fn half_head(&self, layer: usize, block: u32, head: usize) -> (&[[u16; LANES]], &[[u16; LANES]]) {
        let Data::F16(data) = &self.data else { unreachable!("asked by what attends to f16") };
        let len = half_len(self.shape);
        data[self.head_index(layer, block, head) * len..][..len]
            .as_chunks()
            .0
            .split_at(self.shape.block_tokens * self.shape.head_dim / LANES)
    }

    /// Keys and values of a head in a block of int8.
    #[inline(always)]
    fn eight_head(&self, layer: usize, block: u32, head: usize) -> Eights<'_> {
        let Data::Q8 { codes, scales } = &self.data else { unreachable!("asked by what attends to int8") };
        let index = self.head_index(layer, block, head);
        let (lines, vectors) = (eight::lines(self.shape), eight::scale_vectors(self.shape));
        Eights::new(self.shape, &codes[index * lines..][..lines], &scales[index * vectors..][..vectors])
    }
}

/// The memory of a cache while tasks write it.
enum Parts<'a> {
    F16(Disjoint<'a, u16>),
    Q8 { codes: Disjoint<'a, Line>, scales: Disjoint<'a, [f32; LANES]> },
}

impl Parts<'_> {
    /// Writes positions of the 16 that are the `tile`-th of head `index`, counted over layers and blocks. Each tile is
    /// written by one task.
    fn write(&self, isa: Isa, shape: KvShape, index: usize, tile: usize, rows: Rows<'_>) {
        match self {
            Self::F16(data) => {
                let (key_len, value_len) = (LANES * shape.head_dim, LANES * padded(shape.head_dim));
                let head = index * half_len(shape);
                let values_at = head + shape.block_tokens * shape.head_dim + tile * value_len;
                #[expect(unsafe_code, reason = "tasks write disjoint parts")]
                // SAFETY: a task writes its own 16 positions of the sequence, and no two of these lie in one place, as
                // the table names each block once.
                let (keys, values) =
                    unsafe { (data.part(head + tile * key_len, key_len), data.part(values_at, value_len)) };
                isa.run(WriteHalves { keys: keys.as_chunks_mut().0, values, rows });
            }
            Self::Q8 { codes, scales } => {
                let (key_len, value_len) = eight::lines_of_tile(shape.head_dim);
                let (head, tiles) = (index * eight::lines(shape), shape.block_tokens / LANES);
                let scales_at = index * eight::scale_vectors(shape) + tile;
                #[expect(unsafe_code, reason = "tasks write disjoint parts")]
                // SAFETY: as above.
                let (keys, values) = unsafe {
                    (
                        codes.part(head + tile * key_len, key_len),
                        codes.part(head + tiles * key_len + tile * value_len, value_len),
                    )
                };
                #[expect(unsafe_code, reason = "tasks write disjoint parts")]
                // SAFETY: as above.
                let [key_scales, value_logs, value_inverses] =
                    [0, 1, 2].map(|kind| unsafe { &mut scales.part(scales_at + kind * tiles, 1)[0] });
                let to = EightsMut { keys, values, key_scales, value_logs, value_inverses };
                isa.run(WriteEights { to, rows });
            }
        }
    }
}

/// Writes to each page what stands there.
fn touch<T: Copy>(memory: &mut [T]) {
    const PAGE_BYTES: usize = 4096;
    for page in memory.chunks_mut(PAGE_BYTES / size_of::<T>()) {
        page[0] = std::hint::black_box(page[0]);
    }
}

const TOO_LARGE: &str = "the size of the KV cache overflows";

/// Heads over all layers and blocks, after a check of the shape.
fn heads(shape: KvShape) -> usize {
    let tokens = shape.block_tokens;
    assert!(
        tokens > 0 && tokens.is_multiple_of(KV_TILE),
        "a block of {tokens} tokens: multiples of 32 are allowed"
    );
    assert!(
        shape.format == KvFormat::F16 || shape.head_dim <= EIGHT_DIM_MAX,
        "heads of {} dimensions as int8: up to {EIGHT_DIM_MAX} are allowed",
        shape.head_dim
    );
    let heads = shape.layers.checked_mul(shape.blocks).and_then(|x| x.checked_mul(shape.kv_heads));
    heads.expect(TOO_LARGE)
}

/// f16 numbers of a head in a block.
fn half_len(shape: KvShape) -> usize {
    shape.block_tokens * (shape.head_dim + padded(shape.head_dim))
}

/// A head's dimensions as values are stored.
pub(crate) fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

/// Fails unless the table covers `end` positions and names only blocks that exist.
pub(crate) fn check_blocks(shape: KvShape, blocks: &[u32], end: usize) {
    let used = end.div_ceil(shape.block_tokens);
    assert!(used <= blocks.len(), "{end} positions need {used} blocks, the table has {}", blocks.len());
    for &block in &blocks[..used] {
        assert!((block as usize) < shape.blocks, "block {block} of a cache of {} blocks", shape.blocks);
    }
}

/// Rows of keys and values of one head, for some of 16 neighbouring positions.
struct Rows<'a> {
    /// Which of the positions.
    lanes: Range<usize>,
    head_dim: usize,
    /// From the first position's head on; the next position's is `cols` further.
    k: &'a [f32],
    v: &'a [f32],
    cols: usize,
}

impl Rows<'_> {
    /// Key and value of a row.
    #[inline(always)]
    fn get(&self, row: usize) -> (&[f32], &[f32]) {
        let at = row * self.cols;
        (&self.k[at..][..self.head_dim], &self.v[at..][..self.head_dim])
    }
}

struct WriteHalves<'a> {
    /// `[head_dim]` of 16 positions.
    keys: &'a mut [[u16; LANES]],
    /// `[16 positions][padded]`.
    values: &'a mut [u16],
    rows: Rows<'a>,
}

impl Kernel for WriteHalves<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let padded = self.values.len() / LANES;
        for (row, lane) in self.rows.lanes.clone().enumerate() {
            let (k, v) = self.rows.get(row);
            let values = self.values[lane * padded..][..padded].as_chunks_mut::<LANES>().0;
            for (part, (k, v)) in k.chunks(LANES).zip(v.chunks(LANES)).enumerate() {
                let mut narrow = [0_u16; LANES];
                s.store_f16(clamp(s, load_part(s, k)), &mut narrow);
                for (d, &bits) in narrow[..k.len()].iter().enumerate() {
                    self.keys[part * LANES + d][lane] = bits;
                }
                s.store_f16(clamp(s, load_part(s, v)), &mut values[part]);
            }
        }
    }
}

/// To the range of f16; NaN stays NaN.
#[inline(always)]
fn clamp<S: Simd>(s: S, x: S::F) -> S::F {
    s.max(s.splat(-LARGEST), s.min(s.splat(LARGEST), x))
}
