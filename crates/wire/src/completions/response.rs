use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chat::FinishReason;
use crate::usage::Usage;

/// The answer to a request that doesn't stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Completion {
    /// Names the answer.
    pub id: String,
    /// Always `text_completion`.
    pub object: String,
    /// Seconds since 1970-01-01 UTC.
    pub created: i64,
    /// The model that answered.
    pub model: String,
    /// The answers: those to the first prompt, then those to the second.
    pub choices: Vec<CompletionChoice>,
    /// What it took.
    pub usage: Usage,
    /// Version of what answered.
    pub system_fingerprint: Option<String>,
}

impl Completion {
    /// A completion.
    pub fn new(
        id: String,
        created: i64,
        model: String,
        choices: Vec<CompletionChoice>,
        usage: Usage,
    ) -> Self {
        let object = "text_completion".to_owned();
        Self { id, object, created, model, choices, usage, system_fingerprint: None }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CompletionChoice {
    /// Which answer, from 0.
    pub index: u32,
    /// What continues the prompt, behind the prompt if that was asked for.
    pub text: String,
    /// Log-probabilities, if they were asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Log-probabilities in the form of this endpoint: lists of one length, an entry for each token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CompletionLogprobs {
    /// The tokens' texts. One that holds a part of a character is written `bytes:\xf0\x9f`.
    pub tokens: Vec<String>,
    /// Natural logarithms of their probabilities; null for the first token of a prompt, before which there is nothing,
    /// and for one of which the probability isn't known.
    pub token_logprobs: Vec<Option<f32>>,
    /// The most probable tokens in each one's place, and the one that is there; null where it has no probability.
    pub top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Where each token begins in the text, in characters.
    pub text_offset: Vec<usize>,
}

/// A piece of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CompletionChunk {
    /// Names the answer; the same in every chunk.
    pub id: String,
    /// Always `text_completion`.
    pub object: String,
    /// Seconds since 1970-01-01 UTC; the same in every chunk.
    pub created: i64,
    /// The model that answers.
    pub model: String,
    /// The piece; empty in the last chunk of a stream with `include_usage`.
    pub choices: Vec<CompletionChunkChoice>,
    /// What the answer took; in the last chunk.
    pub usage: Option<Usage>,
    /// Version of what answers.
    pub system_fingerprint: Option<String>,
}

impl CompletionChunk {
    /// A chunk.
    pub fn new(id: &str, created: i64, model: &str, choices: Vec<CompletionChunkChoice>) -> Self {
        Self {
            id: id.to_owned(),
            object: "text_completion".to_owned(),
            created,
            model: model.to_owned(),
            choices,
            usage: None,
            system_fingerprint: None,
        }
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CompletionChunkChoice {
    /// Which answer, from 0.
    pub index: u32,
    /// More of the text.
    pub text: String,
    /// Log-probabilities of the tokens that begin in it, if they were asked for.
    pub logprobs: Option<CompletionLogprobs>,
    /// Why the answer ended, in its last piece.
    pub finish_reason: Option<FinishReason>,
}
