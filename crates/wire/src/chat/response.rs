use serde::{Deserialize, Serialize};

/// The answer to a request that doesn't stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatCompletion {
    /// Names the answer.
    pub id: String,
    /// Always `chat.completion`.
    pub object: String,
    /// Seconds since 1970-01-01 UTC.
    pub created: i64,
    /// The model that answered.
    pub model: String,
    /// The answer; always one.
    pub choices: Vec<Choice>,
    /// What it took.
    pub usage: Usage,
    /// Version of what answered.
    pub system_fingerprint: Option<String>,
}

impl ChatCompletion {
    /// A completion with one choice.
    pub fn new(id: String, created: i64, model: String, choice: Choice, usage: Usage) -> Self {
        let object = "chat.completion".to_owned();
        Self { id, object, created, model, choices: vec![choice], usage, system_fingerprint: None }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Always 0.
    pub index: u32,
    /// What the model says.
    pub message: AnswerMessage,
    /// Log-probabilities, if they were asked for.
    pub logprobs: Option<Logprobs>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// What the model says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerMessage {
    /// Always `assistant`.
    pub role: String,
    /// The answer; empty, not null, where it ended within the reasoning.
    pub content: String,
    /// What the model thought before; absent for a model that doesn't think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
}

impl AnswerMessage {
    /// A message of the assistant.
    pub fn new(content: String, reasoning_content: Option<String>) -> Self {
        Self { role: "assistant".to_owned(), content, reasoning_content }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model ended it, or a stop string did.
    Stop,
    /// The token limit or the context is reached.
    Length,
    /// A filter cut it.
    ContentFilter,
    /// The model calls tools.
    ToolCalls,
    /// The server could not go on.
    InsufficientSystemResource,
    /// It was cancelled.
    Aborted,
}

/// A piece of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatCompletionChunk {
    /// Names the answer; the same in every chunk.
    pub id: String,
    /// Always `chat.completion.chunk`.
    pub object: String,
    /// Seconds since 1970-01-01 UTC; the same in every chunk.
    pub created: i64,
    /// The model that answers.
    pub model: String,
    /// The piece; empty in the last chunk of a stream with `include_usage`.
    pub choices: Vec<ChunkChoice>,
    /// What the answer took; in the last chunk.
    pub usage: Option<Usage>,
    /// Version of what answers.
    pub system_fingerprint: Option<String>,
}

impl ChatCompletionChunk {
    /// A chunk with one piece.
    pub fn piece(id: &str, created: i64, model: &str, choice: ChunkChoice) -> Self {
        Self::new(id, created, model, vec![choice], None)
    }

    /// The chunk that ends a stream with `include_usage`.
    pub fn usage(id: &str, created: i64, model: &str, usage: Usage) -> Self {
        Self::new(id, created, model, Vec::new(), Some(usage))
    }

    fn new(id: &str, created: i64, model: &str, choices: Vec<ChunkChoice>, usage: Option<Usage>) -> Self {
        Self {
            id: id.to_owned(),
            object: "chat.completion.chunk".to_owned(),
            created,
            model: model.to_owned(),
            choices,
            usage,
            system_fingerprint: None,
        }
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChunkChoice {
    /// Always 0.
    pub index: u32,
    /// What is added.
    pub delta: Delta,
    /// Log-probabilities of the tokens that begin in it, if they were asked for.
    pub logprobs: Option<Logprobs>,
    /// Why the answer ended, in its last piece.
    pub finish_reason: Option<FinishReason>,
}

/// What a piece adds to the answer; never content and reasoning in one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Delta {
    /// `assistant`, in the first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// More of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// More of what the model thinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
}

impl Delta {
    /// The first piece: who speaks, and an empty text.
    pub fn role() -> Self {
        Self { role: Some("assistant".to_owned()), content: Some(String::new()), reasoning_content: None }
    }

    /// More of the answer.
    pub fn content(text: impl Into<String>) -> Self {
        Self { content: Some(text.into()), ..Self::default() }
    }

    /// More of what the model thinks.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Self { reasoning_content: Some(text.into()), ..Self::default() }
    }
}

/// Log-probabilities.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Logprobs {
    /// Of the answer's tokens.
    pub content: Option<Vec<LogprobToken>>,
    /// Of the reasoning's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<Vec<LogprobToken>>,
}

/// A token of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogprobToken {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its bytes; a character may take several tokens.
    pub bytes: Vec<u8>,
    /// The most probable tokens in its place.
    pub top_logprobs: Vec<TopLogprob>,
}

/// A token that might have come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What an answer took, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the conversation: cache hits and misses.
    pub prompt_tokens: usize,
    /// Tokens generated, reasoning included.
    pub completion_tokens: usize,
    /// All of them.
    pub total_tokens: usize,
    /// Tokens of the conversation that were in the cache.
    pub prompt_cache_hit_tokens: usize,
    /// Tokens of the conversation that had to be read.
    pub prompt_cache_miss_tokens: usize,
    /// OpenAI's form of the same.
    pub prompt_tokens_details: PromptTokensDetails,
    /// What was generated.
    pub completion_tokens_details: CompletionTokensDetails,
}

impl Usage {
    /// The usage of an answer: `cached` of the prompt's tokens, `reasoning` of the completion's.
    pub fn new(prompt: usize, cached: usize, completion: usize, reasoning: usize) -> Self {
        let cached = cached.min(prompt);
        Self {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt.saturating_add(completion),
            prompt_cache_hit_tokens: cached,
            prompt_cache_miss_tokens: prompt - cached,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: cached },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: reasoning },
        }
    }
}

/// Of the prompt's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptTokensDetails {
    /// Those that were in the cache.
    pub cached_tokens: usize,
}

/// Of the completion's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletionTokensDetails {
    /// Those of the reasoning.
    pub reasoning_tokens: usize,
}
