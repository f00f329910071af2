use kernels::{Activations, Needs, PackedMatrix};

use crate::batch::Work;
use crate::layers::Compute;
use crate::weights::{Weights, WeightsError};

/// `y = W x + b`.
#[derive(Debug)]
pub(crate) struct Linear {
    /// `[rows, cols]`.
    weight: PackedMatrix,
    /// `[rows]`.
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// The matrix `<name>.weight` without a bias.
    pub(crate) fn load(
        weights: &Weights<'_>,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Self, WeightsError> {
        Ok(Self { weight: weights.matrix(&format!("{name}.weight"), rows, cols)?, bias: None })
    }

    /// The matrix `<name>.weight` with the vector `<name>.bias`.
    pub(crate) fn load_biased(
        weights: &Weights<'_>,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Self, WeightsError> {
        let bias = Some(weights.vector(&format!("{name}.bias"), rows)?);
        Ok(Self { bias, ..Self::load(weights, name, rows, cols)? })
    }

    /// Outputs.
    pub(crate) fn rows(&self) -> usize {
        self.weight.rows()
    }

    /// What the matrix wants of its input.
    pub(crate) fn needs(&self) -> Needs {
        self.weight.needs()
    }

    /// What one input costs.
    pub(crate) fn work(&self) -> Work {
        let operations = 2 * (self.weight.rows() * self.weight.cols()) as u64;
        let (int8_operations, f32_operations) =
            if self.weight.is_integer() { (operations, 0) } else { (0, operations) };
        Work { weight_bytes: self.weight.bytes() as u64, int8_operations, f32_operations }
    }

    /// Bytes of the packed weight.
    pub(crate) fn bytes(&self) -> usize {
        self.weight.bytes()
    }
}

/// Several projections of the same `n` inputs, in one pass over the threads, as the operation `name`. Each output is
/// resized to `[n, rows]`.
pub(crate) fn project<const N: usize>(
    compute: &Compute,
    name: &'static str,
    x: &Activations,
    projections: [(&Linear, &mut Vec<f32>); N],
) {
    let linears = projections.each_ref().map(|(linear, _)| *linear);
    let cost = || {
        let operations = |linear: &Linear| 2 * x.rows() * linear.rows() * linear.weight.cols();
        (linears.into_iter().map(Linear::bytes).sum(), linears.into_iter().map(operations).sum())
    };
    compute.time(name, cost, || project_all(compute, x, projections));
}

fn project_all<const N: usize>(
    compute: &Compute,
    x: &Activations,
    mut projections: [(&Linear, &mut Vec<f32>); N],
) {
    let mut products = projections.each_mut().map(|(linear, out)| {
        out.resize(x.rows() * linear.rows(), 0.0);
        (&linear.weight, out.as_mut_slice())
    });
    kernels::matmul_many(compute.isa, &compute.pool, x, &mut products);
    for (linear, out) in projections {
        if let Some(bias) = &linear.bias {
            kernels::ops::add_bias(compute.isa, &compute.pool, out, bias);
        }
    }
}
