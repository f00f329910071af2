//! The KV cache and attention: against f64, whatever the chunks, the batch, the threads and the blocks.

mod common;

use common::{adversarial, bits, isas, random};
use half::f16;
use kernels::{AttentionChunk, Isa, KvCache, KvFormat, KvShape, Pool, Precision, attention};

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
/// The kinds of cache and, where it makes a difference, of queries.
const KINDS: [Kind; 3] =
    [(KvFormat::F16, Precision::Mixed), (KvFormat::Q8, Precision::Mixed), (KvFormat::Q8, Precision::Eight)];
type Kind = (KvFormat, Precision);
/// What both kinds of cache store larger numbers as.
const LARGEST: f32 = 65_504.0;

/// Times the Hadamard matrix, as the kernels add it up: the largest power of two of vectors of 16 with each other, then
/// each within itself.
fn rotate(x: &[f32]) -> Vec<f32> {
    let mut x = x.to_vec();
    x.resize(x.len().next_multiple_of(16), 0.0);
    let among = (0..(x.len() / 16).trailing_zeros()).map(|power| 16 << power);
    for distance in among.chain([1, 2, 4, 8]) {
        for i in (0..x.len()).filter(|i| i & distance == 0) {
            (x[i], x[i + distance]) = (x[i] + x[i + distance], x[i] - x[i + distance]);
        }
    }
    x
}

/// How many numbers [`rotate`] mixes: rotating twice multiplies with this.
fn mixed(head_dim: usize) -> f32 {
    let vectors = head_dim.div_ceil(16);
    16.0 * (1 << vectors.trailing_zeros()) as f32
}

/// A head's key or value as a cache holds it: for int8, rotated.
fn held(format: KvFormat, x: &[f32]) -> Vec<f64> {
    let mut x: Vec<f32> = x.iter().map(|x| x.clamp(-LARGEST, LARGEST)).collect();
    if format == KvFormat::F16 {
        return x.into_iter().map(|x| f64::from(f16::from_f32(x).to_f32())).collect();
    }
    let factor = 1.0 / mixed(x.len());
    for x in &mut x {
        *x *= factor;
    }
    rounded(&rotate(&x))
}

/// Numbers rounded to int8 beside the largest: in f32, ties to even.
fn rounded(x: &[f32]) -> Vec<f64> {
    let largest = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
    let (scale, factor) = if largest < 1e-30 { (0.0, 0.0) } else { (largest / 127.0, 127.0 / largest) };
    x.iter().map(|x| f64::from((x * factor).round_ties_even()) * f64::from(scale)).collect()
}

/// A query as scores take it, but for rounding to 16 bits.
fn asked(kind: Kind, q: &[f32]) -> Vec<f64> {
    match kind {
        (KvFormat::F16, _) => q.iter().copied().map(f64::from).collect(),
        (KvFormat::Q8, Precision::Eight) => rounded(&rotate(q)),
        (KvFormat::Q8, _) => rotate(q).into_iter().map(f64::from).collect(),
    }
}

/// [`rotate`] of f64.
fn rotate_exactly(x: &[f64]) -> Vec<f64> {
    let group = mixed(x.len()) as usize / 16;
    let sign = |i: usize, j: usize| if (i & j).count_ones() % 2 == 1 { -1.0 } else { 1.0 };
    let of = |i: usize| {
        let same_group = |&j: &usize| j / 16 / group == i / 16 / group;
        (0..x.len()).filter(same_group).map(|j| sign(i % (16 * group), j % (16 * group)) * x[j]).sum()
    };
    (0..x.len()).map(of).collect()
}

/// A head's value as a cache gives it back.
fn stored(format: KvFormat, x: &[f32]) -> Vec<f64> {
    let held = held(format, x);
    if format == KvFormat::F16 { held } else { rotate_exactly(&held)[..x.len()].to_vec() }
}

impl Sequence {
    fn random(heads: usize, kv_heads: usize, head_dim: usize, length: usize) -> Self {
        let kv = length * kv_heads * head_dim;
        let (q, k, v) = (random(length * heads * head_dim, 2.0), random(kv, 2.0), random(kv, 1.0));
        Self { heads, kv_heads, head_dim, length, q, k, v }
    }

    fn shape(&self, format: KvFormat, blocks: usize) -> KvShape {
        let (kv_heads, head_dim) = (self.kv_heads, self.head_dim);
        KvShape { layers: 2, kv_heads, head_dim, block_tokens: 32, blocks, format }
    }

