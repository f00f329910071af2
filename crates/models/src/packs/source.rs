use std::fs::{File, Metadata};
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::PackError;
use crate::digest::hex;

/// A model file: where it is, and what tells whether it is still the same.
#[derive(Debug)]
pub(crate) struct Source {
    /// Without symbolic links.
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// Lower-case hexadecimal, where it is known.
    pub(super) sha256: Option<String>,
}

/// Nobody writes to a file without changing one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Of the inode: set by the system at every write, and by nobody else.
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(facts: &Metadata) -> Self {
        Self {
            device: facts.dev(),
            inode: facts.ino(),
            bytes: facts.size(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        }
    }

    /// Whether the last change was `seconds` or more before the last change of another file of now. The system's times
    /// go in steps: what is written within one of them leaves no trace.
    pub(super) fn is_older_than(self, other: Self, seconds: i64) -> bool {
        self.changed.0.saturating_add(seconds) < other.changed.0
    }
}

impl Source {
    pub(super) fn of(path: &Path, file: &File) -> std::io::Result<Self> {
        Ok(Self { path: path.canonicalize()?, stamp: Stamp::of(&file.metadata()?), sha256: None })
    }

    /// The SHA-256 of the file that was opened, unless it has changed since.
    pub(super) fn hash(&self, mut file: &File) -> Result<String, PackError> {
        let failed = || PackError::io("read", &self.path);
        file.rewind().map_err(failed())?;
        let (mut digest, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut piece).map_err(failed())? {
                0 => break,
                read => digest.update(&piece[..read]),
            }
        }
        if Stamp::of(&file.metadata().map_err(failed())?) != self.stamp {
            return Err(PackError::Changed { path: self.path.clone() });
        }
        Ok(hex(&digest.finalize()))
    }
}
