//! Llama (Touvron et al. 2023; Llama 3, Dubey et al. 2024), and the models that share its block: SmolLM2, the R1
//! distills on Llama. Converters permute the rows of Q and K, so that rotation is of neighbouring pairs.

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
pub(crate) const NAME: &str = "llama";

const ATTENTION: AttentionParts = AttentionParts { biases: false, head_norms: false };

/// Makes the model from a file's metadata and tensors.
pub(crate) fn load(
    metadata: &Metadata,
    weights: &Weights<'_>,
    compute: &Compute,
) -> Result<Decoder, ArchitectureError> {
    let config = DecoderConfig::read(metadata, NAME)?;
    // Llama 3.1 and later bring their scaling of the frequencies as a tensor.
    let factors = weights.optional_vector("rope_freqs.weight", config.rope.dimensions / 2)?;
    let rope = Rope::new(&config.rope, RopeStyle::Interleaved, factors.as_deref());
    Ok(Decoder::load(weights, compute, NAME, &config, ATTENTION, rope)?)
}
