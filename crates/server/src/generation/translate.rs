//! From what APIs say to what a dialogue takes.

use dialogue::{Message, Role, SamplingOverrides, Tool, ToolCall, ToolChoice};
use wire::turns::{AssistantTurn, Function, FunctionChoice, Turn};
use wire::{Format, Sampling};

/// Most tokens of thought where little effort is asked for and no number is given. More effort is the model's own
/// measure.
pub(crate) const LOW_EFFORT_TOKENS: u32 = 1024;

/// Messages of the conversation.
pub(crate) fn messages(turns: Vec<Turn>) -> Vec<Message> {
    turns.into_iter().map(message).collect()
}

fn message(turn: Turn) -> Message {
    match turn {
        Turn::System(content) => Message::system(content),
        Turn::User(content) => Message::user(content),
        Turn::Tool { call_id, content } => Message::tool(call_id, content),
        Turn::Assistant(AssistantTurn { reasoning, content, calls }) => {
            let call = |call: wire::turns::Call| ToolCall {
                id: call.id,
                name: call.name,
                arguments: call.arguments,
            };
            Message {
                role: Role::Assistant,
                content,
                reasoning,
                tool_calls: calls.into_iter().map(call).collect(),
                tool_call_id: None,
            }
        }
    }
}

/// Tools that the model may call.
pub(crate) fn tools(functions: Vec<Function>) -> Vec<Tool> {
    let tool = |function: Function| {
        let Function { name, description, parameters, strict } = function;
        Tool { name, description, parameters, strict }
    };
    functions.into_iter().map(tool).collect()
}

/// Whether it calls them.
pub(crate) fn tool_choice(choice: FunctionChoice) -> ToolChoice {
    match choice {
        FunctionChoice::Auto => ToolChoice::Auto,
        FunctionChoice::None => ToolChoice::None,
        FunctionChoice::Required => ToolChoice::Required,
        FunctionChoice::Named(name) => ToolChoice::Named(name),
    }
}

/// The form of what is generated.
pub(crate) fn format(format: Format) -> dialogue::Format {
    match format {
        Format::Text => dialogue::Format::Text,
        Format::JsonObject => dialogue::Format::JsonObject,
        Format::JsonSchema { schema, strict } => dialogue::Format::JsonSchema { schema, strict },
        Format::Regex(regex) => dialogue::Format::Regex(regex),
        Format::Choice(choices) => dialogue::Format::Choice(choices),
        Format::Grammar(grammar) => dialogue::Format::Lark(grammar),
    }
}

/// How tokens are chosen; with so many alternatives of each, if they were asked for.
pub(crate) fn sampling(sampling: Sampling, logprobs: Option<u32>) -> SamplingOverrides {
    SamplingOverrides {
        temperature: sampling.temperature,
        top_k: sampling.top_k.map(|top_k| top_k as usize),
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        typical_p: sampling.typical_p,
        repetition_penalty: sampling.repetition_penalty,
        presence_penalty: sampling.presence_penalty,
        frequency_penalty: sampling.frequency_penalty,
        penalty_window: None,
        logit_bias: (!sampling.logit_bias.is_empty()).then_some(sampling.logit_bias),
        seed: sampling.seed,
        logprobs: logprobs.map(|top| top as usize),
    }
}
