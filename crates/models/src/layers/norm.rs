use kernels::{Activations, Needs};

use crate::layers::Compute;
use crate::weights::{Weights, WeightsError};

/// `RMSNorm` (Zhang and Sennrich 2019): `x / sqrt(mean(x^2) + epsilon) * weight`.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    /// `[width]`.
    weight: Vec<f32>,
    epsilon: f32,
}

impl RmsNorm {
    /// The norm whose weight is `<name>.weight`.
    pub(crate) fn load(
        weights: &Weights<'_>,
        name: &str,
        width: usize,
        epsilon: f32,
    ) -> Result<Self, WeightsError> {
        Ok(Self { weight: weights.vector(&format!("{name}.weight"), width)?, epsilon })
    }

    /// Norms each row of `x`, `[n, width]`, as the input of matrices.
    pub(crate) fn prepare(&self, compute: &Compute, x: &[f32], out: &mut Activations, needs: Needs) {
        out.prepare_rms_norm(compute.isa, &compute.pool, x, &self.weight, self.epsilon, needs);
    }

    /// Norms each row of `x`, `[n, width]`, in place.
    pub(crate) fn apply_in_place(&self, compute: &Compute, x: &mut [f32]) {
        kernels::ops::rms_norm_in_place(compute.isa, &compute.pool, x, &self.weight, self.epsilon);
    }
}