    fn kv_cols(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    fn cols(&self) -> usize {
        self.heads * self.head_dim
    }

    /// From the definition, over keys and values as they are held; each number with how far from it a result may be.
    ///
    /// With f16 that is 1e-5 of the largest value, for sums in f32. With int8, queries that aren't of 8 bits are rounded to
    /// 16, so that a score is off by `d = sum |k| * max |q| / 65024` at most (both rotated), and a weight by a factor of e^d;
    /// and weights (times the values' scales) are off by half of 1/254 of the largest of their 32 positions, or a little
    /// more if f32 rounds the other way.
    fn expected(&self, kind: Kind) -> Vec<(f64, f64)> {
        let (format, precision) = kind;
        let dim = self.head_dim;
        let each = |x: &[f32], read: &dyn Fn(&[f32]) -> Vec<f64>| x.chunks(dim).map(read).collect::<Vec<_>>();
        let q = each(&self.q, &|q| asked(kind, q));
        let (k, held_v) = (each(&self.k, &|k| held(format, k)), each(&self.v, &|v| held(format, v)));
        let v = each(&self.v, &|v| stored(format, v));
        let magnitude = |x: &[f64]| x.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        let mut out = Vec::new();
        for (index, q) in q.iter().enumerate() {
            let (token, head) = (index / self.heads, index % self.heads);
            let at = |position: usize| position * self.kv_heads + head / (self.heads / self.kv_heads);
            let score = |position: usize| {
                q.iter().zip(&k[at(position)]).map(|(q, k)| q * k).sum::<f64>() * f64::from(SCALE)
            };
            let scores: Vec<f64> = (0..=token).map(score).collect();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let sum: f64 = weights.iter().sum();
            let value_max = (0..=token).map(|p| magnitude(&v[at(p)])).fold(0.0, f64::max);
            let mut allowed = vec![1e-5 * value_max; dim];
            if format == KvFormat::Q8 {
                let of_key = |p: usize| k[at(p)].iter().map(|k| k.abs()).sum::<f64>();
                let k_sum = (0..=token).map(of_key).fold(0.0, f64::max);
                let steps = if precision == Precision::Eight { 1e6 } else { 65_024.0 };
                let score_error = k_sum * magnitude(q) * f64::from(SCALE) / steps;
                // Zeros have any scale; they are off by nothing.
                let value_scale = |p: usize| match magnitude(&held_v[at(p)]) / 127.0 {
                    zero if zero < 1e-20 => 1.0,
                    scale => scale,
                };
                for (first, tile) in weights.chunks(32).enumerate() {
                    let first = 32 * first;
                    let weighted = |(i, w): (usize, &f64)| w * value_scale(first + i);
                    let step = 0.51 / 254.0 * tile.iter().enumerate().map(weighted).fold(0.0, f64::max);
                    for p in first..first + tile.len() {
                        for (allowed, v) in allowed.iter_mut().zip(&v[at(p)]) {
                            *allowed += step * v.abs() / value_scale(p) / sum;
                        }
                    }
                }
                for allowed in &mut allowed {
                    *allowed += 2.0 * score_error.exp_m1() * value_max;
                }
            }
            let weighted = |d: usize| {
                let of = |(p, w): (usize, &f64)| w * v[at(p)][d];
                weights.iter().enumerate().map(of).sum::<f64>()
            };
            out.extend(allowed.into_iter().enumerate().map(|(d, allowed)| (weighted(d) / sum, allowed)));
        }
        out
    }

    /// Fails unless attention over each kind of cache is what it should be on each instruction set.
    fn check(&self, what: &str) {
        for kind in KINDS {
            self.check_as(kind, what);
        }
    }

    /// [`Self::check`] of one kind of cache.
    fn check_as(&self, kind: Kind, what: &str) {
        let pool = Pool::new(2);
        let blocks = 2 * self.length.div_ceil(32) as u32 + 1;
        let expected = self.expected(kind);
        for isa in isas() {
            let mut cache = poisoned(isa, &pool, self.shape(kind.0, blocks as usize));
            let out = self.run((isa, kind.1), &pool, &mut cache, &self.table(1, blocks), self.length);
            assert_eq!(out.len(), expected.len());
            for (i, (&out, &(expected, allowed))) in out.iter().zip(&expected).enumerate() {
                let error = (f64::from(out) - expected).abs();
                assert!(
                    error <= allowed + f64::from(f32::MIN_POSITIVE),
                    "{what} {kind:?} {isa:?}: [{i}] is {out}, not {expected}: off by {error:e}, allowed {allowed:e}"
                );
            }
        }
    }

    /// The blocks of a table, in an order that no code could assume, leaving some blocks to others.
    fn table(&self, offset: u32, blocks: u32) -> Vec<u32> {
        let count = self.length.div_ceil(32) as u32;
        (0..count).map(|i| (offset + 2 * (count - i)) % blocks).collect()
    }

    /// Runs the sequence in chunks of `chunk` tokens.
    fn run(
        &self,
        (isa, precision): (Isa, Precision),
        pool: &Pool,
        cache: &mut KvCache,
        table: &[u32],
        chunk: usize,
    ) -> Vec<f32> {
        let mut out = Vec::new();
        for start in (0..self.length).step_by(chunk) {
            let end = self.length.min(start + chunk);
            let kv = start * self.kv_cols()..end * self.kv_cols();
            let chunks = [AttentionChunk { rows: 0..end - start, position: start, blocks: table }];
            cache.write(isa, pool, 1, &chunks, &self.k[kv.clone()], &self.v[kv]);
            let q = &self.q[start * self.cols()..end * self.cols()];
            let mut rows = vec![f32::NAN; q.len()];
            attention(isa, pool, cache, 1, &chunks, q, SCALE, precision, &mut rows);
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
    let positions = shape.blocks * shape.block_tokens;
    let nan = vec![f32::NAN; positions * shape.kv_heads * shape.head_dim];
    let chunks = [AttentionChunk { rows: 0..positions, position: 0, blocks: &table }];
    for layer in 0..shape.layers {
        cache.write(isa, pool, layer, &chunks, &nan, &nan);
    }
    cache
}

#[test]
fn attention_matches_f64_whatever_the_shape() {
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
        let what = format!("{heads}/{kv_heads} heads of {head_dim}, {length} tokens");
        Sequence::random(heads, kv_heads, head_dim, length).check(&what);
    }
}

#[test]
fn attention_matches_f64_whatever_the_numbers() {
    let (heads, kv_heads, head_dim, length) = (6, 2, 36, 40);
    let kv = length * kv_heads * head_dim;
    for (what, x) in adversarial(kv) {
        let mut sequence = Sequence::random(heads, kv_heads, head_dim, length);
        sequence.v.clone_from(&x);
        sequence.check(&format!("{what} values"));
        let mut sequence = Sequence::random(heads, kv_heads, head_dim, length);
        // Scores of millions would leave f32 no digits for their differences.
        let largest = x.iter().fold(1.0_f32, |largest, x| largest.max(x.abs().min(LARGEST)));
        sequence.q.iter_mut().for_each(|q| *q /= largest);
        sequence.k = x;
        sequence.check(&format!("{what} keys"));
        let mut sequence = Sequence::random(heads, kv_heads, head_dim, length);
        sequence.k.iter_mut().for_each(|k| *k *= 1e-3);
        let q = adversarial(sequence.q.len()).into_iter().find(|(name, _)| *name == what);
        // 1e15 times anything is beyond what softmax is for.
        sequence.q = q.expect("the same names").1.iter().map(|q| q.clamp(-1e4, 1e4)).collect();
        sequence.check(&format!("{what} queries"));
    }
}

/// Keys that are all alike give every position the same weight, however large the scores; one far key takes it all. Of
/// f16 only: to large scores the logarithms of int8 values' scales add nothing.
#[test]
fn attention_of_extremes_matches_f64() {
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
            let what = format!("{heads}/{kv_heads} heads of {head_dim}: {name}, {v_name}");
            sequence.check_as(KINDS[0], &what);
        }
    }
}

