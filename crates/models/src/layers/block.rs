use crate::batch::Work;
use crate::layers::Run;
use crate::layers::attention::{Attention, AttentionParts};
use crate::layers::config::DecoderConfig;
use crate::layers::feed_forward::SwiGlu;
use crate::layers::norm::RmsNorm;
use crate::weights::{Weights, WeightsError};

/// A transformer block: attention and feed-forward, each normed before and added to the stream after.
#[derive(Debug)]
pub(crate) struct Block {
    attention_norm: RmsNorm,
    attention: Attention,
    feed_forward_norm: RmsNorm,
    feed_forward: SwiGlu,
}

impl Block {
    /// The tensors `blk.<layer>.*`.
    pub(crate) fn load(
        weights: &Weights<'_>,
        layer: usize,
        config: &DecoderConfig,
        parts: AttentionParts,
    ) -> Result<Self, WeightsError> {
        let block = format!("blk.{layer}");
        let norm =
            |part| RmsNorm::load(weights, &format!("{block}.{part}"), config.hidden, config.norm_epsilon);
        Ok(Self {
            attention_norm: norm("attn_norm")?,
            attention: Attention::load(weights, &block, config, parts)?,
            feed_forward_norm: norm("ffn_norm")?,
            feed_forward: SwiGlu::load(weights, &block, config)?,
        })
    }

    /// Adds the block's updates to `run.scratch.stream`. `layer` is its place in the stack.
    pub(crate) fn forward(&self, layer: usize, run: &mut Run<'_>) {
        run.norm(&self.attention_norm, self.attention.needs());
        self.attention.forward(layer, run);
        run.add_update();

        run.norm(&self.feed_forward_norm, self.feed_forward.needs());
        self.feed_forward.forward(run);
        run.add_update();
    }

    /// What one token costs.
    pub(crate) fn work(&self) -> Work {
        [self.attention.work(), self.feed_forward.work()].into_iter().sum()
    }
}
