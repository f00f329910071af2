use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use dialogue::Dialogue;
use models::catalog::Catalog;
use models::library::Library;
use rustyline::config::Config;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use tokio::runtime::Runtime;

use super::answer;
use super::compose::Composer;
use super::order::{HELP, Order};
use super::printer::{Printer, Style};
use super::save;
use super::session::Session;
use crate::home::Context;
use crate::loading::{Loader, resolve_or_pull_with};
use crate::pull::progress::{self, Cancellable};
use crate::pull::text;

/// Lines that the history keeps.
const HISTORY_MAX: usize = 1000;
const PROMPT: &str = "> ";
const CONTINUED: &str = ". ";

type Editor = rustyline::Editor<(), FileHistory>;

/// Talks until the person leaves.
pub(super) fn run(
    context: &Context,
    loader: &Loader,
    dialogue: Dialogue,
    session: Session,
    stats: bool,
) -> anyhow::Result<()> {
    let config = Config::builder().max_history_size(HISTORY_MAX)?.history_ignore_dups(true)?;
    let editor = Editor::with_config(config.history_ignore_space(true).auto_add_history(false).build())?;
    let mut terminal = Terminal {
        context,
        loader,
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        editor,
        history: open_history(&context.home),
        dialogue,
        session,
        style: Style {
            dim: std::env::var_os("NO_COLOR").is_none(),
            content_terminal: true,
            reasoning_terminal: true,
        },
        stats,
        saved: BTreeSet::new(),
    };
    terminal.talk()
}

struct Terminal<'a> {
    context: &'a Context,
    loader: &'a Loader,
    runtime: Runtime,
    editor: Editor,
    /// Where lines are kept; none where that isn't possible.
    history: Option<PathBuf>,
    dialogue: Dialogue,
    session: Session,
    style: Style,
    stats: bool,
    /// Files that were saved to, which may be saved to again.
    saved: BTreeSet<PathBuf>,
}

/// What a person did at the prompt.
enum Entry {
    Message(String),
    Leave,
}

