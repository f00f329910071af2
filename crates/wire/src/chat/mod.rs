//! `POST /v1/chat/completions`.

mod messages;
mod request;
mod response;
mod tools;

pub use request::{ChatCompletionRequest, ReasoningEffort, TOP_LOGPROBS_MAX};
pub use response::{
    AnswerMessage, ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, Delta, FinishReason,
    FunctionCall, FunctionDelta, LogprobToken, Logprobs, ToolCall, ToolCallDelta, TopLogprob,
};

pub use crate::usage::{CompletionTokensDetails, PromptTokensDetails, Usage};
