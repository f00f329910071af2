use serde_json::Value;

use crate::error::RequestError;
use crate::fields::{Fields, alternatives, describe, number_in, quote};

/// Most stop strings.
pub const STOPS_MAX: usize = 16;
/// Most alternatives per token.
pub const TOP_LOGPROBS_MAX: u32 = 20;
/// Most messages.
pub const MESSAGES_MAX: usize = 4096;
/// Most entries of `logit_bias`.
pub const LOGIT_BIAS_MAX: usize = 1024;

/// Fields that would change the answer and that nothing here supports yet, unless they have the value that changes
/// nothing.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("audio", "spoken answers are not supported"),
    ("best_of", "several answers are not supported"),
    ("function_call", "tools are not supported yet"),
    ("functions", "tools are not supported yet"),
    ("guided_choice", "structured output is not supported yet"),
    ("guided_grammar", "structured output is not supported yet"),
    ("guided_json", "structured output is not supported yet"),
    ("guided_regex", "structured output is not supported yet"),
    ("prediction", "predicted outputs are not supported"),
    ("tools", "tools are not supported yet"),
    ("web_search_options", "web search is not supported"),
];

/// A request as the client wrote it, checked as far as that is possible without a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatCompletionRequest {
    /// The model to ask.
    pub model: String,
    /// The conversation, at least one message.
    pub messages: Vec<RequestMessage>,
    /// `max_completion_tokens`, or its older name `max_tokens`; at least 1.
    pub max_tokens: Option<u32>,
    /// `0..=2`
    pub temperature: Option<f32>,
    /// `0..=1`
    pub top_p: Option<f32>,
    /// 0 keeps all. As vLLM and llama.cpp have it.
    pub top_k: Option<u32>,
    /// `0..=1`. As vLLM and llama.cpp have it.
    pub min_p: Option<f32>,
    /// `0..=1`. As llama.cpp has it.
    pub typical_p: Option<f32>,
    /// `0.01..=100`. As vLLM has it.
    pub repetition_penalty: Option<f32>,
    /// `-2..=2`
    pub presence_penalty: Option<f32>,
    /// `-2..=2`
    pub frequency_penalty: Option<f32>,
    /// Token ids and what is added to their logits, `-100..=100`.
    pub logit_bias: Vec<(u32, f32)>,
    /// Makes the answer reproducible. A negative number is taken for its two's complement.
    pub seed: Option<u64>,
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
    /// How much to think. A hint.
    pub reasoning_effort: Option<ReasoningEffort>,
    /// The client's name for its user. Not used.
    pub user: Option<String>,
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

/// Who says a message of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRole {
    /// `system`, or OpenAI's newer name `developer`.
    System,
    /// `user`
    User,
    /// `assistant`
    Assistant,
}

/// A message of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMessage {
    /// Who says it.
    pub role: RequestRole,
    /// What is said; parts of text are joined.
    pub content: String,
    /// What the model thought before it said it.
    pub reasoning_content: Option<String>,
}

impl ChatCompletionRequest {
    /// Reads a request from its body.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn from_json(body: &[u8]) -> Result<Self, RequestError> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            // The position helps, a repetition of the body would not.
            let given = format!("something else at line {}, column {}", error.line(), error.column());
            RequestError::format("", "a JSON object", &given)
        })?;
        Self::from_value(value)
    }

    /// Reads a request from JSON.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn from_value(value: Value) -> Result<Self, RequestError> {
        let mut fields = Fields::new("", value)?;
        refuse_unsupported(&mut fields)?;
        let model = fields.string("model")?.ok_or_else(|| RequestError::missing("model"))?;
        let messages = read_messages(&mut fields)?;
        let stream = fields.boolean("stream")?.unwrap_or(false);
        let include_usage = read_stream_options(&mut fields, stream)?;
        let (logprobs, top_logprobs) = read_logprobs(&mut fields)?;
        let (thinking, reasoning_effort) = read_thinking(&mut fields)?;
        Ok(Self {
            model,
            messages,
            max_tokens: read_max_tokens(&mut fields)?,
            temperature: fields.number_in("temperature", 0.0, 2.0)?,
            top_p: fields.number_in("top_p", 0.0, 1.0)?,
            top_k: read_top_k(&mut fields)?,
            min_p: fields.number_in("min_p", 0.0, 1.0)?,
            typical_p: fields.number_in("typical_p", 0.0, 1.0)?,
            repetition_penalty: fields.number_in("repetition_penalty", 0.01, 100.0)?,
            presence_penalty: fields.number_in("presence_penalty", -2.0, 2.0)?,
            frequency_penalty: fields.number_in("frequency_penalty", -2.0, 2.0)?,
            logit_bias: read_logit_bias(&mut fields)?,
            seed: read_seed(&mut fields)?,
            stop: read_stop(&mut fields)?,
            stream,
            include_usage,
            logprobs,
            top_logprobs,
            thinking,
            reasoning_effort,
            user: fields.string("user")?,
        })
    }
}

