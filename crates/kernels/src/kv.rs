//! The KV cache, in blocks of tokens that any sequence may own, and attention over it.

mod attention;
mod softmax;

pub use attention::{AttentionChunk, attention};

use std::ops::Range;

use crate::isa::Isa;
use crate::memory::{Aligned, Disjoint};
use crate::pool::Pool;
use crate::simd::{Kernel, LANES, Simd, load_part};

/// Positions that attention takes at a time: two vectors of scores.
pub(crate) const KV_TILE: usize = 32;

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
}

/// Keys and values as f16. A number beyond f16's range is stored as the largest that it has.
///
/// Shape: `[layers][blocks][kv_heads]` of keys `[block_tokens / 16][head_dim][16 positions]`, then values
/// `[block_tokens][head_dim rounded up to 16]`. A load of keys gives one dimension of 16 positions, a load of values 16
/// dimensions of one position: both feed 16 lanes without a shuffle.
#[derive(Debug)]
pub struct KvCache {
    shape: KvShape,
    data: Aligned<u16>,
}

impl KvCache {
    /// A cache of which nothing is written. Memory is taken from the system as blocks are first used.
    ///
    /// # Panics
    /// When `block_tokens` isn't a positive multiple of 32, or the size overflows.
    pub fn new(shape: KvShape) -> Self {
        Self { shape, data: Aligned::zeroed(len(shape)) }
    }

    /// What [`Self::bytes`] would be for a cache of this shape; none is made.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn bytes_of(shape: KvShape) -> usize {
        len(shape) * size_of::<u16>()
    }

    /// Takes the memory of all blocks from the system now. What is stored stays.
    ///
    /// The system clears a page when it is first touched, and a huge page takes it longer than a step may.
    pub fn claim(&mut self) {
        const PAGE: usize = 4096 / size_of::<u16>();
        for page in self.data.chunks_mut(PAGE) {
            page[0] = std::hint::black_box(page[0]);
        }
    }

    /// What it was made for.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Bytes, all blocks used.
    pub fn bytes(&self) -> usize {
        self.data.bytes()
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
        let first_tile = position / LANES;
        let tiles = end.div_ceil(LANES) - first_tile;
        let data = Disjoint::new(&mut self.data);
        let (key_len, value_len) = (LANES * shape.head_dim, LANES * padded(shape.head_dim));
        pool.run(tiles, &|task| {
            let tile = first_tile + task;
            let range = position.max(tile * LANES)..end.min((tile + 1) * LANES);
            let block = blocks[range.start / shape.block_tokens] as usize;
            let tile = range.start % shape.block_tokens / LANES;
            for head in 0..shape.kv_heads {
                let index = (layer * shape.blocks + block) * shape.kv_heads + head;
                let keys_at = index * head_len(shape) + tile * key_len;
                let values_at =
                    index * head_len(shape) + shape.block_tokens * shape.head_dim + tile * value_len;
                #[expect(unsafe_code, reason = "tasks write disjoint parts")]
                // SAFETY: a task writes its own 16 positions of the sequence, and no two of these lie in one place, as
                // the table names each block once.
                let (keys, values) =
                    unsafe { (data.part(keys_at, key_len), data.part(values_at, value_len)) };
                let first = (range.start - position) * cols + head * shape.head_dim;
                isa.run(WriteTile {
                    keys: keys.as_chunks_mut().0,
                    values,
                    lanes: range.start % LANES..range.start % LANES + range.len(),
                    k: &k[first..],
                    v: &v[first..],
                    cols,
                });
            }
        });
    }

    /// Keys and values of a head in a block: `[block_tokens / 16][head_dim]` of 16 positions, and
    /// `[block_tokens][padded / 16]` of 16 dimensions.
    pub(crate) fn head(&self, layer: usize, block: u32, head: usize) -> (&[[u16; LANES]], &[[u16; LANES]]) {
        let shape = self.shape;
        let index = (layer * shape.blocks + block as usize) * shape.kv_heads + head;
        let len = head_len(shape);
        self.data[index * len..][..len].as_chunks().0.split_at(shape.block_tokens * shape.head_dim / LANES)
    }
}

/// Numbers in a cache.
fn len(shape: KvShape) -> usize {
    let tokens = shape.block_tokens;
    assert!(
        tokens > 0 && tokens.is_multiple_of(KV_TILE),
        "a block of {tokens} tokens: multiples of 32 are allowed"
    );
    let heads = shape.layers.checked_mul(shape.blocks).and_then(|x| x.checked_mul(shape.kv_heads));
    heads.and_then(|heads| heads.checked_mul(head_len(shape))).expect("the size of the KV cache overflows")
}

/// Values of a head in a block.
fn head_len(shape: KvShape) -> usize {
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

/// Writes some of 16 neighbouring positions of one head.
struct WriteTile<'a> {
    /// `[head_dim]` of 16 positions.
    keys: &'a mut [[u16; LANES]],
    /// `[16 positions][padded]`.
    values: &'a mut [u16],
    /// Which of the positions.
    lanes: Range<usize>,
    /// From the first position's head on; the next position's is `cols` further.
    k: &'a [f32],
    v: &'a [f32],
    cols: usize,
}

impl Kernel for WriteTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (head_dim, padded) = (self.keys.len(), self.values.len() / LANES);
        for (row, lane) in self.lanes.enumerate() {
            let (k, v) = (&self.k[row * self.cols..][..head_dim], &self.v[row * self.cols..][..head_dim]);
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
    const LARGEST: f32 = 65_504.0;
    s.max(s.splat(-LARGEST), s.min(s.splat(LARGEST), x))
}
