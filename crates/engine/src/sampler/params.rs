use std::fmt::Display;

use base::TokenId;

/// Most alternatives that [`SamplingParams::logprobs`] may ask for.
pub const LOGPROBS_MAX: usize = 20;

/// Most entries of [`SamplingParams::logit_bias`].
pub const LOGIT_BIAS_MAX: usize = 1024;

/// How the next token is chosen from a row of logits.
///
/// The steps, in this order:
/// 1. penalties, then `logit_bias`, on the model's logits;
/// 2. with `temperature` 0 the largest logit wins, the smallest token id on a tie; nothing below applies;
/// 3. division by the temperature;
/// 4. `top_k`, `top_p`, `min_p`, `typical_p`, each on the distribution renormalised over what the one before
///    it left, each leaving at least one token;
/// 5. one draw from what is left.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Divides the logits: 0 is greedy and exact, 1 is the model's own distribution. `0..=100`.
    pub temperature: f32,
    /// Keeps this many most probable tokens, smaller ids first among equals; 0 keeps all.
    pub top_k: usize,
    /// Keeps the smallest set of most probable tokens with at least this much probability. `0..=1`, 1 keeps all.
    pub top_p: f32,
    /// Keeps tokens at least this probable relative to the most probable one. `0..=1`, 0 keeps all.
    pub min_p: f32,
    /// Keeps the tokens whose surprise is nearest to the distribution's entropy, up to this much probability
    /// (Meister et al. 2022, "Locally Typical Sampling"). `0..=1`, 1 keeps all.
    pub typical_p: f32,
    /// Divides positive logits and multiplies negative ones of each token that occurs in the window, prompt or
    /// generated (Keskar et al. 2019). `0.01..=100`, 1 does nothing.
    pub repetition_penalty: f32,
    /// Subtracted from the logit of each token that was generated in the window. `-100..=100`.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit once per time that it was generated in the window. `-100..=100`.
    pub frequency_penalty: f32,
    /// How many of the sequence's last tokens (prompt and generated) the penalties look at; `usize::MAX` for
    /// all of them.
    pub penalty_window: usize,
    /// Added to the logits of these tokens, `-100..=100` each; a token named twice gets the sum.
    pub logit_bias: Vec<(TokenId, f32)>,
    /// Makes the draws reproducible; without it the engine chooses a seed.
    pub seed: Option<u64>,
    /// Asks for the log-probability of each generated token and of this many most probable alternatives
    /// (0 to [`LOGPROBS_MAX`]). They are those of the model: the log-softmax of its logits before penalties,
    /// bias, temperature and filters.
    pub logprobs: Option<usize>,
}

impl Default for SamplingParams {
    /// The model's own distribution, with nothing cut away.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            penalty_window: usize::MAX,
            logit_bias: Vec::new(),
            seed: None,
            logprobs: None,
        }
    }
}

/// A parameter outside what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {allowed}, got {given}")]
pub struct ParamError {
    /// The field's name.
    pub name: &'static str,
    /// What would have been accepted.
    pub allowed: String,
    /// What was given.
    pub given: String,
}

impl ParamError {
    pub(crate) fn new(name: &'static str, allowed: impl Into<String>, given: impl Display) -> Self {
        Self { name, allowed: allowed.into(), given: format!("{given}") }
    }
}

impl SamplingParams {
    /// The most probable token at each step.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Checks every field against the ranges that its documentation gives.
    ///
    /// # Errors
    /// The first field that is outside its range. Token ids in `logit_bias` are checked against the vocabulary
    /// by [`Engine::submit`](crate::Engine::submit), which knows it.
    pub fn validate(&self) -> Result<(), ParamError> {
        check_range("temperature", self.temperature, 0.0, 100.0)?;
        check_range("top_p", self.top_p, 0.0, 1.0)?;
        check_range("min_p", self.min_p, 0.0, 1.0)?;
        check_range("typical_p", self.typical_p, 0.0, 1.0)?;
        check_range("repetition_penalty", self.repetition_penalty, 0.01, 100.0)?;
        check_range("presence_penalty", self.presence_penalty, -100.0, 100.0)?;
        check_range("frequency_penalty", self.frequency_penalty, -100.0, 100.0)?;
        if self.logit_bias.len() > LOGIT_BIAS_MAX {
            let allowed = format!("at most {LOGIT_BIAS_MAX} entries");
            return Err(ParamError::new("logit_bias", allowed, self.logit_bias.len()));
        }
        for &(_, bias) in &self.logit_bias {
            check_range("logit_bias", bias, -100.0, 100.0)?;
        }
        match self.logprobs {
            Some(given) if given > LOGPROBS_MAX => {
                Err(ParamError::new("logprobs", format!("between 0 and {LOGPROBS_MAX}"), given))
            }
            _ => Ok(()),
        }
    }
}

fn check_range(name: &'static str, given: f32, low: f32, high: f32) -> Result<(), ParamError> {
    // A NaN is in no range.
    if (low..=high).contains(&given) {
        return Ok(());
    }
    Err(ParamError::new(name, format!("between {low} and {high}"), given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut SamplingParams), expected: Option<&str>) {
        let mut params = SamplingParams::default();
        change(&mut params);
        let error = params.validate().err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), expected);
    }

    #[test]
    fn fields_are_checked_against_their_ranges() {
        check(|_| (), None);
        check(|p| *p = SamplingParams::greedy(), None);
        check(|p| p.temperature = -0.1, Some("temperature must be between 0 and 100, got -0.1"));
        check(|p| p.temperature = f32::NAN, Some("temperature must be between 0 and 100, got NaN"));
        check(|p| p.top_p = 1.5, Some("top_p must be between 0 and 1, got 1.5"));
        check(|p| p.min_p = f32::INFINITY, Some("min_p must be between 0 and 1, got inf"));
        check(|p| p.typical_p = -1.0, Some("typical_p must be between 0 and 1, got -1"));
        check(|p| p.repetition_penalty = 0.0, Some("repetition_penalty must be between 0.01 and 100, got 0"));
        check(|p| p.presence_penalty = 101.0, Some("presence_penalty must be between -100 and 100, got 101"));
        check(
            |p| p.frequency_penalty = f32::NEG_INFINITY,
            Some("frequency_penalty must be between -100 and 100, got -inf"),
        );
        check(|p| p.logit_bias = vec![(3, 100.0)], None);
        check(
            |p| p.logit_bias = vec![(3, 1.0), (4, -200.0)],
            Some("logit_bias must be between -100 and 100, got -200"),
        );
        check(
            |p| p.logit_bias = vec![(0, 0.0); LOGIT_BIAS_MAX + 1],
            Some("logit_bias must be at most 1024 entries, got 1025"),
        );
        check(|p| p.logprobs = Some(20), None);
        check(|p| p.logprobs = Some(21), Some("logprobs must be between 0 and 20, got 21"));
    }
}
