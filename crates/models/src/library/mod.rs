//! The models on this machine: a content-addressed store under one home directory. No network here.
//!
//! ```text
//! $CACHALOT_HOME/
//!   blobs/sha256-<hex>     the files, named by what they hold, never changed in place
//!   models/<name>.json     one manifest per installed name: which blob it is and where it came from
//!   pins/<hash>.json       checksum of the first download from a place that publishes none
//!   partial/<hash>.part    downloads under way; <hash>.json what is known of their origin
//!   locks/<hash>           taken while one process works on something
//!   packs/                 packed weights, see `packs`; those of a file go with it
//! ```
//!
//! Files and manifests are written under another name, synced, and renamed: a crash at any moment leaves the old state
//! or the new one. Several processes may use the same home.

mod error;
mod files;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use error::LibraryError;
pub(crate) use files::read_json;
use files::{file_key, io, write_json};

use crate::catalog::{Catalog, CatalogEntry, Location};
use crate::digest::digest_key;
pub use crate::digest::is_sha256;
use crate::packs;

/// The store under one home directory.
#[derive(Debug, Clone)]
pub struct Library {
    home: PathBuf,
}

/// A model that is on this machine under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct InstalledModel {
    /// What users type.
    pub name: String,
    /// The GGUF file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
    /// Where it came from.
    pub source: String,
    /// The catalogue's entry of that name.
    pub entry: Option<CatalogEntry>,
}

/// What a model argument stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedModel {
    /// The installed name, or the file's name without its ending.
    pub name: String,
    /// The GGUF file.
    pub path: PathBuf,
    /// The catalogue's entry of that name.
    pub entry: Option<CatalogEntry>,
}

/// What [`Library::remove`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Bytes that are free again: 0 when the file stays for another name.
    pub freed_bytes: u64,
    /// Other names of the same file.
    pub still_used_by: Vec<String>,
}

/// A file to be installed: complete, synced, and its checksum verified.
#[derive(Debug)]
pub struct NewModel<'a> {
    /// Name to install it under.
    pub name: &'a str,
    /// The file, in the library's `partial` directory; it is moved.
    pub file: &'a Path,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: &'a str,
    /// Its size.
    pub bytes: u64,
    /// Where it came from.
    pub source: &'a str,
}

/// Held while one process works on something; given back when dropped or when the process ends.
#[derive(Debug)]
pub struct LibraryLock {
    _file: File,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    name: String,
    sha256: String,
    bytes: u64,
    source: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Pin {
    location: String,
    sha256: String,
}

const MANIFEST_FORMAT: u32 = 1;
const DIRECTORIES: [&str; 5] = ["blobs", "models", "pins", "partial", "locks"];

impl Library {
    /// Opens (and makes, when it is not there) the store under `home`.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn open(home: &Path) -> Result<Self, LibraryError> {
        for directory in DIRECTORIES {
            let path = home.join(directory);
            std::fs::create_dir_all(&path).map_err(|source| io("make the directory", &path, source))?;
        }
        Ok(Self { home: home.to_owned() })
    }

    /// The home directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Where the file with this checksum is or would be.
    pub fn blob_path(&self, sha256: &str) -> PathBuf {
        self.home.join("blobs").join(format!("sha256-{sha256}"))
    }

    /// Where a download from this location is collected: the file, and what is known of its origin.
    pub fn partial_paths(&self, location: &Location) -> (PathBuf, PathBuf) {
        let key = digest_key(&location.to_string());
        let directory = self.home.join("partial");
        (directory.join(format!("{key}.part")), directory.join(format!("{key}.json")))
    }

    /// The directory of unfinished downloads, on the same file system as the finished ones.
    pub fn partial_directory(&self) -> PathBuf {
        self.home.join("partial")
    }

