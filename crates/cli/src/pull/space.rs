use std::path::Path;

use super::error::PullError;

/// Left free for everything else on the disk.
const RESERVE_BYTES: u64 = 64 << 20;

/// Bytes that an ordinary user may still write to the file system of `path`.
pub(super) fn free_bytes(path: &Path) -> Result<u64, PullError> {
    let facts = rustix::fs::statvfs(path)
        .map_err(|error| PullError::disk("ask for the free space of", path)(error.into()))?;
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Refuses a download that would fill the disk.
pub(super) fn check(path: &Path, needed: u64) -> Result<(), PullError> {
    let free = free_bytes(path)?;
    if needed.saturating_add(RESERVE_BYTES) > free {
        return Err(PullError::NoSpace { path: path.to_owned(), needed, free });
    }
    Ok(())
}
