use std::path::{Path, PathBuf};

/// Why packed weights could not be saved. The model runs all the same; its next start packs again.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The disk.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// More than all packs may take.
    #[error("the packed weights take {needed} bytes, and all packs together may take {allowed}")]
    TooLarge {
        /// Bytes of this pack.
        needed: u64,
        /// Bytes that are allowed.
        allowed: u64,
    },
    /// The disk is nearly full.
    #[error(
        "the packed weights take {needed} bytes, {free} are free, and {reserve} of these are left for others"
    )]
    NoSpace {
        /// Bytes of this pack.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Bytes that stay free.
        reserve: u64,
    },
    /// Somebody writes to the model file.
    #[error("{} has changed since it was opened", path.display())]
    Changed {
        /// The model file.
        path: PathBuf,
    },
}

impl PackError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
