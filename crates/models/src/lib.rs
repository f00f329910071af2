//! Models: weight files, quantised formats, tokenizer, chat templates, shared layers, and one readable file per
//! architecture.

mod architectures;
pub mod batch;
pub mod catalog;
mod digest;
pub mod formats;
pub mod gguf;
mod layers;
pub mod library;
mod load;
pub mod packs;
pub mod profile;
pub mod template;
pub mod tokenizer;
mod weights;

pub use architectures::{ArchitectureError, SUPPORTED as SUPPORTED_ARCHITECTURES};
pub use layers::config::ConfigError;
pub use load::{LoadError, LoadOptions, LoadedModel, load, load_from};
pub use weights::WeightsError;