#[test]
fn bits_do_not_depend_on_chunks_or_threads() {
    // Long enough for three splits.
    let sequence = Sequence::random(6, 2, 32, 600);
    for (isa, kind) in isas().into_iter().flat_map(|isa| KINDS.map(|kind| (isa, kind))) {
        let shape = sequence.shape(kind.0, 60);
        let table = sequence.table(5, 59);
        let pool = Pool::new(1);
        let whole = bits(&sequence.run((isa, kind.1), &pool, &mut poisoned(isa, &pool, shape), &table, 600));
        for (threads, chunk) in [(2, 600), (3, 512), (2, 100), (2, 33), (1, 7), (2, 1)] {
            let pool = Pool::new(threads);
            let mut cache = poisoned(isa, &pool, shape);
            let out = sequence.run((isa, kind.1), &pool, &mut cache, &table, chunk);
            assert!(bits(&out) == whole, "{isa:?} {kind:?} {threads} threads, chunks of {chunk}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_other_sequences_of_the_batch() {
    let sequences: Vec<Sequence> =
        [300, 40, 1, 513].iter().map(|&length| Sequence::random(6, 2, 16, length)).collect();
    for (isa, kind) in isas().into_iter().flat_map(|isa| KINDS.map(|kind| (isa, kind))) {
        let pool = Pool::new(2);
        let mut cache = poisoned(isa, &pool, sequences[0].shape(kind.0, 64));
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
            .map(|(sequence, table)| sequence.run((isa, kind.1), &pool, &mut cache, table, 1000))
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
            attention(isa, &Pool::new(threads), &cache, 1, &chunks, &q, SCALE, kind.1, &mut out);
            assert!(bits(&out) == bits(&expected), "{isa:?} {kind:?} {threads} threads");
        }
    }
}

#[test]
fn what_is_stored_stays_when_the_memory_is_claimed() {
    let sequence = Sequence::random(6, 2, 32, 100);
    let (isa, pool) = (Isa::best(), Pool::new(1));
    for (format, precision) in KINDS {
        let shape = sequence.shape(format, 60);
        let table = sequence.table(5, 59);
        let mut fresh = KvCache::new(shape);
        fresh.claim();
        let first = sequence.run((isa, precision), &pool, &mut fresh, &table, 100);
        fresh.claim();
        let mut second = vec![0.0; first.len()];
        let chunks = [AttentionChunk { rows: 0..100, position: 0, blocks: &table }];
        attention(isa, &pool, &fresh, 1, &chunks, &sequence.q, SCALE, precision, &mut second);
        assert!(bits(&first) == bits(&second), "{format:?}");
        let mut none = KvCache::new(KvShape { blocks: 0, ..shape });
        none.claim();
    }
}

/// What a query of ones gets of a sequence of one head, whose keys and values are `rows`, at its last position.
fn last(isa: Isa, (format, precision): Kind, rows: &[(&[f32], &[f32])], seen: usize) -> Vec<f32> {
    let (pool, head_dim) = (Pool::new(1), rows[0].0.len());
    let shape = KvShape { layers: 1, kv_heads: 1, head_dim, block_tokens: 32, blocks: 1, format };
    let mut cache = KvCache::new(shape);
    let of = |part: fn(&(&[f32], &[f32])) -> Vec<f32>| rows.iter().flat_map(part).collect::<Vec<f32>>();
    let (k, v) = (of(|row| row.0.to_vec()), of(|row| row.1.to_vec()));
    let written = [AttentionChunk { rows: 0..rows.len(), position: 0, blocks: &[0] }];
    cache.write(isa, &pool, 0, &written, &k, &v);
    let mut out = vec![0.0; head_dim];
    let chunks = [AttentionChunk { rows: 0..1, position: seen - 1, blocks: &[0] }];
    attention(isa, &pool, &cache, 0, &chunks, &vec![1.0; head_dim], 1.0, precision, &mut out);
    out
}

/// One position's value comes back as it is stored: with f16's rounding, or, of int8, each of the numbers that are mixed
/// off by half of 1/127 of the largest.
#[test]
fn what_was_written_is_read() {
    for isa in isas() {
        for (what, x) in adversarial(48) {
            for kind in KINDS {
                let format = kind.0;
                let out = last(isa, kind, &[(&x, &x)], 1);
                let largest = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs().min(LARGEST)));
                let held = held(format, &x).into_iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
                for (&out, (&x, stored)) in out.iter().zip(x.iter().zip(stored(format, &x))) {
                    let x = x.clamp(-LARGEST, LARGEST);
                    let what = format!("{what} {isa:?} {format:?}: {out} of {x}");
                    assert!((f64::from(out) - stored).abs() <= 1e-5 * f64::from(largest), "{what}");
                    let allowed = match format {
                        // Half a unit in the last place, of denormals half of 2^-24.
                        KvFormat::F16 => (f64::from(x.abs()) / 2048.0).max(1.0 / 33_554_432.0),
                        KvFormat::Q8 => f64::from(mixed(48)) * (0.501 / 127.0 * held).max(1e-18),
                    };
                    assert!(f64::from((out - x).abs()) <= allowed, "{what}, allowed {allowed:e}");
                }
            }
        }
    }
}

