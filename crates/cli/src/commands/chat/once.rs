use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use dialogue::{Dialogue, Finish};

use super::answer::{self, Told};
use super::printer::{Printer, Style};
use super::session::Session;
use crate::pull::text::printable;

/// Exit status of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Asks one question: the answer goes to standard output, all else to standard error.
pub(super) fn run(dialogue: &Dialogue, session: Session, question: &str, stats: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Not locked: the engine's thread must be able to say why it ends.
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let style = Style {
        dim: stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        content_terminal: stdout.is_terminal(),
        reasoning_terminal: stderr.is_terminal(),
    };
    let mut printer = Printer::apart(&mut stdout, &mut stderr, style);
    let told = match answer::ask(&runtime, dialogue, &session.request(question), &mut printer) {
        Ok(told) => told,
        // Whoever read the answer has read enough.
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    if let Some(note) = answer::cut_short(&told.finish) {
        writeln!(stderr, "[{}]", printable(&note)).context("standard error can't be written")?;
    }
    if stats {
        writeln!(stderr, "[{}]", answer::stats(&told)).context("standard error can't be written")?;
    }
    end(told)
}

fn end(told: Told) -> anyhow::Result<()> {
    match told.finish {
        Finish::Stop | Finish::StopString(_) | Finish::ToolCalls | Finish::Length => Ok(()),
        Finish::Cancelled => std::process::exit(INTERRUPTED),
        Finish::ShuttingDown | Finish::Displaced => bail!("the answer is not complete"),
        Finish::Failed(why) => bail!("the model could not go on: {why}"),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
