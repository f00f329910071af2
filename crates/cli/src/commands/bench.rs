mod limits;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base::{Clock, Rng, TokenId};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use kernels::limits::Rate as Spread;
use kernels::{Isa, KvFormat, Precision};
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Model, Wanted};
use models::packs::UnsavedPack;
use models::profile::Profiler;
use models::{LoadOptions, LoadedModel};

use crate::home::Context;
use crate::loading::{PackArguments, resolve_or_pull};
use report::{Rate, Report, Together};

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
    /// Instruction set: scalar, avx2, avxvnni, avx512 or neon [default: the best that the CPU has].
    #[arg(long)]
    isa: Option<String>,
    /// Bits that the inputs of integer products are rounded to: 16 is exact, 8 is faster for prompts, mixed is 16 where
    /// there are outliers.
    #[arg(long, default_value = "mixed", value_parser = activations())]
    activations: Precision,
    /// How keys and values are kept, f16 or q8, which takes little more than half the bytes [default: as the server does,
    /// what is fastest on this CPU].
    #[arg(long, value_parser = kv_format())]
    kv: Option<KvFormat>,
    #[command(flatten)]
    packs: PackArguments,
    /// Don't measure what the machine could do at most.
    #[arg(long)]
    no_limits: bool,
    /// Also print where the time goes: for each operation its time, bytes/s and operations/s.
    #[arg(long)]
    profile: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    fn kv_format(&self, isa: Isa) -> KvFormat {
        self.kv.unwrap_or_else(|| KvFormat::fastest(isa))
    }
}

/// What `--activations` takes, as the precision that it means.
fn activations() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(["8", "mixed", "16"]).map(|bits| match bits.as_str() {
        "8" => Precision::Eight,
        "16" => Precision::Sixteen,
        _ => Precision::Mixed,
    })
}

fn kv_format() -> impl TypedValueParser<Value = KvFormat> {
    PossibleValuesParser::new(KvFormat::ALL.map(KvFormat::name))
        .map(|name| KvFormat::by_name(&name).unwrap_or_default())
}

/// Tokens of a prompt that run in one step, as the engine has it for small models.
const CHUNK_TOKENS: usize = dialogue::STEP_TOKENS_MAX;

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
    let profiler = arguments.profile.then(|| Arc::new(Profiler::new(Arc::clone(&context.clock))));
    let precision = arguments.activations;
    let kv_format = arguments.kv_format(isa);
    let packs = arguments.packs.cache(context);
    let options =
        LoadOptions { threads, isa: Some(isa), precision, kv_format, profiler: profiler.clone(), packs };
    let mut loaded =
        models::load(&path, &options).with_context(|| format!("cannot load {}", path.display()))?;
    let load = clock.monotonic() - started;
    if let Some(Err(error)) = loaded.unsaved_pack.take().map(UnsavedPack::save) {
        eprintln!("(the packed weights aren't kept: {error})");
    }
    let work = loaded.model.work();
    let kv_bytes = loaded.info.kv_bytes_per_token;
    let mut report = measure(path, loaded, isa, load, arguments, profiler.as_deref(), clock)?;
    if !arguments.no_limits {
        // Last, and after memory was looked at: the arrays that are read are large.
        report.add_limits(limits::measure(isa, report.threads, clock), work, kv_bytes);
    }
    report::print(&report, arguments.json)
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
    profiler: Option<&Profiler>,
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
    let mut one = Sequence { model, blocks: &blocks, logits: Vec::new(), clock };
    let first = one.prefill(&prompt)?;
    let take_profile = |profile: &mut Vec<_>, phase| {
        profile.extend(profiler.into_iter().flat_map(Profiler::take).map(|cost| (phase, cost)));
    };
    take_profile(&mut Vec::new(), "");
    let mut profile = Vec::new();
    let prefill = (0..arguments.rounds).map(|_| one.prefill(&prompt)).collect::<Result<Vec<_>>>()?;
    take_profile(&mut profile, "prefill");
    let decode =
        (0..arguments.rounds).map(|_| one.decode(&prompt, new_tokens)).collect::<Result<Vec<_>>>()?;
    take_profile(&mut profile, "decode");
    let lengths = (prompt_tokens, new_tokens);
    let together = (sequences > 1)
        .then(|| decode_together(model, &prompt, lengths, sequences, arguments.rounds, clock, profiler))
        .transpose()?;
    take_profile(&mut profile, "at once");
    let ms = |duration: &Duration| duration.as_secs_f64() * 1e3;
    Ok(Report {
        model: path,
        isa: isa.name(),
        threads: arguments.threads.filter(|&threads| threads > 0).unwrap_or_else(cores),
        activations: arguments.activations.name(),
        kv: arguments.kv_format(isa).name(),
        rounds: arguments.rounds,
        weight_bytes: loaded.info.weight_bytes,
        limits: None,
        load_ms: ms(&load),
        ttft_cold_ms: ms(&(load + first)),
        ttft_ms: Spread::of(prefill.iter().map(ms).collect()),
        prefill: rate(prompt_tokens, &prefill),
        decode: rate(new_tokens, &decode),
        together,
        profile: profiler.map(|_| profile.iter().map(report::profile_line).collect()),
        peak_rss_bytes: peak_rss_bytes(),
    })
}

