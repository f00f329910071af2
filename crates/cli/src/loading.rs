//! From a MODEL argument to something to talk with.

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use base::{Clock, Rng};
use dialogue::{Dialogue, DialogueConfig, ModelListing, ModelSource, Profile, SamplingParams, Thinking};
use kernels::{Isa, KvFormat, Precision};
use models::LoadOptions;
use models::catalog::{Catalog, CatalogEntry, ThinkingStyle};
use models::library::{Library, LibraryError, ResolvedModel};
use models::packs::{PackCache, PackError, Saved, UnsavedPack};

use crate::home::Context;
use crate::pull::{self, progress};

/// What a MODEL argument stands for: an installed name or a path. A model of the catalogue or a source
/// (`hf:owner/repo/file.gguf`, a URL, ...) that isn't installed is pulled first. None is the default model.
pub(crate) fn resolve_or_pull(context: &Context, model: Option<&str>) -> anyhow::Result<ResolvedModel> {
    resolve_or_pull_with(context, model, progress::for_stderr().as_mut())
}

/// As [`resolve_or_pull`], with somebody else told how the pull goes.
pub(crate) fn resolve_or_pull_with(
    context: &Context,
    model: Option<&str>,
    progress: &mut dyn progress::Progress,
) -> anyhow::Result<ResolvedModel> {
    let catalog = Catalog::built_in();
    let library = context.library()?;
    let model = model.unwrap_or(&catalog.default);
    match library.resolve(model) {
        Ok(resolved) => Ok(resolved),
        Err(LibraryError::NotInstalled { .. } | LibraryError::FileMissing { .. }) => {
            let pulled = pull::pull(&library, catalog, model, Arc::clone(&context.clock), progress)?;
            Ok(library.resolve(&pulled.model.name)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Most GiB of packed weights on disk, if not given.
pub(crate) const PACK_CACHE_GIB: u64 = 20;

/// Where packed weights are kept, for commands that go by no configuration.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct PackArguments {
    /// Keep no packed weights on disk, and use none: every start packs the model's weights anew.
    #[arg(long)]
    no_pack_cache: bool,

    /// Most GiB of packed weights that are kept on disk; 0 is --no-pack-cache.
    #[arg(long, value_name = "GIB", env = "CACHALOT_PACK_CACHE_GIB", hide_env_values = true,
          default_value_t = PACK_CACHE_GIB, value_parser = clap::value_parser!(u64).range(..=PACK_CACHE_GIB_MAX))]
    pack_cache_gib: u64,
}

/// The largest bound that can be given.
pub(crate) const PACK_CACHE_GIB_MAX: u64 = 1 << 20;

impl PackArguments {
    /// The packs of the home directory; none where there are to be none.
    pub(crate) fn cache(self, context: &Context) -> Option<PackCache> {
        pack_cache(context, if self.no_pack_cache { 0 } else { self.pack_cache_gib })
    }
}

/// The packs of the home directory, with a bound in GiB; none where that is 0.
pub(crate) fn pack_cache(context: &Context, gib: u64) -> Option<PackCache> {
    (gib > 0).then(|| PackCache::new(&context.home, gib << 30))
}

/// Saves what a load packed, and says in the log how that went: the next start packs again where it fails.
fn save(pack: UnsavedPack, model: &Path) {
    let model = model.display();
    match pack.save() {
        Ok(Saved::Written { bytes }) => tracing::info!(%model, bytes, "the packed weights are kept on disk"),
        Ok(Saved::Already) => tracing::debug!(%model, "the packed weights were on disk already"),
        // The operator's bound, which is no news at every start.
        Err(error @ PackError::TooLarge { .. }) => {
            tracing::info!(%model, "the packed weights aren't kept: {error}");
        }
        Err(error) => tracing::warn!(%model, "the packed weights aren't kept: {error}"),
    }
}

/// How models are loaded.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    clock: Arc<dyn Clock>,
    threads: Option<NonZeroUsize>,
    precision: Precision,
    kv_format: KvFormat,
    packs: Option<PackCache>,
    config: DialogueConfig,
}

impl Loader {
    /// Loads with this many threads, or one per core.
    pub(crate) fn new(context: &Context, threads: Option<NonZeroUsize>, config: DialogueConfig) -> Self {
        let (precision, kv_format) = (Precision::default(), KvFormat::fastest(Isa::best()));
        Self { clock: Arc::clone(&context.clock), threads, precision, kv_format, packs: None, config }
    }

    /// The same, but packed weights are kept.
    pub(crate) fn packs(self, packs: Option<PackCache>) -> Self {
        Self { packs, ..self }
    }

