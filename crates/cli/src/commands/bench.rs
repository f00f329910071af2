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
    peak_rss_bytes: u64,
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
    model.allocate_kv(total.div_ceil(KV_BLOCK_TOKENS))?;
    let blocks: Vec<BlockId> = (0..total.div_ceil(KV_BLOCK_TOKENS) as u32).collect();
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
        peak_rss_bytes: peak_rss_bytes(),
    })
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
    use super::*;

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