/// A sequence that has the cache for itself.
struct Sequence<'a> {
    model: &'a mut dyn Model,
    blocks: &'a [BlockId],
    logits: Vec<f32>,
    clock: &'a dyn Clock,
}

impl Sequence<'_> {
    /// Time to the logits after a prompt.
    fn prefill(&mut self, prompt: &[TokenId]) -> Result<Duration> {
        let start = self.clock.monotonic();
        let last = prompt.len().div_ceil(CHUNK_TOKENS) - 1;
        for (index, tokens) in prompt.chunks(CHUNK_TOKENS).enumerate() {
            self.step(tokens, index * CHUNK_TOKENS, if index == last { Wanted::Last } else { Wanted::None })?;
        }
        Ok(self.clock.monotonic().saturating_sub(start))
    }

    /// Time of `new_tokens` steps of one token each after a prompt.
    fn decode(&mut self, prompt: &[TokenId], new_tokens: usize) -> Result<Duration> {
        let start = self.clock.monotonic();
        for i in 0..new_tokens {
            self.step(&[prompt[i % prompt.len()]], prompt.len() + i, Wanted::Last)?;
        }
        Ok(self.clock.monotonic().saturating_sub(start))
    }

    fn step(&mut self, tokens: &[TokenId], position: usize, wanted: Wanted) -> Result<()> {
        let chunk = Chunk { tokens, position, blocks: self.blocks, wanted };
        Ok(self.model.forward(&[chunk], &mut self.logits)?)
    }
}

