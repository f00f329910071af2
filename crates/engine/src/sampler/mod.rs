//! From a row of logits to the next token.
//!
//! [`SamplingParams`] gives the order of the steps. Greedy picks are exact: the largest logit, the smallest id
//! on a tie. Draws come from a counter, so the `n`th token of an answer depends on nothing but the logits, the
//! parameters, the seed and `n`. Vocabularies have 50 to 150 thousand entries, so the row is only ever read by
//! simple loops that compilers vectorise, and whatever sorts or branches works on the few tokens left.

mod draw;
mod filters;
mod math;
mod params;
mod penalties;

use base::TokenId;

use self::filters::{Candidate, Ranked};
pub use self::params::{LOGIT_BIAS_MAX, LOGPROBS_MAX, ParamError, SamplingParams};
use self::penalties::Penalties;
use crate::events::GeneratedToken;
use crate::steering::TokenMask;

/// Why no token could be picked: the model is broken, or its input was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// A logit is NaN or +inf. -inf is allowed and means never.
    #[error("the model's logits must be numbers below infinity, some are not")]
    NotFinite,
    /// What may come next has no probability at all.
    #[error("nothing of what may come next is possible for the model")]
    NothingAllowed,
    /// Every logit is -inf, or there are none.
    #[error("the model's logits leave at least one token possible, here none")]
    NothingPossible,
}

/// What a sequence keeps from pick to pick.
#[derive(Debug)]
pub struct SamplerState {
    params: SamplingParams,
    seed: u64,
    penalties: Penalties,
}

impl SamplerState {
    /// State of a new sequence. `fallback_seed` is used when the parameters have no seed.
    pub fn new(params: SamplingParams, fallback_seed: u64) -> Self {
        let seed = params.seed.unwrap_or(fallback_seed);
        Self { params, seed, penalties: Penalties::default() }
    }
}

/// Picks tokens. Holds only buffers, kept for their memory: results don't depend on what was picked before.
#[derive(Debug, Default)]
pub struct Sampler {
    /// Logits that penalties and bias changed, as they were, in the order of the changes.
    undo: Vec<(TokenId, f32)>,
    /// `[vocab_size]`, logits with -inf for what a mask forbids.
    allowed: Vec<f32>,
    /// What top-k left, by id. Empty without top-k.
    ids: Vec<TokenId>,
    /// `[ids.len()]`, their logits.
    logits: Vec<f32>,
    /// `[ids.len()]`, or `[vocab_size]` without top-k: probability times a constant, 0 for what the filters took.
    weights: Vec<f32>,
    /// Work space of top-k.
    candidates: Vec<Candidate>,
    /// Work space of the other filters.
    rest: Vec<Ranked>,
}

impl Sampler {
    /// A sampler with empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Picks the token that follows `tokens`, of which the first `prompt_tokens` are the prompt, from `logits`
    /// (`[vocab_size]`). The logits are used as work space and are as before when this returns.
    ///
    /// # Errors
    /// When the logits are not numbers, or leave nothing to pick.
    pub fn pick(
        &mut self,
        state: &mut SamplerState,
        logits: &mut [f32],
        tokens: &[TokenId],
        prompt_tokens: usize,
    ) -> Result<GeneratedToken, SampleError> {
        let raw_max = math::max_checked(logits)?;
        let id = self.choose(state, logits, raw_max, tokens, prompt_tokens)?;
        Ok(self.told(state, id, logits, raw_max))
    }

    /// [`pick`](Self::pick) among the tokens of a mask. Log-probabilities are the model's own, over all tokens.
    ///
    /// # Errors
    /// As there, and when the mask leaves nothing that the model could say.
    pub fn pick_among(
        &mut self,
        state: &mut SamplerState,
        logits: &[f32],
        mask: &TokenMask,
        tokens: &[TokenId],
        prompt_tokens: usize,
    ) -> Result<GeneratedToken, SampleError> {
        let raw_max = math::max_checked(logits)?;
        let mut allowed = std::mem::take(&mut self.allowed);
        mask_logits(logits, mask, &mut allowed);
        let chosen = math::max_checked(&allowed)
            .map_err(|_| SampleError::NothingAllowed)
            .and_then(|max| self.choose(state, &mut allowed, max, tokens, prompt_tokens));
        self.allowed = allowed;
        Ok(self.told(state, chosen?, logits, raw_max))
    }

    /// A token that is taken whatever the logits are, with its log-probability where the parameters want it.
    ///
    /// # Errors
    /// When the logits are not numbers, or the vocabulary does not have the token.
    pub fn forced(
        &mut self,
        state: &SamplerState,
        logits: &[f32],
        id: TokenId,
    ) -> Result<GeneratedToken, SampleError> {
        let raw_max = math::max_checked(logits)?;
        if id as usize >= logits.len() {
            return Err(SampleError::NothingAllowed);
        }
        Ok(self.told(state, id, logits, raw_max))
    }

