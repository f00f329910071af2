//! Messages to template to tokens to engine to text.
//!
//! A [`Dialogue`] is one loaded model that answers [`ChatRequest`]s: [`Dialogue::check`] renders and tokenises
//! without any work for the model, [`Dialogue::start`] queues the result, and the [`Answer`] gives the text as it
//! is generated, split into reasoning, content and calls of tools, cut at stop strings. What an answer may be (a form,
//! calls, a budget of reasoning) is compiled by `check` and held to token by token in `steer`. A [`Hub`] holds the
//! dialogues of a server and loads them on first use.

mod answer;
mod assemble;
mod calls;
mod dialogue;
mod error;
mod follow;
mod hub;
mod matcher;
mod memory;
mod profile;
mod prompt;
mod request;
mod speech;
mod split;
mod steer;
#[cfg(test)]
mod tests;

pub use answer::{
    Answer, AnswerEvent, Delta, Finish, Part, Timing, TokenLogprob, ToolCallStart, ToolDelta, TopLogprob,
    Usage,
};
pub use dialogue::{Dialogue, DialogueConfig, STEP_TOKENS_MAX};
pub use error::DialogueError;
pub use hub::{Hub, HubConfig, HubError, HubListing, ModelListing, ModelSource};
pub use profile::{Profile, Thinking};
pub use prompt::{Cost, Prompt};
pub use request::{
    Begun, ChatRequest, CompletionPrompt, CompletionRequest, Format, Message, Role, STOP_BYTES_MAX,
    STOPS_MAX, SamplingOverrides, Tool, ToolCall, ToolChoice,
};
pub use steer::{SCHEMA_BYTES_MAX, SCHEMA_DEPTH_MAX, TOOL_NAME_BYTES_MAX, TOOLS_MAX};

pub use engine::{
    CacheScope, EngineStats, FinishCounts, LATENCY_BOUNDS_SECONDS, LOGIT_BIAS_MAX, LOGPROBS_MAX,
    LatencyHistogram, Priority, SamplingParams,
};
pub use models::batch::ModelInfo;
pub use models::template::SpecialTexts;
