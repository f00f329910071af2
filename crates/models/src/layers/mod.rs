//! Mechanisms that more than one architecture uses.

pub(crate) mod attention;
pub(crate) mod block;
pub(crate) mod config;
pub(crate) mod decoder;
pub(crate) mod feed_forward;
pub(crate) mod linear;
pub(crate) mod norm;
pub(crate) mod rope;
pub(crate) mod step;

use std::sync::Arc;

use kernels::{Activations, Isa, KvCache, Needs, Pool};

/// What a layer computes with: the instruction set and the threads.
#[derive(Debug, Clone)]
pub(crate) struct Compute {
    pub(crate) isa: Isa,
    pub(crate) pool: Arc<Pool>,
}

/// What one step lends to each block in turn.
pub(crate) struct Run<'a> {
    pub(crate) compute: &'a Compute,
    pub(crate) step: &'a step::Step<'a>,
    pub(crate) rope: &'a rope::Rope,
    pub(crate) angles: &'a rope::RopeRows,
    pub(crate) cache: &'a mut KvCache,
    pub(crate) scratch: &'a mut Scratch,
}

impl Run<'_> {
    /// The normed stream as a layer's input: `scratch.stream` to `scratch.activations`, in the forms that the
    /// layer's matrices need.
    pub(crate) fn norm(&mut self, norm: &norm::RmsNorm, needs: Needs) {
        norm.prepare(self.compute, &self.scratch.stream, &mut self.scratch.activations, needs);
    }

    /// A layer's output joins the stream.
    pub(crate) fn add_update(&mut self) {
        kernels::ops::add(
            self.compute.isa,
            &self.compute.pool,
            &mut self.scratch.stream,
            &self.scratch.update,
        );
    }
}

/// Buffers of one step, kept from step to step so that the loop allocates nothing once they have grown.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Residual stream, `[n, hidden]`.
    pub(crate) stream: Vec<f32>,
    /// Output of a layer before it joins the stream, `[n, hidden]`.
    pub(crate) update: Vec<f32>,
    /// Queries, `[n, heads * head_dim]`.
    pub(crate) q: Vec<f32>,
    /// Keys, `[n, kv_heads * head_dim]`.
    pub(crate) k: Vec<f32>,
    /// Values, `[n, kv_heads * head_dim]`.
    pub(crate) v: Vec<f32>,
    /// Attention output, `[n, heads * head_dim]`.
    pub(crate) attended: Vec<f32>,
    /// Gate of the feed-forward layer, `[n, ffn]`.
    pub(crate) gate: Vec<f32>,
    /// Up projection of the feed-forward layer, `[n, ffn]`.
    pub(crate) up: Vec<f32>,
    /// Input of a matrix multiplication, quantised once for all matrices that share it.
    pub(crate) activations: Activations,
}
