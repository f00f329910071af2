//! The server that a drill starts: this program, or a plain one, as a child that ends with the drill.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::config::table;
use crate::home::Context;
use crate::loading::resolve_or_pull;
use crate::pull::text::printable;

/// What the drill's own server is called. Who calls it by a name of loopback counts as a program of this machine.
pub(super) const HOST: &str = "drill.example";
/// Connections that it takes at once.
pub(super) const CONNECTIONS_MAX: u64 = 1024;
/// What lies between the first accounts and the calm: the drill tries for at least so long what the server can serve.
const CALIBRATION_MIN: Duration = Duration::from_secs(2);
/// How long it may take until it listens: a large model is read from disk first.
const START_MAX: Duration = Duration::from_secs(300);
/// Lines of its log that are shown when the drill failed.
const LOG_LINES: usize = 10;
/// Where the plain server is, if not beside this program.
const PLAIN: &str = "CACHALOT_DRILL_PLAIN";

/// Its folder in the temporary home, beside its log.
const HOME: &str = "home";

/// A server that ends, and whose home is removed, when this is dropped.
#[derive(Debug)]
pub(super) struct Own {
    child: Child,
    home: TempDir,
}

impl Own {
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it keeps what it stores.
    pub(super) fn folder(&self) -> PathBuf {
        self.home.path().join(HOME)
    }

    /// Ends it. The last lines that it logged.
    pub(super) fn end(self) -> String {
        last_lines(&log_of(&self.home))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // It may have ended by itself. Its home is removed after it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that listens.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) own: Own,
    pub(super) address: SocketAddr,
    /// What makes the first administrator.
    pub(super) token: String,
    pub(super) about: String,
    pub(super) settings: BTreeMap<String, String>,
}

/// This program, with these settings switched off.
pub(super) fn cachalot(
    context: &Context,
    model: Option<&str>,
    calm: Duration,
    off: &[String],
    cores: &[usize],
) -> anyhow::Result<Started> {
    let model = resolve_or_pull(context, model)?;
    // The drill can't wait until accounts are as old as users' are: those of before are trusted when the attack begins,
    // those of the attack are not while it lasts.
    let trust_age = calm + CALIBRATION_MIN;
    let mut settings = BTreeMap::from([
        ("defence.sleeper_window_seconds".to_owned(), "2".to_owned()),
        ("defence.trust_age_seconds".to_owned(), trust_age.as_secs().to_string()),
        ("limits.connections_max".to_owned(), CONNECTIONS_MAX.to_string()),
        ("listen".to_owned(), "127.0.0.1:0".to_owned()),
        ("model".to_owned(), model.path.display().to_string()),
        ("public_url".to_owned(), format!("http://{HOST}")),
        ("threads".to_owned(), cores.len().to_string()),
    ]);
    settings.extend(off.iter().map(|name| (name.clone(), "false".to_owned())));
    let program = std::env::current_exe().context("where this program is, is not known")?;
    let mut command = Command::new(program);
    command.arg("up");
    // Nothing of the operator's own server gets into the drill's.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CACHALOT_"))
    {
        command.env_remove(name);
    }
    command.envs(settings.iter().map(|(name, value)| (table::variable(name), value)));
    let about = format!("Cachalot {} with {}", env!("CARGO_PKG_VERSION"), printable(&model.name));
    started(command, about, settings, cores)
}

/// The plain server.
pub(super) fn plain(cores: &[usize]) -> anyhow::Result<Started> {
    let program = match std::env::var_os(PLAIN) {
        Some(path) => PathBuf::from(path),
        None => {
            let own = std::env::current_exe().context("where this program is, is not known")?;
            own.parent().map(|folder| folder.join("examples/plain")).unwrap_or_default()
        }
    };
    if !program.is_file() {
        bail!(
            "the plain server is not at {}: build it with `cargo build -p cachalot-drill --example plain`, or say where \
             it is in ${PLAIN}",
            program.display()
        );
    }
    let about = "A plain axum server without defences, which streams tokens at a fixed rate".to_owned();
    started(Command::new(program), about, BTreeMap::new(), cores)
}

fn log_of(home: &TempDir) -> PathBuf {
    home.path().join("log")
}

fn started(
    mut command: Command,
    about: String,
    mut settings: BTreeMap<String, String>,
    cores: &[usize],
) -> anyhow::Result<Started> {
    let home = tempfile::Builder::new().prefix("cachalot-drill-").tempdir().context("no temporary home")?;
    let log = File::create(log_of(&home)).context("no log in the temporary home")?;
    command
        .env("CACHALOT_HOME", home.path().join(HOME))
        // Its home is gone after the drill, and the disk is the database's.
        .env("CACHALOT_PACK_CACHE_GIB", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C is for the drill, which ends the server itself.
        .process_group(0);
    let mut child = spawn_on(command, cores.to_vec())?;
    let stdout = child.stdout.take();
    let own = Own { child, home };
    let said = listen_to(stdout.context("the server has no standard output")?);
    let (mut address, mut token) = (None, None);
    while address.is_none() || token.is_none() {
        let Ok(line) = said.recv_timeout(START_MAX) else {
            bail!("the drill's server did not start:\n{}", last_lines(&log_of(&own.home)));
        };
        if let Some(found) = line.strip_prefix("It listens on ") {
            address =
                Some(found.trim().parse().with_context(|| format!("no address: {}", printable(found)))?);
        } else if let Some((_, found)) = line.split_once("/setup#") {
            token = Some(found.trim().to_owned());
        } else if let Some((name, value)) =
            line.strip_prefix("Setting ").and_then(|line| line.split_once(": "))
        {
            settings.insert(name.to_owned(), value.to_owned());
        }
    }
    let (Some(address), Some(token)) = (address, token) else { bail!("the drill's server did not start") };
    Ok(Started { own, address, token, about, settings })
}

/// Spawns from a thread that is on these cores, which the child inherits.
fn spawn_on(mut command: Command, cores: Vec<usize>) -> anyhow::Result<Child> {
    let spawning = thread::spawn(move || {
        drill::pin(&cores).context("the server's cores can't be chosen")?;
        command.spawn().with_context(|| format!("{} can't be started", command.get_program().display()))
    });
    spawning.join().unwrap_or_else(|_| bail!("the thread that starts the server panicked"))
}

/// Lines of the child's output, which is read to its end so that the child never waits for us.
fn listen_to(stdout: std::process::ChildStdout) -> mpsc::Receiver<String> {
    let (say, said) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody may be listening any more.
            let _ = say.send(line);
        }
    });
    said
}

fn last_lines(log: &std::path::Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES);
    lines[from..].iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}
