//! `POST /v1/chat/completions`.

mod request;
mod response;

pub use request::{
    ChatCompletionRequest, LOGIT_BIAS_MAX, MESSAGES_MAX, ReasoningEffort, RequestMessage, RequestRole,
    STOPS_MAX, TOP_LOGPROBS_MAX,
};
pub use response::{
    AnswerMessage, ChatCompletion, ChatCompletionChunk, Choice, ChunkChoice, CompletionTokensDetails, Delta,
    FinishReason, LogprobToken, Logprobs, PromptTokensDetails, TopLogprob, Usage,
};
