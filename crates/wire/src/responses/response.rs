use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::request::{Reasoning, ResponsesRequest, TextFormat, ToolChoice, Truncation, Verbosity};
use crate::turns::{Function, FunctionChoice};

/// A response, whole or as far as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesResponseObject)]
pub struct ResponseObject {
    /// Names it, `resp_...`.
    pub id: String,
    /// Always `response`.
    pub object: String,
    /// Seconds since 1970-01-01 UTC.
    pub created_at: i64,
    /// Seconds since 1970-01-01 UTC, once it is complete.
    pub completed_at: Option<i64>,
    /// How far it is.
    pub status: Status,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// Why it is incomplete.
    pub incomplete_details: Option<IncompleteDetails>,
    /// As the request has it.
    pub instructions: Option<String>,
    /// As the request has it.
    pub max_output_tokens: Option<u32>,
    /// Always `null`: nothing here calls tools by itself.
    pub max_tool_calls: Option<u32>,
    /// The model that answers.
    pub model: String,
    /// What it says: thoughts, then a message, then calls of functions; each may be missing.
    pub output: Vec<OutputItem>,
    /// As the request has it.
    pub parallel_tool_calls: bool,
    /// Always `null`: nothing is kept.
    pub previous_response_id: Option<String>,
    /// As the request has it.
    pub prompt_cache_key: Option<String>,
    /// As the request has it.
    pub reasoning: Reasoning,
    /// As the request has it.
    pub safety_identifier: Option<String>,
    /// Always `default`.
    pub service_tier: String,
    /// Always false: nothing is kept.
    pub store: bool,
    /// Always false.
    pub background: bool,
    /// As the request has it; `null` for the model's habit.
    pub temperature: Option<f32>,
    /// As the request has it.
    pub text: Text,
    /// As the request has it.
    pub tool_choice: Value,
    /// As the request has them.
    pub tools: Vec<Tool>,
    /// As the request has it.
    pub top_logprobs: u32,
    /// As the request has it; `null` for the model's habit.
    pub top_p: Option<f32>,
    /// Always `disabled`.
    pub truncation: Truncation,
    /// What it took, once it has ended.
    pub usage: Option<Usage>,
    /// As the request has it.
    pub user: Option<String>,
    /// As the request has it.
    pub metadata: Map<String, Value>,
}

impl ResponseObject {
    /// The beginning of the response to a request.
    pub fn begun(
        id: impl Into<String>,
        created_at: i64,
        model: impl Into<String>,
        asked: &ResponsesRequest,
    ) -> Self {
        Self {
            id: id.into(),
            object: "response".to_owned(),
            created_at,
            completed_at: None,
            status: Status::InProgress,
            error: None,
            incomplete_details: None,
            instructions: asked.instructions.clone(),
            max_output_tokens: asked.max_output_tokens,
            max_tool_calls: None,
            model: model.into(),
            output: Vec::new(),
            parallel_tool_calls: asked.parallel_tool_calls,
            previous_response_id: None,
            prompt_cache_key: asked.prompt_cache_key.clone(),
            reasoning: asked.reasoning,
            safety_identifier: asked.safety_identifier.clone(),
            service_tier: "default".to_owned(),
            store: false,
            background: false,
            temperature: asked.temperature,
            text: Text { format: asked.format.clone(), verbosity: asked.verbosity },
            tool_choice: choice(&asked.tool_choice),
            tools: asked.tools.iter().map(Tool::new).collect(),
            top_logprobs: asked.top_logprobs.unwrap_or(0),
            top_p: asked.top_p,
            truncation: Truncation::Disabled,
            usage: None,
            user: asked.user.clone(),
            metadata: asked.metadata.clone(),
        }
    }
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::All(FunctionChoice::Auto) => json!("auto"),
        ToolChoice::All(FunctionChoice::None) => json!("none"),
        ToolChoice::All(FunctionChoice::Required) => json!("required"),
        ToolChoice::All(FunctionChoice::Named(name)) => json!({"type": "function", "name": name}),
        ToolChoice::Allowed { required, names } => {
            let tools: Vec<_> = names.iter().map(|name| json!({"type": "function", "name": name})).collect();
            json!({"type": "allowed_tools", "mode": if *required { "required" } else { "auto" }, "tools": tools})
        }
    }
}

/// How far a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesStatus)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is being written.
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut; `incomplete_details` says why.
    Incomplete,
    /// It broke off; `error` says why.
    Failed,
}

