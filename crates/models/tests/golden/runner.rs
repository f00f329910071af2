//! Runs a model over tokens in a given way: instruction set, threads, chunks, block table.

use std::path::Path;

use base::TokenId;
use kernels::{Isa, KvFormat, Precision};
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Model, Wanted};
use models::{LoadOptions, LoadedModel};

/// Chunk sizes of prefill that must not matter. The last is more than most prompts: all at once.
pub(crate) const CHUNKS: [usize; 3] = [1, 7, 512];
/// Thread counts that must not matter.
pub(crate) const THREADS: [usize; 2] = [1, 2];

/// Loads a model, or fails with what is wrong with it.
pub(crate) fn load(path: &Path, isa: Isa, threads: usize) -> LoadedModel {
    load_rounding(path, isa, threads, Precision::Sixteen, KvFormat::F16)
}

/// Loads a model whose activations are rounded as `precision` says, and keys and values as `kv_format` does.
pub(crate) fn load_rounding(
    path: &Path,
    isa: Isa,
    threads: usize,
    precision: Precision,
    kv_format: KvFormat,
) -> LoadedModel {
    models::load(
        path,
        &LoadOptions { threads, isa: Some(isa), precision, kv_format, ..LoadOptions::default() },
    )
    .unwrap_or_else(|error| panic!("{} does not load: {error}", path.display()))
}

/// The instruction sets of this machine; says which ones it can't test. That of 256-bit vectors with a dot product makes
/// its integer sums, which are exact, as AVX-512 does, and all else as AVX2: whole models run on it where these don't both.
pub(crate) fn isas() -> Vec<Isa> {
    let mut available = Isa::available();
    for name in Isa::NAMES {
        if !available.iter().any(|isa| isa.name() == name) {
            println!("not run: this CPU has no {name}");
        }
    }
    if matches!(Isa::best(), Isa::Avx512(_)) {
        println!("not run: avxvnni, as avx2 and avx512 are");
        available.retain(|isa| !matches!(isa, Isa::AvxVnni(_)));
    }
    available
}

/// One sequence of a model whose cache holds it alone.
pub(crate) struct Runner<'a> {
    model: &'a mut dyn Model,
    blocks: Vec<BlockId>,
    position: usize,
    logits: Vec<f32>,
}

impl<'a> Runner<'a> {
    /// An empty sequence with room for `tokens_max`. Its blocks stand in the cache in reverse, with gaps between.
    pub(crate) fn new(model: &'a mut dyn Model, tokens_max: usize) -> Self {
        let blocks = tokens_max.div_ceil(KV_BLOCK_TOKENS);
        model.allocate_kv(2 * blocks).expect("room for the cache");
        let blocks = (0..blocks as BlockId).rev().map(|block| 2 * block).collect();
        Self { model, blocks, position: 0, logits: Vec::new() }
    }

    /// Runs `tokens` as one chunk; the wanted rows, `[rows, vocab_size]`.
    pub(crate) fn step(&mut self, tokens: &[TokenId], wanted: Wanted) -> &[f32] {
        let chunk = Chunk { tokens, position: self.position, blocks: &self.blocks, wanted };
        self.model.forward(&[chunk], &mut self.logits).expect("the step is within the contract");
        self.position += tokens.len();
        &self.logits
    }
}

/// Logits at every position, `[tokens, vocab_size]`, prefilled in chunks.
pub(crate) fn all_logits(model: &mut dyn Model, tokens: &[TokenId], chunk: usize) -> Vec<f32> {
    let mut runner = Runner::new(model, tokens.len());
    let mut logits = Vec::new();
    for part in tokens.chunks(chunk) {
        logits.extend_from_slice(runner.step(part, Wanted::All));
    }
    logits
}

/// The largest logit's index; the lowest of several.
pub(crate) fn first(logits: &[f32]) -> usize {
    let mut best = 0;
    for (id, &logit) in logits.iter().enumerate() {
        assert!(logit.is_finite(), "the logit of token {id} is {logit}");
        if logit > logits[best] {
            best = id;
        }
    }
    best
}

/// The largest logit less the second.
pub(crate) fn margin(logits: &[f32]) -> f32 {
    let best = first(logits);
    let others = logits.iter().enumerate().filter(|&(id, _)| id != best).map(|(_, &logit)| logit);
    logits[best] - others.fold(f32::NEG_INFINITY, f32::max)
}
