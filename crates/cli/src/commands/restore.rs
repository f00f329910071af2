use std::fs;
use std::io::{BufRead, ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base::UtcTime;
use store::{Contents, Restore, StoreError};

use crate::admin::output::counted;
use crate::home::Context;
use crate::master_keys::master_keys;
use crate::pull::text::printable;

/// Puts a backup in the place of the database, which stays beside it under another name. The server must be stopped.
///
/// The master key must be the one of the time of the backup. Everybody has to sign in again.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What `cachalot backup` or the administrators' page made.
    file: PathBuf,

    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(restore(context, arguments))
}

async fn restore(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let database = context.home.join("cachalot.db");
    let keys = master_keys(&context.home)?;
    let restore = Restore::prepare(&database, &arguments.file, &keys).await.map_err(unchanged)?;
    println!("{} is good: {}", shown(&arguments.file), described(restore.contents()));
    if !arguments.yes {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            bail!(
                "nothing was changed: there is nobody to ask; with --yes it is restored without a question"
            );
        }
        print!("Put it in the place of {}? [y/N] ", shown(&database));
        std::io::stdout().flush()?;
        if !is_yes(stdin.lock())? {
            bail!("nothing was changed");
        }
    }
    // Sessions that were ended since the backup would be good again. Before the rest: whoever dies in between has
    // signed everybody out for nothing, which is better than the other way round.
    sign_everybody_out(&context.home)?;
    let aside = restore.carry_out(&stamp(context.clock.unix_ms())).await.map_err(half_done)?;
    println!("It is restored; everybody has to sign in again.");
    if let Some(aside) = aside {
        println!("The database of before is {}; remove it when you don't need it any more.", shown(&aside));
    }
    Ok(())
}

fn half_done(error: StoreError) -> anyhow::Error {
    anyhow::Error::new(error).context("everybody is signed out, and the database is as it was")
}

fn unchanged(error: StoreError) -> anyhow::Error {
    let hint = match error {
        StoreError::InUse { .. } => "nothing was changed: stop the server first",
        StoreError::KeyMissing { .. } | StoreError::KeyWrong { .. } => {
            "nothing was changed: the backup needs the master key that the server had when it was made"
        }
        _ => "nothing was changed",
    };
    anyhow::Error::new(error).context(hint)
}

fn shown(path: &Path) -> String {
    printable(&path.display().to_string())
}

fn described(contents: &Contents) -> String {
    let Contents { users, conversations, messages, updated_ms } = contents;
    let when = updated_ms.map_or_else(String::new, |updated_ms| {
        let UtcTime { year, month, day, hour, minute, .. } = UtcTime::from_unix_ms(updated_ms);
        format!(", the last changed on {year:04}-{month:02}-{day:02} at {hour:02}:{minute:02} UTC")
    });
    let (users, messages) = (counted(*users, "user"), counted(*messages, "message"));
    format!("{users}, {} with {messages}{when}", counted(*conversations, "conversation"))
}

fn is_yes(mut input: impl BufRead) -> std::io::Result<bool> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// The next server makes another key, which no cookie of before is signed with.
fn sign_everybody_out(home: &Path) -> anyhow::Result<()> {
    let path = home.join("cookie.key");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} can't be removed; nothing was changed", path.display()))
        }
        _ => Ok(()),
    }
}

fn stamp(unix_ms: i64) -> String {
    let UtcTime { year, month, day, hour, minute, second } = UtcTime::from_unix_ms(unix_ms);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (line, expected) in
            [("y\n", true), ("YES \n", true), ("\n", false), ("", false), ("n\n", false), ("yonder\n", false)]
        {
            assert_eq!(is_yes(line.as_bytes()).unwrap(), expected, "{line:?}");
        }
    }

    #[test]
    fn what_is_in_it_and_when_is_said() {
        let contents =
            Contents { users: 2, conversations: 3, messages: 8, updated_ms: Some(1_795_544_706_123) };
        let expected =
            "2 users, 3 conversations with 8 messages, the last changed on 2026-11-24 at 18:25 UTC";
        assert_eq!(described(&contents), expected);
        assert_eq!(stamp(1_795_544_706_123), "20261124-182506");
    }
}