fn refuse_unsupported(fields: &mut Fields) -> Result<(), RequestError> {
    for (field, why) in UNSUPPORTED {
        // An empty list of tools asks for nothing.
        if fields.take(field).is_some_and(|value| value != Value::Array(Vec::new())) {
            return Err(RequestError::unsupported(field, why));
        }
    }
    if let Some(given) = fields.integer("n")?
        && given != 1
    {
        return Err(RequestError::unsupported("n", "only 1 answer per request is supported"));
    }
    if let Some(choice) = fields.take("tool_choice")
        && choice != "none"
        && choice != "auto"
    {
        return Err(RequestError::unsupported("tool_choice", "tools are not supported yet"));
    }
    if let Some(mut format) = fields.object("response_format")?
        && let Some(given) = format.string("type")?
        && given != "text"
    {
        let why = format!("only \"text\" is supported yet, got {}", quote(&given));
        return Err(RequestError::unsupported("response_format.type", &why));
    }
    let modalities = fields.array("modalities")?.unwrap_or_default();
    if modalities.iter().any(|modality| modality != "text") {
        return Err(RequestError::unsupported("modalities", "only [\"text\"] is supported"));
    }
    Ok(())
}

fn read_messages(fields: &mut Fields) -> Result<Vec<RequestMessage>, RequestError> {
    let messages = fields.array("messages")?.ok_or_else(|| RequestError::missing("messages"))?;
    if messages.is_empty() || messages.len() > MESSAGES_MAX {
        let allowed = format!("an array of 1 to {MESSAGES_MAX} messages");
        return Err(RequestError::value("messages", &allowed, &format!("one of {}", messages.len())));
    }
    messages.into_iter().enumerate().map(|(index, message)| read_message(index, message)).collect()
}

fn read_message(index: usize, message: Value) -> Result<RequestMessage, RequestError> {
    let mut fields = Fields::new(format!("messages[{index}]"), message)?;
    let role_name = fields.name("role");
    let role = fields.string("role")?.ok_or_else(|| RequestError::missing(&role_name))?;
    let role = match role.as_str() {
        "system" | "developer" => RequestRole::System,
        "user" => RequestRole::User,
        "assistant" => RequestRole::Assistant,
        "tool" | "function" => {
            return Err(RequestError::unsupported(&role_name, "tools are not supported yet"));
        }
        given => {
            let allowed = alternatives(&["system", "developer", "user", "assistant"]);
            return Err(RequestError::value(&role_name, &allowed, &quote(given)));
        }
    };
    for field in ["tool_calls", "function_call"] {
        if fields.take(field).is_some_and(|value| value != Value::Array(Vec::new())) {
            return Err(RequestError::unsupported(&fields.name(field), "tools are not supported yet"));
        }
    }
    if fields.boolean("prefix")? == Some(true) {
        let why = "completing a given beginning is not supported yet";
        return Err(RequestError::unsupported(&fields.name("prefix"), why));
    }
    if fields.take("audio").is_some() {
        return Err(RequestError::unsupported(&fields.name("audio"), "spoken answers are not supported"));
    }
    let reasoning_content = fields.string("reasoning_content")?;
    let name = fields.name("content");
    let content = match fields.take("content") {
        Some(content) => read_content(&name, content)?,
        // A turn of the model that ended within its reasoning has none.
        None if role == RequestRole::Assistant => String::new(),
        None => return Err(RequestError::missing(&name)),
    };
    Ok(RequestMessage { role, content, reasoning_content })
}