impl Terminal<'_> {
    fn talk(&mut self) -> anyhow::Result<()> {
        if let Some(history) = &self.history {
            // An empty or unreadable history is a history.
            let _ = self.editor.load_history(history);
        }
        println!("{}: /help lists what you can do, Ctrl-D leaves.", text::printable(self.dialogue.name()));
        while let Entry::Message(message) = self.read()? {
            if message.trim().is_empty() {
                continue;
            }
            self.remember(&message);
            match Order::parse(&message) {
                Ok(Some(Order::Exit)) => break,
                Ok(Some(order)) => self.obey(order),
                Ok(None) => self.answer(message.trim()),
                Err(why) => println!("{}", text::printable(&why)),
            }
        }
        Ok(())
    }

    /// Reads a message, which may have several lines. Ctrl-C gives up what was begun; twice in a row at an empty
    /// prompt, it leaves.
    fn read(&mut self) -> anyhow::Result<Entry> {
        let mut composer = Composer::default();
        let mut interrupted = false;
        loop {
            let prompt = if composer.is_open() { CONTINUED } else { PROMPT };
            match self.editor.readline(prompt) {
                Ok(line) => {
                    interrupted = false;
                    if let Some(message) = composer.push(&line) {
                        return Ok(Entry::Message(message));
                    }
                }
                Err(ReadlineError::Interrupted) if interrupted && !composer.is_open() => {
                    return Ok(Entry::Leave);
                }
                Err(ReadlineError::Interrupted) => {
                    composer.clear();
                    interrupted = true;
                    println!("(Ctrl-C again or Ctrl-D leaves)");
                }
                Err(ReadlineError::Eof) => return Ok(Entry::Leave),
                Err(ReadlineError::Signal(_)) => {}
                Err(error) => return Err(error).context("the terminal can't be read"),
            }
        }
    }

    fn remember(&mut self, message: &str) {
        let added = self.editor.add_history_entry(message);
        if let (Ok(true), Some(history)) = (added, &self.history)
            && let Err(error) = self.editor.append_history(history)
        {
            println!("(the history can't be kept in {}: {error})", history.display());
            self.history = None;
        }
    }

    fn answer(&mut self, question: &str) {
        let mut stdout = io::stdout().lock();
        let mut printer = Printer::together(&mut stdout, self.style);
        let request = self.session.request(question);
        match answer::ask(&self.runtime, &self.dialogue, &request, &mut printer) {
            Ok(told) => {
                let notes = answer::cut_short(&told.finish).into_iter();
                for note in notes.chain(self.stats.then(|| answer::stats(&told))) {
                    let _ =
                        writeln!(stdout, "{}", dimmed(self.style, &text::printable(&format!("[{note}]"))));
                }
                let _ = writeln!(stdout);
                self.session.add(question, &told.reasoning, &told.content);
            }
            Err(error) => {
                let _ = writeln!(stdout, "{}", told(&error));
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Help => println!("{HELP}"),
            Order::Model(None) => self.list_models(),
            Order::Model(Some(name)) => match self.change_model(&name) {
                Ok(true) => println!("(now talking with {})", text::printable(self.dialogue.name())),
                Ok(false) => println!("(still talking with {})", text::printable(self.dialogue.name())),
                Err(error) => println!("{}", told(&error)),
            },
            Order::System(None) => match &self.session.system {
                Some(system) => println!("{}", text::printable(system)),
                None => println!("(no instructions)"),
            },
            Order::System(Some(text)) => {
                let note = if text.is_empty() { "(instructions removed)" } else { "(instructions set)" };
                self.session.system = Some(text).filter(|text| !text.is_empty());
                println!("{note}");
            }
            Order::Save(file) => self.save(&file),
            Order::Think(thinking) => {
                self.session.thinking = thinking;
                // The model says whether it can.
                match self.dialogue.check(&self.session.request("?")) {
                    Ok(_) => println!("(set)"),
                    Err(error) => {
                        self.session.thinking = None;
                        println!("{}", told(&error.into()));
                    }
                }
            }
            Order::Clear => {
                self.session.messages.clear();
                println!("(conversation forgotten)");
            }
            Order::Exit => {}
        }
    }

    fn save(&mut self, file: &str) {
        let path = match file.strip_prefix("~/").and_then(|rest| Some((std::env::home_dir()?, rest))) {
            Some((home, rest)) => home.join(rest),
            None => PathBuf::from(file),
        };
        let again = self.saved.contains(&path);
        match save::save(&self.session, self.dialogue.name(), &path, again) {
            Ok(()) => {
                println!("(saved to {})", path.display());
                self.saved.insert(path);
            }
            Err(error) => println!("{}", told(&error)),
        }
    }

    fn list_models(&self) {
        let installed = Library::open(&self.context.home).and_then(|library| library.installed());
        let installed = installed.unwrap_or_default();
        let mark = |name: &str| if name == self.dialogue.name() { "*" } else { " " };
        for model in &installed {
            println!("{} {}", mark(&model.name), text::printable(&model.name));
        }
        if installed.iter().all(|model| model.name != self.dialogue.name()) {
            println!("* {}", text::printable(self.dialogue.name()));
        }
        let is_installed = |name: &str| installed.iter().any(|model| model.name == name);
        for entry in Catalog::built_in().entries().iter().filter(|entry| !is_installed(&entry.name)) {
            println!("  {} (not here yet: {} to pull)", entry.name, text::size(entry.bytes));
        }
    }

    /// Loads another model, pulling it if needed. False if Ctrl-C came first: then everything stays as it was.
    fn change_model(&mut self, name: &str) -> anyhow::Result<bool> {
        let progress = Cancellable::new(progress::for_stderr());
        let (context, name, mut told) = (self.context.clone(), name.to_owned(), progress.clone());
        let model = self.interruptible(move || resolve_or_pull_with(&context, Some(&name), &mut told))?;
        let Some(model) = model else {
            // What has come so far stays; the next pull goes on from there.
            progress.cancel();
            return Ok(false);
        };
        let (model, loader) = (model?, self.loader.clone());
        let name = model.name.clone();
        let dialogue = super::announced(&name, || self.interruptible(move || loader.load(&model)))?;
        let Some(dialogue) = dialogue else { return Ok(false) };
        self.dialogue = dialogue?;
        if self.dialogue.thinking() == dialogue::Thinking::None {
            self.session.thinking = None;
        }
        Ok(true)
    }

    /// What `work` gives, done on a thread of its own so that Ctrl-C is heard; none after Ctrl-C, and then the work
    /// is left to itself.
    fn interruptible<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> anyhow::Result<Option<T>> {
        self.runtime.block_on(async {
            // Listened to before there is anything to interrupt.
            let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
            let (sender, done) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                // Nobody waits for it any more after Ctrl-C.
                let _ = sender.send(work());
            });
            tokio::select! {
                biased;
                _ = &mut interrupted => {
                    println!();
                    Ok(None)
                }
                done = done => done.map(Some).context("the work was abandoned"),
            }
        })
    }
}

/// An error as it is printed. A file may have had a hand in its text.
fn told(error: &anyhow::Error) -> String {
    format!("error: {}", text::printable(&format!("{error:#}")))
}

fn dimmed(style: Style, text: &str) -> String {
    if style.dim { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
}

/// The history's file, made readable for its owner alone; none where it can't be made.
fn open_history(home: &Path) -> Option<PathBuf> {
    let path = home.join("history");
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = crate::home::make(home).and_then(|()| options.open(&path)).and_then(|file| restrict(&file));
    match opened {
        Ok(()) => Some(path),
        Err(error) => {
            println!("(the history can't be kept in {}: {error})", path.display());
            None
        }
    }
}

/// A file that was there before may be readable for others.
#[cfg(unix)]
fn restrict(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

#[cfg(not(unix))]
fn restrict(_file: &std::fs::File) -> io::Result<()> {
    Ok(())
}