    /// The same, but activations are rounded as `precision` says.
    pub(crate) fn rounding(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same, but keys and values are kept as `kv_format` says, if it says something.
    pub(crate) fn keeping(self, kv_format: Option<KvFormat>) -> Self {
        Self { kv_format: kv_format.unwrap_or(self.kv_format), ..self }
    }

    /// Loads a model. Takes seconds, for large ones a minute.
    pub(crate) fn load(&self, model: &ResolvedModel) -> anyhow::Result<Dialogue> {
        let what = || format!("{} can't be loaded", model.path.display());
        let threads = self.threads.map_or(0, NonZeroUsize::get);
        let Self { precision, kv_format, .. } = *self;
        let packs = self.packs.clone();
        let options = LoadOptions { threads, precision, kv_format, packs, ..LoadOptions::default() };
        let mut loaded = models::load(&model.path, &options).with_context(what)?;
        if let Some(pack) = loaded.unsaved_pack.take() {
            let path = model.path.clone();
            // Beside everything else: it takes as long as the disk needs. What the end of the program leaves half
            // written, the next one writes anew.
            let thread = std::thread::Builder::new().name("packs".to_owned());
            thread.spawn(move || save(pack, &path)).context("no thread can be started")?;
        }
        let rng = Rng::from_os().context("the operating system has no randomness to give")?;
        let profile = profile(&model.name, model.entry.as_ref());
        Dialogue::new(loaded, profile, self.config, Arc::clone(&self.clock), rng).with_context(what)
    }
}

fn profile(name: &str, entry: Option<&CatalogEntry>) -> Profile {
    let Some(entry) = entry else { return Profile::unknown(name) };
    let defaults = &entry.sampling;
    let sampling = SamplingParams {
        temperature: defaults.temperature,
        top_p: defaults.top_p,
        top_k: defaults.top_k,
        min_p: defaults.min_p,
        repetition_penalty: defaults.repetition_penalty,
        ..SamplingParams::default()
    };
    Profile { name: name.to_owned(), sampling, thinking: Some(thinking(entry.thinking)) }
}

fn thinking(style: ThinkingStyle) -> Thinking {
    match style {
        ThinkingStyle::None => Thinking::None,
        ThinkingStyle::Always => Thinking::Always,
        ThinkingStyle::Switchable => Thinking::Switchable,
    }
}

/// The models of the catalogue and of the library, and one that was given by its path.
#[derive(Debug)]
pub(crate) struct LibrarySource {
    library: Library,
    loader: Loader,
    /// Served under its own name though the library may not know it.
    given: ResolvedModel,
}

impl LibrarySource {
    pub(crate) fn new(home: &Path, loader: Loader, given: ResolvedModel) -> anyhow::Result<Self> {
        Ok(Self { library: Library::open(home)?, loader, given })
    }
}

impl ModelSource for LibrarySource {
    fn list(&self) -> Vec<ModelListing> {
        let installed = self.library.installed().unwrap_or_else(|error| {
            tracing::error!(%error, "the installed models can't be listed");
            Vec::new()
        });
        let catalog = Catalog::built_in().entries();
        let known = catalog.iter().map(|entry| ModelListing {
            installed: installed.iter().any(|model| model.name == entry.name && model.path.is_file()),
            ..from_catalog(entry)
        });
        let others =
            installed.iter().filter(|model| catalog.iter().all(|entry| entry.name != model.name)).map(
                |model| ModelListing { installed: model.path.is_file(), ..unknown(&model.name, model.bytes) },
            );
        let mut listings: Vec<ModelListing> = known.chain(others).collect();
        match listings.iter_mut().find(|listing| listing.name == self.given.name) {
            Some(listing) => listing.installed = true,
            None => {
                let bytes = self.given.path.metadata().map_or(0, |facts| facts.len());
                listings.push(ModelListing { installed: true, ..unknown(&self.given.name, bytes) });
            }
        }
        listings
    }

    fn load(&self, name: &str) -> Result<Dialogue, String> {
        let resolved = if name == self.given.name {
            Ok(self.given.clone())
        } else {
            // Clients name models, not files of this machine.
            match self.library.find(name) {
                Ok(Some(_)) => self.library.resolve(name),
                Ok(None) => Err(LibraryError::NotInstalled { name: name.to_owned() }),
                Err(error) => Err(error),
            }
        };
        let resolved = resolved.map_err(|error| error.to_string())?;
        self.loader.load(&resolved).map_err(|error| format!("{error:#}"))
    }
}

fn from_catalog(entry: &CatalogEntry) -> ModelListing {
    ModelListing {
        name: entry.name.clone(),
        title: entry.title.clone(),
        bytes: entry.bytes,
        parameters: entry.parameters,
        context: entry.context,
        thinking: thinking(entry.thinking),
        installed: false,
    }
}

fn unknown(name: &str, bytes: u64) -> ModelListing {
    ModelListing {
        name: name.to_owned(),
        title: name.to_owned(),
        bytes,
        parameters: 0,
        context: 0,
        thinking: Thinking::None,
        installed: false,
    }
}
