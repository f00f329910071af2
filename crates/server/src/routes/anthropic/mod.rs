//! Anthropic's API, under `/anthropic` and, for clients that are given the root as their base URL, without it. Its errors
//! have a form of their own: see [`layers::anthropic`](crate::layers).

pub(super) mod count_tokens;
pub(super) mod messages;
pub(super) mod model;
pub(super) mod models;

use dialogue::{Begun, ChatRequest, Format};
use serde_json::Value;
use wire::anthropic::{CountTokensRequest, Thinking};
use wire::turns::{AssistantTurn, Turn};

use crate::generation::translate;

/// What the model is shown, and how it thinks.
fn asked(request: CountTokensRequest) -> ChatRequest {
    let CountTokensRequest { mut turns, tools, tool_choice, parallel_tool_calls, thinking, schema, .. } =
        request;
    let begun = take_begun(&mut turns);
    let Thinking { enabled, budget_tokens, low_effort, .. } = thinking;
    let low = low_effort.then_some(translate::LOW_EFFORT_TOKENS);
    ChatRequest {
        messages: translate::messages(turns),
        thinking: enabled,
        reasoning_tokens_max: budget_tokens.or(low).map(|tokens| tokens as usize),
        tools: translate::tools(tools),
        tool_choice: translate::tool_choice(tool_choice),
        parallel_tool_calls,
        format: format(schema),
        begun,
        ..ChatRequest::default()
    }
}

/// What the model goes on from: its own turn, where that is the last and calls no tools.
fn take_begun(turns: &mut Vec<Turn>) -> Option<Begun> {
    let begins = |turn: &mut Turn| matches!(turn, Turn::Assistant(turn) if turn.calls.is_empty());
    match turns.pop_if(begins)? {
        Turn::Assistant(AssistantTurn { reasoning, content, .. }) => Some(Begun { reasoning, content }),
        _ => None,
    }
}

/// A schema that can't be held to is refused, as Anthropic's API does it.
fn format(schema: Option<Value>) -> Format {
    schema.map_or(Format::Text, |schema| Format::JsonSchema { schema, strict: true })
}