/// Generates for `sequences` at once after the same prompt, each with blocks of its own.
fn decode_together(
    model: &mut dyn Model,
    prompt: &[TokenId],
    (prompt_tokens, new_tokens): (usize, usize),
    sequences: usize,
    rounds: u32,
    clock: &dyn Clock,
    profiler: Option<&Profiler>,
) -> Result<Together> {
    let each = (prompt_tokens + new_tokens).div_ceil(KV_BLOCK_TOKENS);
    let blocks: Vec<BlockId> = (0..(sequences * each) as u32).collect();
    let mut logits = Vec::new();
    for blocks in blocks.chunks(each) {
        let chunk = Chunk { tokens: prompt, position: 0, blocks, wanted: Wanted::Last };
        model.forward(&[chunk], &mut logits)?;
    }
    // What reading the prompts took is another phase's.
    profiler.map(Profiler::take);
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
    let total = rate(sequences * new_tokens, &spent);
    Ok(Together { sequences, total, each: rate(new_tokens, &spent) })
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The rate of `tokens` in each of `spent`, which holds at least one round.
fn rate(tokens: usize, spent: &[Duration]) -> Rate {
    let of = |duration: &Duration| tokens as f64 / duration.as_secs_f64().max(1e-9);
    Rate { tokens, tokens_s: Spread::of(spent.iter().map(of).collect()), limit: None }
}

/// Most memory that the process ever held; 0 where the system doesn't say.
fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
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

    fn info() -> ModelInfo {
        ModelInfo {
            architecture: "llama".to_owned(),
            vocab_size: 9,
            context_length: 99,
            layers: 1,
            kv_bytes_per_token: 1,
            weight_bytes: 1,
            parameters: 1,
        }
    }

    #[test]
    fn sequences_at_once_count_together_and_each() {
        let clock = std::sync::Arc::new(base::ManualClock::default());
        let mut model = Slow { info: info(), steps: Vec::new(), clock: std::sync::Arc::clone(&clock) };
        let together = decode_together(&mut model, &[1, 2, 3], (3, 40), 8, 2, &*clock, None).unwrap();
        assert_eq!(model.steps, [vec![1; 8], vec![8; 80]].concat());
        assert_eq!((together.sequences, together.total.tokens, together.each.tokens), (8, 320, 40));
        let (total, each) = (together.total.tokens_s, together.each.tokens_s);
        assert!((total.median - 8.0).abs() < 1e-9 && (each.median - 1.0).abs() < 1e-9);
    }

    #[test]
    fn roundings_of_activations_are_read_by_their_bits() {
        #[derive(clap::Parser)]
        struct Bench {
            #[command(flatten)]
            arguments: Arguments,
        }
        let parse = |words: &[&str]| Bench::try_parse_from([&["bench"], words].concat());
        assert_eq!(parse(&[]).unwrap().arguments.activations, Precision::default());
        for (bits, precision) in ["8", "mixed", "16"].into_iter().zip(Precision::ALL) {
            let parsed = parse(&["--activations", bits]).unwrap();
            assert_eq!(parsed.arguments.activations, precision);
        }
        let error = parse(&["--activations", "12"]).err().unwrap().to_string();
        assert!(error.contains("8, mixed, 16"), "{error}");
    }

    #[test]
    fn kinds_of_cache_are_read_by_their_names() {
        #[derive(clap::Parser)]
        struct Bench {
            #[command(flatten)]
            arguments: Arguments,
        }
        let parse = |words: &[&str]| Bench::try_parse_from([&["bench"], words].concat());
        for isa in Isa::available() {
            assert_eq!(parse(&[]).unwrap().arguments.kv_format(isa), KvFormat::fastest(isa));
        }
        for format in KvFormat::ALL {
            let arguments = parse(&["--kv", format.name()]).unwrap().arguments;
            assert!(Isa::available().into_iter().all(|isa| arguments.kv_format(isa) == format));
        }
        let error = parse(&["--kv", "q4"]).err().unwrap().to_string();
        assert!(error.contains("f16, q8"), "{error}");
    }

    #[test]
    fn rates_are_medians() {
        let Spread { median, min, max } = rate(8, &[4, 1, 2].map(Duration::from_secs)).tokens_s;
        assert!((median - 4.0).abs() < 1e-9 && (min - 2.0).abs() < 1e-9 && (max - 8.0).abs() < 1e-9);
    }

    #[test]
    fn long_prompts_run_in_chunks_and_want_logits_once() {
        let clock = std::sync::Arc::new(base::ManualClock::default());
        let mut model = Slow { info: info(), steps: Vec::new(), clock: std::sync::Arc::clone(&clock) };
        let prompt = vec![0; 2 * CHUNK_TOKENS + 1];
        let mut one = Sequence { model: &mut model, blocks: &[0], logits: Vec::new(), clock: &*clock };
        assert_eq!(one.prefill(&prompt).unwrap(), Duration::from_secs(3));
        assert_eq!(one.decode(&prompt, 5).unwrap(), Duration::from_secs(5));
        assert_eq!(model.steps, [1; 8]);
    }
}
