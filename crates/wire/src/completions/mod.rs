//! `POST /v1/completions`: texts to continue, without a conversation around them.

mod request;
mod response;

pub use request::{CHOICES_MAX, CompletionInput, CompletionRequest, LOGPROBS_MAX, MAX_TOKENS, PROMPTS_MAX};
pub use response::{
    Completion, CompletionChoice, CompletionChunk, CompletionChunkChoice, CompletionLogprobs,
};
