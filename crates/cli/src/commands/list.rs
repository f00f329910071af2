use crate::home::Context;

/// Lists installed and available models.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(context: &Context, _arguments: &Arguments) -> anyhow::Result<()> {
    anyhow::bail!("not built yet ({}, {:?})", context.home.display(), context.clock)
}
