use std::path::PathBuf;

/// Why the library could not do something.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
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
    /// A manifest or pin that is not one.
    #[error("{} is damaged: {problem}; remove it and pull the model again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A model that could be pulled but is not here.
    #[error("model {name:?} is not installed; get it with: cachalot pull {name}")]
    NotInstalled {
        /// The name.
        name: String,
    },
    /// A name that is installed, but somebody removed its file.
    #[error("the file of model {name:?} is gone ({}); get it again with: cachalot pull {name}", path.display())]
    FileMissing {
        /// The name.
        name: String,
        /// Where the file should be.
        path: PathBuf,
    },
    /// Neither a name nor a path.
    #[error("{given:?} is neither an installed model nor a file nor in the catalogue (known: {})", known.join(", "))]
    Unknown {
        /// The argument.
        given: String,
        /// The names in the catalogue.
        known: Vec<String>,
    },
    /// Nothing to remove.
    #[error("model {name:?} is not installed (installed: {})", if installed.is_empty() { "none".to_owned() } else { installed.join(", ") })]
    NotThere {
        /// The name.
        name: String,
        /// The names that are installed.
        installed: Vec<String>,
    },
}
