//! Penalties for repetition, and logit bias.

use std::collections::HashMap;

use base::TokenId;

use super::params::SamplingParams;

/// How often each token occurs in the window. Follows the sequence from pick to pick, so that a pick costs what
/// changed and what is in the window, not the length of the sequence.
#[derive(Debug, Default)]
pub(super) struct Penalties {
    counts: HashMap<TokenId, Count>,
    /// The window is `tokens[start..end]`.
    start: usize,
    end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Count {
    /// Occurrences in the prompt's part of the window.
    prompt: u32,
    /// Occurrences in the answer's part of the window.
    generated: u32,
}

impl Penalties {
    /// Changes the logits of the tokens in the window; the old values go to `undo`.
    #[expect(clippy::float_cmp, reason = "exactly 1 and 0 mean that a penalty is off")]
    pub(super) fn apply(
        &mut self,
        params: &SamplingParams,
        tokens: &[TokenId],
        prompt_tokens: usize,
        logits: &mut [f32],
        undo: &mut Vec<(TokenId, f32)>,
    ) {
        let repetition = params.repetition_penalty;
        let neutral = repetition == 1.0 && params.presence_penalty == 0.0 && params.frequency_penalty == 0.0;
        if neutral || params.penalty_window == 0 {
            return;
        }
        self.follow(tokens, prompt_tokens, params.penalty_window);
        for (&id, count) in &self.counts {
            let Some(logit) = logits.get_mut(id as usize) else { continue };
            undo.push((id, *logit));
            let mut changed = if *logit > 0.0 { *logit / repetition } else { *logit * repetition };
            if count.generated > 0 {
                changed -= params.presence_penalty + params.frequency_penalty * count.generated as f32;
            }
            *logit = within_range(*logit, changed);
        }
    }

    /// Moves the window to the end of `tokens`, which only ever grow.
    fn follow(&mut self, tokens: &[TokenId], prompt_tokens: usize, window: usize) {
        let start = tokens.len().saturating_sub(window);
        if start >= self.end {
            self.counts.clear();
            (self.start, self.end) = (start, start);
        }
        for (at, &id) in tokens.iter().enumerate().skip(self.end) {
            let count = self.counts.entry(id).or_default();
            *count.part(at < prompt_tokens) += 1;
        }
        for (at, &id) in tokens.iter().enumerate().take(start).skip(self.start) {
            if let Some(count) = self.counts.get_mut(&id) {
                *count.part(at < prompt_tokens) -= 1;
                if *count == Count::default() {
                    self.counts.remove(&id);
                }
            }
        }
        (self.start, self.end) = (start, tokens.len());
    }
}

impl Count {
    fn part(&mut self, of_prompt: bool) -> &mut u32 {
        if of_prompt { &mut self.prompt } else { &mut self.generated }
    }
}

/// Adds the bias; the old values go to `undo`.
pub(super) fn apply_bias(bias: &[(TokenId, f32)], logits: &mut [f32], undo: &mut Vec<(TokenId, f32)>) {
    for &(id, bias) in bias {
        let Some(logit) = logits.get_mut(id as usize) else { continue };
        undo.push((id, *logit));
        *logit = within_range(*logit, *logit + bias);
    }
}

/// A possible token stays possible and no logit becomes infinite; an impossible one stays so.
fn within_range(before: f32, after: f32) -> f32 {
    if before == f32::NEG_INFINITY { before } else { after.clamp(f32::MIN, f32::MAX) }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "values are compared bit for bit")]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_followed_as_if_counted_anew() {
        let tokens: Vec<TokenId> = (0..200_u32).map(|at| (at * at + 3 * at) % 17).collect();
        for window in [1, 2, 5, 40, 1000, usize::MAX] {
            let mut followed = Penalties::default();
            for len in [3, 4, 5, 6, 20, 21, 60, 61, 62, 150, 199, 200] {
                followed.follow(&tokens[..len], 10, window);
                let mut anew: HashMap<TokenId, Count> = HashMap::new();
                for (at, id) in tokens.iter().enumerate().take(len).skip(len.saturating_sub(window)) {
                    *anew.entry(*id).or_default().part(at < 10) += 1;
                }
                assert_eq!(followed.counts, anew, "window {window}, length {len}");
            }
        }
    }

    #[test]
    fn extremes_stay_finite_and_impossible_stays_impossible() {
        let params = SamplingParams { repetition_penalty: 0.01, ..SamplingParams::default() };
        let before = [f32::MAX, f32::MIN, f32::NEG_INFINITY, 0.0];
        let mut logits = before;
        let mut undo = Vec::new();
        Penalties::default().apply(&params, &[0, 1, 2, 3], 4, &mut logits, &mut undo);
        assert_eq!(logits, [f32::MAX, f32::MIN * 0.01, f32::NEG_INFINITY, 0.0]);
        apply_bias(&[(2, 100.0), (3, 1.0), (3, 2.0)], &mut logits, &mut undo);
        assert_eq!(logits[2..], [f32::NEG_INFINITY, 3.0]);
        for (id, logit) in undo.into_iter().rev() {
            logits[id as usize] = logit;
        }
        assert_eq!(logits, before);
    }
}
