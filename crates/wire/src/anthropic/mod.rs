//! Anthropic's API: `POST /v1/messages`, `POST /v1/messages/count_tokens`, `GET /v1/models`.

mod error;
mod event;
mod models;
mod request;
mod response;

pub use error::{ErrorKind, ErrorReply};
pub use event::{BlockDelta, MessageEnd, StreamEvent};
pub use models::{ModelEntry, ModelPage};
pub use request::{CountTokensRequest, MessagesRequest, STOP_SEQUENCES_MAX, Thinking};
pub use response::{ContentBlock, InputTokens, Message, OutputTokensDetails, StopReason, UNSIGNED, Usage};
