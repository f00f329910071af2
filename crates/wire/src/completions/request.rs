use serde_json::Value;

use crate::error::RequestError;
use crate::fields::{Fields, describe};
use crate::format::Format;
use crate::sampling::{Sampling, read_answers, read_stop, read_stream};
use crate::tokens::read_ids;
use crate::turns::{read_json, required};

/// Most prompts of a request.
pub const PROMPTS_MAX: usize = 128;
/// Most answers of a request, to all of its prompts together.
pub const CHOICES_MAX: usize = 128;
/// Most alternatives per token.
pub const LOGPROBS_MAX: u32 = 20;
/// Most tokens to generate where a request doesn't say, as OpenAI has it.
pub const MAX_TOKENS: u32 = 16;

/// A request as the client wrote it, checked as far as that is possible without a model.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// The model to ask.
    pub model: String,
    /// What to continue, 1 to [`PROMPTS_MAX`].
    pub prompts: Vec<CompletionInput>,
    /// What comes after: the middle is generated.
    pub suffix: Option<String>,
    /// Most tokens to generate; 0 only with `echo`.
    pub max_tokens: u32,
    /// `n`: answers to each prompt, 1 to [`ANSWERS_MAX`](crate::ANSWERS_MAX), and at most [`CHOICES_MAX`] to all of them.
    pub answers: u32,
    /// Whether to give the prompt back before what continues it.
    pub echo: bool,
    /// Gives log-probabilities with so many alternatives per token, `0..=20`; with `echo` those of the prompt too.
    pub logprobs: Option<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Strings that end the answer.
    pub stop: Vec<String>,
    /// What form the text has.
    pub format: Format,
    /// Whether to send the answer piece by piece.
    pub stream: bool,
    /// Whether the stream ends with a chunk of usage.
    pub include_usage: bool,
}

/// What to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompletionInput {
    /// A text.
    Text(String),
    /// Token ids, at least one.
    Tokens(Vec<u32>),
}

impl CompletionRequest {
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
        let model = required(&mut fields, "model")?;
        let prompts = read_prompts(&mut fields)?;
        let answers = read_answers(&mut fields)?;
        check_choices(prompts.len(), answers)?;
        let (stream, include_usage) = read_stream(&mut fields)?;
        let echo = fields.boolean("echo")?.unwrap_or(false);
        let suffix = fields.string("suffix")?.filter(|suffix| !suffix.is_empty());
        if echo && suffix.is_some() {
            let allowed = "absent where suffix is given";
            return Err(RequestError::value("echo", allowed, "true"));
        }
        // A name for the client's own user; it changes nothing.
        fields.string("user")?;
        let least = u32::from(!echo);
        Ok(Self {
            model,
            prompts,
            suffix,
            max_tokens: fields.integer_in("max_tokens", least, u32::MAX)?.unwrap_or(MAX_TOKENS),
            answers,
            echo,
            logprobs: fields.integer_in("logprobs", 0, LOGPROBS_MAX)?,
            sampling: Sampling::read(&mut fields)?,
            stop: read_stop(&mut fields)?,
            format: Format::read(&mut fields)?,
            stream,
            include_usage,
        })
    }
}

fn check_choices(prompts: usize, answers: u32) -> Result<(), RequestError> {
    let choices = prompts.saturating_mul(answers as usize);
    if choices > CHOICES_MAX {
        let allowed = format!("so few that there are at most {CHOICES_MAX} answers to all prompts together");
        return Err(RequestError::value("n", &allowed, &format!("{answers} for each of {prompts}")));
    }
    Ok(())
}

/// A text, tokens, texts, or several lists of tokens.
fn read_prompts(fields: &mut Fields) -> Result<Vec<CompletionInput>, RequestError> {
    let prompts = match fields.take("prompt") {
        None => return Err(RequestError::missing("prompt")),
        Some(Value::String(text)) => return Ok(vec![CompletionInput::Text(text)]),
        Some(Value::Array(prompts)) => prompts,
        Some(other) => return Err(RequestError::format("prompt", ALLOWED, describe(&other))),
    };
    if prompts.first().is_some_and(Value::is_number) {
        return Ok(vec![read_tokens("prompt", &prompts)?]);
    }
    if prompts.is_empty() || prompts.len() > PROMPTS_MAX {
        let allowed = format!("an array of 1 to {PROMPTS_MAX} prompts, or of token ids");
        return Err(RequestError::value("prompt", &allowed, &format!("one of {}", prompts.len())));
    }
    let read = |(index, prompt)| match prompt {
        Value::String(text) => Ok(CompletionInput::Text(text)),
        Value::Array(tokens) => read_tokens(&format!("prompt[{index}]"), &tokens),
        other => {
            let allowed = "a string or an array of token ids";
            Err(RequestError::format(&format!("prompt[{index}]"), allowed, describe(&other)))
        }
    };
    prompts.into_iter().enumerate().map(read).collect()
}

const ALLOWED: &str = "a string, an array of strings, an array of token ids, or an array of such arrays";

fn read_tokens(name: &str, tokens: &[Value]) -> Result<CompletionInput, RequestError> {
    if tokens.is_empty() {
        return Err(RequestError::value(name, "at least 1 token", "none"));
    }
    Ok(CompletionInput::Tokens(read_ids(name, tokens)?))
}
