use serde::{Deserialize, Serialize};

use super::{Content, Logprob, OutputItem, ResponseObject};

/// An event of a stream, with its number in it. `response.created` and `response.in_progress`; then, for each item,
/// `response.output_item.added`, its parts, each from `response.content_part.added` to `response.content_part.done`
/// (or the arguments of a call), and `response.output_item.done`; then one of `response.completed`,
/// `response.incomplete` and, after an `error`, `response.failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesResponseEvent)]
pub struct ResponseEvent {
    /// What happens.
    #[serde(flatten)]
    pub kind: EventKind,
    /// From 0, one more each time.
    pub sequence_number: u64,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesEventKind)]
#[serde(tag = "type")]
pub enum EventKind {
    /// It is queued.
    #[serde(rename = "response.created")]
    Created {
        /// Without output.
        response: Box<ResponseObject>,
    },
    /// It is being written.
    #[serde(rename = "response.in_progress")]
    InProgress {
        /// Without output.
        response: Box<ResponseObject>,
    },
    /// An item begins.
    #[serde(rename = "response.output_item.added")]
    ItemAdded {
        /// Which item, from 0.
        output_index: usize,
        /// The item, empty.
        item: OutputItem,
    },
    /// An item ends.
    #[serde(rename = "response.output_item.done")]
    ItemDone {
        /// Which item.
        output_index: usize,
        /// The item, whole.
        item: OutputItem,
    },
    /// A part of an item begins.
    #[serde(rename = "response.content_part.added")]
    PartAdded {
        /// Where it is.
        #[serde(flatten)]
        place: PartPlace,
        /// The part, empty.
        part: Content,
    },
    /// A part of an item ends.
    #[serde(rename = "response.content_part.done")]
    PartDone {
        /// Where it is.
        #[serde(flatten)]
        place: PartPlace,
        /// The part, whole.
        part: Content,
    },
    /// More of the thoughts.
    #[serde(rename = "response.reasoning_text.delta")]
    ReasoningDelta {
        /// Where.
        #[serde(flatten)]
        place: PartPlace,
        /// What is added.
        delta: String,
    },
    /// The thoughts are whole.
    #[serde(rename = "response.reasoning_text.done")]
    ReasoningDone {
        /// Where.
        #[serde(flatten)]
        place: PartPlace,
        /// All of them.
        text: String,
    },
    /// More of the answer.
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        /// Where.
        #[serde(flatten)]
        place: PartPlace,
        /// What is added.
        delta: String,
        /// Of the tokens that begin in it, if they were asked for.
        logprobs: Vec<Logprob>,
    },
    /// The answer is whole.
    #[serde(rename = "response.output_text.done")]
    TextDone {
        /// Where.
        #[serde(flatten)]
        place: PartPlace,
        /// All of it.
        text: String,
        /// Of all tokens, if they were asked for.
        logprobs: Vec<Logprob>,
    },
    /// More of a call's arguments.
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta {
        /// Where.
        #[serde(flatten)]
        place: ItemPlace,
        /// What is added.
        delta: String,
    },
    /// A call's arguments are whole.
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone {
        /// Where.
        #[serde(flatten)]
        place: ItemPlace,
        /// The function.
        name: String,
        /// All of them.
        arguments: String,
    },
    /// It is whole.
    #[serde(rename = "response.completed")]
    Completed {
        /// All of it.
        response: Box<ResponseObject>,
    },
    /// It was cut.
    #[serde(rename = "response.incomplete")]
    Incomplete {
        /// As far as it came.
        response: Box<ResponseObject>,
    },
    /// It broke off.
    #[serde(rename = "response.failed")]
    Failed {
        /// As far as it came.
        response: Box<ResponseObject>,
    },
    /// What went wrong; `response.failed` follows.
    #[serde(rename = "error")]
    Error {
        /// For programs.
        code: Option<String>,
        /// For people.
        message: String,
        /// The field at fault.
        param: Option<String>,
    },
}

/// Where a call's arguments are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesItemPlace)]
pub struct ItemPlace {
    /// The item.
    pub item_id: String,
    /// Which item, from 0.
    pub output_index: usize,
}

/// Where a part is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = ResponsesPartPlace)]
pub struct PartPlace {
    /// The item.
    pub item_id: String,
    /// Which item, from 0.
    pub output_index: usize,
    /// Which part of it; always 0.
    pub content_index: usize,
}

impl EventKind {
    /// The name of the event.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created { .. } => "response.created",
            Self::InProgress { .. } => "response.in_progress",
            Self::ItemAdded { .. } => "response.output_item.added",
            Self::ItemDone { .. } => "response.output_item.done",
            Self::PartAdded { .. } => "response.content_part.added",
            Self::PartDone { .. } => "response.content_part.done",
            Self::ReasoningDelta { .. } => "response.reasoning_text.delta",
            Self::ReasoningDone { .. } => "response.reasoning_text.done",
            Self::TextDelta { .. } => "response.output_text.delta",
            Self::TextDone { .. } => "response.output_text.done",
            Self::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Self::ArgumentsDone { .. } => "response.function_call_arguments.done",
            Self::Completed { .. } => "response.completed",
            Self::Incomplete { .. } => "response.incomplete",
            Self::Failed { .. } => "response.failed",
            Self::Error { .. } => "error",
        }
    }
}
