use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base::{Clock, Rng, TokenId};
use kernels::Isa;
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Model, Wanted};
use models::{LoadOptions, LoadedModel};
use serde::Serialize;

use crate::home::Context;
use crate::loading::resolve_or_pull;

/// Measures how fast a model runs on this machine: prefill, decode, time to first token, memory.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A catalogue name or the path of a GGUF file.
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// Tokens of the prompt.
    #[arg(short = 'p', long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    prompt_tokens: u32,
    /// Tokens to generate.
    #[arg(short = 'n', long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    new_tokens: u32,
    /// Threads [default: one per core].
    #[arg(short = 't', long)]
    threads: Option<usize>,
    /// Also generate for so many sequences at once, one batch a step.
    #[arg(short = 's', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    sequences: u32,
    /// Rounds, of which the median counts.
    #[arg(short = 'r', long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Instruction set: scalar, avx2 or avx512 [default: the best that the CPU has].
    #[arg(long)]
    isa: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    model: PathBuf,
    isa: &'static str,
    threads: usize,
    rounds: u32,
    weight_bytes: u64,
    load_ms: f64,
    /// From the start of loading to the first token after a prompt of `prefill.tokens`.
    ttft_cold_ms: f64,
    /// The same with the model loaded.
    ttft_ms: f64,
    prefill: Rate,
    decode: Rate,
    /// With `--sequences`.
    #[serde(skip_serializing_if = "Option::is_none")]
    together: Option<Together>,
    peak_rss_bytes: u64,
}

/// Sequences that generate in one batch, each after a prompt of `prefill.tokens`.
#[derive(Debug, Serialize)]
struct Together {
    sequences: usize,
    /// All of them together.
    total: Rate,
    /// Each one: they go in step.
    each: Rate,
}

/// A rate over rounds.
#[derive(Debug, Serialize)]
struct Rate {
    tokens: usize,
    tokens_s: f64,
    tokens_s_min: f64,
    tokens_s_max: f64,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    let path = resolve_or_pull(context, arguments.model.as_deref())?.path;
    let isa = match arguments.isa.as_deref() {
        None => Isa::best(),
        Some(name) => Isa::by_name(name)
            .with_context(|| format!("--isa {name} is not to be had here; available: {}", available()))?,
    };
    let threads = arguments.threads.unwrap_or(0);
    let clock = context.clock.as_ref();
    let started = clock.monotonic();
    let loaded = models::load(&path, &LoadOptions { threads, isa: Some(isa) })
        .with_context(|| format!("cannot load {}", path.display()))?;
    let load = clock.monotonic() - started;
    let report = measure(path, loaded, isa, load, arguments, clock)?;
    print(&report, arguments.json)
}

fn available() -> String {
    Isa::available().iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ")
}

fn measure(
    path: PathBuf,
    mut loaded: LoadedModel,
    isa: Isa,
    load: Duration,
    arguments: &Arguments,
    clock: &dyn Clock,
) -> Result<Report> {
    let (prompt_tokens, new_tokens) = (arguments.prompt_tokens as usize, arguments.new_tokens as usize);
    let total = prompt_tokens + new_tokens;
    if total > loaded.info.context_length {
        let context = loaded.info.context_length;
        bail!("{prompt_tokens} + {new_tokens} tokens don't fit the model's context of {context}");
    }
    let model = loaded.model.as_mut();
    let sequences = arguments.sequences as usize;
    let sequence_blocks = total.div_ceil(KV_BLOCK_TOKENS);
    model.allocate_kv(sequences * sequence_blocks)?;
    let blocks: Vec<BlockId> = (0..sequence_blocks as u32).collect();
    // Random tokens: the speed doesn't depend on which, and no cache of ours can cheat.
    let mut rng = Rng::from_seed(1);
    let prompt: Vec<TokenId> =
        (0..prompt_tokens).map(|_| rng.below(loaded.info.vocab_size) as TokenId).collect();
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    let mut logits = Vec::new();
    let mut step = |model: &mut dyn Model, tokens: &[TokenId], position| -> Result<Duration> {
        let start = clock.monotonic();
        let chunk = Chunk { tokens, position, blocks: &blocks, wanted: Wanted::Last };
        model.forward(&[chunk], &mut logits)?;
        Ok(clock.monotonic() - start)
    };
    let first = step(model, &prompt, 0)?;
    for _ in 0..arguments.rounds {
        prefill.push(step(model, &prompt, 0)?);
        let mut spent = Duration::ZERO;
        for i in 0..new_tokens {
            spent += step(model, &[prompt[i % prompt_tokens]], prompt_tokens + i)?;
        }
        decode.push(spent);
    }
    let lengths = (prompt_tokens, new_tokens);
    let together = (sequences > 1)
        .then(|| decode_together(model, &prompt, lengths, sequences, arguments.rounds, clock))
        .transpose()?;
    let prefill = rate(prompt_tokens, &mut prefill);
    Ok(Report {
        model: path,
        isa: isa.name(),
        threads: if arguments.threads.unwrap_or(0) == 0 { cores() } else { arguments.threads.unwrap_or(0) },
        rounds: arguments.rounds,
        weight_bytes: loaded.info.weight_bytes,
        load_ms: load.as_secs_f64() * 1e3,
        ttft_cold_ms: (load + first).as_secs_f64() * 1e3,
        ttft_ms: prompt_tokens as f64 / prefill.tokens_s * 1e3,
        prefill,
        decode: rate(new_tokens, &mut decode),
        together,
        peak_rss_bytes: peak_rss_bytes(),
    })
}

