use std::fmt::Write as _;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::PullError;
use super::progress::Progress;

/// What is known of where the bytes of an unfinished download came from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Strong `ETag`, or `Last-Modified`: while the server still has it, the rest belongs to what is there.
    pub(super) validator: Option<String>,
}

/// The file that a download is collected in, and the hash of what it holds. It outlives the process: what is there is
/// gone on with.
pub(super) struct Partial {
    path: PathBuf,
    origin_path: PathBuf,
    file: File,
    /// Bytes in the file; all of them are in `hasher`.
    length: u64,
    hasher: Sha256,
}

const CHUNK_BYTES: usize = 256 * 1024;

impl Partial {
    /// Opens the file and hashes what an earlier run left in it.
    pub(super) fn open(
        (path, origin_path): (PathBuf, PathBuf),
        progress: &mut dyn Progress,
    ) -> Result<Self, PullError> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(PullError::disk("open", &path))?;
        let mut partial = Self { path, origin_path, file, length: 0, hasher: Sha256::new() };
        partial.hash_what_is_there(progress)?;
        Ok(partial)
    }

    fn hash_what_is_there(&mut self, progress: &mut dyn Progress) -> Result<(), PullError> {
        let failed = |source| PullError::Disk { action: "read", path: self.path.clone(), source };
        let there = self.file.metadata().map_err(failed)?.len();
        if there == 0 {
            return Ok(());
        }
        progress.begin("Reading what is there", 0, Some(there));
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut rest = (&self.file).take(there);
        loop {
            let read = rest.read(&mut chunk).map_err(failed)?;
            if read == 0 {
                break;
            }
            self.hasher.update(&chunk[..read]);
            self.length += read as u64;
            progress.advance(read as u64);
        }
        progress.end();
        Ok(())
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// What an earlier run wrote down; nothing when it is gone or damaged.
    pub(super) fn origin(&self) -> Origin {
        std::fs::read(&self.origin_path)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    pub(super) fn set_origin(&self, origin: &Origin) -> Result<(), PullError> {
        let text = serde_json::to_vec(origin).unwrap_or_default();
        std::fs::write(&self.origin_path, text).map_err(|error| self.write_error(error, &self.origin_path))
    }

    /// Forgets what is there.
    pub(super) fn restart(&mut self) -> Result<(), PullError> {
        if self.length > 0 {
            let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
            emptied.map_err(|error| self.write_error(error, &self.path))?;
        }
        self.length = 0;
        self.hasher = Sha256::new();
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        if let Err(error) = self.file.write_all(bytes) {
            // Some of it may have been written, but not been hashed.
            let _ = self.file.set_len(self.length);
            return Err(self.write_error(error, &self.path));
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn write_error(&self, error: std::io::Error, path: &std::path::Path) -> PullError {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                PullError::DiskFull { path: path.to_owned(), at: self.length }
            }
            _ => PullError::disk("write", path)(error),
        }
    }

    /// Appends everything that `source` gives, at most `most` bytes.
    pub(super) fn append_all(
        &mut self,
        source: &mut dyn Read,
        most: u64,
        progress: &mut dyn Progress,
    ) -> Result<(), CopyError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut left = most;
        while left > 0 {
            if progress.cancelled() {
                return Err(CopyError::Local(PullError::Cancelled));
            }
            let wanted = usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let read = match source.read(&mut chunk[..wanted]) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Source(error)),
            };
            self.append(&chunk[..read]).map_err(CopyError::Local)?;
            progress.advance(read as u64);
            left -= read as u64;
        }
        Ok(())
    }

    /// Puts everything on the disk and gives the SHA-256, 64 lower-case hexadecimal digits.
    pub(super) fn finish(&mut self) -> Result<String, PullError> {
        self.file.sync_all().map_err(|error| self.write_error(error, &self.path))?;
        Ok(hex(&self.hasher.clone().finalize()))
    }

    /// Removes what is known of the origin: the file is about to get its name.
    pub(super) fn forget_origin(&self) {
        let _ = std::fs::remove_file(&self.origin_path);
    }

    /// Removes everything.
    pub(super) fn discard(self) -> Result<(), PullError> {
        self.forget_origin();
        std::fs::remove_file(&self.path).map_err(PullError::disk("remove", &self.path))
    }
}

/// Which side of a copy failed.
pub(super) enum CopyError {
    Source(std::io::Error),
    Local(PullError),
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 of a file.
pub(super) fn hash_file(path: &std::path::Path, progress: &mut dyn Progress) -> Result<String, PullError> {
    let failed = |source| PullError::Disk { action: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    progress.begin("Checking", 0, file.metadata().ok().map(|facts| facts.len()));
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = file.read(&mut chunk).map_err(failed)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        progress.advance(read as u64);
    }
    progress.end();
    Ok(hex(&hasher.finalize()))
}
