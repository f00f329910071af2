//! Llama (Touvron et al. 2023; Llama 3, Dubey et al. 2024), and the models that share its block: SmolLM2, the R1
//! distills on Llama. Converters permute the rows of Q and K, so that rotation is of neighbouring pairs.

use kernels::RopePairs;

use crate::architectures::ArchitectureError;
use crate::batch::Model;
use crate::gguf::Metadata;
use crate::layers::attention::{Attention, AttentionParts};
use crate::layers::config::DecoderConfig;
use crate::layers::decoder::{Block, Decoder};
use crate::layers::feed_forward::SwiGlu;
use crate::layers::norm::RmsNorm;
use crate::layers::rope::Rope;
use crate::layers::{Compute, Run};
use crate::weights::{Weights, WeightsError};

/// `general.architecture` of these files.
pub(crate) const NAME: &str = "llama";

const ATTENTION: AttentionParts = AttentionParts { biases: false, head_norms: false };

/// Makes the model from a file's metadata and tensors.
pub(crate) fn load(
    metadata: &Metadata,
    weights: &Weights<'_>,
    compute: &Compute,
) -> Result<Box<dyn Model>, ArchitectureError> {
    let config = DecoderConfig::read(metadata, NAME)?;
    // Llama 3.1 and later bring their scaling of the frequencies as a tensor.
    let factors = weights.optional_vector("rope_freqs.weight", config.rope.dimensions / 2)?;
    let rope = Rope::new(&config.rope, RopePairs::Interleaved, factors.as_deref());
    let blocks: Result<Vec<_>, _> =
        (0..config.layers).map(|layer| LlamaBlock::load(weights, layer, &config)).collect();
    Ok(Box::new(Decoder::load(weights, compute, NAME, &config, blocks?, rope)?))
}

#[derive(Debug)]
struct LlamaBlock {
    attention_norm: RmsNorm,
    attention: Attention,
    feed_forward_norm: RmsNorm,
    feed_forward: SwiGlu,
}

impl LlamaBlock {
    fn load(weights: &Weights<'_>, layer: usize, config: &DecoderConfig) -> Result<Self, WeightsError> {
        let block = format!("blk.{layer}");
        let norm = |part| RmsNorm::load(weights, &format!("{block}.{part}"), config.hidden, config.norm_epsilon);
        Ok(Self {
            attention_norm: norm("attn_norm")?,
            attention: Attention::load(weights, &block, config, ATTENTION)?,
            feed_forward_norm: norm("ffn_norm")?,
            feed_forward: SwiGlu::load(weights, &block, config)?,
        })
    }
}

impl Block for LlamaBlock {
    fn forward(&self, layer: usize, run: &mut Run<'_>) {
        run.norm(&self.attention_norm);
        self.attention.forward(layer, run);
        run.add_update();

        run.norm(&self.feed_forward_norm);
        self.feed_forward.forward(run);
        run.add_update();
    }

    fn bytes(&self) -> usize {
        self.attention.bytes() + self.feed_forward.bytes()
    }
}
