//! The KV cache and attention: against f64, whatever the chunks, the batch, the threads and the blocks.

mod common;

use common::{adversarial, bits, check_close, isas, random};
use half::f16;
use kernels::{AttentionChunk, Isa, KvCache, KvShape, Pool, attention};

/// A sequence's queries, keys and values, `[length, heads * head_dim]` each.
struct Sequence {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    length: usize,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

const SCALE: f32 = 0.17;

impl Sequence {
    fn random(heads: usize, kv_heads: usize, head_dim: usize, length: usize) -> Self {
        let kv = length * kv_heads * head_dim;
        let (q, k, v) = (random(length * heads * head_dim, 2.0), random(kv, 2.0), random(kv, 1.0));
        Self { heads, kv_heads, head_dim, length, q, k, v }
    }

    fn shape(&self, blocks: usize) -> KvShape {
        KvShape { layers: 2, kv_heads: self.kv_heads, head_dim: self.head_dim, block_tokens: 32, blocks }
    }

    fn kv_cols(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn cols(&self) -> usize {
        self.heads * self.head_dim
    }

    /// From the definition, over keys and values rounded to f16.
    fn expected(&self) -> Vec<f64> {
        let half = |x: f32| f64::from(f16::from_f32(x.clamp(-65_504.0, 65_504.0)).to_f32());
        let dim = self.head_dim;
        let mut out = Vec::new();
        for token in 0..self.length {
            for head in 0..self.heads {
                let kv = head / (self.heads / self.kv_heads) * dim;
                let q = &self.q[token * self.cols() + head * dim..][..dim];
                let score = |position: usize| {
                    let k = &self.k[position * self.kv_cols() + kv..][..dim];
                    q.iter().zip(k).map(|(&q, &k)| f64::from(q) * half(k)).sum::<f64>() * f64::from(SCALE)
                };
                let scores: Vec<f64> = (0..=token).map(score).collect();
                let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for d in 0..dim {
                    let value = |(p, w): (usize, &f64)| w * half(self.v[p * self.kv_cols() + kv + d]);
                    out.push(weights.iter().enumerate().map(value).sum::<f64>() / sum);
                }
            }
        }
        out
    }

    /// The blocks of a table, in an order that no code could assume, leaving some blocks to others.
    fn table(&self, offset: u32, blocks: u32) -> Vec<u32> {
        let count = self.length.div_ceil(32) as u32;
        (0..count).map(|i| (offset + 2 * (count - i)) % blocks).collect()
    }

    /// Runs the sequence in chunks of `chunk` tokens.
    fn run(&self, isa: Isa, pool: &Pool, cache: &mut KvCache, table: &[u32], chunk: usize) -> Vec<f32> {
        let mut out = Vec::new();
        for start in (0..self.length).step_by(chunk) {
            let end = self.length.min(start + chunk);
            let kv = start * self.kv_cols()..end * self.kv_cols();
            cache.write(isa, pool, 1, table, start, &self.k[kv.clone()], &self.v[kv]);
            let q = &self.q[start * self.cols()..end * self.cols()];
            let mut rows = vec![f32::NAN; q.len()];
            let chunks = [AttentionChunk { rows: 0..end - start, position: start, blocks: table }];
            attention(isa, pool, cache, 1, &chunks, q, SCALE, &mut rows);
            out.extend(rows);
        }
        out
    }
}

/// Fills a cache with NaN, as a block that another sequence has left might be.
fn poisoned(isa: Isa, pool: &Pool, shape: KvShape) -> KvCache {
    let mut cache = KvCache::new(shape);
    assert_eq!(KvCache::bytes_of(shape), cache.bytes());
    let table: Vec<u32> = (0..shape.blocks as u32).collect();
    let nan = vec![f32::NAN; shape.blocks * shape.block_tokens * shape.kv_heads * shape.head_dim];
    for layer in 0..shape.layers {
        cache.write(isa, pool, layer, &table, 0, &nan, &nan);
    }
    cache
}

#[test]
fn attention_matches_f64_whatever_the_shape() {
    let pool = Pool::new(2);
    for (heads, kv_heads, head_dim, length) in [
        (1, 1, 4, 1),
        (2, 1, 8, 33),
        (9, 3, 64, 70),
        (14, 2, 64, 40),
        (4, 4, 80, 31),
        (8, 8, 16, 65),
        (5, 1, 24, 50),
        (3, 1, 128, 300),
        (13, 1, 20, 17),
    ] {
        let sequence = Sequence::random(heads, kv_heads, head_dim, length);
        let expected = sequence.expected();
        let blocks = 2 * length.div_ceil(32) as u32 + 1;
        for isa in isas() {
            let mut cache = poisoned(isa, &pool, sequence.shape(blocks as usize));
            let out = sequence.run(isa, &pool, &mut cache, &sequence.table(1, blocks), length);
            let magnitudes = vec![1.0; out.len()];
            let what = format!("{isa:?} {heads}/{kv_heads} heads of {head_dim}, {length} tokens");
            check_close(&what, &out, &expected, &magnitudes, 1e-5);
        }
    }
}

#[test]
fn bits_do_not_depend_on_chunks_or_threads() {
    // Long enough for three splits.
    let sequence = Sequence::random(6, 2, 32, 600);
    for isa in isas() {
        let shape = sequence.shape(60);
        let table = sequence.table(5, 59);
        let pool = Pool::new(1);
        let whole = bits(&sequence.run(isa, &pool, &mut poisoned(isa, &pool, shape), &table, 600));
        for (threads, chunk) in [(2, 600), (3, 512), (2, 100), (2, 33), (1, 7), (2, 1)] {
            let pool = Pool::new(threads);
            let mut cache = poisoned(isa, &pool, shape);
            let out = sequence.run(isa, &pool, &mut cache, &table, chunk);
            assert!(bits(&out) == whole, "{isa:?} {threads} threads, chunks of {chunk}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_other_sequences_of_the_batch() {
    let sequences: Vec<Sequence> =
        [300, 40, 1, 513].iter().map(|&length| Sequence::random(6, 2, 16, length)).collect();
    for isa in isas() {
        let pool = Pool::new(2);
        let mut cache = poisoned(isa, &pool, sequences[0].shape(64));
        let mut next = 0;
        let tables: Vec<Vec<u32>> = sequences
            .iter()
            .map(|sequence| {
                let first = next;
                next += sequence.length.div_ceil(32) as u32;
                (first..next).collect()
            })
            .collect();
        let alone: Vec<Vec<f32>> = sequences
            .iter()
            .zip(&tables)
            .map(|(sequence, table)| sequence.run(isa, &pool, &mut cache, table, 1000))
            .collect();
        // The last tokens of each, together: one decodes, others prefill.
        let tails = [3, 1, 1, 20];
        let (mut q, mut expected, mut chunks) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = 0;
        for (((sequence, table), alone), tail) in sequences.iter().zip(&tables).zip(&alone).zip(tails) {
            let position = sequence.length - tail;
            q.extend_from_slice(&sequence.q[position * sequence.cols()..]);
            expected.extend_from_slice(&alone[position * sequence.cols()..]);
            chunks.push(AttentionChunk { rows: rows..rows + tail, position, blocks: table });
            rows += tail;
        }
        for threads in [1, 2, 3] {
            let mut out = vec![0.0; q.len()];
            attention(isa, &Pool::new(threads), &cache, 1, &chunks, &q, SCALE, &mut out);
            assert!(bits(&out) == bits(&expected), "{isa:?} {threads} threads");
        }
    }
}

#[test]
fn what_is_stored_stays_when_the_memory_is_claimed() {
    let sequence = Sequence::random(6, 2, 32, 100);
    let (isa, pool) = (Isa::best(), Pool::new(1));
    let shape = sequence.shape(60);
    let table = sequence.table(5, 59);
    let mut fresh = KvCache::new(shape);
    fresh.claim();
    let first = sequence.run(isa, &pool, &mut fresh, &table, 100);
    fresh.claim();
    let mut second = vec![0.0; first.len()];
    let chunks = [AttentionChunk { rows: 0..100, position: 0, blocks: &table }];
    attention(isa, &pool, &fresh, 1, &chunks, &sequence.q, SCALE, &mut second);
    assert!(bits(&first) == bits(&second));
    let mut none = KvCache::new(KvShape { blocks: 0, ..shape });
    none.claim();
}

#[test]
fn values_beyond_f16_are_stored_as_its_largest() {
    for isa in isas() {
        let pool = Pool::new(1);
        let shape = KvShape { layers: 1, kv_heads: 1, head_dim: 3, block_tokens: 32, blocks: 1 };
        let mut cache = KvCache::new(shape);
        cache.write(isa, &pool, 0, &[0], 0, &[0.0; 3], &[1e30, -1e30, 5.0]);
        let mut out = [0.0; 3];
        let chunks = [AttentionChunk { rows: 0..1, position: 0, blocks: &[0] }];
        attention(isa, &pool, &cache, 0, &chunks, &[1.0; 3], 1.0, &mut out);
        assert_eq!(bits(&out), bits(&[65_504.0, -65_504.0, 5.0]), "{isa:?}");
    }
}

/// Keys that are all alike give every position the same weight, however large the scores; one far key takes it all.
#[test]
fn attention_of_extremes_matches_f64() {
    let pool = Pool::new(1);
    for (heads, kv_heads, head_dim, length) in [(4, 2, 20, 70), (3, 1, 7, 33)] {
        let (cols, kv_cols) = (heads * head_dim, kv_heads * head_dim);
        let mut pairs = Vec::new();
        for (q_name, q) in adversarial(length * cols) {
            for (k_name, k) in adversarial(kv_cols) {
                pairs.push((format!("{q_name} times {k_name}"), q.clone(), k.repeat(length)));
            }
        }
        let (_, far) = adversarial(length * kv_cols).swap_remove(5);
        pairs.push(("random times one large".to_owned(), random(length * cols, 1.0), far));
        let values = adversarial(length * kv_cols);
        for (pair, (name, q, k)) in pairs.into_iter().enumerate() {
            let (v_name, v) = values[(pair + pair / 10) % values.len()].clone();
            let sequence = Sequence { heads, kv_heads, head_dim, length, q, k, v };
            let expected = sequence.expected();
            let largest =
                sequence.v.iter().fold(0.0_f64, |largest, &x| largest.max(f64::from(x.abs()).min(65_504.0)));
            for isa in isas() {
                let shape = sequence.shape(2 * length.div_ceil(32) + 1);
                let mut cache = poisoned(isa, &pool, shape);
                let table = sequence.table(1, shape.blocks as u32);
                let out = sequence.run(isa, &pool, &mut cache, &table, length);
                let what = format!("{isa:?} {heads}/{kv_heads} heads of {head_dim}: {name}, {v_name}");
                check_close(&what, &out, &expected, &vec![largest; out.len()], 1e-5);
            }
        }
    }
}

/// A NaN makes NaN of what sees it, and leaves other heads and, in a value, other dimensions as they are. In a value it
/// may also reach earlier rows of its own chunk, whose weight for it is 0.
#[test]
fn nan_reaches_all_that_sees_it_and_no_other_head() {
    let pool = Pool::new(1);
    let (heads, kv_heads, head_dim, length) = (4, 2, 20, 300);
    let group = heads / kv_heads;
    let clean = Sequence::random(heads, kv_heads, head_dim, length);
    let (bad_head, bad_dim) = (1, 17);
    for (isa, bad) in isas().into_iter().flat_map(|isa| [0, 31, 100, 299].map(|bad| (isa, bad))) {
        let run = |q: &[f32], k: &[f32], v: &[f32]| {
            let (q, k, v) = (q.to_vec(), k.to_vec(), v.to_vec());
            let sequence = Sequence { heads, kv_heads, head_dim, length, q, k, v };
            let shape = sequence.shape(20);
            sequence.run(isa, &pool, &mut poisoned(isa, &pool, shape), &sequence.table(1, 19), 100)
        };
        let expected = run(&clean.q, &clean.k, &clean.v);
        let with_nan = |x: &[f32], at: usize| {
            let mut x = x.to_vec();
            x[at] = f32::NAN;
            x
        };
        let kv_at = bad * kv_heads * head_dim + bad_head * head_dim + bad_dim;
        let q_at = bad * heads * head_dim + bad_head * head_dim + bad_dim;
        let of_query = run(&with_nan(&clean.q, q_at), &clean.k, &clean.v);
        let of_key = run(&clean.q, &with_nan(&clean.k, kv_at), &clean.v);
        let of_value = run(&clean.q, &clean.k, &with_nan(&clean.v, kv_at));
        for (at, expected) in expected.iter().enumerate() {
            let (row, head, dim) = (at / (heads * head_dim), at / head_dim % heads, at % head_dim);
            let of_head = head / group == bad_head;
            let check = |what: &str, out: f32, must: bool, may: bool| {
                let right = if must { out.is_nan() } else { out.to_bits() == expected.to_bits() };
                assert!(right || may && out.is_nan(), "{isa:?} {bad} {what}: {row} {head} {dim} is {out}");
            };
            check("query", of_query[at], row == bad && head == bad_head, false);
            check("key", of_key[at], row >= bad && of_head, false);
            let sees = of_head && dim == bad_dim;
            check("value", of_value[at], row >= bad && sees, row / 100 == bad / 100 && sees);
        }
    }
}

#[test]
fn block_tables_are_checked() {
    let shape = KvShape { layers: 1, kv_heads: 1, head_dim: 4, block_tokens: 32, blocks: 3 };
    let panics = |table: &'static [u32], position: usize, tokens: usize| {
        let write = std::panic::catch_unwind(|| {
            let x = vec![0.0; 4 * tokens];
            KvCache::new(shape).write(Isa::Scalar, &Pool::new(1), 0, table, position, &x, &x);
        });
        let attend = std::panic::catch_unwind(|| {
            let (cache, x) = (KvCache::new(shape), vec![0.0; 4 * tokens]);
            let chunks = [AttentionChunk { rows: 0..tokens, position, blocks: table }];
            attention(Isa::Scalar, &Pool::new(1), &cache, 0, &chunks, &x, 1.0, &mut vec![0.0; 4 * tokens]);
        });
        (write.is_err(), attend.is_err())
    };
    assert_eq!(panics(&[0, 2], 0, 64), (false, false));
    assert_eq!(panics(&[0, 3], 0, 64), (true, true), "a block that isn't there");
    assert_eq!(panics(&[0, 2], 1, 64), (true, true), "a table that is too short");
    assert_eq!(panics(&[1, 1], 0, 64), (true, false), "a block twice");
}
