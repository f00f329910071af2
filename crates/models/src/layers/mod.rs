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

use kernels::{Activations, Isa, KvCache, KvFormat, Needs, Pool, Precision};

use crate::profile::Profiler;

/// What a layer computes with: the instruction set, the threads, the rounding, the kind of cache, and who looks at the
/// time.
#[derive(Debug, Clone)]
pub(crate) struct Compute {
    pub(crate) isa: Isa,
    pub(crate) pool: Arc<Pool>,
    pub(crate) precision: Precision,
    pub(crate) kv_format: KvFormat,
    pub(crate) profiler: Option<Arc<Profiler>>,
}

impl Compute {
    /// Runs `work` as the operation `name`; `cost` is the bytes that it reads and the operations that it makes.
    pub(crate) fn time<T>(
        &self,
        name: &'static str,
        cost: impl FnOnce() -> (usize, usize),
        work: impl FnOnce() -> T,
    ) -> T {
        match &self.profiler {
            None => work(),
            Some(profiler) => profiler.time(name, cost(), work),
        }
    }
}

/// The cost of what reads neither weights nor cache.
pub(crate) fn small() -> (usize, usize) {
    (0, 0)
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
        let Scratch { stream, activations, .. } = &mut *self.scratch;
        self.compute.time("norm", small, || norm.prepare(self.compute, stream, activations, needs));
    }

    /// A layer's output joins the stream.
    pub(crate) fn add_update(&mut self) {
        let Scratch { stream, update, .. } = &mut *self.scratch;
        let (isa, pool) = (self.compute.isa, &self.compute.pool);
        self.compute.time("add", small, || kernels::ops::add(isa, pool, stream, update));
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
