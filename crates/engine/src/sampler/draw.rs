//! Seeded draws.

use super::math;

/// Weights looked at in one piece.
const PIECE: usize = 256;

/// Number `index` of the stream of `seed`, uniform in `[0, 1)` with 53 random bits.
///
/// The stream is that of `SplitMix64` (Steele, Lea and Flood 2014), whose state is a counter, started at a hash of the
/// seed so that neighbouring seeds have unrelated streams.
pub(super) fn uniform(seed: u64, index: u64) -> f64 {
    const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
    let state =
        mix(seed.wrapping_add(GOLDEN_GAMMA)).wrapping_add(index.wrapping_add(1).wrapping_mul(GOLDEN_GAMMA));
    (mix(state) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The index at which the running sum of the weights passes `uniform` times their total. An entry of weight 0 is
/// never chosen while another is positive.
pub(super) fn from_weights(weights: &[f32], uniform: f64) -> usize {
    let total: f64 = weights.chunks(PIECE).map(math::sum).sum();
    let target = uniform * total;
    let mut passed = 0.0;
    let mut piece_at = 0;
    for (number, piece) in weights.chunks(PIECE).enumerate() {
        let sum = math::sum(piece);
        if sum > 0.0 {
            piece_at = number;
            if passed + sum > target {
                break;
            }
            passed += sum;
        }
    }
    let piece = weights.chunks(PIECE).nth(piece_at).unwrap_or_default();
    piece_at * PIECE + pick_within(piece, target - passed)
}

/// The index at which the running sum passes `target`, or that of the last positive weight where rounding
/// leaves the sum below.
fn pick_within(weights: &[f32], target: f64) -> usize {
    let mut passed = 0.0;
    let mut last = 0;
    for (at, &weight) in weights.iter().enumerate() {
        if weight > 0.0 {
            last = at;
            passed += f64::from(weight);
            if passed > target {
                break;
            }
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_uniform_and_depends_on_seed_and_index() {
        assert_eq!(uniform(1, 5).to_bits(), uniform(1, 5).to_bits());
        assert_ne!(uniform(1, 5).to_bits(), uniform(2, 5).to_bits());
        assert_ne!(uniform(1, 5).to_bits(), uniform(1, 6).to_bits());
        let mut counts = [0_u32; 10];
        for seed in 0..100 {
            for index in 0..100 {
                let x = uniform(seed, index);
                assert!((0.0..1.0).contains(&x));
                counts[(x * 10.0) as usize] += 1;
            }
        }
        // 10,000 draws in 10 bins: the standard deviation of a bin is 30.
        assert!(counts.iter().all(|&count| count.abs_diff(1000) < 150), "{counts:?}");
    }

    #[test]
    fn a_draw_lands_where_the_running_sum_passes_it() {
        let mut weights = vec![0.0; 1000];
        weights[300] = 1.0;
        weights[301] = 2.0;
        weights[900] = 1.0;
        let draw = |uniform| from_weights(&weights, uniform);
        assert_eq!([0.0, 0.249, 0.251, 0.749, 0.751, 0.999_999].map(draw), [300, 300, 301, 301, 900, 900]);
        assert_eq!(draw(1.0), 900, "rounding up to 1 still lands on a possible token");
    }
}
