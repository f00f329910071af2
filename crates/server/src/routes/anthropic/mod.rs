//! Anthropic's API, under `/anthropic` and, for clients that are given the root as their base URL, without it. Its errors
//! have a form of their own: see [`layers::anthropic`](crate::layers).

pub(super) mod count_tokens;
pub(super) mod messages;
pub(super) mod model;
pub(super) mod models;

use dialogue::{ChatRequest, Format};
use serde_json::Value;
use wire::anthropic::{CountTokensRequest, Thinking};

use super::turns;

/// What the model is shown, and how it thinks.
fn asked(request: CountTokensRequest) -> ChatRequest {
    let CountTokensRequest { mut turns, tools, tool_choice, parallel_tool_calls, thinking, schema, .. } =
        request;
    let begun = turns::take_begun(&mut turns);
    let Thinking { enabled, budget_tokens, .. } = thinking;
    ChatRequest {
        messages: turns::messages(turns),
        thinking: enabled,
        reasoning_tokens_max: budget_tokens.map(|tokens| tokens as usize),
        tools: turns::tools(tools),
        tool_choice: turns::tool_choice(tool_choice),
        parallel_tool_calls,
        format: format(schema),
        begun,
        ..ChatRequest::default()
    }
}

/// A schema that can't be held to is refused, as Anthropic's API does it.
fn format(schema: Option<Value>) -> Format {
    schema.map_or(Format::Text, |schema| Format::JsonSchema { schema, strict: true })
}
