use serde_json::Value;

use super::messages::Conversation;
use super::tools::Tools;
use crate::error::RequestError;
use crate::fields::Fields;
use crate::format::Format;
use crate::sampling::{Sampling, read_answers, read_stop, read_stream};
use crate::turns::{AssistantTurn, Function, FunctionChoice, Turn, read_json, required};

/// Most alternatives per token.
pub const TOP_LOGPROBS_MAX: u32 = 20;

/// Fields that would change the answer and that nothing here supports, unless they have the value that changes nothing.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("audio", "spoken answers are not supported"),
    ("prediction", "predicted outputs are not supported"),
    ("web_search_options", "web search is not supported"),
];

/// A request as the client wrote it, checked as far as that is possible without a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatCompletionRequest {
    /// The model to ask.
    pub model: String,
    /// The conversation, at least one turn.
    pub turns: Vec<Turn>,
    /// From a last message with `prefix: true`: what the model has said of its answer. It calls nothing.
    pub begun: Option<AssistantTurn>,
    /// `n`: how many answers, 1 to [`ANSWERS_MAX`](crate::ANSWERS_MAX).
    pub answers: u32,
    /// `max_completion_tokens`, or its older name `max_tokens`; at least 1.
    pub max_tokens: Option<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Strings that end the answer.
    pub stop: Vec<String>,
    /// Whether to send the answer piece by piece.
    pub stream: bool,
    /// Whether the stream ends with a chunk of usage.
    pub include_usage: bool,
    /// Whether to give log-probabilities.
    pub logprobs: bool,
    /// Alternatives per token; only with `logprobs`.
    pub top_logprobs: Option<u32>,
    /// Whether to think, from `thinking` or from a `reasoning_effort` of `none`; the model's habit if not set.
    pub thinking: Option<bool>,
    /// `thinking.budget_tokens`: most tokens of thought.
    pub thinking_tokens_max: Option<u32>,
    /// How much to think. A hint.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// The tools that the model may call.
    pub tools: Vec<Function>,
    /// Whether it calls them.
    pub tool_choice: FunctionChoice,
    /// Whether it may call several in one answer.
    pub parallel_tool_calls: bool,
    /// Whether tools came as `functions`, so that calls are answered as `function_call`.
    pub functions_form: bool,
    /// What form the content has.
    pub format: Format,
}

/// How much to think, in DeepSeek's steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasoningEffort {
    /// `minimal` or `low`.
    Low,
    /// `medium`, `high` or `xhigh`.
    High,
    /// `max` or `ultra`.
    Max,
}

impl ChatCompletionRequest {
    /// Reads a request from its body.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        Self::from_value(read_json(body)?)
    }

    /// Reads a request from JSON.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let mut fields = Fields::new("", value)?;
        refuse_unsupported(&mut fields)?;
        let model = required(&mut fields, "model")?;
        let Conversation { turns, begun } = Conversation::read(&mut fields)?;
        let (stream, include_usage) = read_stream(&mut fields)?;
        let (logprobs, top_logprobs) = read_logprobs(&mut fields)?;
        let Thinking { enabled, tokens_max, effort } = Thinking::read(&mut fields)?;
        let tools = Tools::read(&mut fields)?;
        // A name for the client's own user; it changes nothing.
        fields.string("user")?;
        let request = Self {
            model,
            turns,
            begun,
            answers: read_answers(&mut fields)?,
            max_tokens: read_max_tokens(&mut fields)?,
            sampling: Sampling::read(&mut fields)?,
            stop: read_stop(&mut fields)?,
            stream,
            include_usage,
            logprobs,
            top_logprobs,
            thinking: enabled,
            thinking_tokens_max: tokens_max,
            reasoning_effort: effort,
            tools: tools.functions,
            tool_choice: tools.choice,
            parallel_tool_calls: tools.parallel,
            functions_form: tools.old_form,
            format: Format::read(&mut fields)?,
        };
        request.check_thinking(enabled)?;
        Ok(request)
    }

    /// DeepSeek's API takes no `tool_choice` that requires a call in its thinking mode. Here that is a matter of what is
    /// asked for: a model that thinks by habit does so before it calls what it must.
    fn check_thinking(&self, wanted: Option<bool>) -> Result<(), RequestError> {
        let requires = matches!(self.tool_choice, FunctionChoice::Required | FunctionChoice::Named(_));
        if requires && wanted == Some(true) {
            let allowed = "\"none\" or \"auto\" where thinking is enabled";
            return Err(RequestError::format("tool_choice", allowed, "one that requires a call"));
        }
        Ok(())
    }
}

fn refuse_unsupported(fields: &mut Fields) -> Result<(), RequestError> {
    for (field, why) in UNSUPPORTED {
        if fields.take(field).is_some() {
            return Err(RequestError::unsupported(field, why));
        }
    }
    let modalities = fields.array("modalities")?.unwrap_or_default();
    if modalities.iter().any(|modality| modality != "text") {
        return Err(RequestError::unsupported("modalities", "only [\"text\"] is supported"));
    }
    Ok(())
}

fn read_max_tokens(fields: &mut Fields) -> Result<Option<u32>, RequestError> {
    let old = fields.integer_in("max_tokens", 1, u32::MAX)?;
    let new = fields.integer_in("max_completion_tokens", 1, u32::MAX)?;
    match (old, new) {
        (Some(old), Some(new)) if old != new => Err(RequestError::value(
            "max_completion_tokens",
            &format!("the same as max_tokens ({old}) where both are given"),
            &new.to_string(),
        )),
        _ => Ok(new.or(old)),
    }
}

fn read_logprobs(fields: &mut Fields) -> Result<(bool, Option<u32>), RequestError> {
    let logprobs = fields.boolean("logprobs")?.unwrap_or(false);
    let top = fields.integer_in("top_logprobs", 0, TOP_LOGPROBS_MAX)?;
    if top.is_some_and(|top| top > 0) && !logprobs {
        let allowed = "absent where logprobs is not true";
        return Err(RequestError::value("top_logprobs", allowed, "a number"));
    }
    Ok((logprobs, top))
}

/// What a request says of thinking.
struct Thinking {
    /// What `thinking.type` says, or else an effort of `none`.
    enabled: Option<bool>,
    tokens_max: Option<u32>,
    effort: Option<ReasoningEffort>,
}

impl Thinking {
    fn read(fields: &mut Fields) -> Result<Self, RequestError> {
        let (mut enabled, mut tokens_max) = (None, None);
        if let Some(mut object) = fields.object("thinking")? {
            let missing = RequestError::missing(&object.name("type"));
            // "adaptive" is Anthropic's word for the model's own habit.
            let kind = object.choice("type", &["enabled", "disabled", "auto", "adaptive"])?;
            enabled = match kind.ok_or(missing)?.as_str() {
                "enabled" => Some(true),
                "disabled" => Some(false),
                _ => None,
            };
            tokens_max = object.integer_in("budget_tokens", 1, u32::MAX)?;
        }
        let efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"];
        let effort = fields.choice("reasoning_effort", &efforts)?;
        if effort.as_deref() == Some("none") {
            enabled = enabled.or(Some(false));
        }
        let effort = effort.filter(|effort| effort != "none").map(|effort| match effort.as_str() {
            "minimal" | "low" => ReasoningEffort::Low,
            "max" | "ultra" => ReasoningEffort::Max,
            _ => ReasoningEffort::High,
        });
        Ok(Self { enabled, tokens_max, effort })
    }
}
