//! Qwen2 and Qwen2.5 (Yang et al. 2024), and the R1 distills on them: biases on Q, K and V; rotation of the two
//! halves of a head.

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
pub(crate) const NAME: &str = "qwen2";

const ATTENTION: AttentionParts = AttentionParts { biases: true, head_norms: false };

/// Makes the model from a file's metadata and tensors.
pub(crate) fn load(
    metadata: &Metadata,
    weights: &Weights<'_>,
    compute: &Compute,
) -> Result<Box<dyn Model>, ArchitectureError> {
    let config = DecoderConfig::read(metadata, NAME)?;
    let rope = Rope::new(&config.rope, RopePairs::Halves, None);
    let blocks: Result<Vec<_>, _> =
        (0..config.layers).map(|layer| Qwen2Block::load(weights, layer, &config)).collect();
    Ok(Box::new(Decoder::load(weights, compute, NAME, &config, blocks?, rope)?))
}

#[derive(Debug)]
struct Qwen2Block {
    attention_norm: RmsNorm,
    attention: Attention,
    feed_forward_norm: RmsNorm,
    feed_forward: SwiGlu,
}

impl Qwen2Block {
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

impl Block for Qwen2Block {
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
