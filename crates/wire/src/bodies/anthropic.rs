//! Bodies of Anthropic's API.

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A conversation to answer, in the form of Anthropic's API.
#[derive(ToSchema)]
pub struct MessagesBody {
    #[schema(example = "smollm2-135m")]
    model: String,
    /// If the last is the assistant's, the answer goes on from it.
    #[schema(example = json!([{"role": "user", "content": "Hello!"}]), min_items = 1, max_items = 4096)]
    messages: Vec<AnthropicMessageBody>,
    #[schema(minimum = 1, example = 256)]
    max_tokens: u32,
    system: Option<AnthropicTextsBody>,
    #[schema(minimum = 0, maximum = 1)]
    temperature: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    top_k: Option<u32>,
    #[schema(max_items = 16)]
    stop_sequences: Option<Vec<String>>,
    stream: Option<bool>,
    thinking: Option<AnthropicThinkingBody>,
    #[schema(max_items = 128)]
    tools: Option<Vec<AnthropicToolBody>>,
    tool_choice: Option<AnthropicToolChoiceBody>,
    output_config: Option<AnthropicOutputBody>,
    /// The older place of `output_config.format`.
    output_format: Option<AnthropicFormatBody>,
    metadata: Option<AnthropicMetadataBody>,
}

/// A conversation whose tokens to count.
#[derive(ToSchema)]
pub struct CountTokensBody {
    #[schema(example = "smollm2-135m")]
    model: String,
    #[schema(example = json!([{"role": "user", "content": "Hello!"}]), min_items = 1, max_items = 4096)]
    messages: Vec<AnthropicMessageBody>,
    system: Option<AnthropicTextsBody>,
    thinking: Option<AnthropicThinkingBody>,
    #[schema(max_items = 128)]
    tools: Option<Vec<AnthropicToolBody>>,
    tool_choice: Option<AnthropicToolChoiceBody>,
    output_config: Option<AnthropicOutputBody>,
    /// The older place of `output_config.format`.
    output_format: Option<AnthropicFormatBody>,
}

#[derive(ToSchema)]
struct AnthropicMessageBody {
    /// `user`, `assistant` or `system`.
    #[schema(example = "user")]
    role: String,
    content: AnthropicContentBody,
}

/// A text, or blocks.
#[derive(ToSchema)]
#[serde(untagged)]
enum AnthropicContentBody {
    Text(String),
    Blocks(Vec<AnthropicBlockBody>),
}

/// A block, with the fields of its type.
#[derive(ToSchema)]
struct AnthropicBlockBody {
    /// `text`; of the user `tool_result` too; of the assistant `thinking`, `redacted_thinking` and `tool_use`.
    r#type: String,
    text: Option<String>,
    thinking: Option<String>,
    /// Of a call.
    id: Option<String>,
    name: Option<String>,
    input: Option<Map<String, Value>>,
    /// The call that a result answers.
    tool_use_id: Option<String>,
    /// What a call gave.
    content: Option<AnthropicTextsBody>,
    is_error: Option<bool>,
}

/// A text, or blocks of text.
#[derive(ToSchema)]
#[serde(untagged)]
enum AnthropicTextsBody {
    Text(String),
    Blocks(Vec<AnthropicTextBody>),
}

#[derive(ToSchema)]
struct AnthropicTextBody {
    /// `text`.
    r#type: String,
    text: String,
}

#[derive(ToSchema)]
struct AnthropicThinkingBody {
    /// `enabled`, `disabled`, `adaptive` or `between_tools`.
    #[schema(example = "enabled")]
    r#type: String,
    /// Less than `max_tokens`.
    #[schema(minimum = 1)]
    budget_tokens: Option<u32>,
    /// `summarized`, or `omitted` to leave the thoughts out of the answer.
    display: Option<String>,
}

#[derive(ToSchema)]
struct AnthropicToolBody {
    /// `custom`.
    r#type: Option<String>,
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    name: String,
    description: Option<String>,
    /// JSON Schema of the input.
    input_schema: Map<String, Value>,
    strict: Option<bool>,
}

#[derive(ToSchema)]
struct AnthropicToolChoiceBody {
    /// `auto`, `any`, `tool` or `none`.
    r#type: String,
    /// With `tool`.
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(ToSchema)]
struct AnthropicOutputBody {
    /// `low`, `medium`, `high`, `xhigh` or `max`.
    effort: Option<String>,
    format: Option<AnthropicFormatBody>,
}

#[derive(ToSchema)]
struct AnthropicFormatBody {
    /// `json_schema`.
    r#type: String,
    schema: Map<String, Value>,
}

#[derive(ToSchema)]
struct AnthropicMetadataBody {
    /// The client's name for its user. Not used.
    user_id: Option<String>,
}
