use crate::home::Context;
use crate::pull::text::{printable, size};

/// Removes installed models.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Names as `cachalot list` shows them.
    #[arg(required = true)]
    models: Vec<String>,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let library = context.library()?;
    for name in &arguments.models {
        let removed = library.remove(name)?;
        let name = printable(name);
        if removed.still_used_by.is_empty() {
            println!("removed {name} ({} freed)", size(removed.freed_bytes));
        } else {
            let others = removed.still_used_by.join(", ");
            println!("removed the name {name}; its file stays, it is also {}", printable(&others));
        }
    }
    Ok(())
}
