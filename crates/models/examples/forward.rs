//! Measures a model's forward pass without the rest of the program: `cargo run --release -p cachalot-models --example
//! forward -- MODEL [threads] [prompt] [new] [rounds] [8-bit|mixed|16-bit] [isa] [f16|q8] [sequences]`. Prints tokens/s and where
//! the time goes: of a prompt, of one sequence that goes on from it, and of several at once.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use base::{Clock, Rng, SystemClock, TokenId};
use kernels::{Isa, KvFormat, Precision};
use models::LoadOptions;
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Wanted};
use models::profile::{Cost, Profiler};

/// Tokens of a prompt in a step.
const STEP: usize = 256;
/// By how many tokens the beginnings of sequences lie apart.
const APART: usize = 13;

fn print(what: &str, tokens: usize, mut times: Vec<f64>, costs: &[(&str, Cost)]) {
    times.sort_by(f64::total_cmp);
    let of = |seconds: f64| tokens as f64 / seconds;
    let (median, least, most) = (of(times[times.len() / 2]), of(times[times.len() - 1]), of(times[0]));
    println!("{what:8} {median:9.1} tokens/s ({least:.1} to {most:.1})");
    let all: f64 = costs.iter().map(|(_, cost)| cost.time.as_secs_f64()).sum();
    for (name, cost) in costs {
        let seconds = cost.time.as_secs_f64();
        println!(
            "    {name:10} {:5.1} %  {:9.2} us/call  {:7.1} GB/s  {:7.1} GOP/s",
            100.0 * seconds / all,
            1e6 * seconds / cost.calls as f64,
            cost.bytes as f64 / seconds / 1e9,
            cost.operations as f64 / seconds / 1e9
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default| arguments.get(index).and_then(|x| x.parse().ok()).unwrap_or(default);
    let path = arguments.first().expect("the path of a GGUF file");
    let (threads, prompt, new, rounds) = (number(1, 2), number(2, 512), number(3, 128), number(4, 3));
    let precision = arguments.get(5).and_then(|name| Precision::by_name(name)).unwrap_or_default();
    let isa = arguments.get(6).and_then(|name| Isa::by_name(name));
    let sequences = number(8, 1);
    let kv_format = arguments.get(7).and_then(|name| KvFormat::by_name(name)).unwrap_or_default();
    let clock = Arc::new(SystemClock::new());
    let profiler = Arc::new(Profiler::new(Arc::clone(&clock) as Arc<dyn Clock>));
    let profiled = Some(Arc::clone(&profiler));
    let options =
        LoadOptions { threads, isa, precision, kv_format, profiler: profiled, ..LoadOptions::default() };
    let mut loaded = models::load(Path::new(path), &options).expect("a model");
    let model = loaded.model.as_mut();
    let of_sequence = (prompt + new).div_ceil(KV_BLOCK_TOKENS);
    let all_blocks: Vec<BlockId> = (0..(of_sequence * sequences) as BlockId).collect();
    model.allocate_kv(all_blocks.len()).expect("room for the cache");
    // Each sequence begins elsewhere in these.
    let mut rng = Rng::from_seed(1);
    let vocab_size = loaded.info.vocab_size;
    let tokens: Vec<TokenId> =
        (0..prompt + new + APART * sequences).map(|_| rng.below(vocab_size) as TokenId).collect();
    let mut logits = Vec::new();
    let mut step = |positions: Range<usize>, count: usize| {
        let start = clock.monotonic();
        let of = |(index, blocks)| Chunk {
            tokens: &tokens[APART * index..][positions.clone()],
            position: positions.start,
            blocks,
            wanted: Wanted::Last,
        };
        let chunks: Vec<_> = all_blocks.chunks(of_sequence).take(count).enumerate().map(of).collect();
        model.forward(&chunks, &mut logits).expect("a step");
        (clock.monotonic() - start).as_secs_f64()
    };
    let mut prefill = |count| -> f64 {
        let starts = (0..prompt).step_by(STEP);
        starts.map(|start| step(start..prompt.min(start + STEP), count)).sum()
    };
    prefill(sequences);
    profiler.take();
    let times = (0..rounds).map(|_| prefill(1)).collect();
    print("prefill", prompt, times, &profiler.take());
    for (what, count) in [("decode", 1), ("at once", sequences)].into_iter().take(sequences) {
        let mut decode = || -> f64 { (prompt..prompt + new).map(|at| step(at..at + 1, count)).sum() };
        let times = (0..rounds).map(|_| decode()).collect();
        print(what, new * count, times, &profiler.take());
    }
}
