//! Measures the kernels: `cargo run --release -p cachalot-kernels --example speed -- [isa] [threads] [what] [filter]`.
//!
//! Prints GB/s of weights for products with few rows and G int8 operations/s for many, at the shapes of
//! SmolLM2-135M, cycling through enough matrices that they come from the third-level cache or from memory as they
//! do in a forward pass. `what` is any of the letters l (limits), g (products), h (with
//! 8-bit inputs), a (attention), q (attention over an 8-bit cache), e (with 8-bit queries), o (small steps), p (the pool);
//! `filter` is a part of a product's or an attention's name.

use std::time::Duration;

use base::{Clock, Rng, SystemClock};
use kernels::{
    Activations, Arena, AttentionChunk, CodeLayout, CodeRow, CodeWidth, Isa, KvCache, KvFormat, KvShape,
    PackedMatrix, Pool, Precision, RowSource, SourceLayout, attention, limits, matmul, ops,
};

/// A matrix of random codes.
struct Random {
    rows: usize,
    cols: usize,
    layout: SourceLayout,
}

impl RowSource for Random {
    fn rows(&self) -> usize {
        self.rows
    }
    fn cols(&self) -> usize {
        self.cols
    }
    fn layout(&self) -> SourceLayout {
        self.layout
    }
    fn codes(&self, row: usize, out: &mut CodeRow) {
        let SourceLayout::Codes(layout) = self.layout else { return };
        let mut rng = Rng::from_seed(row as u64);
        out.codes.clear();
        out.codes.extend((0..self.cols).map(|_| rng.next_u64() as u8));
        let groups = self.cols.div_ceil(layout.group);
        out.scales.clear();
        out.scales.extend((0..groups).map(|_| 0.01 * rng.next_f32()));
        out.mins.clear();
        out.mins.extend((0..groups).map(|_| -0.1 * rng.next_f32()));
    }
    fn floats(&self, row: usize, out: &mut [f32]) {
        let mut rng = Rng::from_seed(row as u64);
        out.fill_with(|| rng.next_f32() - 0.5);
    }
}

/// The lower quartile of the times of single calls, of as many as `total` has room for: what a call takes when
/// nothing else wants the core.
fn typical(clock: &SystemClock, total: Duration, mut call: impl FnMut()) -> f64 {
    call();
    let end = clock.monotonic() + total;
    let mut times = Vec::new();
    let mut before = clock.monotonic();
    while before < end || times.len() < 8 {
        call();
        let after = clock.monotonic();
        times.push(after.saturating_sub(before));
        before = after;
    }
    times.sort_unstable();
    times[times.len() / 4].as_secs_f64()
}

fn random(len: usize) -> Vec<f32> {
    let mut rng = Rng::from_seed(len as u64);
    (0..len).map(|_| rng.next_f32() - 0.5).collect()
}

fn products(isa: Isa, threads: usize, precision: Precision, filter: &str) {
    let codes = |width, group, zero_point, has_min| {
        SourceLayout::Codes(CodeLayout { width, group, zero_point, has_min })
    };
    let shapes = [
        ("q4_1 1536x576", 1536, 576, 90, codes(CodeWidth::Four, 32, 0, true)),
        ("q4_1 576x1536", 576, 1536, 90, codes(CodeWidth::Four, 32, 0, true)),
        ("q4_0 1536x576", 1536, 576, 90, codes(CodeWidth::Four, 32, 8, false)),
        ("iq4_nl 1536x576", 1536, 576, 90, codes(CodeWidth::NonlinearFour, 32, 128, false)),
        ("q8_0 49152x576", 49152, 576, 1, codes(CodeWidth::Eight, 32, 128, false)),
        ("q5_0 4864x896", 4864, 896, 24, codes(CodeWidth::Five, 32, 16, false)),
        ("q6_k 896x4864", 896, 4864, 24, codes(CodeWidth::Six, 16, 32, false)),
        ("f16 1536x576", 1536, 576, 20, SourceLayout::F16),
        ("f32 1536x576", 1536, 576, 10, SourceLayout::F32),
    ];
    let clock = SystemClock::new();
    let pool = Pool::new(threads);
    for (name, rows, cols, count, layout) in shapes {
        if !name.contains(filter) {
            continue;
        }
        let source = Random { rows, cols, layout };
        let arena = Arena::new();
        let matrices: Vec<_> =
            (0..count).map(|_| PackedMatrix::pack_in(&arena, &source, isa, &pool)).collect();
        for n in [1, 2, 4, 8, 16, 64, 512] {
            if rows > 10_000 && n > 16 {
                continue;
            }
            let x = random(n * cols);
            let mut activations = Activations::with_precision(precision);
            activations.prepare(isa, &pool, &x, cols, matrices[0].needs());
            let mut out = vec![0.0; n * rows];
            let mut next = 0;
            let seconds = typical(&clock, Duration::from_millis(150), || {
                matmul(isa, &pool, &matrices[next % count], &activations, &mut out);
                next += 1;
            });
            let quantize = typical(&clock, Duration::from_millis(10), || {
                activations.prepare(isa, &pool, &x, cols, matrices[0].needs());
            });
            let bytes = matrices[0].bytes() as f64;
            println!(
                "{name:16} n {n:4}  {:8.1} us  {:6.1} GB/s  {:7.1} GOP/s   quantise {:6.2} us",
                seconds * 1e6,
                bytes / seconds / 1e9,
                2.0 * (n * rows * cols) as f64 / seconds / 1e9,
                quantize * 1e6
            );
        }
    }
}

