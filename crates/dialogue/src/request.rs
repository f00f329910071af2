use base::TokenId;
use engine::{CacheScope, Priority, SamplingParams};

use crate::error::DialogueError;

/// Most stop strings of a request, as DeepSeek's API has it.
pub const STOPS_MAX: usize = 16;

/// Longest stop string, in bytes of UTF-8.
pub const STOP_BYTES_MAX: usize = 1024;

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions to the model.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that chat templates and APIs use.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// What the model thought before it said it. Accepted so that a history can be passed as it is; the model
    /// isn't shown the reasoning of earlier turns.
    pub reasoning: Option<String>,
}

impl Message {
    /// Instructions to the model.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into(), reasoning: None }
    }

    /// Words of the person.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into(), reasoning: None }
    }

    /// Words of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into(), reasoning: None }
    }
}

/// What a request sets of [`SamplingParams`]; the rest comes from the model's [`Profile`](crate::Profile).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SamplingOverrides {
    /// See [`SamplingParams::temperature`].
    pub temperature: Option<f32>,
    /// See [`SamplingParams::top_k`].
    pub top_k: Option<usize>,
    /// See [`SamplingParams::top_p`].
    pub top_p: Option<f32>,
    /// See [`SamplingParams::min_p`].
    pub min_p: Option<f32>,
    /// See [`SamplingParams::typical_p`].
    pub typical_p: Option<f32>,
    /// See [`SamplingParams::repetition_penalty`].
    pub repetition_penalty: Option<f32>,
    /// See [`SamplingParams::presence_penalty`].
    pub presence_penalty: Option<f32>,
    /// See [`SamplingParams::frequency_penalty`].
    pub frequency_penalty: Option<f32>,
    /// See [`SamplingParams::penalty_window`].
    pub penalty_window: Option<usize>,
    /// See [`SamplingParams::logit_bias`].
    pub logit_bias: Option<Vec<(TokenId, f32)>>,
    /// See [`SamplingParams::seed`].
    pub seed: Option<u64>,
    /// See [`SamplingParams::logprobs`].
    pub logprobs: Option<usize>,
}

impl SamplingOverrides {
    /// The defaults with what is set here put in their place.
    pub fn over(&self, defaults: &SamplingParams) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            typical_p: self.typical_p.unwrap_or(defaults.typical_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(defaults.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            penalty_window: self.penalty_window.unwrap_or(defaults.penalty_window),
            logit_bias: self.logit_bias.clone().unwrap_or_else(|| defaults.logit_bias.clone()),
            seed: self.seed.or(defaults.seed),
            logprobs: self.logprobs.or(defaults.logprobs),
        }
    }
}

/// What the model has said of its answer already.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Begun {
    /// What it thought, if it did. It still thinks if there is no content.
    pub reasoning: Option<String>,
    /// What it answered.
    pub content: String,
}

/// What to answer, and how.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChatRequest {
    /// The conversation so far; the last message is the one to answer and is not the model's.
    pub messages: Vec<Message>,
    /// How tokens are chosen.
    pub sampling: SamplingOverrides,
    /// Most tokens to generate, reasoning included; the rest of the context if not set.
    pub tokens_max: Option<usize>,
    /// Strings that end the answer and are not part of it, at most [`STOPS_MAX`] of 1 to [`STOP_BYTES_MAX`]
    /// bytes. They are looked for in the content, not in the reasoning.
    pub stop: Vec<String>,
    /// Whether to think first; the model's habit if not set.
    pub thinking: Option<bool>,
    /// What the model goes on from; what comes is the rest. Whether it thinks first then follows from this, and not from
    /// `thinking`.
    pub begun: Option<Begun>,
    /// Class of the caller.
    pub priority: Priority,
    /// With whom it shares what was read before: requests of one user.
    pub scope: CacheScope,
}

impl ChatRequest {
    /// What the model has said already, if it has said anything.
    pub(crate) fn said(&self) -> Option<&Begun> {
        self.begun.as_ref().filter(|begun| begun.reasoning.is_some() || !begun.content.is_empty())
    }

    /// Checks what can be checked without a model: roles, stop strings, token limit.
    ///
    /// # Errors
    /// The first field that is not allowed, with what would have been.
    pub fn validate(&self) -> Result<(), DialogueError> {
        let Some(last) = self.messages.last() else {
            return Err(DialogueError::invalid("messages", "at least 1 message", "none"));
        };
        if last.role == Role::Assistant {
            let allowed = "ended by a message of the user or the system";
            return Err(DialogueError::invalid("messages", allowed, "a last message of the assistant"));
        }
        if self.stop.len() > STOPS_MAX {
            return Err(DialogueError::invalid(
                "stop",
                format!("at most {STOPS_MAX} strings"),
                self.stop.len().to_string(),
            ));
        }
        for stop in &self.stop {
            if stop.is_empty() || stop.len() > STOP_BYTES_MAX {
                let allowed = format!("strings of 1 to {STOP_BYTES_MAX} bytes");
                return Err(DialogueError::invalid("stop", allowed, format!("one of {} bytes", stop.len())));
            }
        }
        if self.tokens_max == Some(0) {
            return Err(DialogueError::invalid("max_tokens", "at least 1", "0"));
        }
        Ok(())
    }
}
