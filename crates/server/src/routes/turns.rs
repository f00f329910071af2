//! From the turns of a request to what the model is asked.

use dialogue::{Begun, Message, Role, Tool, ToolCall, ToolChoice};
use wire::turns::{AssistantTurn, Call, Function, FunctionChoice, Turn};

/// The messages of a conversation.
pub(super) fn messages(turns: Vec<Turn>) -> Vec<Message> {
    turns.into_iter().map(message).collect()
}

fn message(turn: Turn) -> Message {
    match turn {
        Turn::System(text) => Message::system(text),
        Turn::User(text) => Message::user(text),
        Turn::Tool { call_id, content } => Message::tool(call_id, content),
        Turn::Assistant(AssistantTurn { reasoning, content, calls }) => Message {
            role: Role::Assistant,
            content,
            reasoning,
            tool_calls: calls.into_iter().map(tool_call).collect(),
            tool_call_id: None,
        },
    }
}

fn tool_call(Call { id, name, arguments }: Call) -> ToolCall {
    ToolCall { id, name, arguments }
}

/// What the model goes on from: its own turn, where that is the last and calls no tools.
pub(super) fn take_begun(turns: &mut Vec<Turn>) -> Option<Begun> {
    let begins = |turn: &mut Turn| matches!(turn, Turn::Assistant(turn) if turn.calls.is_empty());
    match turns.pop_if(begins)? {
        Turn::Assistant(AssistantTurn { reasoning, content, .. }) => Some(Begun { reasoning, content }),
        _ => None,
    }
}

/// The tools that the model may call.
pub(super) fn tools(functions: Vec<Function>) -> Vec<Tool> {
    let tool =
        |Function { name, description, parameters, strict }| Tool { name, description, parameters, strict };
    functions.into_iter().map(tool).collect()
}

/// Whether it calls them.
pub(super) fn tool_choice(choice: FunctionChoice) -> ToolChoice {
    match choice {
        FunctionChoice::Auto => ToolChoice::Auto,
        FunctionChoice::None => ToolChoice::None,
        FunctionChoice::Required => ToolChoice::Required,
        FunctionChoice::Named(name) => ToolChoice::Named(name),
    }
}
