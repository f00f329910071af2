use serde_json::Value;

use crate::error::RequestError;
use crate::fields::{Fields, describe, number_in, quote};

/// Most entries of `logit_bias`.
pub const LOGIT_BIAS_MAX: usize = 1024;
/// Most stop strings.
pub const STOPS_MAX: usize = 16;
/// Most answers to one prompt.
pub const ANSWERS_MAX: u32 = 8;

/// How tokens are chosen. What is not set is the model's own habit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
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
    /// Makes the answer reproducible; each of several answers has one of its own that follows from it. A negative
    /// number is taken for its two's complement.
    pub seed: Option<u64>,
}

impl Sampling {
    pub(crate) fn read(fields: &mut Fields) -> Result<Self, RequestError> {
        Ok(Self {
            temperature: fields.number_in("temperature", 0.0, 2.0)?,
            top_p: fields.number_in("top_p", 0.0, 1.0)?,
            top_k: read_top_k(fields)?,
            min_p: fields.number_in("min_p", 0.0, 1.0)?,
            typical_p: fields.number_in("typical_p", 0.0, 1.0)?,
            repetition_penalty: fields.number_in("repetition_penalty", 0.01, 100.0)?,
            presence_penalty: fields.number_in("presence_penalty", -2.0, 2.0)?,
            frequency_penalty: fields.number_in("frequency_penalty", -2.0, 2.0)?,
            logit_bias: read_logit_bias(fields)?,
            seed: read_seed(fields)?,
        })
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

/// The strings that end an answer.
pub(crate) fn read_stop(fields: &mut Fields) -> Result<Vec<String>, RequestError> {
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

/// Answers to each prompt. Those that are thrown away again because others are better are not generated at all.
pub(crate) fn read_answers(fields: &mut Fields) -> Result<u32, RequestError> {
    let answers = fields.integer_in("n", 1, ANSWERS_MAX)?.unwrap_or(1);
    match fields.integer("best_of")? {
        Some(best_of) if best_of != i128::from(answers) => {
            let why = format!("only as many answers are generated as are given (n, which is {answers})");
            Err(RequestError::unsupported("best_of", &why))
        }
        _ => Ok(answers),
    }
}

/// Whether the answer is streamed, and whether the stream ends with a chunk of usage.
pub(crate) fn read_stream(fields: &mut Fields) -> Result<(bool, bool), RequestError> {
    let stream = fields.boolean("stream")?.unwrap_or(false);
    let Some(mut options) = fields.object("stream_options")? else { return Ok((stream, false)) };
    if !stream {
        let allowed = "absent where stream is not true";
        return Err(RequestError::format("stream_options", allowed, "an object"));
    }
    Ok((stream, options.boolean("include_usage")?.unwrap_or(false)))
}