    /// How probable a token is, with the most probable alternatives.
    ///
    /// # Errors
    /// As [`forced`](Self::forced).
    pub fn weigh(
        &mut self,
        logits: &[f32],
        id: TokenId,
        alternatives: usize,
    ) -> Result<GeneratedToken, SampleError> {
        let max = math::max_checked(logits)?;
        if id as usize >= logits.len() {
            return Err(SampleError::NothingAllowed);
        }
        Ok(self.describe(id, logits, max, alternatives))
    }

    /// The token that follows; `raw_max` is the largest of the logits, which are afterwards as before.
    fn choose(
        &mut self,
        state: &mut SamplerState,
        logits: &mut [f32],
        raw_max: f32,
        tokens: &[TokenId],
        prompt_tokens: usize,
    ) -> Result<TokenId, SampleError> {
        self.undo.clear();
        state.penalties.apply(&state.params, tokens, prompt_tokens, logits, &mut self.undo);
        penalties::apply_bias(&state.params.logit_bias, logits, &mut self.undo);
        let max = if self.undo.is_empty() { raw_max } else { math::max_checked(logits)? };
        let id = if state.params.temperature == 0.0 {
            math::first_index_of(logits, max)
        } else {
            let draw_index = tokens.len().saturating_sub(prompt_tokens);
            self.draw(&state.params, logits, max, draw::uniform(state.seed, draw_index as u64))
        };
        for (id, logit) in self.undo.drain(..).rev() {
            logits[id as usize] = logit;
        }
        Ok(id)
    }

    fn told(&mut self, state: &SamplerState, id: TokenId, logits: &[f32], raw_max: f32) -> GeneratedToken {
        match state.params.logprobs {
            None => GeneratedToken { id, logprob: f32::NAN, top: Vec::new() },
            Some(alternatives) => self.describe(id, logits, raw_max, alternatives),
        }
    }

    /// One draw; `uniform` is in `[0, 1)`, `max` the largest of the logits.
    fn draw(&mut self, params: &SamplingParams, logits: &[f32], max: f32, uniform: f64) -> TokenId {
        self.filter(params, logits, max);
        let at = draw::from_weights(&self.weights, uniform);
        self.ids.get(at).copied().unwrap_or(at as TokenId)
    }

    /// Fills `ids` and `weights` with what the filters leave.
    fn filter(&mut self, params: &SamplingParams, logits: &[f32], max: f32) {
        let temperature = params.temperature;
        self.ids.clear();
        let mut row = logits;
        if params.top_k > 0 && params.top_k < logits.len() {
            filters::top_k(logits, params.top_k, &mut self.candidates);
            self.candidates.sort_unstable_by_key(|candidate| candidate.id);
            self.ids.extend(self.candidates.iter().map(|candidate| candidate.id));
            self.logits.clear();
            self.logits.extend(self.candidates.iter().map(|candidate| candidate.logit));
            row = &self.logits;
        }
        let total = math::scaled_exp(row, max, temperature, &mut self.weights);
        if params.top_p < 1.0 {
            filters::top_p(&mut self.weights, params.top_p, total, &mut self.rest);
        }
        if params.min_p > 0.0 {
            filters::min_p(&mut self.weights, params.min_p);
        }
        if params.typical_p < 1.0 {
            let scale = math::inverse(temperature);
            let scaled = |at: usize| (row[at] - max) * scale;
            filters::typical(&mut self.weights, scaled, params.typical_p, &mut self.rest);
        }
    }

    /// The pick with its log-probability under the model and the most probable alternatives.
    fn describe(&mut self, id: TokenId, logits: &[f32], max: f32, alternatives: usize) -> GeneratedToken {
        let total = math::scaled_exp(logits, max, 1.0, &mut self.weights);
        let log_total = total.ln();
        let logprob = |logit: f32| (f64::from(logit) - f64::from(max) - log_total) as f32;
        let mut top = Vec::new();
        if alternatives > 0 {
            filters::top_k(logits, alternatives, &mut self.candidates);
            self.candidates.sort_unstable_by(|a, b| a.by_logit(*b));
            top.extend(self.candidates.iter().map(|candidate| (candidate.id, logprob(candidate.logit))));
        }
        GeneratedToken { id, logprob: logprob(logits[id as usize]), top }
    }
}

/// The logits with -inf for what is not in the mask.
fn mask_logits(logits: &[f32], mask: &TokenMask, masked: &mut Vec<f32>) {
    masked.clear();
    for (logits, &word) in logits.chunks(u32::BITS as usize).zip(mask.words()) {
        match word {
            0 => masked.extend(std::iter::repeat_n(f32::NEG_INFINITY, logits.len())),
            u32::MAX => masked.extend_from_slice(logits),
            word => masked.extend(
                logits.iter().enumerate().map(
                    |(bit, &logit)| {
                        if word >> bit & 1 == 1 { logit } else { f32::NEG_INFINITY }
                    },
                ),
            ),
        }
    }
    // A mask of a smaller vocabulary allows nothing beyond it.
    masked.resize(logits.len(), f32::NEG_INFINITY);
}

#[cfg(test)]
mod tests;
