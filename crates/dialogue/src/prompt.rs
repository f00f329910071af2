use std::sync::Arc;

use base::TokenId;
use engine::{CacheScope, Priority, SamplingParams};

use crate::split::Start;
use crate::steer::Plan;

/// An upper bound of what a prompt costs, known before any work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Tokens to read.
    pub prompt_tokens: usize,
    /// Most tokens to generate.
    pub completion_tokens_max: usize,
}

/// A request that was checked, rendered and tokenised. For the dialogue that made it.
#[derive(Debug, Clone)]
pub struct Prompt {
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) tokens_max: usize,
    pub(crate) sampling: SamplingParams,
    pub(crate) stop: Vec<String>,
    pub(crate) start: Start,
    /// What the answer may be; none if anything.
    pub(crate) plan: Option<Arc<Plan>>,
    /// Whether calls are looked for in the answer.
    pub(crate) calls: bool,
    /// As in [`CompletionRequest`](crate::CompletionRequest::prompt_logprobs).
    pub(crate) read_logprobs: Option<usize>,
    /// Whether it is of a conversation, which may go on.
    pub(crate) of_conversation: bool,
    pub(crate) priority: Priority,
    pub(crate) scope: CacheScope,
}

impl Prompt {
    /// What the model is given to continue.
    pub fn tokens(&self) -> &[TokenId] {
        &self.tokens
    }

    /// An upper bound of what it costs.
    pub fn cost(&self) -> Cost {
        Cost { prompt_tokens: self.tokens.len(), completion_tokens_max: self.tokens_max }
    }

    /// The same, for no more than so many tokens, at least 1.
    #[must_use]
    pub fn at_most(self, tokens: usize) -> Self {
        Self { tokens_max: self.tokens_max.min(tokens.max(1)), ..self }
    }

    /// The same for a caller of this class.
    #[must_use]
    pub fn with_priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The same for the answer of this number, from 0, among several: where a seed is set, each has one of its own.
    #[must_use]
    pub fn nth(mut self, number: u64) -> Self {
        self.sampling.seed = self.sampling.seed.map(|seed| seed.wrapping_add(number));
        self
    }

    /// How tokens will be chosen: the request's choices over the model's defaults.
    pub fn sampling(&self) -> &SamplingParams {
        &self.sampling
    }
}
