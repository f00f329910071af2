//! DeepSeek's, OpenAI's and Anthropic's JSON. Nothing here does IO or knows what a model is.
//!
//! Requests are read field by field, so that an error names the field, says what is allowed and what was given.
//! A field that would change the answer and isn't supported is refused, one that wouldn't (`user`, `metadata`) is
//! let through, and unknown ones are ignored, as clients send what newer servers know.

pub mod anthropic;
pub mod chat;
mod error;
mod fields;
mod models;
pub mod responses;
pub mod turns;

pub use error::{ErrorBody, ErrorDetail, RequestError, RequestErrorKind};
pub use models::{Model, ModelList};

/// The last event of a stream, after all chunks.
pub const STREAM_DONE: &str = "[DONE]";
