//! The KV cache, in blocks of tokens that any sequence may own, and attention over it.

mod attention;
mod eight;
mod half;
mod rotation;
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
/// Keys' numbers that a task writes, at least.
const WRITTEN_VALUES: usize = 2 << 10;
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
    /// All of them, the largest first.
    pub const ALL: [Self; 2] = [Self::F16, Self::Q8];

    /// What attention over many positions is fastest with: int8 where a dot product of bytes is one instruction of wide
    /// vectors. On AVX2 without it int8 is slower than f16, and on Arm neither was measured.
    pub const fn fastest(isa: Isa) -> Self {
        match isa {
            Isa::AvxVnni(_) | Isa::Avx512(_) => Self::Q8,
            Isa::Scalar | Isa::Avx2(_) | Isa::Neon(_) => Self::F16,
        }
    }

    /// What settings call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::Q8 => "q8",
        }
    }

    /// The one that settings call so.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
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

    /// Stores keys and values, `[n, kv_heads * head_dim]` each, of the chunks, whose rows are `0..n` in order.
    ///
    /// # Panics
    /// When lengths don't fit, chunks leave out rows, a table doesn't cover its positions or names a block that isn't there,
    /// or a block would be written for two places.
    pub fn write(
        &mut self,
        isa: Isa,
        pool: &Pool,
        layer: usize,
        chunks: &[AttentionChunk<'_>],
        k: &[f32],
        v: &[f32],
    ) {
        let shape = self.shape;
        let cols = shape.kv_heads * shape.head_dim;
        assert!(layer < shape.layers, "layer {layer} of {}", shape.layers);
        let n = check_chunks(shape, chunks);
        assert!(
            k.len() == v.len() && k.len() == n * cols,
            "{} keys and {} values aren't {n} rows of {cols}",
            k.len(),
            v.len()
        );
        check_written_once(shape, chunks);
        let tiles = |chunk: &AttentionChunk<'_>| {
            if chunk.rows.is_empty() { 0 } else { chunk.end().div_ceil(LANES) - chunk.position / LANES }
        };
        let parts = match &mut self.data {
            Data::F16(data) => Parts::F16(Disjoint::new(data)),
            Data::Q8 { codes, scales } => {
                Parts::Q8 { codes: Disjoint::new(codes), scales: Disjoint::new(scales) }
            }
        };
        // One row of each of a few sequences is less work than to wake another thread.
        let tasks: usize = chunks.iter().map(tiles).sum();
        let tiles_per_task = (WRITTEN_VALUES / (cols * n.div_ceil(tasks.max(1))).max(1)).max(1);
        let write_tile = |mut tile: usize| {
            let mut of = chunks.iter();
            let chunk = of.find(|chunk| {
                let is_here = tile < tiles(chunk);
                tile -= if is_here { 0 } else { tiles(chunk) };
                is_here
            });
            let Some(chunk) = chunk else { return };
            let (position, tile) = (chunk.position, chunk.position / LANES + tile);
            let range = position.max(tile * LANES)..chunk.end().min((tile + 1) * LANES);
            let block = chunk.blocks[range.start / shape.block_tokens] as usize;
            let tile = range.start % shape.block_tokens / LANES;
            for head in 0..shape.kv_heads {
                let first = (chunk.rows.start + range.start - position) * cols + head * shape.head_dim;
                let rows = Rows {
                    lanes: range.start % LANES..range.start % LANES + range.len(),
                    head_dim: shape.head_dim,
                    k: &k[first..],
                    v: &v[first..],
                    cols,
                };
                parts.write(isa, shape, (layer * shape.blocks + block) * shape.kv_heads + head, tile, rows);
            }
        };
        pool.run(tasks.div_ceil(tiles_per_task), &|task| {
            let first = task * tiles_per_task;
            (first..tasks.min(first + tiles_per_task)).for_each(write_tile);
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
                // SAFETY: a task writes its own tiles of 16 positions, and no two of these lie in one place, as no block is
                // written for two.
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

/// Fails unless the chunks' rows are `0..n` in order and their tables cover their positions; returns n.
fn check_chunks(shape: KvShape, chunks: &[AttentionChunk<'_>]) -> usize {
    let mut n = 0;
    for chunk in chunks {
        let rows = &chunk.rows;
        assert!(rows.start == n && rows.end >= n, "rows {rows:?} of a chunk must begin at {n}");
        n = rows.end;
        check_blocks(shape, chunk.blocks, chunk.end());
    }
    n
}

/// Fails where the chunks would write a block for two places of theirs.
fn check_written_once(shape: KvShape, chunks: &[AttentionChunk<'_>]) {
    let written = |chunk: &AttentionChunk<'_>| {
        let blocks = chunk.position / shape.block_tokens..chunk.end().div_ceil(shape.block_tokens);
        if chunk.rows.is_empty() { 0..0 } else { blocks }
    };
    for (at, chunk) in chunks.iter().enumerate() {
        let own = &chunk.blocks[written(chunk)];
        let mut earlier = chunks[..at].iter().map(|chunk| &chunk.blocks[written(chunk)]);
        let is_twice = (1..own.len()).any(|i| own[..i].contains(&own[i]))
            || earlier.any(|blocks| own.iter().any(|block| blocks.contains(block)));
        assert!(!is_twice, "a block is to be written for two places");
    }
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
