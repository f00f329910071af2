//! `cachalot chat`: a conversation in the terminal, or one question from a script.

mod answer;
mod compose;
mod once;
mod order;
mod printer;
mod save;
mod session;
mod terminal;

use std::io::{IsTerminal as _, Read as _};
use std::num::NonZeroUsize;

use anyhow::{Context as _, bail, ensure};
use dialogue::{Dialogue, DialogueConfig, SamplingOverrides};
use models::library::ResolvedModel;

use crate::home::Context;
use crate::loading::{Loader, PackArguments, resolve_or_pull};
use crate::pull::text::printable;
use session::Session;

/// Largest question from a pipe, in bytes; more than any context holds.
const PIPED_BYTES_MAX: u64 = 16 << 20;

/// Talks with a model: in the terminal, or with a question from -p or from a pipe.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A name (see `cachalot list`) or a path to a GGUF file [default: the catalogue's default model].
    model: Option<String>,

    /// Ask this and print the answer; the reasoning goes to standard error.
    #[arg(short, long, value_name = "TEXT")]
    prompt: Option<String>,

    /// Instructions to the model.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// 0 for always the most probable token, up to 2 [default: the model's].
    #[arg(long, value_name = "NUMBER", value_parser = temperature, allow_negative_numbers = true)]
    temperature: Option<f32>,

    /// Choose among the most probable tokens that make up this much probability, 0 to 1 [default: the model's].
    #[arg(long, value_name = "NUMBER", value_parser = probability, allow_negative_numbers = true)]
    top_p: Option<f32>,

    /// Choose among this many most probable tokens; 0 for all [default: the model's].
    #[arg(long, value_name = "COUNT")]
    top_k: Option<usize>,

    /// Choose among tokens at least this probable, relative to the most probable one, 0 to 1 [default: the model's].
    #[arg(long, value_name = "NUMBER", value_parser = probability, allow_negative_numbers = true)]
    min_p: Option<f32>,

    /// Makes the answer reproducible.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,

    /// Most tokens of an answer, reasoning included [default: the rest of the context].
    #[arg(long, value_name = "COUNT")]
    max_tokens: Option<NonZeroUsize>,

    /// End the answer before this text; may be given up to 16 times.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,

    /// Answer without thinking first.
    #[arg(long, conflicts_with = "think")]
    no_think: bool,

    /// Think first, with a model that lets one choose.
    #[arg(long)]
    think: bool,

    /// Threads of the model [default: one per core].
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZeroUsize>,

    #[command(flatten)]
    packs: PackArguments,

    /// Print counts and speed to standard error after each answer.
    #[arg(long)]
    stats: bool,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let question = match &arguments.prompt {
        Some(prompt) => Some(prompt.clone()),
        None if interactive => None,
        None => Some(read_question()?),
    };
    if let Some(question) = &question {
        ensure!(
            !question.trim().is_empty(),
            "the question is empty; give one with -p TEXT or through a pipe"
        );
    }
    let session = session(&arguments);
    session.check_options()?;
    let loader = Loader::new(context, arguments.threads, DialogueConfig::single())
        .packs(arguments.packs.cache(context));
    let model = resolve_or_pull(context, arguments.model.as_deref())?;
    let dialogue = load(&loader, &model)?;
    match question {
        Some(question) => once::run(&dialogue, session, &question, arguments.stats),
        None => terminal::run(context, &loader, dialogue, session, arguments.stats),
    }
}

fn session(arguments: &Arguments) -> Session {
    let sampling = SamplingOverrides {
        temperature: arguments.temperature,
        top_p: arguments.top_p,
        top_k: arguments.top_k,
        min_p: arguments.min_p,
        seed: arguments.seed,
        ..SamplingOverrides::default()
    };
    Session {
        system: arguments.system.clone(),
        messages: Vec::new(),
        sampling,
        tokens_max: arguments.max_tokens.map(NonZeroUsize::get),
        stop: arguments.stop.clone(),
        thinking: match (arguments.think, arguments.no_think) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
    }
}

/// Loads, with a word about it on a terminal, as it may take a while.
fn load(loader: &Loader, model: &ResolvedModel) -> anyhow::Result<Dialogue> {
    announced(&model.name, || loader.load(model))
}

/// Does the work of loading a model with a word about it on a terminal.
fn announced<T>(name: &str, work: impl FnOnce() -> T) -> T {
    let note = std::io::stderr().is_terminal().then(|| format!("loading {} ...", printable(name)));
    if let Some(note) = &note {
        eprint!("{note}");
    }
    let loaded = work();
    if note.is_some() {
        // Back to the line's start and clear it.
        eprint!("\r\x1b[K");
    }
    loaded
}

/// The whole of standard input.
fn read_question() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(PIPED_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.context("standard input can't be read")?;
    if bytes.len() as u64 > PIPED_BYTES_MAX {
        bail!("standard input has more than {PIPED_BYTES_MAX} bytes, which no context holds");
    }
    String::from_utf8(bytes).context("standard input is not UTF-8 text")
}

fn temperature(text: &str) -> Result<f32, String> {
    number_in(text, 0.0, 2.0)
}

fn probability(text: &str) -> Result<f32, String> {
    number_in(text, 0.0, 1.0)
}

fn number_in(text: &str, low: f32, high: f32) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ => Err(format!("allowed are numbers between {low} and {high}")),
    }
}
