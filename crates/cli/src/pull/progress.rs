use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::text::{printable, size};

/// Is told how a download goes.
pub(crate) trait Progress {
    /// A line for the user.
    fn say(&mut self, line: &str);
    /// A piece of work begins: `done` of `total` bytes are there already.
    fn begin(&mut self, what: &str, done: u64, total: Option<u64>);
    /// More bytes are done.
    fn advance(&mut self, bytes: u64);
    /// The piece of work is over, well or not.
    fn end(&mut self);
    /// Whether nobody wants it any more.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Tells another until it is cancelled. A handle: clones share it.
#[derive(Clone)]
pub(crate) struct Cancellable(Arc<Mutex<Option<Box<dyn Progress + Send>>>>);

impl Cancellable {
    pub(crate) fn new(inner: Box<dyn Progress + Send>) -> Self {
        Self(Arc::new(Mutex::new(Some(inner))))
    }

    /// Ends what is shown; nothing more will be.
    pub(crate) fn cancel(&self) {
        if let Some(mut inner) = self.lock().take() {
            inner.end();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Progress + Send>>> {
        // Showing leaves nothing half-done that matters.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Cancellable {
    fn say(&mut self, line: &str) {
        if let Some(inner) = self.lock().as_mut() {
            inner.say(line);
        }
    }

    fn begin(&mut self, what: &str, done: u64, total: Option<u64>) {
        if let Some(inner) = self.lock().as_mut() {
            inner.begin(what, done, total);
        }
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(inner) = self.lock().as_mut() {
            inner.advance(bytes);
        }
    }

    fn end(&mut self) {
        if let Some(inner) = self.lock().as_mut() {
            inner.end();
        }
    }

    fn cancelled(&self) -> bool {
        self.lock().is_none()
    }
}

/// A bar on a terminal, plain lines elsewhere; both on standard error.
pub(crate) fn for_stderr() -> Box<dyn Progress + Send> {
    if std::io::stderr().is_terminal() {
        Box::new(Bar { bar: None })
    } else {
        Box::new(Lines::new(std::io::stderr()))
    }
}

/// indicatif's bar with rate and time left.
struct Bar {
    bar: Option<ProgressBar>,
}

impl Progress for Bar {
    fn say(&mut self, line: &str) {
        let line = printable(line);
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn begin(&mut self, what: &str, done: u64, total: Option<u64>) {
        self.end();
        let template = if total.is_some() {
            "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes}  {decimal_bytes_per_sec}  {left}"
        } else {
            "{msg} {spinner} {decimal_bytes}  {decimal_bytes_per_sec}"
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
        bar.set_style(style.progress_chars("━╸ ").with_key("left", write_time_left));
        bar.set_message(printable(what));
        bar.set_position(done);
        // What was there before this run says nothing of the rate.
        bar.reset_eta();
        // A rate that is not told of for a while falls.
        bar.enable_steady_tick(Duration::from_millis(250));
        self.bar = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// `2m left`, or nothing while nothing is known.
fn write_time_left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    if state.per_sec() > 0.0 && state.pos() > 0 {
        // The bar is drawn without it if this fails.
        let _ = write!(out, "{:#} left", HumanDuration(state.eta()));
    }
}

/// A line at the beginning and at every tenth of a piece of work.
pub(crate) struct Lines<W> {
    out: W,
    what: String,
    done: u64,
    total: Option<u64>,
    told_tenths: u64,
}

impl<W: std::io::Write> Lines<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, what: String::new(), done: 0, total: None, told_tenths: 0 }
    }

    fn line(&mut self, line: &str) {
        // Nobody reads any more: the download goes on all the same.
        let _ = writeln!(self.out, "{}", printable(line));
    }

    fn tenths(&self) -> u64 {
        // Without a total, a "tenth" is 100 MB.
        self.total.map_or(self.done / 100_000_000, |total| self.done.saturating_mul(10) / total.max(1))
    }
}

impl<W: std::io::Write> Progress for Lines<W> {
    fn say(&mut self, line: &str) {
        self.line(line);
    }

    fn begin(&mut self, what: &str, done: u64, total: Option<u64>) {
        (self.what, self.done, self.total) = (what.to_owned(), done, total);
        self.told_tenths = self.tenths();
        let of = total.map_or_else(String::new, |total| format!(" ({})", size(total)));
        let from = if done > 0 { format!(", from {}", size(done)) } else { String::new() };
        self.line(&format!("{what}{of}{from}"));
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        let tenths = self.tenths();
        if tenths > self.told_tenths {
            self.told_tenths = tenths;
            let line = match self.total {
                Some(total) => {
                    format!("{}: {} of {} ({} %)", self.what, size(self.done), size(total), tenths * 10)
                }
                None => format!("{}: {}", self.what, size(self.done)),
            };
            self.line(&line);
        }
    }

    fn end(&mut self) {}
}
