//! Loops over a row of logits, in the form that compilers turn into vector code, for each kind of vectors once. None of them
//! allows multiplications and additions to be joined, so that the bits are the same with all.

use std::f32::consts::LOG2_E;

use base::TokenId;
use multiversion::multiversion;

use super::SampleError;

/// Values handled side by side.
const LANES: usize = 16;

/// Values summed in one piece; the sums of the pieces are added in `f64`.
const PIECE: usize = 256;

/// Below this, `e^x` is taken as 0.
const EXP_LOWEST: f32 = -87.0;

/// The largest logit.
///
/// # Errors
/// When a logit is NaN or +inf, or none is above -inf.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn max_checked(logits: &[f32]) -> Result<f32, SampleError> {
    let mut bad = [0_u32; LANES];
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            bad[lane] |= not_below_infinity(chunk[lane]);
            largest[lane] = larger(largest[lane], chunk[lane]);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        bad[lane] |= not_below_infinity(value);
        largest[lane] = larger(largest[lane], value);
    }
    if bad != [0; LANES] {
        return Err(SampleError::NotFinite);
    }
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, larger);
    if largest == f32::NEG_INFINITY { Err(SampleError::NothingPossible) } else { Ok(largest) }
}

/// The largest of a few values, none NaN; -inf for none.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn max(values: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            largest[lane] = larger(largest[lane], chunk[lane]);
        }
    }
    rest.iter().copied().chain(largest).fold(f32::NEG_INFINITY, larger)
}

/// Index of the first value equal to `wanted`; 0 if there is none.
#[expect(clippy::float_cmp, reason = "the maximum is one of the values, bit for bit")]
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn first_index_of(values: &[f32], wanted: f32) -> TokenId {
    for (number, piece) in values.chunks(PIECE).enumerate() {
        // Counted without an early exit, so that it becomes vector code.
        if piece.iter().map(|&value| u32::from(value == wanted)).sum::<u32>() > 0 {
            let within = piece.iter().position(|&value| value == wanted).unwrap_or(0);
            return (number * PIECE + within) as TokenId;
        }
    }
    0
}

/// Fills `weights` (`[logits.len()]`) with `e^((logit - max) / temperature)` and returns their sum. `max` is the
/// largest logit, so every weight is in `0..=1` and the sum is at least 1.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn scaled_exp(logits: &[f32], max: f32, temperature: f32, weights: &mut Vec<f32>) -> f64 {
    let scale = inverse(temperature);
    weights.resize(logits.len(), 0.0);
    let mut total = 0.0;
    for (weights, logits) in weights.chunks_mut(PIECE).zip(logits.chunks(PIECE)) {
        for (weight, logit) in weights.iter_mut().zip(logits) {
            *weight = exp_nonpositive((logit - max) * scale);
        }
        total += sum(weights);
    }
    total
}

/// Sum of a few values that are not negative.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn sum(values: &[f32]) -> f64 {
    let mut sums = [0.0_f32; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            sums[lane] += chunk[lane];
        }
    }
    let sum: f64 = sums.into_iter().map(f64::from).sum();
    sum + rest.iter().copied().map(f64::from).sum::<f64>()
}

/// What to multiply by instead of dividing by a temperature; finite, so that 0 stays 0.
pub(super) fn inverse(temperature: f32) -> f32 {
    (1.0 / temperature).min(f32::MAX)
}

/// `e^x` for `x <= 0`, within 3e-7 of the value, 0 below [`EXP_LOWEST`]. The same bits on every machine.
///
/// With `n` the integer nearest to `x / ln 2` and `r = x - n ln 2`, `e^x = 2^n e^r`, and `|r| <= 0.35` makes the
/// Taylor series of `e^r` short. Adding `1.5 * 2^23` rounds to an integer and leaves it in the low mantissa
/// bits, from where a shift brings it to the exponent.
#[inline]
pub(super) fn exp_nonpositive(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has few enough bits that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x < EXP_LOWEST { EXP_LOWEST } else { x };
    let shifted = clamped * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * LN_2_HIGH) - n * LN_2_LOW;
    let series = 1.0 / 5040.0;
    let series = series * r + 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = series * r + 1.0;
    let series = series * r + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < EXP_LOWEST { 0.0 } else { series * power }
}

#[inline]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// 1 for NaN and +inf.
#[inline]
fn not_below_infinity(value: f32) -> u32 {
    u32::from(value.is_nan()) | u32::from(value == f32::INFINITY)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "values are compared bit for bit")]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_the_true_value() {
        let mut worst = 0.0_f64;
        for step in 0..=870_000 {
            let x = -(step as f32) * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp_nonpositive(x)) - exact).abs() / exact);
        }
        assert!(worst < 3e-7, "worst relative error {worst}");
        assert_eq!(exp_nonpositive(0.0), 1.0);
        assert_eq!(exp_nonpositive(-87.5), 0.0);
        assert_eq!(exp_nonpositive(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn the_maximum_is_found_wherever_it_stands() {
        for len in [1, 2, 15, 16, 17, 255, 256, 257, 1000] {
            for at in 0..len {
                let mut values = vec![-1.0; len];
                values[at] = 2.0;
                // An equal value later doesn't matter.
                values[len - 1] = 2.0;
                assert_eq!(max_checked(&values), Ok(2.0));
                assert_eq!(max(&values), 2.0);
                assert_eq!(first_index_of(&values, 2.0), at as TokenId);
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused_wherever_it_stands() {
        for len in [1, 16, 17, 40] {
            for at in 0..len {
                for bad in [f32::NAN, -f32::NAN, f32::INFINITY] {
                    let mut values = vec![0.0; len];
                    values[at] = bad;
                    assert_eq!(max_checked(&values), Err(SampleError::NotFinite));
                }
            }
        }
        assert_eq!(max_checked(&[]), Err(SampleError::NothingPossible));
        assert_eq!(max_checked(&[f32::NEG_INFINITY; 40]), Err(SampleError::NothingPossible));
        assert_eq!(max_checked(&[f32::NEG_INFINITY, -7.0]), Ok(-7.0));
    }

    #[test]
    fn sums_are_those_of_the_weights() {
        let logits: Vec<f32> = (0..1000).map(|at| ((at * 37) % 101) as f32 * 0.1).collect();
        let mut weights = vec![9.0; 3];
        let total = scaled_exp(&logits, 10.0, 0.5, &mut weights);
        assert_eq!(weights.len(), 1000);
        let exact: f64 = logits.iter().map(|&logit| ((f64::from(logit) - 10.0) / 0.5).exp()).sum();
        assert!((total / exact - 1.0).abs() < 1e-6, "{total} {exact}");
    }
}
