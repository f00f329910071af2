//! From a weight file to a model that can run.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use kernels::{Isa, KvFormat, PackedMatrix, Pool, Precision};

use crate::architectures::{self, ArchitectureError};
use crate::batch::{Model, ModelInfo};
use crate::gguf::{Gguf, GgufError};
use crate::layers::Compute;
use crate::packs::{Pack, PackCache, UnsavedPack};
use crate::profile::Profiler;
use crate::template::{ChatTemplate, TemplateError};
use crate::tokenizer::{Tokenizer, TokenizerError};
use crate::weights::Weights;

/// How to load.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Threads of the forward pass; 0 for one per core.
    pub threads: usize,
    /// Instruction set; none for the best that the CPU has.
    pub isa: Option<Isa>,
    /// To how many bits the inputs of integer products are rounded; mixed by default.
    pub precision: Precision,
    /// How the KV cache keeps numbers; f16 by default.
    pub kv_format: KvFormat,
    /// Where the costs of operations are added up; none measures nothing.
    pub profiler: Option<Arc<Profiler>>,
    /// Where packed weights are kept; none packs them at every load.
    pub packs: Option<PackCache>,
}

/// A model with what is needed to talk with it.
pub struct LoadedModel {
    /// Runs steps.
    pub model: Box<dyn Model>,
    /// Text to tokens and back.
    pub tokenizer: Arc<Tokenizer>,
    /// Messages to text; none where the file has no template and no built-in fits.
    pub template: Option<ChatTemplate>,
    /// Facts about the model.
    pub info: ModelInfo,
    /// `general.name` of the file.
    pub name: Option<String>,
    /// The packed weights, where they are to be kept and were not yet.
    pub unsaved_pack: Option<UnsavedPack>,
}

impl std::fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadedModel")
            .field("info", &self.info)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why a file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file can't be read or is not a well-formed GGUF.
    #[error(transparent)]
    File(#[from] GgufError),
    /// Hyperparameters or tensors.
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    /// The vocabulary.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Logits and vocabulary don't belong together.
    #[error(
        "the embedding has {embedding} rows and the vocabulary {vocabulary} tokens; they must not be fewer"
    )]
    Vocabulary {
        /// Rows of the embedding.
        embedding: usize,
        /// Tokens of the tokenizer.
        vocabulary: usize,
    },
}

/// Loads a model from a GGUF file.
///
/// # Errors
/// When the file, its metadata, its tensors, its vocabulary or its template is not usable; the error says which.
pub fn load(path: &Path, options: &LoadOptions) -> Result<LoadedModel, LoadError> {
    let opened = |source| LoadError::File(GgufError::Open { path: path.to_owned(), source });
    let file = File::open(path).map_err(opened)?;
    let weights = Gguf::of_file(&file, path)?;
    let Some(packs) = &options.packs else { return load_from(&weights, options) };
    let (source, pack) = packs.look_up(path, &file).map_err(opened)?;
    let found = pack.is_some();
    let (mut loaded, packed) = load_with(&weights, options, pack)?;
    loaded.unsaved_pack = packed.map(|matrices| packs.unsaved((file, source), matrices, found));
    Ok(loaded)
}

/// Loads a model from an opened GGUF file, and packs its weights: `options.packs` is for [`load`].
///
/// # Errors
/// As [`load`].
pub fn load_from(file: &Gguf, options: &LoadOptions) -> Result<LoadedModel, LoadError> {
    Ok(load_with(file, options, None)?.0)
}

/// Matrices by the names of their tensors.
type Matrices = Vec<(String, PackedMatrix)>;

/// Loads a model, with the weights that the pack has; gives all if there were others.
fn load_with(
    file: &Gguf,
    options: &LoadOptions,
    pack: Option<Pack>,
) -> Result<(LoadedModel, Option<Matrices>), LoadError> {
    let metadata = file.metadata();
    let architecture = metadata.required_str("general.architecture")?;
    let tokenizer = Tokenizer::from_gguf(metadata)?;
    let template = match ChatTemplate::from_metadata(metadata, &tokenizer) {
        // Such a model can complete text; whoever wants to chat with it says why it can't.
        Err(TemplateError::NoneFits) => None,
        template => Some(template?),
    };
    let (model, packed) = load_model(file, architecture, options, pack)?;
    let info = model.info().clone();
    if info.vocab_size < tokenizer.vocab_size() {
        return Err(LoadError::Vocabulary { embedding: info.vocab_size, vocabulary: tokenizer.vocab_size() });
    }
    let name = metadata.str("general.name")?.map(str::to_owned);
    let tokenizer = Arc::new(tokenizer);
    Ok((LoadedModel { model, tokenizer, template, info, name, unsaved_pack: None }, packed))
}

fn load_model(
    file: &Gguf,
    architecture: &str,
    options: &LoadOptions,
    pack: Option<Pack>,
) -> Result<(Box<dyn Model>, Option<Matrices>), LoadError> {
    let isa = options.isa.unwrap_or_else(Isa::best);
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    let compute = Compute {
        isa,
        pool: Arc::new(Pool::new(threads)),
        precision: options.precision,
        kv_format: options.kv_format,
        profiler: options.profiler.clone(),
    };
    let weights = Weights::new(file, isa, &compute.pool, pack);
    let model = architectures::load(architecture, file.metadata(), &weights, &compute)?;
    Ok((model, weights.newly_packed()))
}
