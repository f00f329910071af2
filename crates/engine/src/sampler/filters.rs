//! Filters: each leaves a part of the distribution.

use std::cmp::Ordering;

use base::TokenId;

use super::math;

/// Logits looked at in one piece.
const PIECE: usize = 64;

/// A token that may be among the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: TokenId,
    pub(super) logit: f32,
}

impl Candidate {
    /// Largest logit first, smallest id among equals.
    pub(super) fn by_logit(self, other: Self) -> Ordering {
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
                candidates.push(Candidate { id: (number * PIECE + at) as TokenId, logit });
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
    let (_, worst, _) = candidates.select_nth_unstable_by(k - 1, |a, b| a.by_logit(*b));
    let threshold = worst.logit;
    candidates.truncate(k);
    threshold
}

/// Keeps the most probable tokens up to the one with which they reach `p` of `total`, the sum of the weights.
/// The largest weight is 1.
pub(super) fn top_p(weights: &mut [f32], p: f32, total: f64, rest: &mut Vec<Ranked>) {
    let rank = |_: usize, weight: f32| 1.0_f32.to_bits() - weight.to_bits();
    // Tokens lighter than (1 - p) total / count weigh less than (1 - p) total together, so that the others hold
    // the probability p. Half of that, for rounding.
    let least = (1.0 - f64::from(p)) * total / weights.len() as f64 * 0.5;
    let Some(last) = last_to_keep(weights, least as f32, f64::from(p) * total, rest, rank) else { return };
    let lightest = f32::from_bits(1.0_f32.to_bits() - last.rank);
    let (until_last, after) = weights.split_at_mut(last.at as usize + 1);
    for weight in until_last {
        *weight = if *weight >= lightest { *weight } else { 0.0 };
    }
    for weight in after {
        *weight = if *weight > lightest { *weight } else { 0.0 };
    }
}

/// Keeps tokens at least `p` times as probable as the most probable, whose weight is 1.
pub(super) fn min_p(weights: &mut [f32], p: f32) {
    for weight in weights {
        *weight = if *weight >= p { *weight } else { 0.0 };
    }
}

/// Keeps the tokens whose surprise, `-ln(probability)`, is nearest to its mean, the entropy, up to the one with
/// which they reach `p` of the total. `scaled` gives the logarithm of a weight; that of the total falls out of
/// the difference.
pub(super) fn typical(weights: &mut [f32], scaled: impl Fn(usize) -> f32, p: f32, rest: &mut Vec<Ranked>) {
    let (mut total, mut moment) = (0.0, 0.0);
    for (at, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            total += f64::from(weight);
            moment += f64::from(weight) * f64::from(scaled(at));
        }
    }
    let mean = (moment / total) as f32;
    let rank = |at: usize, _: f32| (scaled(at) - mean).abs().to_bits();
    let Some(last) = last_to_keep(weights, 0.0, f64::from(p) * total, rest, rank) else { return };
    for (at, weight) in weights.iter_mut().enumerate() {
        if *weight > 0.0 && (rank(at, *weight), at) > (last.rank, last.at as usize) {
            *weight = 0.0;
        }
    }
}

/// A token and its place in the order of a filter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked {
    /// Smaller ranks are kept first, smaller `at` among equals.
    rank: u32,
    /// Index among the weights.
    at: u32,
    weight: f32,
}

/// Values of a digit of a rank.
const DIGITS: usize = 1 << 11;

/// Where the three digits of a rank begin, most significant first.
const DIGIT_SHIFTS: [u32; 3] = [21, 10, 0];

fn digit(rank: u32, shift: u32) -> usize {
    (rank >> shift) as usize % DIGITS
}

/// The token with which the weights reach `mass`, taken by rank, then index; of those of at least `least`, and
/// more than 0. None if there are none.
///
/// A radix selection: the masses of the tokens by the first digit of their rank tell which digit the last one to
/// keep has; only those with that digit go on to the next. Nothing is sorted, and a flat distribution costs a
/// few passes more than a peaked one, no more.
fn last_to_keep(
    weights: &[f32],
    least: f32,
    mass: f64,
    rest: &mut Vec<Ranked>,
    rank: impl Fn(usize, f32) -> u32,
) -> Option<Ranked> {
    let least = least.max(f32::MIN_POSITIVE);
    let mut missing = mass;
    let mut masses = [0.0; DIGITS];
    let [first_shift, later_shifts @ ..] = DIGIT_SHIFTS;
    for_each_from(weights, least, |at, weight| {
        masses[digit(rank(at, weight), first_shift)] += f64::from(weight);
    });
    let chosen = choose_digit(&masses, &mut missing);
    rest.clear();
    for_each_from(weights, least, |at, weight| {
        let rank = rank(at, weight);
        if digit(rank, first_shift) == chosen {
            rest.push(Ranked { rank, at: at as u32, weight });
        }
    });
    for shift in later_shifts {
        let mut masses = [0.0; DIGITS];
        for of in &*rest {
            masses[digit(of.rank, shift)] += f64::from(of.weight);
        }
        let chosen = choose_digit(&masses, &mut missing);
        rest.retain(|of| digit(of.rank, shift) == chosen);
    }
    // All ranks are equal now, and the order is that of the index.
    let mut reached = 0.0;
    let reaches = |of: &&Ranked| {
        reached += f64::from(of.weight);
        reached >= missing
    };
    // Rounding can leave the sum just below: then all of these are needed.
    rest.iter().find(reaches).or(rest.last()).copied()
}

/// Calls `visit` with the index and weight of each token of at least this weight.
#[inline]
fn for_each_from(weights: &[f32], least: f32, mut visit: impl FnMut(usize, f32)) {
    for (number, piece) in weights.chunks(PIECE).enumerate() {
        if math::max(piece) >= least {
            for (at, &weight) in piece.iter().enumerate() {
                if weight >= least {
                    visit(number * PIECE + at, weight);
                }
            }
        }
    }
}

/// The first digit with which the masses reach `missing`, or the last that has any mass where rounding leaves
/// the sum just below; the masses before it are subtracted from `missing`.
fn choose_digit(masses: &[f64; DIGITS], missing: &mut f64) -> usize {
    let (mut chosen, mut passed, mut passed_before) = (0, 0.0, 0.0);
    for (digit, &mass) in masses.iter().enumerate() {
        if mass > 0.0 {
            (chosen, passed_before) = (digit, passed);
            passed += mass;
            if passed >= *missing {
                break;
            }
        }
    }
    *missing -= passed_before;
    chosen
}
