//! What can be wrong with a tokenizer or a text.

use base::TokenId;

use crate::gguf::GgufError;

/// Why a tokenizer could not be made from a file, or a text could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// A key of the file is missing or of the wrong type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// `tokenizer.ggml.model` names an algorithm that is not supported.
    #[error("tokenizer.ggml.model is {given:?}; supported are \"gpt2\" and \"llama\"")]
    UnknownModel {
        /// The name in the file.
        given: String,
    },
    /// `tokenizer.ggml.pre` names a pre-tokenizer that is not supported. Another one would give wrong tokens.
    #[error("tokenizer.ggml.pre is {given:?}; supported are {}", super::pre::SUPPORTED.join(", "))]
    UnknownPre {
        /// The name in the file, empty if there is none.
        given: String,
    },
    /// The file asks for a way of normalising text that is not supported.
    #[error("{key} is set, and that way of changing text before tokenising is not supported")]
    UnsupportedNormalizer {
        /// The key that asks for it.
        key: &'static str,
    },
    /// Too few or too many entries.
    #[error("the tokenizer has {given} {what}; allowed are 1 to {allowed}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// Most that are allowed.
        allowed: usize,
        /// How many there are.
        given: usize,
    },
    /// An array that must have one entry for each token has another length.
    #[error("tokenizer.ggml.{what} has {given} entries for {allowed} tokens")]
    Lengths {
        /// The key.
        what: &'static str,
        /// How many tokens there are.
        allowed: usize,
        /// How many entries there are.
        given: usize,
    },
    /// A token that is found whole, or that the metadata names, is longer than any that is published.
    #[error("token {id} is special and has {given} bytes; allowed are {allowed}")]
    SpecialTooLong {
        /// The token.
        id: TokenId,
        /// Most bytes that are allowed.
        allowed: usize,
        /// Bytes of its text.
        given: usize,
    },
    /// The tokens that are found whole are longer than in any vocabulary that is published.
    #[error("the special tokens have {given} bytes together; allowed are {allowed}")]
    SpecialsTooLong {
        /// Most bytes that are allowed.
        allowed: usize,
        /// Bytes of their texts.
        given: usize,
    },
    /// Two tokens have the same text.
    #[error("tokens {first} and {second} have the same text {text:?}")]
    DuplicateToken {
        /// The text, at most 40 characters of it.
        text: String,
        /// The lower id.
        first: usize,
        /// The higher id.
        second: usize,
    },
    /// A named token is outside the vocabulary.
    #[error("tokenizer.ggml.{key} is {given}; the vocabulary has {allowed} tokens")]
    TokenId {
        /// The key.
        key: &'static str,
        /// How many tokens there are.
        allowed: usize,
        /// The id in the file.
        given: u64,
    },
    /// A merge is not of the form `left right`, or names tokens that are not text of the vocabulary.
    #[error("tokenizer.ggml.merges: {detail}")]
    Merge {
        /// What is wrong.
        detail: String,
    },
    /// A score that cannot be ordered.
    #[error("tokenizer.ggml.scores: token {index} has the score {given}; allowed are finite numbers")]
    Score {
        /// The token.
        index: usize,
        /// Its score.
        given: f32,
    },
    /// The text is longer than any context.
    #[error("the text has {given} bytes; allowed are {allowed}")]
    TextTooLong {
        /// Most bytes that are allowed.
        allowed: usize,
        /// Bytes of the text.
        given: usize,
    },
    /// A part of the tokenizer failed in a way that no input should bring about.
    #[error("the tokenizer failed: {detail}")]
    Internal {
        /// What it said.
        detail: String,
    },
}
