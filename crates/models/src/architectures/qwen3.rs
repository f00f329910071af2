//! Qwen3 (Yang et al. 2025), and R1-0528 on it: each head of Q and K is normed before the rotation of its two
//! halves; no biases.

use kernels::ops::RopeStyle;

use crate::architectures::ArchitectureError;
use crate::gguf::Metadata;
use crate::layers::Compute;
use crate::layers::attention::AttentionParts;
use crate::layers::config::DecoderConfig;
use crate::layers::decoder::Decoder;
use crate::layers::rope::Rope;
use crate::weights::Weights;

/// `general.architecture` of these files.
pub(crate) const NAME: &str = "qwen3";

const ATTENTION: AttentionParts = AttentionParts { biases: false, head_norms: true };

/// Makes the model from a file's metadata and tensors.
pub(crate) fn load(
    metadata: &Metadata,
    weights: &Weights<'_>,
    compute: &Compute,
) -> Result<Decoder, ArchitectureError> {
    let config = DecoderConfig::read(metadata, NAME)?;
    let rope = Rope::new(&config.rope, RopeStyle::HalfSplit, None);
    Ok(Decoder::load(weights, compute, NAME, &config, ATTENTION, rope)?)
}
