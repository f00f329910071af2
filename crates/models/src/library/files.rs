//! Writing so that a crash leaves the old file or the new one, and names for files that anything can be named after.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::LibraryError;
use crate::digest::digest_key;

/// Largest manifest or pin that is read; ours are below 4 KiB unless a name is very long.
const JSON_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn io(action: &'static str, path: &Path, source: std::io::Error) -> LibraryError {
    LibraryError::Io { action, path: path.to_owned(), source }
}

/// A file name for any text: short plain texts stay readable, everything else becomes a hash.
pub(super) fn file_key(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    if text.len() <= 64 && !text.starts_with(['.', '=']) && !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("={}", digest_key(text))
    }
}

/// Reads a small JSON file; `None` when it is not there.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, LibraryError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("read", path, error)),
    };
    let mut text = Vec::new();
    file.take(JSON_BYTES_MAX).read_to_end(&mut text).map_err(|source| io("read", path, source))?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| LibraryError::Damaged { path: path.to_owned(), problem: error.to_string() })
}

/// Writes a JSON file: under another name, synced, renamed, directory synced.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), LibraryError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| LibraryError::Damaged { path: path.to_owned(), problem: error.to_string() })?;
    // The state lock is held, so nobody else writes this name.
    let new = path.with_extension("new");
    let failed = |source| io("write", &new, source);
    let mut file = File::create(&new).map_err(failed)?;
    file.write_all(&text).map_err(failed)?;
    drop(file);
    rename_synced(&new, path)
}

/// Syncs a file, gives it its name, and syncs the directory.
pub(super) fn rename_synced(from: &Path, to: &Path) -> Result<(), LibraryError> {
    File::open(from).and_then(|file| file.sync_all()).map_err(|source| io("sync", from, source))?;
    std::fs::rename(from, to).map_err(|source| io("write", to, source))?;
    let directory = to.parent().unwrap_or(Path::new("."));
    File::open(directory).and_then(|file| file.sync_all()).map_err(|source| io("sync", directory, source))
}
