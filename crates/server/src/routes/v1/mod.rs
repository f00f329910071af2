//! OpenAI's and DeepSeek's API.

pub(super) mod chat_completions;
pub(super) mod models;
pub(super) mod responses;
