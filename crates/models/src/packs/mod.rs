//! Packed weights on disk, so that only the first start of a model packs them, and processes share the pages.
//!
//! ```text
//! $CACHALOT_HOME/packs/
//!   <sha256>.v<version>.pack   the matrices of the model file with this checksum, see `pack`
//!   known/<key>.json           which checksum a file outside the library has, for as long as it isn't touched
//!   lock                       taken while one process writes
//! ```
//!
//! A pack is found by what the model file holds, not by its name. A file of the library has its checksum in its name;
//! any other is hashed once, when its pack is written, and known again by its device, number, size and times.

mod error;
mod known;
mod pack;
mod source;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use kernels::PackedMatrix;

pub use error::PackError;
pub(crate) use pack::Pack;
use source::Source;

use crate::digest::is_sha256;

/// Grows with every change of how weights are packed, or of the file.
const VERSION: u32 = 2;
/// Left free for everything else on the disk.
const RESERVE_BYTES: u64 = 1 << 30;

/// The packs under one home directory.
#[derive(Debug, Clone)]
pub struct PackCache {
    home: PathBuf,
    bytes_max: u64,
}

/// Matrices that a load has packed, and that no file holds yet.
#[derive(Debug)]
pub struct UnsavedPack {
    cache: PackCache,
    file: File,
    source: Source,
    matrices: Vec<(String, PackedMatrix)>,
    /// Whether there is a pack that lacks some of them.
    replaces: bool,
}

/// What [`UnsavedPack::save`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// Wrote the pack.
    Written {
        /// Its size.
        bytes: u64,
    },
    /// Another process, or another file with the same content, has written it before.
    Already,
}

impl PackCache {
    /// The packs under `home`, of which all together take at most `bytes_max` on disk. Makes nothing yet.
    pub fn new(home: &Path, bytes_max: u64) -> Self {
        Self { home: home.to_owned(), bytes_max }
    }

    /// What is known of an open model file, and its pack if there is one. Whatever is wrong with a pack, it counts as
    /// none, and is written anew.
    pub(crate) fn look_up(&self, path: &Path, file: &File) -> std::io::Result<(Source, Option<Pack>)> {
        let mut source = Source::of(path, file)?;
        source.sha256 = self.library_sum(&source.path).or_else(|| known::sum_of(&self.known(), &source));
        let pack = source.sha256.as_deref().and_then(|sha256| Pack::open(&self.pack_path(sha256), sha256));
        Ok((source, pack))
    }

    /// What can be saved when the load of a file is done; `replaces` a pack that was found, and lacks some of it.
    pub(crate) fn unsaved(
        &self,
        (file, source): (File, Source),
        matrices: Vec<(String, PackedMatrix)>,
        replaces: bool,
    ) -> UnsavedPack {
        UnsavedPack { cache: self.clone(), file, source, matrices, replaces }
    }

    /// The checksum in the name of a file of the library, which verified it.
    fn library_sum(&self, path: &Path) -> Option<String> {
        let blobs = self.home.join("blobs").canonicalize().ok()?;
        let name = path.strip_prefix(blobs).ok()?.to_str()?;
        name.strip_prefix("sha256-").filter(|sum| is_sha256(sum)).map(str::to_owned)
    }

    fn directory(&self) -> PathBuf {
        directory(&self.home)
    }

    fn known(&self) -> PathBuf {
        self.directory().join("known")
    }

    fn pack_path(&self, sha256: &str) -> PathBuf {
        self.directory().join(format!("{sha256}.v{VERSION}.pack"))
    }

