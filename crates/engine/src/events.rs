use std::time::Duration;

use base::TokenId;

use crate::prefix::CacheScope;
use crate::sampler::SamplingParams;
use crate::steering::Steering;

/// Class of a submission. Classes are served in this order, see [`scheduler`](crate::scheduler) for the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// Before all others; the usual class where nobody has to wait for others.
    #[default]
    High,
    /// After those.
    Normal,
    /// After those too.
    Low,
    /// After all others, but never starved.
    Lowest,
}

impl Priority {
    /// All, the highest first.
    pub const ALL: [Self; 4] = [Self::High, Self::Normal, Self::Low, Self::Lowest];
}

/// What to generate.
#[derive(Debug)]
pub struct Submission {
    /// The tokens to continue, at least one.
    pub prompt: Vec<TokenId>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Most tokens to generate, at least 1, or 0 where `prompt_logprobs` is all that is wanted. Generation also ends,
    /// with [`FinishReason::Length`], where the sequence fills the context.
    pub tokens_max: usize,
    /// Tokens that end the answer.
    pub end_tokens: Vec<TokenId>,
    /// Class of the caller.
    pub priority: Priority,
    /// With whom it shares what it has read: one user's sequences, say.
    pub scope: CacheScope,
    /// Says what may come next, token by token; anything if there is none.
    pub steering: Option<Box<dyn Steering>>,
    /// Asks for the log-probability of each token of the prompt but the first, with this many most probable
    /// alternatives (0 to [`LOGPROBS_MAX`](crate::LOGPROBS_MAX)). All of the prompt is then read, whatever the prefix
    /// cache has. They are those of the model, as in [`SamplingParams::logprobs`](crate::SamplingParams::logprobs).
    pub prompt_logprobs: Option<usize>,
}

/// What happens to a sequence: `Started`, then `Prompt` where that was asked for, then `Token`s, then `Finished`, which
/// is always the last and always comes. The others may be missing.
#[derive(Debug, Clone, PartialEq)]
pub enum SequenceEvent {
    /// The sequence left the queue and its prompt is being read.
    Started {
        /// Time in the queue.
        queued: Duration,
    },
    /// The tokens of the prompt but the first, in order, with their log-probabilities. Comes once, before the first
    /// token, also where it is empty.
    Prompt(Vec<GeneratedToken>),
    /// A token was generated.
    Token(GeneratedToken),
    /// Nothing more comes.
    Finished {
        /// Why.
        reason: FinishReason,
        /// What it took.
        usage: EngineUsage,
    },
}

/// A generated token, or one of the prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratedToken {
    /// The token. One that was generated is never one of the submission's end tokens.
    pub id: TokenId,
    /// Its natural log-probability under the model, whatever else steered the choice; NaN unless
    /// [`SamplingParams::logprobs`](crate::SamplingParams::logprobs) or [`Submission::prompt_logprobs`] asked for it.
    pub logprob: f32,
    /// The most probable tokens and their log-probabilities, most probable first, as many as were asked for.
    pub top: Vec<(TokenId, f32)>,
}

/// Why a sequence ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// The model chose one of the end tokens.
    EndToken,
    /// `tokens_max` tokens were generated, or the context is full.
    Length,
    /// The caller cancelled it.
    Cancelled,
    /// The engine shut down first.
    ShuttingDown,
    /// It never started: the queue was full, and the place went to a submission of a higher class.
    Displaced,
    /// The model, or what steered it, could not go on; a text for the caller.
    Failed(String),
}

/// What a sequence took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that were in the prefix cache and did not have to be read.
    pub cached_tokens: usize,
    /// Tokens generated: the number of [`SequenceEvent::Token`] events. The end token is not counted.
    pub generated_tokens: usize,
    /// From submission to the first step that reads the prompt, or to the end if there was none.
    pub queued: Duration,
    /// From there to the first token, or to the end if there was none.
    pub prefill: Duration,
    /// From the first token to the end.
    pub decode: Duration,
}
