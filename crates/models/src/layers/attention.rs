use kernels::{AttentionChunk, KvCache, KvShape, Needs};

use crate::batch::{KV_BLOCK_TOKENS, Work};
use crate::layers::config::DecoderConfig;
use crate::layers::linear::{Linear, project};
use crate::layers::norm::RmsNorm;
use crate::layers::{Run, Scratch, small};
use crate::weights::{Weights, WeightsError};

/// Grouped-query attention (Ainslie et al. 2023) over the KV cache.
#[derive(Debug)]
pub(crate) struct Attention {
    /// `[heads * head_dim, hidden]`.
    q: Linear,
    /// `[kv_heads * head_dim, hidden]`.
    k: Linear,
    /// `[kv_heads * head_dim, hidden]`.
    v: Linear,
    /// `[hidden, heads * head_dim]`.
    o: Linear,
    /// Norms over each head of Q and of K, before the rotation.
    head_norms: Option<(RmsNorm, RmsNorm)>,
    head_dim: usize,
}

/// What the attention of an architecture has beside its four matrices.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttentionParts {
    /// Biases on Q, K and V.
    pub(crate) biases: bool,
    /// Norms over each head of Q and K.
    pub(crate) head_norms: bool,
}

impl Attention {
    /// The tensors `<block>.attn_{q,k,v,output}` and what `parts` adds to them.
    pub(crate) fn load(
        weights: &Weights<'_>,
        block: &str,
        config: &DecoderConfig,
        parts: AttentionParts,
    ) -> Result<Self, WeightsError> {
        let DecoderConfig { hidden, heads, kv_heads, head_dim, norm_epsilon, .. } = *config;
        let (q_width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let name = |part: &str| format!("{block}.attn_{part}");
        let input = if parts.biases { Linear::load_biased } else { Linear::load };
        let head_norm = |part| RmsNorm::load(weights, &name(part), head_dim, norm_epsilon);
        Ok(Self {
            q: input(weights, &name("q"), q_width, hidden)?,
            k: input(weights, &name("k"), kv_width, hidden)?,
            v: input(weights, &name("v"), kv_width, hidden)?,
            o: Linear::load(weights, &name("output"), hidden, q_width)?,
            head_norms: if parts.head_norms {
                Some((head_norm("q_norm")?, head_norm("k_norm")?))
            } else {
                None
            },
            head_dim,
        })
    }

    /// What the input must be prepared for.
    pub(crate) fn needs(&self) -> Needs {
        self.q.needs() | self.k.needs() | self.v.needs()
    }

    /// `scratch.activations` to `scratch.update`. The step's keys and values join the cache before any query looks.
    pub(crate) fn forward(&self, layer: usize, run: &mut Run<'_>) {
        let Run { compute, step, rope, angles, cache, scratch } = run;
        let (isa, pool) = (compute.isa, &compute.pool);
        let Scratch { activations, q, k, v, attended, update, .. } = &mut **scratch;

        project(compute, "q, k, v", activations, [(&self.q, q), (&self.k, k), (&self.v, v)]);
        if let Some((q_norm, k_norm)) = &self.head_norms {
            q_norm.apply_in_place(compute, q);
            k_norm.apply_in_place(compute, k);
        }
        compute.time("rope", small, || {
            rope.rotate(compute, q, self.head_dim, angles);
            rope.rotate(compute, k, self.head_dim, angles);
        });

        let chunks = &step.attention;
        compute.time("cache", small, || cache.write(isa, pool, layer, chunks, k, v));
        attended.resize(q.len(), 0.0);
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        let token_bytes =
            KvCache::bytes_of(KvShape { layers: 1, blocks: 1, ..cache.shape() }) / KV_BLOCK_TOKENS;
        let cost = || self.attention_cost(chunks, token_bytes);
        compute.time("attention", cost, || {
            kernels::attention(isa, pool, cache, layer, chunks, q, scale, compute.precision, attended);
        });

        compute.time("round", small, || {
            activations.prepare(isa, pool, attended, self.q.rows(), self.o.needs());
        });
        project(compute, "output", activations, [(&self.o, update)]);
    }

    /// Bytes of keys and values that the chunks see, each once, and the multiplications and additions of all queries.
    fn attention_cost(&self, chunks: &[AttentionChunk<'_>], token_bytes: usize) -> (usize, usize) {
        let end = |chunk: &AttentionChunk<'_>| chunk.position + chunk.rows.len();
        // Row i of a chunk sees `position + i + 1` positions.
        let pairs = |chunk: &AttentionChunk<'_>| chunk.rows.len() * (chunk.position + end(chunk) + 1) / 2;
        let seen: usize = chunks.iter().map(end).sum();
        let pairs: usize = chunks.iter().map(pairs).sum();
        (seen * token_bytes, pairs * 4 * self.q.rows())
    }

    /// What one token costs.
    pub(crate) fn work(&self) -> Work {
        [&self.q, &self.k, &self.v, &self.o].map(Linear::work).into_iter().sum()
    }
}