#[test]
fn numbers_beyond_f16_are_stored_as_its_largest() {
    let infinity = f32::INFINITY;
    for isa in isas() {
        for v in [[1e30, -1e30, 5.0], [infinity, -infinity, 5.0]] {
            let out = last(isa, KINDS[0], &[(&[0.0; 3], &v)], 1);
            assert_eq!(bits(&out), bits(&[LARGEST, -LARGEST, 5.0]), "{isa:?}");
            let out = last(isa, KINDS[1], &[(&[0.0; 3], &v)], 1);
            // What is small beside them is lost: 16 numbers are mixed, each off by half of 1/127 of the largest.
            let off = |out: f32, expected: f32| (out - expected).abs() / LARGEST > 2.0 / 254.0;
            assert!(!off(out[0], LARGEST) && !off(out[1], -LARGEST) && !off(out[2], 5.0), "{isa:?} {out:?}");
            // A key of infinity takes all the weight that a large one would.
            for kind in KINDS {
                let rows: [(&[f32], &[f32]); 2] =
                    [(&[infinity, 0.0, 0.0], &[1.0; 3]), (&[0.0; 3], &[2.0; 3])];
                let out = last(isa, kind, &rows, 2);
                assert!(out.iter().all(|out| (out - 1.0).abs() < 0.01), "{isa:?} {kind:?} {out:?}");
            }
        }
    }
}