fn attentions(isa: Isa, threads: usize, (format, precision): (KvFormat, Precision), filter: &str) {
    let clock = SystemClock::new();
    let pool = Pool::new(threads);
    for (name, (heads, kv_heads, head_dim), sequences, tokens, past) in [
        ("smollm2 decode 128", (9, 3, 64), 1, 1, 127),
        ("smollm2 decode 2048", (9, 3, 64), 1, 1, 2047),
        ("smollm2 prefill 512", (9, 3, 64), 1, 512, 0),
        ("smollm2 prefill 512 at 2048", (9, 3, 64), 1, 512, 2048),
        ("smollm2 decode 8192", (9, 3, 64), 1, 1, 8191),
        ("smollm2 prefill 512 at 7680", (9, 3, 64), 1, 512, 7680),
        ("smollm2 8 decode 256", (9, 3, 64), 8, 1, 255),
        ("smollm2 8 decode 512", (9, 3, 64), 8, 1, 511),
        ("smollm2 8 decode 2048", (9, 3, 64), 8, 1, 2047),
        ("qwen 0.5b decode 2048", (14, 2, 64), 1, 1, 2047),
        ("qwen 0.5b prefill 512", (14, 2, 64), 1, 512, 0),
        ("qwen 0.5b 8 decode 512", (14, 2, 64), 8, 1, 511),
        ("qwen3 0.6b decode 2048", (16, 8, 128), 1, 1, 2047),
    ] {
        if !name.contains(filter) {
            continue;
        }
        let length: usize = past + tokens;
        let (blocks, rows) = (length.div_ceil(32), sequences * tokens);
        let layers = if tokens == 1 { 30 } else { 4 };
        let shape =
            KvShape { layers, kv_heads, head_dim, block_tokens: 32, blocks: sequences * blocks, format };
        let mut cache = KvCache::new(shape);
        // Sequences that grow together have their blocks in turn.
        let table = |sequence: usize| (0..blocks).map(|i| (i * sequences + sequence) as u32).collect();
        let tables: Vec<Vec<u32>> = (0..sequences).map(table).collect();
        let k = random(length * kv_heads * head_dim);
        for layer in 0..layers {
            for blocks in &tables {
                let all = [AttentionChunk { rows: 0..length, position: 0, blocks }];
                cache.write(isa, &pool, layer, &all, &k, &k);
            }
        }
        let q = random(rows * heads * head_dim);
        let mut out = q.clone();
        let chunk = |(sequence, blocks)| AttentionChunk {
            rows: sequence * tokens..(sequence + 1) * tokens,
            position: past,
            blocks,
        };
        let chunks: Vec<_> = tables.iter().map(Vec::as_slice).enumerate().map(chunk).collect();
        let mut layer = 0;
        let seconds = typical(&clock, Duration::from_millis(200), || {
            attention(isa, &pool, &cache, layer, &chunks, &q, 0.125, precision, &mut out);
            layer = (layer + 1) % layers;
        });
        let written = &random(rows * kv_heads * head_dim)[..];
        let write = typical(&clock, Duration::from_millis(50), || {
            cache.write(isa, &pool, 0, &chunks, written, written);
        });
        let pairs = (sequences * (0..tokens).map(|token| past + token + 1).sum::<usize>()) as f64;
        println!(
            "{name:28} {:9.2} us  {:6.1} GB/s of cache  {:6.1} GFLOP/s   write {:7.2} us",
            seconds * 1e6,
            (cache.bytes() / layers) as f64 / seconds / 1e9,
            4.0 * pairs * (heads * head_dim) as f64 / seconds / 1e9,
            write * 1e6
        );
    }
}

