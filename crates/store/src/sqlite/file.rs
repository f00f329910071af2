//! The database's file: who may read it, that only one process has it, and what stands beside it for a while.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::StoreError;

// What is found under these names is removed: they are none that anybody gives to a copy of their own.

/// A backup being made.
pub(super) const BACKUP: &str = ".draft-of-backup";

/// A backup being put back.
pub(super) const RESTORING: &str = ".draft-of-restoration";

/// A database that is making room for a backup.
pub(super) const ASIDE: &str = ".draft-of-aside";

/// A database that made room for a backup; a time follows.
pub(super) const BEFORE: &str = ".before-";

/// What SQLite puts beside a database.
pub(super) const LOGS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// Makes the directory and the file as private as they should be, and takes the lock. The log files that SQLite puts
/// beside the database inherit its mode.
pub(super) fn prepare(path: &Path) -> Result<File, StoreError> {
    let lock = lock(path)?;
    private(path).map_err(failed(path))?;
    Ok(lock)
}

/// Makes the directory and takes the lock.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        // A directory that exists keeps its mode: it may be somebody's home.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    }
    let lock_path = with_suffix(path, ".lock");
    let lock = private(&lock_path).map_err(failed(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse { path: path.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(StoreError::File { path: lock_path, source }),
    }
}

/// The error for a file with which something can't be done.
pub(super) fn failed(path: &Path) -> impl Fn(io::Error) -> StoreError + use<> {
    let path = path.to_path_buf();
    move |source| {
        let path = path.clone();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::DiskFull { path },
            _ => StoreError::File { path, source },
        }
    }
}

/// Removes what backups and restorations left that died. To be called by whoever has the lock.
pub(super) fn remove_leftovers(database: &Path) {
    let database = real(database);
    for name in [BACKUP, RESTORING, ASIDE] {
        remove_with_logs(&with_suffix(&database, name));
    }
    if let Err(error) = remove_other_names(&database) {
        tracing::warn!(%error, "what a restoration left beside the database could not be looked for");
    }
}

/// A restoration that died half-way has given the database the name of its place aside too. Nothing is lost with
/// that: it still has its own.
fn remove_other_names(database: &Path) -> io::Result<()> {
    let Ok(ours) = fs::symlink_metadata(database) else { return Ok(()) };
    let prefix = with_suffix(database, BEFORE);
    let prefix = prefix.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in fs::read_dir(folder_of(database))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(prefix)) {
            let other = fs::symlink_metadata(&path)?;
            if (other.dev(), other.ino()) == (ours.dev(), ours.ino()) {
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

fn remove_with_logs(path: &Path) {
    for suffix in LOGS.into_iter().chain([""]) {
        let path = with_suffix(path, suffix);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "a leftover could not be removed");
        }
    }
}

/// A private file that is gone, with its logs, when this is dropped.
#[derive(Debug)]
pub(super) struct Draft(PathBuf);

impl Draft {
    /// Makes it beside the database, empty, in place of one that somebody left.
    pub(super) fn beside(database: &Path, suffix: &str) -> Result<(Self, File), StoreError> {
        let path = with_suffix(&real(database), suffix);
        remove_with_logs(&path);
        let file = private_new(&path).map_err(failed(&path))?;
        Ok((Self(path), file))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        remove_with_logs(&self.0);
    }
}

/// The file that a path leads to: SQLite puts its logs beside that.
pub(super) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Waits until the names in the folder of a file are on disk.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file that only its owner may read, where there is none.
pub(super) fn private_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Opens or makes a file that only its owner may read, also if it was there with a wider mode.
fn private(path: &Path) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
