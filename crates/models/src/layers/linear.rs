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
pub(crate) fn project(
    compute: &Compute,
    name: &'static str,
    x: &Activations,
    projections: &mut [(&Linear, &mut Vec<f32>)],
) {
    let linears = || projections.iter().map(|(linear, _)| *linear);
    let bytes: usize = linears().map(Linear::bytes).sum();
    let operations: usize = linears().map(|linear| 2 * x.rows() * linear.rows() * linear.weight.cols()).sum();
    compute.time(name, || (bytes, operations), || project_all(compute, x, projections));
}

fn project_all(compute: &Compute, x: &Activations, projections: &mut [(&Linear, &mut Vec<f32>)]) {
    for (linear, out) in projections.iter_mut() {
        out.resize(x.rows() * linear.rows(), 0.0);
    }
    let mut products: Vec<(&PackedMatrix, &mut [f32])> =
        projections.iter_mut().map(|(linear, out)| (&linear.weight, out.as_mut_slice())).collect();
    kernels::matmul_many(compute.isa, &compute.pool, x, &mut products);
    for (linear, out) in projections.iter_mut() {
        if let Some(bias) = &linear.bias {
            kernels::ops::add_bias(compute.isa, &compute.pool, out, bias);
        }
    }
}
