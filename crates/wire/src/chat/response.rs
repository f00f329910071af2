use serde::{Deserialize, Serialize};

use crate::usage::Usage;

/// The answer to a request that doesn't stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ChatCompletion {
    /// Names the answer.
    pub id: String,
    /// Always `chat.completion`.
    pub object: String,
    /// Seconds since 1970-01-01 UTC.
    pub created: i64,
    /// The model that answered.
    pub model: String,
    /// The answers, as many as were asked for.
    pub choices: Vec<Choice>,
    /// What it took.
    pub usage: Usage,
    /// Version of what answered.
    pub system_fingerprint: Option<String>,
}

impl ChatCompletion {
    /// A completion.
    pub fn new(id: String, created: i64, model: String, choices: Vec<Choice>, usage: Usage) -> Self {
        let object = "chat.completion".to_owned();
        Self { id, object, created, model, choices, usage, system_fingerprint: None }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Choice {
    /// Which answer, from 0.
    pub index: u32,
    /// What the model says.
    pub message: AnswerMessage,
    /// Log-probabilities, if they were asked for.
    pub logprobs: Option<Logprobs>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// What the model says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AnswerMessage {
    /// Always `assistant`.
    pub role: String,
    /// The answer; empty, not null, where it ended within the reasoning, and null where there are only calls.
    pub content: Option<String>,
    /// What the model thought before; absent for a model that doesn't think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reasoning_content: Option<String>,
    /// The tools that it calls; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// The call in the old form, where it was asked for in the old form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub function_call: Option<FunctionCall>,
}

impl AnswerMessage {
    /// A message of the assistant.
    pub fn new(content: String, reasoning_content: Option<String>) -> Self {
        Self {
            role: "assistant".to_owned(),
            content: Some(content),
            reasoning_content,
            tool_calls: Vec::new(),
            function_call: None,
        }
    }

    /// The same with calls of tools.
    #[must_use]
    pub fn calling(self, tool_calls: Vec<ToolCall>) -> Self {
        let only_calls = !tool_calls.is_empty();
        let content = self.content.filter(|content| !only_calls || !content.is_empty());
        Self { content, tool_calls, ..self }
    }

    /// The same with its calls in the old form, which has room for one.
    #[must_use]
    pub fn in_functions_form(self) -> Self {
        let function_call = self.tool_calls.into_iter().next().map(|call| call.function);
        Self { tool_calls: Vec::new(), function_call, ..self }
    }
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolCall {
    /// What the result is answered to.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is called.
    pub function: FunctionCall,
}

impl ToolCall {
    /// A call.
    pub fn new(id: String, name: String, arguments: String) -> Self {
        Self { id, kind: "function".to_owned(), function: FunctionCall { name, arguments } }
    }
}

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FunctionCall {
    /// The tool.
    pub name: String,
    /// The arguments, as JSON text.
    pub arguments: String,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// The same, in the old form.
    FunctionCall,
    /// The server could not go on.
    InsufficientSystemResource,
    /// It was cancelled.
    Aborted,
}

/// A piece of a streamed answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
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
    /// A chunk.
    pub fn new(id: &str, created: i64, model: &str, choices: Vec<ChunkChoice>) -> Self {
        Self {
            id: id.to_owned(),
            object: "chat.completion.chunk".to_owned(),
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
pub struct ChunkChoice {
    /// Which answer, from 0.
    pub index: u32,
    /// What is added.
    pub delta: Delta,
    /// Log-probabilities of the tokens that begin in it, if they were asked for.
    pub logprobs: Option<Logprobs>,
    /// Why the answer ended, in its last piece.
    pub finish_reason: Option<FinishReason>,
}

/// What a piece adds to the answer; never two of content, reasoning and calls in one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Delta {
    /// `assistant`, in the first piece.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub role: Option<String>,
    /// More of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub content: Option<String>,
    /// More of what the model thinks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reasoning_content: Option<String>,
    /// More of a call of a tool, at most one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCallDelta>,
    /// More of the call in the old form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub function_call: Option<FunctionDelta>,
}

impl Delta {
    /// The first piece: who speaks, and an empty text.
    pub fn role() -> Self {
        Self { role: Some("assistant".to_owned()), content: Some(String::new()), ..Self::default() }
    }

    /// More of the answer.
    pub fn content(text: impl Into<String>) -> Self {
        Self { content: Some(text.into()), ..Self::default() }
    }

    /// More of what the model thinks.
    pub fn reasoning(text: impl Into<String>) -> Self {
        Self { reasoning_content: Some(text.into()), ..Self::default() }
    }

    /// More of a call of a tool.
    pub fn call(call: ToolCallDelta) -> Self {
        Self { tool_calls: vec![call], ..Self::default() }
    }

    /// More of the call in the old form.
    pub fn function_call(function: FunctionDelta) -> Self {
        Self { function_call: Some(function), ..Self::default() }
    }
}

/// A piece of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ToolCallDelta {
    /// Which call of the answer, from 0.
    pub index: u32,
    /// In the first piece: what the result is answered to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub id: Option<String>,
    /// In the first piece: `function`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub kind: Option<String>,
    /// What is called.
    pub function: FunctionDelta,
}

impl ToolCallDelta {
    /// The first piece of a call.
    pub fn first(index: u32, id: String, name: String, arguments: String) -> Self {
        let function = FunctionDelta { name: Some(name), arguments };
        Self { index, id: Some(id), kind: Some("function".to_owned()), function }
    }

    /// A later piece.
    pub fn more(index: u32, arguments: String) -> Self {
        Self { index, id: None, kind: None, function: FunctionDelta { name: None, arguments } }
    }
}

/// A piece of what is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FunctionDelta {
    /// In the first piece: the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub name: Option<String>,
    /// More of the arguments, as JSON text.
    pub arguments: String,
}

/// Log-probabilities.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Logprobs {
    /// Of the answer's tokens.
    pub content: Option<Vec<LogprobToken>>,
    /// Of the reasoning's tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reasoning_content: Option<Vec<LogprobToken>>,
}

/// A token of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}