#[test]
fn nan_is_seen_by_those_who_see_its_position() {
    let (nan, some) = ([f32::NAN, 1.0, 1.0], [0.5_f32; 3]);
    for isa in isas() {
        for kind in KINDS {
            let of_value: [(&[f32], &[f32]); 3] = [(&some, &some), (&some, &nan), (&some, &some)];
            let of_key: [(&[f32], &[f32]); 3] = [(&some, &some), (&nan, &some), (&some, &some)];
            for (what, rows) in [("value", of_value), ("key", of_key)] {
                let before = last(isa, kind, &rows, 1);
                assert!(
                    before.iter().all(|out| (out - 0.5).abs() < 1e-3),
                    "{isa:?} {kind:?} {what} {before:?}"
                );
                for seen in [2, 3] {
                    let out = last(isa, kind, &rows, seen);
                    // A value of f16 has it in one dimension, of int8 in all.
                    let count = if what == "value" && kind.0 == KvFormat::F16 { 1 } else { 3 };
                    let found = out.iter().filter(|out| out.is_nan()).count();
                    assert_eq!(found, count, "{isa:?} {kind:?} {what} {out:?}");
                }
            }
        }
    }
}

/// A NaN makes NaN of what sees it, and leaves other heads and, in a value of f16, other dimensions as they are. In a
/// value of f16 it may also reach earlier rows of its own chunk, whose weight for it is 0.
#[test]
fn nan_reaches_all_that_sees_it_and_no_other_head() {
    let pool = Pool::new(1);
    let (heads, kv_heads, head_dim, length) = (4, 2, 20, 300);
    let group = heads / kv_heads;
    let clean = Sequence::random(heads, kv_heads, head_dim, length);
    let (bad_head, bad_dim) = (1, 17);
    let kinds = isas().into_iter().flat_map(|isa| KINDS.map(|kind| (isa, kind)));
    let cases = kinds.flat_map(|(isa, kind)| [0, 31, 100, 299].map(|bad| (isa, kind, bad)));
    for (isa, kind, bad) in cases {
        let run = |q: &[f32], k: &[f32], v: &[f32]| {
            let (q, k, v) = (q.to_vec(), k.to_vec(), v.to_vec());
            let sequence = Sequence { heads, kv_heads, head_dim, length, q, k, v };
            let mut cache = poisoned(isa, &pool, sequence.shape(kind.0, 20));
            sequence.run((isa, kind.1), &pool, &mut cache, &sequence.table(1, 19), 100)
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
                assert!(
                    right || may && out.is_nan(),
                    "{isa:?} {kind:?} {bad} {what}: {row} {head} {dim} is {out}"
                );
            };
            check("query", of_query[at], row == bad && head == bad_head, false);
            check("key", of_key[at], row >= bad && of_head, false);
            let of_f16 = kind.0 == KvFormat::F16;
            let sees = of_head && (dim == bad_dim || !of_f16);
            check("value", of_value[at], row >= bad && sees, of_f16 && row / 100 == bad / 100 && sees);
        }
    }
}

