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

/// Fills in `scaled` and `weight`, and drops those that weigh nothing.
pub(super) fn weigh(candidates: &mut Vec<Candidate>, max: f32, temperature: f32) {
    let scale = math::inverse(temperature);
    candidates.retain_mut(|candidate| {
        candidate.scaled = (candidate.logit - max) * scale;
        candidate.weight = math::exp_nonpositive(candidate.scaled);
        candidate.weight > 0.0
    });
}

pub(super) fn total_weight(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| f64::from(candidate.weight)).sum()
}

/// Keeps the most probable tokens up to the one with which they reach `p` of `total`.
pub(super) fn top_p(candidates: &mut Vec<Candidate>, p: f32, total: f64, scratch: &mut Scratch) {
    keep_mass(candidates, f64::from(p) * total, scratch, |candidate| -candidate.scaled);
}

/// Keeps tokens at least `p` times as probable as the most probable.
pub(super) fn min_p(candidates: &mut Vec<Candidate>, p: f32) {
    let largest = candidates.iter().fold(0.0_f32, |largest, candidate| largest.max(candidate.weight));
    candidates.retain(|candidate| candidate.weight >= p * largest);
}

/// Keeps the tokens whose surprise, `-ln(probability)`, is nearest to its mean, the entropy, up to the one with
/// which they reach `p` of the total. The logarithm of the total falls out of the difference.
pub(super) fn typical(candidates: &mut Vec<Candidate>, p: f32, scratch: &mut Scratch) {
    let total = total_weight(candidates);
    let moment: f64 =
        candidates.iter().map(|candidate| f64::from(candidate.weight) * f64::from(candidate.scaled)).sum();
    let mean = (moment / total) as f32;
    keep_mass(candidates, f64::from(p) * total, scratch, |candidate| (candidate.scaled - mean).abs());
}

/// Work space of [`keep_mass`]: what it still looks at, by id.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    rest: Vec<Keyed>,
}

#[derive(Debug, Clone, Copy)]
struct Keyed {
    key: f32,
    id: TokenId,
    weight: f32,
}

/// Keeps the smallest number of candidates, taken by ascending key, then id, whose weights reach `mass`; at least
/// one. The order of those kept doesn't change. Keys are finite.
///
/// The last one to keep is found without sorting: the range of keys is cut into bins, the masses of the bins
/// tell in which bin the last one is, and the search goes on in that bin alone, which is narrower than the range
/// by at least the smallest or the largest key.
fn keep_mass(
    candidates: &mut Vec<Candidate>,
    mass: f64,
    scratch: &mut Scratch,
    key: impl Fn(&Candidate) -> f32,
) {
    const SORTED_MAX: usize = 32;
    let keyed = |of: &Candidate| Keyed { key: key(of), id: of.id, weight: of.weight };
    let rest = &mut scratch.rest;
    rest.clear();
    rest.extend(candidates.iter().map(keyed));
    let mut missing = mass;
    while rest.len() > SORTED_MAX && narrow(rest, &mut missing) {}
    if rest.len() <= SORTED_MAX {
        rest.sort_unstable_by(Keyed::order);
    }
    // Else all keys are equal, and they are by id already.
    let mut reached = 0.0;
    let reaches = |candidate: &&Keyed| {
        reached += f64::from(candidate.weight);
        reached >= missing
    };
    // Rounding can leave the sum just below: then all of these are needed.
    if let Some(last) = rest.iter().find(reaches).or(rest.last()).copied() {
        candidates.retain(|candidate| keyed(candidate).order(&last).is_le());
    }
}

impl Keyed {
    fn order(&self, other: &Self) -> Ordering {
        self.key.total_cmp(&other.key).then(self.id.cmp(&other.id))
    }
}

/// Leaves the bin with which the mass reaches `missing`, and subtracts that of the bins before it. False if all
/// keys are equal.
fn narrow(rest: &mut Vec<Keyed>, missing: &mut f64) -> bool {
    const BINS: usize = 256;
    let widen = |(low, high): (f32, f32), of: &Keyed| (low.min(of.key), high.max(of.key));
    let (low, high) = rest.iter().fold((f32::INFINITY, f32::NEG_INFINITY), widen);
    if low >= high {
        return false;
    }
    let scale = BINS as f32 / (high - low);
    // Grows with the key; the smallest key is in the first bin and the largest in the last.
    let bin = |key: f32| (((key - low) * scale) as usize).min(BINS - 1);
    let mut masses = [0.0_f64; BINS];
    for of in &*rest {
        masses[bin(of.key)] += f64::from(of.weight);
    }
    let mut chosen = BINS - 1;
    for (number, mass) in masses.into_iter().enumerate() {
        if mass >= *missing {
            chosen = number;
            break;
        }
        if number < BINS - 1 {
            *missing -= mass;
        }
    }
    rest.retain(|of| bin(of.key) == chosen);
    true
}
