use std::fs::DirBuilder;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use base::Clock;
use etcetera::BaseStrategy as _;
use models::library::Library;

/// What every command is given: the home directory (`--home`, `$CACHALOT_HOME` or the XDG data directory's
/// `cachalot`) and the clock.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) home: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Context {
    /// Chooses the home directory; nothing is created yet.
    pub(crate) fn new(home: Option<PathBuf>, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let home = match home.filter(|home| !home.as_os_str().is_empty()) {
            Some(home) => std::path::absolute(&home)
                .with_context(|| format!("{} is not a usable home directory", home.display()))?,
            None => etcetera::base_strategy::Xdg::new()
                .context("no home directory found: set CACHALOT_HOME or pass --home")?
                .data_dir()
                .join("cachalot"),
        };
        Ok(Self { home, clock })
    }

    /// The models that are installed. Makes the home directory where it is not there.
    pub(crate) fn library(&self) -> anyhow::Result<Library> {
        make(&self.home).with_context(|| format!("{} can't be made", self.home.display()))?;
        Ok(Library::open(&self.home)?)
    }
}

/// Makes the home directory, for its owner alone: keys and what people wrote are in it. One that is there keeps its
/// mode.
pub(crate) fn make(home: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(home)
}
