use kernels::Needs;

use crate::batch::Work;
use crate::layers::config::DecoderConfig;
use crate::layers::linear::{Linear, project};
use crate::layers::{Run, Scratch, small};
use crate::weights::{Weights, WeightsError};

/// `down(silu(gate(x)) * up(x))` (`SwiGLU`, Shazeer 2020).
#[derive(Debug)]
pub(crate) struct SwiGlu {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl SwiGlu {
    /// The three matrices `<block>.ffn_{gate,up,down}`.
    pub(crate) fn load(
        weights: &Weights<'_>,
        block: &str,
        config: &DecoderConfig,
    ) -> Result<Self, WeightsError> {
        let DecoderConfig { hidden, ffn, .. } = *config;
        Ok(Self {
            gate: Linear::load(weights, &format!("{block}.ffn_gate"), ffn, hidden)?,
            up: Linear::load(weights, &format!("{block}.ffn_up"), ffn, hidden)?,
            down: Linear::load(weights, &format!("{block}.ffn_down"), hidden, ffn)?,
        })
    }

    /// What the input must be prepared for.
    pub(crate) fn needs(&self) -> Needs {
        self.gate.needs() | self.up.needs()
    }

    /// `scratch.activations` to `scratch.update`.
    pub(crate) fn forward(&self, run: &mut Run<'_>) {
        let Run { compute, scratch, .. } = run;
        let Scratch { gate, up, update, activations, .. } = &mut **scratch;
        let (isa, pool) = (compute.isa, &compute.pool);
        project(compute, "gate, up", activations, [(&self.gate, gate), (&self.up, up)]);
        compute.time("silu", small, || {
            activations.prepare_silu_mul(isa, pool, gate, up, self.gate.rows(), self.down.needs());
        });
        project(compute, "down", activations, [(&self.down, update)]);
    }

    /// What one token costs.
    pub(crate) fn work(&self) -> Work {
        [&self.gate, &self.up, &self.down].map(Linear::work).into_iter().sum()
    }
}
