//! One readable file per architecture, over the shared layers.

mod llama;
mod qwen2;
mod qwen3;

use crate::batch::Model;
use crate::gguf::Metadata;
use crate::layers::Compute;
use crate::layers::config::ConfigError;
use crate::weights::{Weights, WeightsError};

/// Why a model of a known architecture can't be made from a file.
#[derive(Debug, thiserror::Error)]
pub enum ArchitectureError {
    /// The file is of an architecture that isn't here.
    #[error("architecture {given:?} is not supported; supported: {}", SUPPORTED.join(", "))]
    Unknown {
        /// `general.architecture` of the file.
        given: String,
    },
    /// A hyperparameter.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A tensor.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// Values of `general.architecture` that can be loaded.
pub const SUPPORTED: &[&str] = &[llama::NAME, qwen2::NAME, qwen3::NAME];

/// Makes the model of the architecture that the file names.
pub(crate) fn load(
    architecture: &str,
    metadata: &Metadata,
    weights: &Weights<'_>,
    compute: &Compute,
) -> Result<Box<dyn Model>, ArchitectureError> {
    let decoder = match architecture {
        llama::NAME => llama::load(metadata, weights, compute),
        qwen2::NAME => qwen2::load(metadata, weights, compute),
        qwen3::NAME => qwen3::load(metadata, weights, compute),
        other => Err(ArchitectureError::Unknown { given: other.to_owned() }),
    };
    Ok(Box::new(decoder?))
}
