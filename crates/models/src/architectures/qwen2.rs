//! Qwen2 and Qwen2.5 (Yang et al. 2024), and the R1 distills on them: biases on Q, K and V; rotation of the two
//! halves of a head.

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
pub(crate) const NAME: &str = "qwen2";

const ATTENTION: AttentionParts = AttentionParts { biases: true, head_norms: false };

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
