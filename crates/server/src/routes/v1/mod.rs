//! OpenAI's and DeepSeek's API.

pub(super) mod chat_completions;
pub(super) mod completions;
pub(super) mod detokenize;
pub(super) mod model;
pub(super) mod models;
pub(super) mod responses;
pub(super) mod tokenize;
pub(super) mod tokenizer_info;

use dialogue::Finish;
use wire::Usage;
use wire::chat::FinishReason;

use crate::app::App;
use crate::generation::Running;

/// What is the same in every chunk of a response.
struct Naming {
    id: String,
    /// Seconds since 1970-01-01 UTC.
    created: i64,
    model: String,
    fingerprint: String,
}

impl Naming {
    fn new(app: &App, prefix: &str, running: &Running) -> Self {
        Self {
            id: format!("{prefix}{}", app.random_name()),
            created: app.clock.unix_ms() / 1000,
            model: running.dialogue().name().to_owned(),
            // What is generated for a seed may change with the version, and with nothing else.
            fingerprint: format!("fp_cachalot_{}", env!("CARGO_PKG_VERSION")),
        }
    }
}

fn finish_reason(finish: &Finish) -> FinishReason {
    match finish {
        Finish::Stop | Finish::StopString(_) => FinishReason::Stop,
        Finish::ToolCalls => FinishReason::ToolCalls,
        Finish::Length => FinishReason::Length,
        Finish::Cancelled => FinishReason::Aborted,
        Finish::ShuttingDown | Finish::Displaced | Finish::Failed(_) => {
            FinishReason::InsufficientSystemResource
        }
    }
}

fn wire_usage(usage: dialogue::Usage) -> Usage {
    Usage::new(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.reasoning_tokens)
}

/// JSON has no infinity; the API has -9999.0 for a probability of 0.
fn wire_number(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { -9999.0 }
}