fn steps(isa: Isa, threads: usize) {
    let clock = SystemClock::new();
    let pool = Pool::new(threads);
    for n in [1, 8, 512] {
        let (x, weight) = (random(n * 576), random(576));
        let (gate, up) = (random(n * 1536), random(n * 1536));
        let mut out = vec![0.0; n * 576];
        let mut wide = vec![0.0; n * 1536];
        let table = random(32 * 512);
        let table = ops::RopeTable { cos: &table, sin: &table, rotary: 64 };
        let positions: Vec<usize> = (0..n).collect();
        let mut activations = Activations::new();
        let layout = CodeLayout { width: CodeWidth::Four, group: 32, zero_point: 0, has_min: true };
        let source = Random { rows: 16, cols: 576, layout: SourceLayout::Codes(layout) };
        let needs = PackedMatrix::pack(&source, isa, &pool).needs();
        let time = Duration::from_millis(30);
        let rms = typical(&clock, time, || ops::rms_norm(isa, &pool, &x, &weight, 1e-5, &mut out));
        let add = typical(&clock, time, || ops::add(isa, &pool, &mut out, &x));
        let silu = typical(&clock, time, || ops::silu_mul(isa, &pool, &gate, &up, &mut wide));
        let norm_q = typical(&clock, time, || {
            activations.prepare_rms_norm(isa, &pool, &x, &weight, 1e-5, needs);
        });
        let silu_q = typical(&clock, time, || {
            activations.prepare_silu_mul(isa, &pool, &gate, &up, 1536, needs);
        });
        let (wide_gate, wide_up) = (random(n * 4864), random(n * 4864));
        let wide_silu_q = typical(&clock, time, || {
            activations.prepare_silu_mul(isa, &pool, &wide_gate, &wide_up, 4864, needs);
        });
        let mut rope = |style| {
            typical(&clock, time, || ops::rope(isa, &pool, style, &mut out, 64, table, &positions)) * 1e6
        };
        println!(
            "n {n:3}: rms_norm {:.2}  add {:.2}  silu_mul {:.2}  norm+quantise {:.2}  silu+quantise {:.2}  of 4864 \
             {:.2}  rope interleaved {:.2}  half {:.2} us",
            rms * 1e6,
            add * 1e6,
            silu * 1e6,
            norm_q * 1e6,
            silu_q * 1e6,
            wide_silu_q * 1e6,
            rope(ops::RopeStyle::Interleaved),
            rope(ops::RopeStyle::HalfSplit),
        );
    }
    let logits = random(49152);
    let mut probabilities = logits.clone();
    let argmax = typical(&clock, Duration::from_millis(30), || {
        std::hint::black_box(ops::argmax(isa, &logits));
    });
    let softmax = typical(&clock, Duration::from_millis(30), || ops::softmax(isa, &mut probabilities));
    println!("49152 logits: argmax {:.1} us, softmax {:.1} us", argmax * 1e6, softmax * 1e6);
}

fn regions(threads: usize) {
    let clock = SystemClock::new();
    let pool = Pool::new(threads);
    for tasks in [2, 12] {
        let seconds = typical(&clock, Duration::from_millis(100), || {
            for _ in 0..1000 {
                pool.run(tasks, &|task| {
                    std::hint::black_box(task);
                });
            }
        });
        println!("an empty region of {tasks} tasks on {threads} threads: {:.2} us", seconds * 1e3);
    }
}

fn machine(isa: Isa, threads: usize) {
    let (clock, pool) = (SystemClock::new(), Pool::new(threads));
    let effort = limits::Effort { repetition: Duration::from_millis(100), repetitions: 5 };
    for (name, unit, rate) in [
        ("256 MiB", "GB/s", limits::bytes_per_second(isa, &pool, &clock, 256 << 20, effort)),
        ("64 MiB", "GB/s", limits::bytes_per_second(isa, &pool, &clock, 64 << 20, effort)),
        ("16 MiB", "GB/s", limits::bytes_per_second(isa, &pool, &clock, 16 << 20, effort)),
        ("8 MiB", "GB/s", limits::bytes_per_second(isa, &pool, &clock, 8 << 20, effort)),
        ("int8", "GOP/s", limits::int8_ops_per_second(isa, &pool, &clock, effort)),
        ("f32", "GFLOP/s", limits::f32_ops_per_second(isa, &pool, &clock, effort)),
    ] {
        let limits::Rate { median, min, max } = rate;
        println!("{name:8} {:8.1} {unit} ({:.1} to {:.1})", median / 1e9, min / 1e9, max / 1e9);
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let isa = arguments.next().and_then(|name| Isa::by_name(&name)).unwrap_or_else(Isa::best);
    let threads = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(2);
    let what = arguments.next().unwrap_or_else(|| "lpgao".to_owned());
    let filter = arguments.next().unwrap_or_default();
    println!("{}, {threads} threads", isa.name());
    for letter in what.chars() {
        match letter {
            'l' => machine(isa, threads),
            'g' => products(isa, threads, Precision::Sixteen, &filter),
            'm' => products(isa, threads, Precision::Mixed, &filter),
            'h' => products(isa, threads, Precision::Eight, &filter),
            'a' => attentions(isa, threads, (KvFormat::F16, Precision::Mixed), &filter),
            'q' => attentions(isa, threads, (KvFormat::Q8, Precision::Mixed), &filter),
            'e' => attentions(isa, threads, (KvFormat::Q8, Precision::Eight), &filter),
            'o' => steps(isa, threads),
            'p' => regions(threads),
            other => println!("{other}: l, g, h, m, a, q, e, o and p are allowed"),
        }
    }
}
