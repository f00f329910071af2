use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use base::Clock;
use etcetera::BaseStrategy as _;

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
}
