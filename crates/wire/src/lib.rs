//! DeepSeek's, OpenAI's and Anthropic's JSON. Nothing here does IO or knows what a model is.
//!
//! Requests are read field by field, so that an error names the field, says what is allowed and what was given.
//! A field that would change the answer and isn't supported is refused, one that wouldn't (`user`, `metadata`) is
//! let through, and unknown ones are ignored, as clients send what newer servers know.

pub mod anthropic;
pub mod bodies;
pub mod chat;
pub mod completions;
mod error;
mod fields;
mod format;
mod models;
pub mod responses;
mod sampling;
pub mod tokens;
pub mod turns;
mod usage;

pub use error::{ErrorBody, ErrorDetail, RequestError, RequestErrorKind};
pub use format::{CHOICES_MAX, Format, SCHEMA_BYTES_MAX};
pub use models::{Model, ModelList};
pub use sampling::{ANSWERS_MAX, LOGIT_BIAS_MAX, STOPS_MAX, Sampling};
pub use usage::{CompletionTokensDetails, PromptTokensDetails, Usage};

/// The last event of a stream, after all chunks.
pub const STREAM_DONE: &str = "[DONE]";
