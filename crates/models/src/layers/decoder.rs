use kernels::{Activations, KvCache, KvShape, PackedMatrix};

use crate::batch::{Chunk, KV_BLOCK_TOKENS, Model, ModelError, ModelInfo, Ran, Work};
use crate::layers::attention::AttentionParts;
use crate::layers::block::Block;
use crate::layers::config::DecoderConfig;
use crate::layers::norm::RmsNorm;
use crate::layers::rope::{Rope, RopeRows};
use crate::layers::step::Step;
use crate::layers::{Compute, Run, Scratch, small};
use crate::weights::{Weights, WeightsError};

/// A stack of blocks between an embedding and a head: the whole of a decoder-only model.
#[derive(Debug)]
pub(crate) struct Decoder {
    info: ModelInfo,
    work: Work,
    compute: Compute,
    hidden: usize,
    /// `[vocab_size, hidden]`.
    embedding: PackedMatrix,
    blocks: Vec<Block>,
    output_norm: RmsNorm,
    /// `[vocab_size, hidden]`; none when the head is the embedding.
    head: Option<PackedMatrix>,
    rope: Rope,
    shape: KvShape,
    cache: KvCache,
    scratch: Scratch,
    angles: RopeRows,
    /// Empty between steps.
    step: Step<'static>,
}

impl Decoder {
    /// Loads what is the same in every decoder; `parts` and `rope` are the architecture's own.
    pub(crate) fn load(
        weights: &Weights<'_>,
        compute: &Compute,
        architecture: &'static str,
        config: &DecoderConfig,
        parts: AttentionParts,
        rope: Rope,
    ) -> Result<Self, WeightsError> {
        let vocab_size = weights.rows_of("token_embd.weight")?;
        let hidden = config.hidden;
        let embedding = weights.matrix("token_embd.weight", vocab_size, hidden)?;
        let blocks: Result<Vec<_>, _> =
            (0..config.layers).map(|layer| Block::load(weights, layer, config, parts)).collect();
        let blocks = blocks?;
        let output_norm = RmsNorm::load(weights, "output_norm", hidden, config.norm_epsilon)?;
        let head = if weights.has("output.weight") {
            Some(weights.matrix("output.weight", vocab_size, hidden)?)
        } else {
            None
        };
        weights.refuse_unused(architecture)?;
        let shape = KvShape {
            layers: config.layers,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            block_tokens: KV_BLOCK_TOKENS,
            blocks: 0,
            format: compute.kv_format,
        };
        let head_bytes = head.as_ref().map_or(0, PackedMatrix::bytes);
        let block_work: Work = blocks.iter().map(Block::work).sum();
        let work = Work {
            weight_bytes: block_work.weight_bytes
                + head.as_ref().map_or(embedding.bytes(), PackedMatrix::bytes) as u64,
            ..block_work
        };
        let info = ModelInfo {
            architecture: architecture.to_owned(),
            vocab_size,
            context_length: config.context_length,
            layers: config.layers,
            kv_bytes_per_token: KvCache::bytes_of(KvShape { blocks: 1, ..shape }) / KV_BLOCK_TOKENS,
            weight_bytes: (embedding.bytes() + head_bytes) as u64 + block_work.weight_bytes,
            parameters: weights.parameters(),
        };
        let cache = KvCache::new(shape);
        Ok(Self {
            info,
            work,
            compute: compute.clone(),
            hidden,
            embedding,
            blocks,
            output_norm,
            head,
            rope,
            shape,
            cache,
            scratch: Scratch {
                activations: Activations::with_precision(compute.precision),
                ..Scratch::default()
            },
            angles: RopeRows::default(),
            step: Step::default(),
        })
    }

    /// The logits of the wanted rows, `[wanted, vocab_size]`.
    fn head(&mut self, wanted: &[usize], logits: &mut Vec<f32>) {
        let Self { compute, scratch, hidden, .. } = self;
        let Scratch { stream, update, activations, .. } = scratch;
        update.clear();
        for &row in wanted {
            update.extend_from_slice(&stream[row * *hidden..][..*hidden]);
        }
        // What the step before left is written over.
        logits.resize(wanted.len() * self.info.vocab_size, 0.0);
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        compute.time("norm", small, || self.output_norm.prepare(compute, update, activations, head.needs()));
        let cost = || (head.bytes(), 2 * wanted.len() * head.rows() * head.cols());
        compute.time("head", cost, || {
            kernels::matmul(compute.isa, &compute.pool, head, activations, logits);
        });
    }
}

impl Model for Decoder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn work(&self) -> Work {
        self.work
    }

    fn allocate_kv(&mut self, blocks: usize) -> Result<(), ModelError> {
        let bytes = self.info.kv_bytes_per_token.saturating_mul(KV_BLOCK_TOKENS).saturating_mul(blocks);
        // The old cache goes first, so that the two never stand in memory together.
        self.cache = KvCache::new(self.shape);
        // The cache itself can't say no; this asks whether the address space is there.
        if Vec::<u8>::new().try_reserve_exact(bytes).is_err() {
            return Err(ModelError::KvMemory { bytes: bytes as u64 });
        }
        self.cache = KvCache::new(KvShape { blocks, ..self.shape });
        Ok(())
    }

    fn claim_kv(&mut self) {
        self.cache.claim();
    }

    fn forward(&mut self, chunks: &[Chunk<'_>], logits: &mut Vec<f32>) -> Result<(), ModelError> {
        self.forward_unless(chunks, logits, &mut || false).map(|_| ())
    }

    fn forward_unless(
        &mut self,
        chunks: &[Chunk<'_>],
        logits: &mut Vec<f32>,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<Ran, ModelError> {
        let blocks = self.cache.shape().blocks;
        let step = Step::new(std::mem::take(&mut self.step), chunks, &self.info, blocks)
            .inspect_err(|_| logits.clear())?;
        self.scratch.stream.resize(step.tokens.len() * self.hidden, 0.0);
        self.compute.time("embedding", small, || {
            self.embedding.rows_f32(&self.compute.pool, &step.tokens, &mut self.scratch.stream);
        });
        self.compute.time("angles", small, || self.rope.fill(&step.positions, &mut self.angles));
        let mut run = Run {
            compute: &self.compute,
            step: &step,
            rope: &self.rope,
            angles: &self.angles,
            cache: &mut self.cache,
            scratch: &mut self.scratch,
        };
        for (layer, block) in self.blocks.iter().enumerate() {
            if stop() {
                logits.clear();
                self.step = step.done();
                return Ok(Ran::GivenUp);
            }
            block.forward(layer, &mut run);
        }
        if step.wanted.is_empty() {
            logits.clear();
        } else {
            self.head(&step.wanted, logits);
        }
        self.step = step.done();
        Ok(Ran::Whole)
    }
}
