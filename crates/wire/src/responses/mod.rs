//! `POST /v1/responses`, OpenAI's newer API, without anything that would have to be kept between two requests.

mod event;
mod request;
mod response;

pub use event::{EventKind, ItemPlace, PartPlace, ResponseEvent};
pub use request::{
    Effort, Reasoning, ResponsesRequest, Summary, TOP_LOGPROBS_MAX, TextFormat, ToolChoice, Truncation,
    Verbosity,
};
pub use response::{
    Content, ErrorCode, IncompleteDetails, IncompleteReason, InputTokensDetails, ItemStatus, Logprob,
    OutputItem, OutputTokensDetails, ResponseError, ResponseObject, Status, Text, Tool, TopLogprob, Usage,
};