/// Why a response failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesResponseError)]
pub struct ResponseError {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// Why a response failed, in the few words that OpenAI's API has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesErrorCode)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The server could not go on.
    ServerError,
    /// There was too much to do.
    RateLimitExceeded,
}

/// Why a response is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesIncompleteDetails)]
pub struct IncompleteDetails {
    /// Why.
    pub reason: IncompleteReason,
}

/// Why a response is incomplete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesIncompleteReason)]
#[serde(rename_all = "snake_case")]
pub enum IncompleteReason {
    /// The token limit, or the context, is reached.
    MaxOutputTokens,
}

/// How the text is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesText)]
pub struct Text {
    /// Its form.
    pub format: TextFormat,
    /// How long; a hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub verbosity: Option<Verbosity>,
}

/// A tool as the response gives it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesTool)]
pub struct Tool {
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub parameters: Value,
    /// Whether arguments are valid by the schema.
    pub strict: bool,
}

impl Tool {
    fn new(function: &Function) -> Self {
        let Function { name, description, parameters, strict } = function.clone();
        Self { kind: "function".to_owned(), name, description, parameters, strict }
    }
}

/// A part of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesOutputItem)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum OutputItem {
    /// What the model thinks before it answers.
    Reasoning {
        /// Names it, `rs_...`.
        id: String,
        /// Always empty: nothing is summed up.
        summary: Vec<Value>,
        /// The thoughts, one part.
        content: Vec<Content>,
        /// Always `null`: they are given as they are.
        encrypted_content: Option<String>,
        /// How far it is.
        status: ItemStatus,
    },
    /// The answer.
    Message {
        /// Names it, `msg_...`.
        id: String,
        /// How far it is.
        status: ItemStatus,
        /// Always `assistant`.
        role: String,
        /// Its text, one part.
        content: Vec<Content>,
    },
    /// A call of a function.
    FunctionCall {
        /// Names it, `fc_...`.
        id: String,
        /// What the result is answered to.
        call_id: String,
        /// The function.
        name: String,
        /// The arguments, as JSON text.
        arguments: String,
        /// How far it is.
        status: ItemStatus,
    },
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesItemStatus)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It is being written.
    InProgress,
    /// It is whole.
    Completed,
    /// It was cut.
    Incomplete,
}

/// A part of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesContent)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Content {
    /// Text of an answer.
    OutputText {
        /// The text.
        text: String,
        /// Always empty.
        annotations: Vec<Value>,
        /// Log-probabilities; empty if they were not asked for.
        logprobs: Vec<Logprob>,
    },
    /// Thoughts.
    ReasoningText {
        /// The text.
        text: String,
    },
}

/// A token of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesLogprob)]
pub struct Logprob {
    /// Its text.
    pub token: String,
    /// Its bytes; a character may take several tokens.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability; -9999 for none.
    pub logprob: f32,
    /// The most probable tokens in its place.
    pub top_logprobs: Vec<TopLogprob>,
}

/// A token that might have come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesTopLogprob)]
pub struct TopLogprob {
    /// Its text.
    pub token: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability; -9999 for none.
    pub logprob: f32,
}

/// What a response took, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesUsage)]
pub struct Usage {
    /// Tokens of the conversation.
    pub input_tokens: usize,
    /// Of the conversation's tokens.
    pub input_tokens_details: InputTokensDetails,
    /// Tokens generated, thoughts included.
    pub output_tokens: usize,
    /// Of the tokens generated.
    pub output_tokens_details: OutputTokensDetails,
    /// All of them.
    pub total_tokens: usize,
}

impl Usage {
    /// The usage of a response: `cached` of the input's tokens, `reasoning` of the output's.
    pub fn new(input: usize, cached: usize, output: usize, reasoning: usize) -> Self {
        Self {
            input_tokens: input,
            input_tokens_details: InputTokensDetails {
                cached_tokens: cached.min(input),
                cache_write_tokens: 0,
            },
            output_tokens: output,
            output_tokens_details: OutputTokensDetails { reasoning_tokens: reasoning },
            total_tokens: input.saturating_add(output),
        }
    }
}

/// Of the conversation's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesInputTokensDetails)]
pub struct InputTokensDetails {
    /// Those that were in the cache.
    pub cached_tokens: usize,
    /// Always 0: that something was read costs no more because it is kept.
    pub cache_write_tokens: usize,
}

/// Of the tokens generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesOutputTokensDetails)]
pub struct OutputTokensDetails {
    /// Those of the thoughts.
    pub reasoning_tokens: usize,
}