/// Generates for `sequences` at once after the same prompt, each with blocks of its own.
fn decode_together(
    model: &mut dyn Model,
    prompt: &[TokenId],
    (prompt_tokens, new_tokens): (usize, usize),
    sequences: usize,
    rounds: u32,
    clock: &dyn Clock,
) -> Result<Together> {
    let each = (prompt_tokens + new_tokens).div_ceil(KV_BLOCK_TOKENS);
    let blocks: Vec<BlockId> = (0..(sequences * each) as u32).collect();
    let mut logits = Vec::new();
    for blocks in blocks.chunks(each) {
        let chunk = Chunk { tokens: prompt, position: 0, blocks, wanted: Wanted::Last };
        model.forward(&[chunk], &mut logits)?;
    }
    let mut spent = Vec::new();
    for _ in 0..rounds {
        let start = clock.monotonic();
        for i in 0..new_tokens {
            let chunk = |(sequence, blocks)| {
                let at = (i + sequence) % prompt_tokens;
                let position = prompt_tokens + i;
                Chunk { tokens: &prompt[at..=at], position, blocks, wanted: Wanted::Last }
            };
            let chunks: Vec<Chunk<'_>> = blocks.chunks(each).enumerate().map(chunk).collect();
            model.forward(&chunks, &mut logits)?;
        }
        spent.push(clock.monotonic() - start);
    }
    let total = rate(sequences * new_tokens, &mut spent);
    Ok(Together { sequences, total, each: rate(new_tokens, &mut spent) })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Median, least and greatest rate. `spent` holds at least one round.
fn rate(tokens: usize, spent: &mut [Duration]) -> Rate {
    spent.sort_unstable();
    let of = |duration: Duration| tokens as f64 / duration.as_secs_f64().max(1e-9);
    Rate {
        tokens,
        tokens_s: of(spent[spent.len() / 2]),
        tokens_s_min: of(spent[spent.len() - 1]),
        tokens_s_max: of(spent[0]),
    }
}

/// Most memory that the process ever held; 0 where the system doesn't say.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn print(report: &Report, json: bool) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    let line = |name: &str, rate: &Rate| {
        let Rate { tokens, tokens_s, tokens_s_min, tokens_s_max } = rate;
        format!(
            "{name:<8} {tokens:>6} tokens  {tokens_s:>9.1} tokens/s  ({tokens_s_min:.1} to {tokens_s_max:.1})"
        )
    };
    writeln!(out, "{} ({}, {} threads)", report.model.display(), report.isa, report.threads)?;
    writeln!(out, "{}", line("prefill", &report.prefill))?;
    writeln!(out, "{}", line("decode", &report.decode))?;
    if let Some(Together { sequences, total, each }) = &report.together {
        writeln!(out, "{}", line(&format!("{sequences} at once"), total))?;
        writeln!(out, "{}", line("  each", each))?;
    }
    writeln!(
        out,
        "load     {:.0} ms, cold start to first token {:.0} ms, then {:.0} ms",
        report.load_ms, report.ttft_cold_ms, report.ttft_ms
    )?;
    writeln!(out, "memory   {} MiB at most", report.peak_rss_bytes >> 20)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use models::batch::{ModelError, ModelInfo};

    use super::*;

    /// Takes a second a step, and notes how many sequences each had.
    struct Slow {
        info: ModelInfo,
        steps: Vec<usize>,
        clock: std::sync::Arc<base::ManualClock>,
    }

    impl Model for Slow {
        fn info(&self) -> &ModelInfo {
            &self.info
        }

        fn allocate_kv(&mut self, _: usize) -> Result<(), ModelError> {
            Ok(())
        }

        fn forward(&mut self, chunks: &[Chunk<'_>], _: &mut Vec<f32>) -> Result<(), ModelError> {
            let mut blocks: Vec<BlockId> = chunks.iter().flat_map(|chunk| chunk.blocks).copied().collect();
            blocks.sort_unstable();
            assert!(blocks.is_sorted_by(|a, b| a < b), "sequences share blocks: {blocks:?}");
            self.steps.push(chunks.len());
            self.clock.advance(Duration::from_secs(1));
            Ok(())
        }
    }

    #[test]
    fn sequences_at_once_count_together_and_each() {
        let info = ModelInfo {
            architecture: "llama".to_owned(),
            vocab_size: 9,
            context_length: 99,
            layers: 1,
            kv_bytes_per_token: 1,
            weight_bytes: 1,
            parameters: 1,
        };
        let clock = std::sync::Arc::new(base::ManualClock::default());
        let mut model = Slow { info, steps: Vec::new(), clock: std::sync::Arc::clone(&clock) };
        let together = decode_together(&mut model, &[1, 2, 3], (3, 40), 8, 2, &*clock).unwrap();
        assert_eq!(model.steps, [vec![1; 8], vec![8; 80]].concat());
        assert_eq!((together.sequences, together.total.tokens, together.each.tokens), (8, 320, 40));
        assert!((together.total.tokens_s - 8.0).abs() < 1e-9 && (together.each.tokens_s - 1.0).abs() < 1e-9);
    }

    #[test]
    fn rates_are_medians() {
        let mut spent = [4, 1, 2].map(Duration::from_secs);
        let Rate { tokens_s, tokens_s_min, tokens_s_max, .. } = rate(8, &mut spent);
        assert!(
            (tokens_s - 4.0).abs() < 1e-9
                && (tokens_s_min - 2.0).abs() < 1e-9
                && (tokens_s_max - 8.0).abs() < 1e-9
        );
    }
}
