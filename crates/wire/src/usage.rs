use serde::{Deserialize, Serialize};

/// What an answer took, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Usage {
    /// Tokens of the conversation: cache hits and misses.
    pub prompt_tokens: usize,
    /// Tokens generated, reasoning included.
    pub completion_tokens: usize,
    /// All of them.
    pub total_tokens: usize,
    /// Tokens of the conversation that were in the cache.
    pub prompt_cache_hit_tokens: usize,
    /// Tokens of the conversation that had to be read.
    pub prompt_cache_miss_tokens: usize,
    /// OpenAI's form of the same.
    pub prompt_tokens_details: PromptTokensDetails,
    /// What was generated.
    pub completion_tokens_details: CompletionTokensDetails,
}

impl Usage {
    /// The usage of an answer: `cached` of the prompt's tokens, `reasoning` of the completion's.
    pub fn new(prompt: usize, cached: usize, completion: usize, reasoning: usize) -> Self {
        let cached = cached.min(prompt);
        Self {
            prompt_tokens: prompt,
            completion_tokens: completion,
            total_tokens: prompt.saturating_add(completion),
            prompt_cache_hit_tokens: cached,
            prompt_cache_miss_tokens: prompt - cached,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: cached },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: reasoning },
        }
    }
}

/// Of the prompt's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PromptTokensDetails {
    /// Those that were in the cache.
    pub cached_tokens: usize,
}

/// Of the completion's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CompletionTokensDetails {
    /// Those of the reasoning.
    pub reasoning_tokens: usize,
}
