//! What a reader of the `OpenAPI` document is told of the bodies that programs send.
//!
//! Requests are read field by field ([`ChatCompletionRequest`](crate::chat::ChatCompletionRequest) and its like), with
//! errors that name the field; nothing is read into the types here. A test holds them to what is asked of a request, on
//! every level: a field that is read is listed, unless it is always refused, and a field that is listed is read.

#![expect(dead_code, reason = "the document's: nothing is read into these")]

mod anthropic;
mod responses;

pub use anthropic::{CountTokensBody, MessagesBody};
pub use responses::ResponsesBody;

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A conversation to answer, in the form of `DeepSeek`'s and `OpenAI`'s APIs.
#[derive(ToSchema)]
pub struct ChatCompletionBody {
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
    #[schema(minimum = -1)]
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
    logit_bias: Option<Map<String, Value>>,
    /// Makes the answer reproducible.
    seed: Option<i64>,
    /// A string, or up to 16, that end the answer.
    stop: Option<Texts>,
    stream: Option<bool>,
    stream_options: Option<StreamOptionsBody>,
    logprobs: Option<bool>,
    #[schema(maximum = 20)]
    top_logprobs: Option<u32>,
    /// Answers to give.
    #[schema(minimum = 1, maximum = 8)]
    n: Option<u32>,
    /// Only the value of `n`.
    #[schema(minimum = 1, maximum = 8)]
    best_of: Option<u32>,
    thinking: Option<ThinkingBody>,
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh`, `max` or `ultra`.
    #[schema(example = "high")]
    reasoning_effort: Option<String>,
    response_format: Option<ResponseFormatBody>,
    /// JSON Schema that the answer has to be valid by, or its text. As vLLM has it, like the three that follow.
    guided_json: Option<Value>,
    /// A regular expression that the answer has to match.
    guided_regex: Option<String>,
    /// A grammar of the answer, in Lark's form.
    guided_grammar: Option<String>,
    /// Texts of which the answer has to be one.
    #[schema(min_items = 1, max_items = 1024)]
    guided_choice: Option<Vec<String>>,
    structured_outputs: Option<StructuredOutputsBody>,
    /// What the model may call.
    #[schema(max_items = 128)]
    tools: Option<Vec<ToolBody>>,
    /// `none`, `auto`, `required`, or the function to call.
    tool_choice: Option<ToolChoiceBody>,
    parallel_tool_calls: Option<bool>,
    /// The old form of `tools`.
    #[schema(max_items = 128)]
    functions: Option<Vec<FunctionBody>>,
    /// The old form of `tool_choice`: `none`, `auto`, or the function to call.
    function_call: Option<FunctionChoiceBody>,
    /// Only `["text"]`.
    modalities: Option<Vec<String>>,
    /// The client's name for its user. Not used.
    user: Option<String>,
}

/// One message.
#[derive(ToSchema)]
struct ChatMessageBody {
    /// `system`, `developer`, `user`, `assistant`, `tool`, or the older `function`.
    #[schema(example = "user")]
    role: String,
    /// A text, or parts of one; may be absent or null where the assistant only calls tools.
    content: Option<ContentBody>,
    /// What the assistant thought.
    reasoning_content: Option<String>,
    /// What the assistant called.
    #[schema(max_items = 128)]
    tool_calls: Option<Vec<ToolCallBody>>,
    /// The old form of `tool_calls`.
    function_call: Option<CalledFunctionBody>,
    /// The call that a message of a tool answers.
    tool_call_id: Option<String>,
    /// The answer begins with this message and goes on from it.
    prefix: Option<bool>,
}

/// A text, or several.
#[derive(ToSchema)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

/// A text, or parts that are joined.
#[derive(ToSchema)]
#[serde(untagged)]
enum ContentBody {
    Text(String),
    Parts(Vec<PartBody>),
}

/// A part of a message.
#[derive(ToSchema)]
struct PartBody {
    /// `text`, or `refusal` for what the assistant said so; `input_text` and `output_text` in responses.
    r#type: String,
    text: Option<String>,
    refusal: Option<String>,
}

#[derive(ToSchema)]
struct ToolCallBody {
    id: String,
    /// `function`.
    r#type: Option<String>,
    function: CalledFunctionBody,
}

#[derive(ToSchema)]
struct CalledFunctionBody {
    name: String,
    /// A text of JSON, or what it would say.
    arguments: Option<Value>,
}

#[derive(ToSchema)]
struct StreamOptionsBody {
    /// A last chunk with the usage and no choices.
    include_usage: Option<bool>,
}

#[derive(ToSchema)]
struct ThinkingBody {
    /// `enabled`, `disabled`, or `auto` (also `adaptive`).
    #[schema(example = "enabled")]
    r#type: String,
    /// Most tokens of thought: it is ended at the next end of a sentence, and the answer follows.
    #[schema(minimum = 1)]
    budget_tokens: Option<u32>,
}

#[derive(ToSchema)]
struct ResponseFormatBody {
    /// `text`, `json_object` or `json_schema`.
    #[schema(example = "json_object")]
    r#type: String,
    /// With `json_schema`.
    json_schema: Option<JsonSchemaBody>,
}

#[derive(ToSchema)]
struct JsonSchemaBody {
    #[schema(max_length = 64)]
    name: Option<String>,
    schema: Value,
    /// Whether to refuse a schema with keywords that can't be held to.
    strict: Option<bool>,
}

/// The form of the answer as vLLM has it; one of its fields.
#[derive(ToSchema)]
struct StructuredOutputsBody {
    json_object: Option<bool>,
    /// A JSON Schema, or its text.
    json: Option<Value>,
    regex: Option<String>,
    /// In Lark's form.
    grammar: Option<String>,
    #[schema(min_items = 1, max_items = 1024)]
    choice: Option<Vec<String>>,
}

#[derive(ToSchema)]
struct ToolBody {
    /// `function`.
    r#type: String,
    function: FunctionBody,
    /// Whether arguments are valid by the schema; may stand in the function too.
    strict: Option<bool>,
}

#[derive(ToSchema)]
struct FunctionBody {
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    name: String,
    description: Option<String>,
    /// JSON Schema of the arguments.
    parameters: Option<Map<String, Value>>,
    strict: Option<bool>,
}

#[derive(ToSchema)]
#[serde(untagged)]
enum ToolChoiceBody {
    Mode(String),
    Chosen(ChosenToolBody),
}

#[derive(ToSchema)]
struct ChosenToolBody {
    /// `function`, or a mode.
    r#type: String,
    function: Option<NamedBody>,
}

#[derive(ToSchema)]
#[serde(untagged)]
enum FunctionChoiceBody {
    Mode(String),
    Chosen(NamedBody),
}

#[derive(ToSchema)]
struct NamedBody {
    name: String,
}

/// A text to continue.
#[derive(ToSchema)]
pub struct CompletionBody {
    #[schema(example = "smollm2-135m")]
    model: String,
    /// A text, texts, tokens, or lists of tokens.
    #[schema(example = "The sea is")]
    prompt: PromptBody,
    /// What comes after: the middle is filled in, by models that can.
    suffix: Option<String>,
    /// 16 if not set; 0 only with `echo`.
    #[schema(minimum = 0)]
    max_tokens: Option<u32>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    /// 0 or -1 keeps all.
    #[schema(minimum = -1)]
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
    logit_bias: Option<Map<String, Value>>,
    /// Answers to each prompt.
    #[schema(minimum = 1, maximum = 8)]
    n: Option<u32>,
    /// Only the value of `n`.
    #[schema(minimum = 1, maximum = 8)]
    best_of: Option<u32>,
    /// The prompt comes first in the answer.
    echo: Option<bool>,
    /// With so many of the most probable tokens in each one's place.
    #[schema(maximum = 20)]
    logprobs: Option<u32>,
    stop: Option<Texts>,
    stream: Option<bool>,
    stream_options: Option<StreamOptionsBody>,
    seed: Option<i64>,
    response_format: Option<ResponseFormatBody>,
    /// JSON Schema that the answer has to be valid by, or its text. As vLLM has it, like the three that follow.
    guided_json: Option<Value>,
    /// A regular expression that the answer has to match.
    guided_regex: Option<String>,
    /// A grammar of the answer, in Lark's form.
    guided_grammar: Option<String>,
    /// Texts of which the answer has to be one.
    #[schema(min_items = 1, max_items = 1024)]
    guided_choice: Option<Vec<String>>,
    structured_outputs: Option<StructuredOutputsBody>,
    /// The client's name for its user. Not used.
    user: Option<String>,
}

#[derive(ToSchema)]
#[serde(untagged)]
enum PromptBody {
    Text(String),
    Several(Vec<OnePromptBody>),
}

/// A text, a token, or tokens. Single tokens make one prompt together.
#[derive(ToSchema)]
#[serde(untagged)]
enum OnePromptBody {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

/// A text whose tokens are wanted.
#[derive(ToSchema)]
pub struct TokenizeBody {
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
pub struct DetokenizeBody {
    /// The server's default model if not set.
    #[schema(example = "smollm2-135m")]
    model: Option<String>,
    #[schema(max_items = 1_048_576)]
    tokens: Vec<u32>,
}

#[cfg(test)]
mod tests;