/// A string, or an array of parts of text, which are joined.
fn read_content(name: &str, content: Value) -> Result<String, RequestError> {
    let parts = match content {
        Value::String(text) => return Ok(text),
        Value::Array(parts) => parts,
        other => return Err(RequestError::format(name, "a string or an array of parts", describe(&other))),
    };
    let mut text = String::new();
    for (index, part) in parts.into_iter().enumerate() {
        let mut fields = Fields::new(format!("{name}[{index}]"), part)?;
        let kind_name = fields.name("type");
        match fields.string("type")?.as_deref() {
            Some("text") => {
                let missing = RequestError::missing(&fields.name("text"));
                text.push_str(&fields.string("text")?.ok_or(missing)?);
            }
            Some(given) => {
                let why = format!("only parts of type \"text\" are supported, got {}", quote(given));
                return Err(RequestError::unsupported(&kind_name, &why));
            }
            None => return Err(RequestError::missing(&kind_name)),
        }
    }
    Ok(text)
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

/// vLLM's clients send -1 for "all".
fn read_top_k(fields: &mut Fields) -> Result<Option<u32>, RequestError> {
    let Some(given) = fields.integer("top_k")? else { return Ok(None) };
    if given == -1 {
        return Ok(Some(0));
    }
    let wrong = || RequestError::value("top_k", "at least 1, or 0 or -1 for all", &given.to_string());
    u32::try_from(given).map(Some).map_err(|_| wrong())
}

fn read_seed(fields: &mut Fields) -> Result<Option<u64>, RequestError> {
    let Some(given) = fields.integer("seed")? else { return Ok(None) };
    let seed = u64::try_from(given).or_else(|_| i64::try_from(given).map(i64::cast_unsigned));
    seed.map(Some).map_err(|_| RequestError::value("seed", "a whole number of 64 bits", &given.to_string()))
}

fn read_stop(fields: &mut Fields) -> Result<Vec<String>, RequestError> {
    let stops = match fields.take("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(stop)) => vec![Value::String(stop)],
        Some(Value::Array(stops)) => stops,
        Some(other) => {
            return Err(RequestError::format("stop", "a string or an array of strings", describe(&other)));
        }
    };
    if stops.len() > STOPS_MAX {
        let allowed = format!("at most {STOPS_MAX} strings");
        return Err(RequestError::value("stop", &allowed, &stops.len().to_string()));
    }
    let read = |(index, stop): (usize, Value)| match stop {
        Value::String(stop) if stop.is_empty() => {
            Err(RequestError::value(&format!("stop[{index}]"), "a string of at least 1 character", "\"\""))
        }
        Value::String(stop) => Ok(stop),
        other => Err(RequestError::format(&format!("stop[{index}]"), "a string", describe(&other))),
    };
    stops.into_iter().enumerate().map(read).collect()
}

fn read_stream_options(fields: &mut Fields, stream: bool) -> Result<bool, RequestError> {
    let Some(mut options) = fields.object("stream_options")? else { return Ok(false) };
    if !stream {
        let allowed = "absent where stream is not true";
        return Err(RequestError::format("stream_options", allowed, "an object"));
    }
    Ok(options.boolean("include_usage")?.unwrap_or(false))
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

fn read_thinking(fields: &mut Fields) -> Result<(Option<bool>, Option<ReasoningEffort>), RequestError> {
    let mut thinking = None;
    if let Some(mut object) = fields.object("thinking")? {
        let name = object.name("type");
        let kind = object.choice("type", &["enabled", "disabled", "auto"])?;
        thinking = match kind.ok_or_else(|| RequestError::missing(&name))?.as_str() {
            "enabled" => Some(true),
            "disabled" => Some(false),
            _ => None,
        };
    }
    let efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max", "ultra"];
    let effort = match fields.choice("reasoning_effort", &efforts)?.as_deref() {
        None => None,
        Some("none") => {
            thinking = thinking.or(Some(false));
            None
        }
        Some("minimal" | "low") => Some(ReasoningEffort::Low),
        Some("max" | "ultra") => Some(ReasoningEffort::Max),
        Some(_) => Some(ReasoningEffort::High),
    };
    Ok((thinking, effort))
}

fn read_logit_bias(fields: &mut Fields) -> Result<Vec<(u32, f32)>, RequestError> {
    let entries = match fields.take("logit_bias") {
        None => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => {
            return Err(RequestError::format("logit_bias", "an object", describe(&other)));
        }
    };
    if entries.len() > LOGIT_BIAS_MAX {
        let allowed = format!("at most {LOGIT_BIAS_MAX} entries");
        return Err(RequestError::value("logit_bias", &allowed, &entries.len().to_string()));
    }
    let read = |(token, bias): (String, Value)| {
        let id = token.parse::<u32>().map_err(|_| {
            RequestError::value("logit_bias", "an object whose keys are token ids", &quote(&token))
        })?;
        Ok((id, number_in(&format!("logit_bias.{id}"), &bias, -100.0, 100.0)?))
    };
    entries.into_iter().map(read).collect()
}
