//! The bodies that programs send, for the `OpenAPI` document. They are read by `wire`, field by field, with an error that names
//! the field; this is what a reader of the document is told of them.

#![expect(dead_code, reason = "the document's: nothing is read into these")]

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A conversation to answer, in the form of `DeepSeek`'s and `OpenAI`'s APIs.
#[derive(ToSchema)]
pub(crate) struct ChatCompletionBody {
    /// A name of `GET /v1/models`.
    #[schema(example = "smollm2-135m")]
    model: String,
    /// The conversation so far. A last message of the assistant with `prefix: true` is gone on with.
    #[schema(example = json!([{"role": "user", "content": "Hello!"}]), min_items = 1, max_items = 4096)]
    messages: Vec<ChatMessageBody>,
    /// Most tokens to generate, reasoning included; the rest of the context if not set.
    #[schema(minimum = 1)]
    max_tokens: Option<u32>,
    /// The newer name of `max_tokens`.
    #[schema(minimum = 1)]
    max_completion_tokens: Option<u32>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    /// 0 or -1 keeps all.
    top_k: Option<i64>,
    #[schema(minimum = 0, maximum = 1)]
    min_p: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    typical_p: Option<f32>,
    #[schema(minimum = 0.01, maximum = 100)]
    repetition_penalty: Option<f32>,
    #[schema(minimum = -2, maximum = 2)]
    presence_penalty: Option<f32>,
    #[schema(minimum = -2, maximum = 2)]
    frequency_penalty: Option<f32>,
    /// Token ids and what is added to their logits, -100 to 100.
    #[schema(value_type = Option<Object>)]
    logit_bias: Option<Map<String, Value>>,
    /// Makes the answer reproducible.
    seed: Option<i64>,
    /// A string, or up to 16, that end the answer.
    #[schema(value_type = Option<Object>)]
    stop: Option<Value>,
    stream: Option<bool>,
    stream_options: Option<StreamOptionsBody>,
    logprobs: Option<bool>,
    #[schema(maximum = 20)]
    top_logprobs: Option<u32>,
    /// Answers to give.
    #[schema(minimum = 1, maximum = 8)]
    n: Option<u32>,
    thinking: Option<ThinkingBody>,
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max` or `ultra`.
    #[schema(example = "high")]
    reasoning_effort: Option<String>,
    /// `{"type": "text"}`, `{"type": "json_object"}` or `{"type": "json_schema", "json_schema": {...}}`.
    #[schema(value_type = Option<Object>)]
    response_format: Option<Map<String, Value>>,
    /// Functions that the model may call, at most 128.
    #[schema(value_type = Option<Vec<Object>>, max_items = 128)]
    tools: Option<Vec<Map<String, Value>>>,
    /// `none`, `auto`, `required`, or the function to call.
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
}

/// One message.
#[derive(ToSchema)]
pub(crate) struct ChatMessageBody {
    /// `system`, `developer`, `user`, `assistant` or `tool`.
    #[schema(example = "user")]
    role: String,
    /// A text, or parts of type `text`; may be absent or null where the assistant only calls tools.
    #[schema(value_type = Option<Object>)]
    content: Option<Value>,
    /// What the assistant thought.
    reasoning_content: Option<String>,
    /// What the assistant called.
    #[schema(value_type = Option<Vec<Object>>)]
    tool_calls: Option<Vec<Map<String, Value>>>,
    /// The call that a message of a tool answers.
    tool_call_id: Option<String>,
    /// The answer begins with this message and goes on from it.
    prefix: Option<bool>,
}

#[derive(ToSchema)]
pub(crate) struct StreamOptionsBody {
    /// A last chunk with the usage and no choices.
    include_usage: Option<bool>,
}

#[derive(ToSchema)]
pub(crate) struct ThinkingBody {
    /// `enabled`, `disabled` or `auto`.
    #[schema(example = "enabled")]
    r#type: String,
    /// Most tokens of thought: it is ended at the next end of a sentence, and the answer follows.
    budget_tokens: Option<u32>,
}

/// A text to continue.
#[derive(ToSchema)]
pub(crate) struct CompletionBody {
    #[schema(example = "smollm2-135m")]
    model: String,
    /// A text, texts, tokens, or lists of tokens.
    #[schema(value_type = Object, example = "The sea is")]
    prompt: Value,
    /// What comes after: the middle is filled in, by models that can.
    suffix: Option<String>,
    max_tokens: Option<u32>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    #[schema(minimum = 1)]
    n: Option<u32>,
    /// The prompt comes first in the answer.
    echo: Option<bool>,
    #[schema(maximum = 20)]
    logprobs: Option<u32>,
    #[schema(value_type = Option<Object>)]
    stop: Option<Value>,
    stream: Option<bool>,
    stream_options: Option<StreamOptionsBody>,
    seed: Option<i64>,
}

/// A conversation to answer, in the form of Anthropic's API.
#[derive(ToSchema)]
pub(crate) struct MessagesBody {
    #[schema(example = "smollm2-135m")]
    model: String,
    #[schema(value_type = Vec<Object>, example = json!([{"role": "user", "content": "Hello!"}]), min_items = 1)]
    messages: Vec<Map<String, Value>>,
    #[schema(minimum = 1, example = 256)]
    max_tokens: u32,
    /// A text, or blocks of text.
    #[schema(value_type = Option<Object>)]
    system: Option<Value>,
    #[schema(minimum = 0, maximum = 1)]
    temperature: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    top_k: Option<u32>,
    stop_sequences: Option<Vec<String>>,
    stream: Option<bool>,
    thinking: Option<ThinkingBody>,
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<Map<String, Value>>>,
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Map<String, Value>>,
}

/// A text whose tokens are wanted.
#[derive(ToSchema)]
pub(crate) struct TokenizeBody {
    /// The server's default model if not set.
    #[schema(example = "smollm2-135m")]
    model: Option<String>,
    prompt: String,
    /// Whether to begin with the token that the model expects first; true if not set.
    add_special_tokens: Option<bool>,
    /// Whether to spell each token.
    return_token_strs: Option<bool>,
}

/// Tokens whose text is wanted.
#[derive(ToSchema)]
pub(crate) struct DetokenizeBody {
    /// The server's default model if not set.
    #[schema(example = "smollm2-135m")]
    model: Option<String>,
    #[schema(max_items = 1_048_576)]
    tokens: Vec<u32>,
}

/// A conversation whose tokens to count.
#[derive(ToSchema)]
pub(crate) struct CountTokensBody {
    #[schema(example = "smollm2-135m")]
    model: String,
    #[schema(value_type = Vec<Object>, example = json!([{"role": "user", "content": "Hello!"}]), min_items = 1)]
    messages: Vec<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    system: Option<Value>,
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<Map<String, Value>>>,
}

/// A conversation to answer, in `OpenAI`'s newer form. Nothing is kept of it.
#[derive(ToSchema)]
pub(crate) struct ResponsesBody {
    #[schema(example = "smollm2-135m")]
    model: String,
    /// A text, or items.
    #[schema(value_type = Object, example = "Hello!")]
    input: Value,
    instructions: Option<String>,
    #[schema(minimum = 1)]
    max_output_tokens: Option<u32>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    stream: Option<bool>,
    #[schema(value_type = Option<Vec<Object>>)]
    tools: Option<Vec<Map<String, Value>>>,
    #[schema(value_type = Option<Object>)]
    tool_choice: Option<Value>,
    parallel_tool_calls: Option<bool>,
    #[schema(value_type = Option<Object>)]
    text: Option<Map<String, Value>>,
    #[schema(value_type = Option<Object>)]
    reasoning: Option<Map<String, Value>>,
}
