//! Which checksum a file outside the library has: hashing gigabytes at every start would cost what packs save.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PackError;
use super::source::{Source, Stamp};
use crate::digest::{digest_key, is_sha256};
use crate::library::read_json;

/// A file that was changed less long ago than this is not remembered: another change might have the same time.
const SETTLED_SECONDS: i64 = 2;

#[derive(Debug, Serialize, Deserialize)]
struct Memo {
    path: PathBuf,
    stamp: Stamp,
    sha256: String,
}

fn memo_path(directory: &Path, source: &Source) -> PathBuf {
    directory.join(format!("{}.json", digest_key(&source.path.to_string_lossy())))
}

/// The checksum of a file that is as it was when it was hashed.
pub(super) fn sum_of(directory: &Path, source: &Source) -> Option<String> {
    let memo = read(&memo_path(directory, source))?;
    let same = memo.path == source.path && memo.stamp == source.stamp && is_sha256(&memo.sha256);
    same.then_some(memo.sha256)
}

/// Whatever is wrong with one, it counts as none.
fn read(path: &Path) -> Option<Memo> {
    read_json(path).ok().flatten()
}

/// Keeps what a file was hashed to, unless it was changed moments ago, and forgets files that are gone.
pub(super) fn remember(directory: &Path, source: &Source, sha256: &str) -> Result<(), PackError> {
    let path = memo_path(directory, source);
    let new = path.with_extension("new");
    let memo = Memo { path: source.path.clone(), stamp: source.stamp, sha256: sha256.to_owned() };
    // Paths that are no text can't be written, and are hashed each time.
    let Ok(text) = serde_json::to_vec(&memo) else { return Ok(()) };
    std::fs::write(&new, text).map_err(PackError::io("write", &new))?;
    let now = std::fs::metadata(&new).map_err(PackError::io("read", &new))?;
    if source.stamp.is_older_than(Stamp::of(&now), SETTLED_SECONDS) {
        std::fs::rename(&new, &path).map_err(PackError::io("write", &path))?;
    } else {
        std::fs::remove_file(&new).map_err(PackError::io("remove", &new))?;
    }
    forget_gone(directory);
    Ok(())
}

fn forget_gone(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if read(&path).is_none_or(|memo| !memo.path.exists()) {
            // What stays does no harm.
            let _ = std::fs::remove_file(path);
        }
    }
}