    /// Removes packs until `needed` more bytes keep the bound: those of other versions, then those whose last use is
    /// longest ago. Who has one mapped keeps it.
    fn make_room(&self, needed: u64) -> Result<(), PackError> {
        if needed > self.bytes_max {
            return Err(PackError::TooLarge { needed, allowed: self.bytes_max });
        }
        let directory = self.directory();
        // Whoever left it was ended in the middle: writers have the lock.
        for unfinished in
            files_in(&directory, "new").map_err(PackError::io("read the directory", &directory))?
        {
            std::fs::remove_file(&unfinished.path).map_err(PackError::io("remove", &unfinished.path))?;
        }
        let mut packs =
            files_in(&directory, "pack").map_err(PackError::io("read the directory", &directory))?;
        packs.sort_by_key(|pack| (pack.is_current(), pack.used));
        let mut total: u64 = packs.iter().map(|pack| pack.bytes).sum();
        for pack in packs {
            if pack.is_current() && total.saturating_add(needed) <= self.bytes_max {
                break;
            }
            std::fs::remove_file(&pack.path).map_err(PackError::io("remove", &pack.path))?;
            total -= pack.bytes;
        }
        let facts = rustix::fs::statvfs(&directory)
            .map_err(|error| PackError::io("ask for the free space of", &directory)(error.into()))?;
        let free = facts.f_bavail.saturating_mul(facts.f_frsize);
        if needed.saturating_add(RESERVE_BYTES) > free {
            return Err(PackError::NoSpace { needed, free, reserve: RESERVE_BYTES });
        }
        Ok(())
    }
}

impl UnsavedPack {
    /// Writes the pack: under another name, synced, and renamed, so that there is a whole one or none. Takes as long as
    /// the disk needs, and for a file outside the library as long as hashing it takes.
    ///
    /// # Errors
    /// When there is no room, the model file has changed since it was opened, or the disk does not let it.
    pub fn save(self) -> Result<Saved, PackError> {
        let Self { cache, file, mut source, matrices, replaces } = self;
        let known = cache.known();
        std::fs::create_dir_all(&known).map_err(PackError::io("make the directory", &known))?;
        let lock_path = cache.directory().join("lock");
        let locked = File::create(&lock_path).and_then(|lock| lock.lock().map(|()| lock));
        let _lock = locked.map_err(PackError::io("lock", &lock_path))?;
        let sha256 = match source.sha256.take() {
            Some(sha256) => sha256,
            None => {
                let sha256 = source.hash(&file)?;
                known::remember(&known, &source, &sha256)?;
                sha256
            }
        };
        let path = cache.pack_path(&sha256);
        if !replaces && Pack::open(&path, &sha256).is_some() {
            return Ok(Saved::Already);
        }
        // A damaged one doesn't count, and makes no room for itself.
        let _ = std::fs::remove_file(&path);
        let header = pack::Header::of(&sha256, &matrices);
        cache.make_room(header.file_bytes())?;
        let new = path.with_extension("new");
        let written = header.write(&matrices, &new).and_then(|()| std::fs::rename(&new, &path));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&new);
            return Err(PackError::io("write", &path)(error));
        }
        let directory = cache.directory();
        let synced = File::open(&directory).and_then(|directory| directory.sync_all());
        synced.map_err(PackError::io("sync", &directory))?;
        Ok(Saved::Written { bytes: header.file_bytes() })
    }
}

/// Where the packs of a home directory are.
fn directory(home: &Path) -> PathBuf {
    home.join("packs")
}

/// Removes the packs of a model file. Gives the bytes that are free again.
pub(crate) fn remove(home: &Path, sha256: &str) -> std::io::Result<u64> {
    let mut freed = 0;
    for pack in files_in(&directory(home), "pack")? {
        if pack.path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(sha256.as_bytes())) {
            std::fs::remove_file(&pack.path)?;
            freed += pack.bytes;
        }
    }
    Ok(freed)
}

/// A file of the directory.
struct PackFile {
    path: PathBuf,
    bytes: u64,
    used: std::time::SystemTime,
}

impl PackFile {
    fn is_current(&self) -> bool {
        self.path.to_string_lossy().ends_with(&format!(".v{VERSION}.pack"))
    }
}

/// The files with this ending.
fn files_in(directory: &Path, ending: &str) -> std::io::Result<Vec<PackFile>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if path.extension().is_some_and(|found| found == ending) {
            let facts = entry.metadata()?;
            files.push(PackFile { path, bytes: facts.len(), used: facts.modified()? });
        }
    }
    Ok(files)
}
