//! What can be wrong with a chat template.

use crate::gguf::GgufError;

/// Why a template could not be made or a conversation could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// A key of the file is of the wrong type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// The file has no template, and none of the built-in ones fits the model.
    #[error("the file has no chat template and none of the built-in ones fits it ({})", super::built_in::NAMES.join(", "))]
    NoneFits,
    /// No built-in template has this name.
    #[error("there is no built-in chat template {given:?}; there are {}", super::built_in::NAMES.join(", "))]
    UnknownName {
        /// The name that was asked for.
        given: String,
    },
    /// The template is longer than any that is published.
    #[error("the chat template has {given} bytes; allowed are {allowed}")]
    SourceTooLong {
        /// Most bytes that are allowed.
        allowed: usize,
        /// Bytes of the template.
        given: usize,
    },
    /// The template is not valid.
    #[error("the chat template is not valid: {detail}")]
    Syntax {
        /// What and where.
        detail: String,
    },
    /// The conversation is larger than any context.
    #[error("the conversation has {given} {what}; allowed are {allowed}")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// Most that are allowed.
        allowed: usize,
        /// How many there are.
        given: usize,
    },
    /// The template itself refused the conversation (`raise_exception`).
    #[error("the model's chat template refuses this conversation: {message}")]
    Refused {
        /// What the template said.
        message: String,
    },
    /// The template used up what one rendering may cost.
    #[error("the chat template needs more {what} than one rendering may")]
    Exhausted {
        /// Which limit.
        what: &'static str,
    },
    /// The template failed on this conversation.
    #[error("the chat template failed: {detail}")]
    Failed {
        /// What and where.
        detail: String,
    },
}