    /// Waits until no other process holds the lock `key`. `waiting` is called once if there is a wait.
    ///
    /// # Errors
    /// When the lock file cannot be made or locked.
    pub fn lock(&self, key: &str, waiting: &mut dyn FnMut()) -> Result<LibraryLock, LibraryError> {
        let path = self.home.join("locks").join(digest_key(key));
        let failed = |source| io("lock", &path, source);
        let file = File::create(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => return Ok(LibraryLock { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => waiting(),
            Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.lock().map_err(failed)?;
        Ok(LibraryLock { _file: file })
    }

    /// The lock on manifests, pins and blobs: held for moments only.
    fn lock_state(&self) -> Result<LibraryLock, LibraryError> {
        self.lock("state", &mut || ())
    }

    /// The installed models, sorted by name. Manifests that cannot be read are left out.
    ///
    /// # Errors
    /// When the directory of manifests cannot be read.
    pub fn installed(&self) -> Result<Vec<InstalledModel>, LibraryError> {
        let mut models: Vec<_> = self.manifests()?.into_iter().map(|manifest| self.model(manifest)).collect();
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// The installed model of that name. Its file may be missing; [`Library::resolve`] says so.
    ///
    /// # Errors
    /// When its manifest cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<InstalledModel>, LibraryError> {
        let manifest: Option<Manifest> = read_json(&self.manifest_path(name))?;
        // The file's name is derived from the model's, so another name inside means that somebody meddled with it.
        Ok(manifest
            .filter(|manifest| manifest.name == name && is_sha256(&manifest.sha256))
            .map(|m| self.model(m)))
    }

    /// What a model argument stands for: an installed name, or a path to a file.
    ///
    /// # Errors
    /// When it is neither; the error says whether it could be pulled.
    pub fn resolve(&self, name_or_path: &str) -> Result<ResolvedModel, LibraryError> {
        let entry = Catalog::built_in().get(name_or_path);
        if let Some(model) = self.find(name_or_path)? {
            if !model.path.is_file() {
                return Err(LibraryError::FileMissing { name: model.name, path: model.path });
            }
            return Ok(ResolvedModel { name: model.name, path: model.path, entry: model.entry });
        }
        let path = Path::new(name_or_path.strip_prefix("file:").unwrap_or(name_or_path));
        if path.is_file() {
            let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            return Ok(ResolvedModel { name, path: path.to_owned(), entry: None });
        }
        if entry.is_some() || name_or_path.parse::<Location>().is_ok() {
            return Err(LibraryError::NotInstalled { name: name_or_path.to_owned() });
        }
        let known = Catalog::built_in().entries().iter().map(|entry| entry.name.clone()).collect();
        Err(LibraryError::Unknown { given: name_or_path.to_owned(), known })
    }

    /// Moves a verified file to its place and gives it a name. A former model of that name is replaced.
    ///
    /// # Errors
    /// When the disk does not let it.
    ///
    /// # Panics
    /// When `sha256` is not a checksum.
    pub fn install(&self, new: &NewModel<'_>) -> Result<InstalledModel, LibraryError> {
        assert!(is_sha256(new.sha256), "{:?} is not a SHA-256", new.sha256);
        let _lock = self.lock_state()?;
        let before = self.find(new.name)?;
        let blob = self.blob_path(new.sha256);
        if new.file != blob {
            files::rename_synced(new.file, &blob)?;
        }
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            name: new.name.to_owned(),
            sha256: new.sha256.to_owned(),
            bytes: new.bytes,
            source: new.source.to_owned(),
        };
        write_json(&self.manifest_path(new.name), &manifest)?;
        if let Some(before) = before.filter(|before| before.sha256 != new.sha256) {
            self.remove_blob_if_unused(&before.sha256)?;
        }
        Ok(self.model(manifest))
    }

    /// Forgets a name, and removes its file unless another name has the same one.
    ///
    /// # Errors
    /// When there is no such model or the disk does not let it.
    pub fn remove(&self, name: &str) -> Result<Removed, LibraryError> {
        let _lock = self.lock_state()?;
        let Some(model) = self.find(name)? else {
            let installed = self.installed()?.into_iter().map(|model| model.name).collect();
            return Err(LibraryError::NotThere { name: name.to_owned(), installed });
        };
        let manifest = self.manifest_path(name);
        std::fs::remove_file(&manifest).map_err(|source| io("remove", &manifest, source))?;
        self.remove_blob_if_unused(&model.sha256)
    }

    fn remove_blob_if_unused(&self, sha256: &str) -> Result<Removed, LibraryError> {
        let users = self.manifests()?.into_iter().filter(|manifest| manifest.sha256 == sha256);
        let mut still_used_by: Vec<String> = users.map(|manifest| manifest.name).collect();
        still_used_by.sort();
        let blob = self.blob_path(sha256);
        if !still_used_by.is_empty() || !blob.exists() {
            return Ok(Removed { freed_bytes: 0, still_used_by });
        }
        let blob_bytes = blob.metadata().map_or(0, |facts| facts.len());
        std::fs::remove_file(&blob).map_err(|source| io("remove", &blob, source))?;
        let pack_bytes = packs::remove(&self.home, sha256)
            .map_err(|source| io("remove the packed weights in", &self.home, source))?;
        Ok(Removed { freed_bytes: blob_bytes + pack_bytes, still_used_by })
    }

    /// The checksum that the first download from this location had, if it was pinned then.
    ///
    /// # Errors
    /// When the pin cannot be read.
    pub fn pin(&self, location: &Location) -> Result<Option<String>, LibraryError> {
        let location = location.to_string();
        let pin: Option<Pin> = read_json(&self.pin_path(&location))?;
        Ok(pin.filter(|pin| pin.location == location && is_sha256(&pin.sha256)).map(|pin| pin.sha256))
    }

    /// Remembers the checksum of the first download from this location.
    ///
    /// # Errors
    /// When the disk does not let it.
    pub fn set_pin(&self, location: &Location, sha256: &str) -> Result<(), LibraryError> {
        let _lock = self.lock_state()?;
        let location = location.to_string();
        write_json(&self.pin_path(&location), &Pin { location: location.clone(), sha256: sha256.to_owned() })
    }

    fn pin_path(&self, location: &str) -> PathBuf {
        self.home.join("pins").join(format!("{}.json", digest_key(location)))
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.home.join("models").join(format!("{}.json", file_key(name)))
    }

    fn manifests(&self) -> Result<Vec<Manifest>, LibraryError> {
        let directory = self.home.join("models");
        let failed = |source| io("read the directory", &directory, source);
        let mut manifests = Vec::new();
        for entry in std::fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|ending| ending == "json")
                && let Ok(Some(manifest)) = read_json::<Manifest>(&path)
                && is_sha256(&manifest.sha256)
                && self.manifest_path(&manifest.name) == path
            {
                manifests.push(manifest);
            }
        }
        Ok(manifests)
    }

    fn model(&self, manifest: Manifest) -> InstalledModel {
        InstalledModel {
            path: self.blob_path(&manifest.sha256),
            entry: Catalog::built_in().get(&manifest.name).cloned(),
            name: manifest.name,
            bytes: manifest.bytes,
            sha256: manifest.sha256,
            source: manifest.source,
        }
    }
}
