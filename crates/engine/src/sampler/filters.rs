//! Filters: each leaves a part of the distribution.

use std::cmp::Ordering;

use base::TokenId;

use super::math;
use super::params::SamplingParams;

/// Logits looked at in one piece.
const PIECE: usize = 64;

/// A token that may still be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: TokenId,
    /// After penalties and bias.
    pub(super) logit: f32,
    /// `(logit - max) / temperature`.
    pub(super) scaled: f32,
    /// `e^scaled`.
    pub(super) weight: f32,
}

impl Candidate {
    fn new(id: usize, logit: f32) -> Self {
        Self { id: id as TokenId, logit, scaled: 0.0, weight: 0.0 }
    }

    /// Largest logit first, smallest id among equals.
    pub(super) fn by_logit(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.id.cmp(&other.id))
    }
}

/// Fills `candidates` with the `k` largest logits (fewer if the rest are -inf), smaller ids first among equals,
/// in no particular order.
///
/// A few more than `k` are gathered, cut back to the best `k`, and from then on only logits above the worst of
/// these are gathered: pieces of the row without one are skipped after a look at their maximum.
pub(super) fn top_k(logits: &[f32], k: usize, candidates: &mut Vec<Candidate>) {
    candidates.clear();
    let gathered_max = k.saturating_mul(2).saturating_add(4 * PIECE);
    let mut threshold = f32::NEG_INFINITY;
    for (number, piece) in logits.chunks(PIECE).enumerate() {
        if math::max(piece) <= threshold {
            continue;
        }
        for (at, &logit) in piece.iter().enumerate() {
            if logit > threshold {
                candidates.push(Candidate::new(number * PIECE + at, logit));
            }
        }
        if candidates.len() >= gathered_max {
            threshold = cut_to(candidates, k);
        }
    }
    if candidates.len() > k {
        cut_to(candidates, k);
    }
}

/// Cuts to the best `k` and returns the logit of the worst of them; there are more than `k`, `k` is above 0.
fn cut_to(candidates: &mut Vec<Candidate>, k: usize) -> f32 {
    let (_, worst, _) = candidates.select_nth_unstable_by(k - 1, Candidate::by_logit);
    let threshold = worst.logit;
    candidates.truncate(k);
    threshold
}

/// Below this weight no token survives the filters (without top-k), so it needn't be gathered. `total` is the sum
/// of `count` weights of which the largest is 1.
///
/// Tokens lighter than `(1 - p) total / count` weigh less than `(1 - p) total` together, so that the others hold
/// the probability `p` that top-p asks for. Half of that, for rounding.
pub(super) fn least_weight_needed(params: &SamplingParams, total: f64, count: usize) -> f32 {
    let by_top_p = (1.0 - f64::from(params.top_p)) * total / count as f64 * 0.5;
    let by_min_p = params.min_p * 0.5;
    (by_top_p as f32).max(by_min_p)
}

/// Fills `candidates` with the tokens of at least this weight, and more than 0, by id.
pub(super) fn collect(logits: &[f32], weights: &[f32], least: f32, candidates: &mut Vec<Candidate>) {
    candidates.clear();
    let least = least.max(f32::MIN_POSITIVE);
    for (number, piece) in weights.chunks(PIECE).enumerate() {
        if math::max(piece) < least {
            continue;
        }
        for (at, &weight) in piece.iter().enumerate() {
            if weight >= least {
                let id = number * PIECE + at;
                candidates.push(Candidate::new(id, logits[id]));
            }
        }
    }
}

/// Fills in `scaled` and `weight`.
pub(super) fn weigh(candidates: &mut [Candidate], max: f32, temperature: f32) {
    let scale = math::inverse(temperature);
    for candidate in candidates {
        candidate.scaled = (candidate.logit - max) * scale;
        candidate.weight = math::exp_nonpositive(candidate.scaled);
    }
}

pub(super) fn total_weight(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| f64::from(candidate.weight)).sum()
}

/// Keeps the most probable tokens up to the one with which they reach `p` of `total`.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f32, total: f64, scratch: &mut Vec<Candidate>) {
    keep_mass(candidates, f64::from(p) * total, scratch, |candidate| -candidate.scaled);
}

/// Keeps tokens at least `p` times as probable as the most probable.
pub(super) fn min_p(candidates: &mut Vec<Candidate>, p: f32) {
    let largest = candidates.iter().fold(0.0_f32, |largest, candidate| largest.max(candidate.weight));
    candidates.retain(|candidate| candidate.weight >= p * largest);
}

/// Keeps the tokens whose surprise, `-ln(probability)`, is nearest to its mean, the entropy, up to the one with
/// which they reach `p` of the total. The logarithm of the total falls out of the difference.
pub(super) fn typical(candidates: &mut Vec<Candidate>, p: f32, scratch: &mut Vec<Candidate>) {
    candidates.retain(|candidate| candidate.weight > 0.0);
    let total = total_weight(candidates);
    let moment: f64 =
        candidates.iter().map(|candidate| f64::from(candidate.weight) * f64::from(candidate.scaled)).sum();
    let mean = (moment / total) as f32;
    keep_mass(candidates, f64::from(p) * total, scratch, |candidate| (candidate.scaled - mean).abs());
}

/// Keeps the smallest number of candidates, taken by ascending key, then id, whose weights reach `mass`; at least
/// one. The order of those kept doesn't change.
///
/// The last one to keep is found by halving: split at the median, and go on in the lower half if it reaches the
/// mass, else in the upper half with what then is missing. Linear in the number of candidates.
fn keep_mass(
    candidates: &mut Vec<Candidate>,
    mass: f64,
    scratch: &mut Vec<Candidate>,
    key: impl Fn(&Candidate) -> f32,
) {
    const SORTED_MAX: usize = 32;
    let order = |a: &Candidate, b: &Candidate| key(a).total_cmp(&key(b)).then(a.id.cmp(&b.id));
    scratch.clear();
    scratch.extend_from_slice(candidates);
    let mut rest = scratch.as_mut_slice();
    let mut missing = mass;
    while rest.len() > SORTED_MAX {
        let middle = rest.len() / 2;
        rest.select_nth_unstable_by(middle, order);
        let (lower, upper) = rest.split_at_mut(middle);
        let lower_mass = total_weight(lower);
        if lower_mass >= missing {
            rest = lower;
        } else {
            missing -= lower_mass;
            rest = upper;
        }
    }
    rest.sort_unstable_by(order);
    let mut reached = 0.0;
    let last = rest.iter().find(|candidate| {
        reached += f64::from(candidate.weight);
        reached >= missing
    });
    // None: rounding left the sum just below; everything is needed.
    if let Some(last) = last.copied() {
        candidates.retain(|candidate| order(candidate, &last).is_le());
    }
}
