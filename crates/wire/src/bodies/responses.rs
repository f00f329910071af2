//! Bodies of `OpenAI`'s newer API.

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{ContentBody, NamedBody};

/// A conversation to answer, in `OpenAI`'s newer form. Nothing is kept of it.
#[derive(ToSchema)]
pub struct ResponsesBody {
    #[schema(example = "smollm2-135m")]
    model: String,
    /// A text, or items, of which the last is not the assistant's.
    #[schema(example = "Hello!")]
    input: InputBody,
    instructions: Option<String>,
    #[schema(minimum = 1)]
    max_output_tokens: Option<u32>,
    #[schema(minimum = 0, maximum = 2)]
    temperature: Option<f32>,
    #[schema(minimum = 0, maximum = 1)]
    top_p: Option<f32>,
    #[schema(maximum = 20)]
    top_logprobs: Option<u32>,
    /// `message.output_text.logprobs`; whatever else is asked for is left out.
    include: Option<Vec<Value>>,
    stream: Option<bool>,
    #[schema(max_items = 128)]
    tools: Option<Vec<ResponsesToolBody>>,
    tool_choice: Option<ResponsesToolChoiceBody>,
    parallel_tool_calls: Option<bool>,
    text: Option<ResponsesTextBody>,
    reasoning: Option<ResponsesReasoningBody>,
    /// Given back as it is; at most 16 entries, of strings.
    metadata: Option<Map<String, Value>>,
    /// Given back, not used, like the two that follow.
    user: Option<String>,
    prompt_cache_key: Option<String>,
    safety_identifier: Option<String>,
    /// Whatever it says, nothing is kept.
    store: Option<bool>,
    /// Only false.
    background: Option<bool>,
    /// Only `disabled`.
    truncation: Option<String>,
}

#[derive(ToSchema)]
#[serde(untagged)]
enum InputBody {
    Text(String),
    Items(Vec<ResponsesItemBody>),
}

/// An item, with the fields of its type.
#[derive(ToSchema)]
struct ResponsesItemBody {
    /// `message` (also if not set), `function_call`, `function_call_output` or `reasoning`.
    r#type: Option<String>,
    /// Of a message: `user`, `assistant`, `system` or `developer`.
    role: Option<String>,
    /// Of a message or of thoughts.
    content: Option<ContentBody>,
    /// Stands for thoughts that are not given.
    summary: Option<Vec<ThoughtBody>>,
    /// Of a call, and of what it gave.
    call_id: Option<String>,
    name: Option<String>,
    /// A text of JSON.
    arguments: Option<String>,
    /// What a call gave.
    output: Option<ContentBody>,
}

#[derive(ToSchema)]
struct ThoughtBody {
    text: String,
}

#[derive(ToSchema)]
struct ResponsesToolBody {
    /// `function`.
    r#type: String,
    #[schema(min_length = 1, max_length = 128, pattern = "^[A-Za-z0-9_-]+$")]
    name: String,
    description: Option<String>,
    /// JSON Schema of the arguments.
    parameters: Option<Map<String, Value>>,
    strict: Option<bool>,
}

#[derive(ToSchema)]
#[serde(untagged)]
enum ResponsesToolChoiceBody {
    Mode(String),
    Chosen(ResponsesChosenToolBody),
}

#[derive(ToSchema)]
struct ResponsesChosenToolBody {
    /// `function` or `allowed_tools`.
    r#type: String,
    /// With `function`.
    name: Option<String>,
    /// With `allowed_tools`: `auto` or `required`.
    mode: Option<String>,
    /// With `allowed_tools`.
    tools: Option<Vec<NamedBody>>,
}

#[derive(ToSchema)]
struct ResponsesTextBody {
    /// `low`, `medium` or `high`.
    verbosity: Option<String>,
    format: Option<ResponsesFormatBody>,
}

#[derive(ToSchema)]
struct ResponsesFormatBody {
    /// `text`, `json_object` or `json_schema`.
    r#type: String,
    name: Option<String>,
    description: Option<String>,
    schema: Option<Map<String, Value>>,
    strict: Option<bool>,
}

#[derive(ToSchema)]
struct ResponsesReasoningBody {
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.
    effort: Option<String>,
    /// `auto`, `concise` or `detailed`.
    summary: Option<String>,
    /// The older name of `summary`.
    generate_summary: Option<String>,
}
