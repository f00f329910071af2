use base::TokenId;
use engine::{CacheScope, Priority, SamplingParams};
use serde_json::Value;

use crate::error::DialogueError;
use crate::steer::check_tools;

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
    /// What a tool gave back.
    Tool,
}

impl Role {
    /// The name that chat templates and APIs use.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// JSON Schema of the arguments, an object.
    pub parameters: Value,
    /// Whether arguments must be valid by the schema. If not, they are an object in any case.
    pub strict: bool,
}

/// A call of a tool by the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// What the result is answered to.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments, as JSON text.
    pub arguments: String,
}

/// Whether the model calls tools.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As it sees fit.
    #[default]
    Auto,
    /// It doesn't.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

/// What form the content has.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format {
    /// Any.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that is valid by a JSON Schema.
    JsonSchema {
        /// The schema.
        schema: Value,
        /// Whether to refuse a schema with keywords that can't be held to; if not, those are passed over.
        strict: bool,
    },
    /// A text that a regular expression matches as a whole.
    Regex(String),
    /// One of these texts.
    Choice(Vec<String>),
    /// A text of a grammar in llguidance's variant of Lark.
    Lark(String),
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
    /// What the model thought before it said it. The model is shown it again only where it called tools after the last
    /// message of the user; that of earlier turns is accepted, so that a history can be passed as it is, and dropped.
    pub reasoning: Option<String>,
    /// The tools that the model called after what it said.
    pub tool_calls: Vec<ToolCall>,
    /// In a message of a tool: the call that it answers.
    pub tool_call_id: Option<String>,
}

impl Message {
    /// Instructions to the model.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content.into())
    }

    /// Words of the person.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content.into())
    }

    /// Words of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content.into())
    }

    /// What a tool gave back for a call.
    pub fn tool(call_id: impl Into<String>, content: impl Into<String>) -> Self {
        Self { tool_call_id: Some(call_id.into()), ..Self::new(Role::Tool, content.into()) }
    }

    fn new(role: Role, content: String) -> Self {
        Self { role, content, reasoning: None, tool_calls: Vec::new(), tool_call_id: None }
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
    /// The conversation so far; the last message is the one to answer and is not the model's. Messages of tools name a
    /// call before them.
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
    /// Most tokens of reasoning: the thought is ended at the next end of a sentence after them, and the answer follows.
    pub reasoning_tokens_max: Option<usize>,
    /// The tools that it may call.
    pub tools: Vec<Tool>,
    /// Whether it calls them.
    pub tool_choice: ToolChoice,
    /// Whether it may call several in one answer.
    pub parallel_tool_calls: bool,
    /// What form the content has.
    pub format: Format,
    /// What the model goes on from; what comes is the rest. Whether it thinks first then follows from this, and not
    /// from `thinking`.
    pub begun: Option<Begun>,
    /// Class of the caller.
    pub priority: Priority,
    /// With whom it shares what was read before: requests of one user.
    pub scope: CacheScope,
}

/// What to continue without a conversation around it.
#[derive(Debug, Clone, PartialEq)]
pub enum CompletionPrompt {
    /// A text; what spells a special token in it is plain text.
    Text(String),
    /// Tokens.
    Tokens(Vec<TokenId>),
}

/// A text to continue, or whose middle to fill.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// What comes before.
    pub prompt: CompletionPrompt,
    /// What comes after: the middle is generated, by models that can (fill in the middle).
    pub suffix: Option<String>,
    /// How tokens are chosen.
    pub sampling: SamplingOverrides,
    /// Most tokens to generate; the rest of the context if not set. 0 only with `prompt_logprobs`.
    pub tokens_max: Option<usize>,
    /// As in [`ChatRequest::stop`].
    pub stop: Vec<String>,
    /// What form the text has.
    pub format: Format,
    /// Gives the log-probability of each token of the prompt but the first, with so many alternatives.
    pub prompt_logprobs: Option<usize>,
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

    /// Checks what can be checked without a model: roles, stop strings, tools, token limit.
    ///
    /// # Errors
    /// The first field that is not allowed, with what would have been.
    pub fn validate(&self) -> Result<(), DialogueError> {
        let Some(last) = self.messages.last() else {
            return Err(DialogueError::invalid("messages", "at least 1 message", "none"));
        };
        if last.role == Role::Assistant {
            let allowed = "ended by a message of the user, the system or a tool";
            return Err(DialogueError::invalid("messages", allowed, "a last message of the assistant"));
        }
        check_stops(&self.stop)?;
        check_tools(self)?;
        if self.tokens_max == Some(0) {
            return Err(DialogueError::invalid("max_tokens", "at least 1", "0"));
        }
        Ok(())
    }
}

/// Checks stop strings.
pub(crate) fn check_stops(stops: &[String]) -> Result<(), DialogueError> {
    if stops.len() > STOPS_MAX {
        let allowed = format!("at most {STOPS_MAX} strings");
        return Err(DialogueError::invalid("stop", allowed, stops.len().to_string()));
    }
    for stop in stops {
        if stop.is_empty() || stop.len() > STOP_BYTES_MAX {
            let allowed = format!("strings of 1 to {STOP_BYTES_MAX} bytes");
            return Err(DialogueError::invalid("stop", allowed, format!("one of {} bytes", stop.len())));
        }
    }
    Ok(())
}
