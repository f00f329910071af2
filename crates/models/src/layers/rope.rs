use kernels::ops::{RopeStyle, RopeTable};

use crate::layers::Compute;

/// How positions turn queries and keys (`RoPE`, Su et al. 2021).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RopeSettings {
    /// Leading elements of a head that are rotated; even.
    pub(crate) dimensions: usize,
    /// Base of the frequencies, theta.
    pub(crate) base: f32,
    /// How the frequencies are stretched past the context that the model was first trained for.
    pub(crate) scaling: RopeScaling,
}

/// Ways to stretch the frequencies. Llama 3's own way comes as a tensor of factors, see [`Rope::new`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RopeScaling {
    /// Positions divided by a factor (1 for none).
    Linear { factor: f32 },
    /// `YaRN` (Peng et al. 2023): high frequencies kept, low ones divided, a ramp between.
    Yarn { factor: f32, original_context: usize, attention_factor: f32, beta_fast: f32, beta_slow: f32 },
}

/// Frequencies of one model.
#[derive(Debug)]
pub(crate) struct Rope {
    style: RopeStyle,
    /// Radians per position of each pair, `[dimensions / 2]`.
    frequencies: Vec<f64>,
    /// What cosine and sine are multiplied with.
    magnitude: f32,
}

/// Cosines and sines of the tokens of one step.
#[derive(Debug, Default)]
pub(crate) struct RopeRows {
    /// `[n, dimensions / 2]`.
    pub(crate) cos: Vec<f32>,
    /// `[n, dimensions / 2]`.
    pub(crate) sin: Vec<f32>,
    /// Row of each token in the two tables: its own, `0..n`.
    pub(crate) rows: Vec<usize>,
}

impl Rope {
    /// `factors`, `[dimensions / 2]`, divides each frequency (the tensor `rope_freqs.weight`, Llama 3.1).
    pub(crate) fn new(settings: &RopeSettings, style: RopeStyle, factors: Option<&[f32]>) -> Self {
        let half = settings.dimensions / 2;
        let plain = |i: usize| f64::from(settings.base).powf(-2.0 * i as f64 / settings.dimensions as f64);
        let (mut frequencies, magnitude): (Vec<f64>, f32) = match settings.scaling {
            RopeScaling::Linear { factor } => {
                ((0..half).map(|i| plain(i) / f64::from(factor)).collect(), 1.0)
            }
            RopeScaling::Yarn { factor, original_context, attention_factor, beta_fast, beta_slow } => {
                let ramp = yarn_ramp(settings, original_context, beta_fast, beta_slow);
                let blend = |i: usize| {
                    let stretched = ramp(i);
                    plain(i) * (stretched / f64::from(factor) + (1.0 - stretched))
                };
                ((0..half).map(blend).collect(), attention_factor * (0.1 * factor.max(1.0).ln() + 1.0))
            }
        };
        for (frequency, factor) in frequencies.iter_mut().zip(factors.unwrap_or_default()) {
            *frequency /= f64::from(*factor);
        }
        Self { style, frequencies, magnitude }
    }

    /// Turns each head of each row of `x`, `[n, heads * head_dim]`, by its token's angles.
    pub(crate) fn rotate(&self, compute: &Compute, x: &mut [f32], head_dim: usize, angles: &RopeRows) {
        let table = RopeTable { cos: &angles.cos, sin: &angles.sin, rotary: 2 * self.frequencies.len() };
        kernels::ops::rope(compute.isa, &compute.pool, self.style, x, head_dim, table, &angles.rows);
    }

    /// Fills the rows for tokens at `positions`.
    pub(crate) fn fill(&self, positions: &[usize], rows: &mut RopeRows) {
        rows.cos.clear();
        rows.sin.clear();
        rows.rows.clear();
        rows.rows.extend(0..positions.len());
        for &position in positions {
            for frequency in &self.frequencies {
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                rows.cos.push(cos as f32 * self.magnitude);
                rows.sin.push(sin as f32 * self.magnitude);
            }
        }
    }
}

/// Share of the stretched frequency for each pair: 0 where the wave turns often within the original context, 1
/// where it turns less than `beta_slow` times.
fn yarn_ramp(
    settings: &RopeSettings,
    original_context: usize,
    beta_fast: f32,
    beta_slow: f32,
) -> impl Fn(usize) -> f64 + use<> {
    let dimensions = settings.dimensions as f64;
    let base = f64::from(settings.base);
    // Index of the pair that turns `turns` times over the original context.
    let pair_of = |turns: f32| {
        let wavelength = original_context as f64 / (f64::from(turns) * std::f64::consts::TAU);
        dimensions * wavelength.ln() / (2.0 * base.ln())
    };
    let low = pair_of(beta_fast).floor().max(0.0);
    let high = pair_of(beta_slow).ceil().min(dimensions - 1.0);
    let width = (high - low).max(0.001);
    move |i| ((i as f64 - low) / width).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(scaling: RopeScaling) -> RopeSettings {
        RopeSettings { dimensions: 64, base: 10_000.0, scaling }
    }

    #[test]
    fn position_zero_turns_nothing() {
        let rope = Rope::new(&settings(RopeScaling::Linear { factor: 1.0 }), RopeStyle::HalfSplit, None);
        let mut rows = RopeRows::default();
        rope.fill(&[0], &mut rows);
        assert_eq!(rows.cos, [1.0; 32]);
        assert_eq!(rows.sin, [0.0; 32]);
    }

    #[test]
    fn linear_scaling_divides_positions() {
        let plain = Rope::new(&settings(RopeScaling::Linear { factor: 1.0 }), RopeStyle::HalfSplit, None);
        let half = Rope::new(&settings(RopeScaling::Linear { factor: 2.0 }), RopeStyle::HalfSplit, None);
        let (mut a, mut b) = (RopeRows::default(), RopeRows::default());
        plain.fill(&[5], &mut a);
        half.fill(&[10], &mut b);
        assert_eq!(a.cos, b.cos);
        assert_eq!(a.sin, b.sin);
    }

    #[test]
    fn factors_divide_frequencies() {
        let factors = vec![8.0; 32];
        let linear = Rope::new(&settings(RopeScaling::Linear { factor: 8.0 }), RopeStyle::HalfSplit, None);
        let by_tensor =
            Rope::new(&settings(RopeScaling::Linear { factor: 1.0 }), RopeStyle::HalfSplit, Some(&factors));
        assert_eq!(linear.frequencies, by_tensor.frequencies);
    }

    /// The figures that DeepSeek-V3's config leads to (dimensions 64, factor 40, original context 4096): the
    /// ramp starts at pair 10 and ends at pair 23.
    #[test]
    fn yarn_keeps_high_frequencies_and_divides_low_ones() {
        let scaling = RopeScaling::Yarn {
            factor: 40.0,
            original_context: 4096,
            attention_factor: 1.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
        };
        let yarn = Rope::new(&settings(scaling), RopeStyle::Interleaved, None);
        let plain = Rope::new(&settings(RopeScaling::Linear { factor: 1.0 }), RopeStyle::Interleaved, None);
        let ratio: Vec<f64> = plain.frequencies.iter().zip(&yarn.frequencies).map(|(a, b)| a / b).collect();
        assert!((ratio[10] - 1.0).abs() < 1e-9, "{ratio:?}");
        assert!(ratio[11] > 1.0 && ratio[22] < 40.0, "{ratio:?}");
        assert!((ratio[23] - 40.0).abs() < 1e-9, "{ratio:?}");
        assert!((yarn.magnitude - 1.368_888).abs() < 1e-5);
    }
}