/// 512 dimensions of the largest codes, as rotating a single number gives them: the sums come as near to the end of 32
/// bits as they can.
#[test]
fn sums_of_the_largest_codes_fit() {
    let mut sequence = Sequence::random(1, 1, 512, 70);
    for sign in [1.0, -1.0] {
        for (x, sign) in [(&mut sequence.q, 1.0), (&mut sequence.k, sign), (&mut sequence.v, sign)] {
            x.fill(0.0);
            x.iter_mut().step_by(512).for_each(|x| *x = sign);
        }
        let largest = f64::from(sign) / 512.0;
        assert!(held(KvFormat::Q8, &sequence.k[..512]).iter().all(|k| (k / largest - 1.0).abs() < 1e-6));
        sequence.check(&format!("{sign}"));
    }
    let shape = KvShape { format: KvFormat::Q8, ..sequence.shape(KvFormat::F16, 1) };
    assert!(std::panic::catch_unwind(|| KvCache::new(KvShape { head_dim: 513, ..shape })).is_err());
    KvCache::new(KvShape { head_dim: 513, format: KvFormat::F16, ..shape });
}

/// Int8 takes a little more than half of f16's bytes.
#[test]
fn bytes_of_both_kinds() {
    let sequence = Sequence::random(1, 1, 64, 1);
    let bytes = |format| KvCache::bytes_of(sequence.shape(format, 1)) / 32 / 2;
    assert_eq!(KvFormat::ALL.map(bytes), [256, 140]);
}

#[test]
fn block_tables_are_checked() {
    let panics = |table: &'static [u32], position: usize, tokens: usize| {
        let format = KvFormat::default();
        let shape = KvShape { layers: 1, kv_heads: 1, head_dim: 4, block_tokens: 32, blocks: 3, format };
        let write = std::panic::catch_unwind(|| {
            let x = vec![0.0; 4 * tokens];
            let chunks = [AttentionChunk { rows: 0..tokens, position, blocks: table }];
            KvCache::new(shape).write(Isa::Scalar, &Pool::new(1), 0, &chunks, &x, &x);
        });
        let attend = std::panic::catch_unwind(|| {
            let (cache, x) = (KvCache::new(shape), vec![0.0; 4 * tokens]);
            let chunks = [AttentionChunk { rows: 0..tokens, position, blocks: table }];
            let (isa, precision, mut out) = (Isa::Scalar, Precision::default(), vec![0.0; 4 * tokens]);
            attention(isa, &Pool::new(1), &cache, 0, &chunks, &x, 1.0, precision, &mut out);
        });
        (write.is_err(), attend.is_err())
    };
    assert_eq!(panics(&[0, 2], 0, 64), (false, false));
    assert_eq!(panics(&[0, 3], 0, 64), (true, true), "a block that isn't there");
    assert_eq!(panics(&[0, 2], 1, 64), (true, true), "a table that is too short");
    assert_eq!(panics(&[1, 1], 0, 64), (true, false), "a block twice");
    let two = |tables: [&'static [u32]; 2], positions: [usize; 2]| {
        let shape =
            KvShape { kv_heads: 2, blocks: 4, ..Sequence::random(2, 2, 4, 1).shape(KvFormat::F16, 4) };
        std::panic::catch_unwind(|| {
            let chunk =
                |at: usize| AttentionChunk { rows: at..at + 1, position: positions[at], blocks: tables[at] };
            let x = vec![0.0; 2 * shape.kv_heads * shape.head_dim];
            KvCache::new(shape).write(Isa::Scalar, &Pool::new(2), 0, &[chunk(0), chunk(1)], &x, &x);
        })
        .is_err()
    };
    assert!(!two([&[0, 1], &[0, 2]], [32, 63]), "what they share lies before");
    assert!(two([&[0, 1], &[0, 1]], [32, 63]), "both write one");
}
