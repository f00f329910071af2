use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What stands in the place of a signature under thoughts. Nothing here signs them: they are taken back as they are,
/// signed or not, so a signature would say nothing.
pub const UNSIGNED: &str = "unsigned";

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicMessage)]
pub struct Message {
    /// Names the answer, `msg_...`.
    pub id: String,
    /// Always `message`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Always `assistant`.
    pub role: String,
    /// The model that answers.
    pub model: String,
    /// What it says: thoughts, then text, then calls of tools; each may be missing.
    pub content: Vec<ContentBlock>,
    /// Why it ended; `null` at the beginning of a stream.
    pub stop_reason: Option<StopReason>,
    /// The stop sequence that ended it.
    pub stop_sequence: Option<String>,
    /// What it took.
    pub usage: Usage,
}

impl Message {
    /// A message that has ended.
    pub fn new(
        id: impl Into<String>,
        model: impl Into<String>,
        content: Vec<ContentBlock>,
        (stop_reason, stop_sequence): (StopReason, Option<String>),
        usage: Usage,
    ) -> Self {
        let stop_reason = Some(stop_reason);
        Self { content, stop_reason, stop_sequence, ..Self::begun(id, model, usage) }
    }

    /// A message that begins.
    pub fn begun(id: impl Into<String>, model: impl Into<String>, usage: Usage) -> Self {
        Self {
            id: id.into(),
            kind: "message".to_owned(),
            role: "assistant".to_owned(),
            model: model.into(),
            content: Vec::new(),
            stop_reason: None,
            stop_sequence: None,
            usage,
        }
    }
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicContentBlock)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ContentBlock {
    /// What the model thinks before it answers.
    Thinking {
        /// The thoughts; empty where they were to be left out.
        thinking: String,
        /// [`UNSIGNED`]
        signature: String,
    },
    /// The answer.
    Text {
        /// Its text.
        text: String,
    },
    /// A call of a tool.
    ToolUse {
        /// What the result is answered to.
        id: String,
        /// The tool.
        name: String,
        /// The arguments, an object.
        input: Value,
    },
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicStopReason)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model ended it.
    EndTurn,
    /// `max_tokens` is reached.
    MaxTokens,
    /// A stop sequence ended it.
    StopSequence,
    /// The model has called tools and waits for what they give back.
    ToolUse,
    /// The model may not answer.
    Refusal,
    /// The context is full, before `max_tokens` is reached.
    ModelContextWindowExceeded,
}

/// What an answer took, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicUsage)]
pub struct Usage {
    /// Tokens of the conversation that had to be read.
    pub input_tokens: usize,
    /// Always 0: that something was read costs no more because it is kept.
    pub cache_creation_input_tokens: usize,
    /// Tokens of the conversation that were in the cache. Not among `input_tokens`.
    pub cache_read_input_tokens: usize,
    /// Tokens generated, thoughts included.
    pub output_tokens: usize,
    /// Of the tokens generated.
    pub output_tokens_details: OutputTokensDetails,
}

impl Usage {
    /// The usage of an answer: `cached` of the prompt's tokens, `thinking` of the output's.
    pub fn new(prompt: usize, cached: usize, output: usize, thinking: usize) -> Self {
        let cached = cached.min(prompt);
        Self {
            input_tokens: prompt - cached,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: cached,
            output_tokens: output,
            output_tokens_details: OutputTokensDetails { thinking_tokens: thinking },
        }
    }
}

/// Of the tokens generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicOutputTokensDetails)]
pub struct OutputTokensDetails {
    /// Those of the thoughts.
    pub thinking_tokens: usize,
}

/// The answer to `POST /v1/messages/count_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = AnthropicInputTokens)]
pub struct InputTokens {
    /// Tokens of the conversation, as the model would be shown it.
    pub input_tokens: usize,
}
