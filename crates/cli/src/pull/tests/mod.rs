mod from_http;
mod from_pip;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base::{Clock as _, ManualClock, SystemClock};
use models::catalog::Catalog;
use models::formats::Format;
use models::gguf::testing::GgufWriter;
use models::library::Library;
use sha2::{Digest as _, Sha256};

use super::hf::HfSettings;
use super::partial::hex;
use super::progress::{Cancellable, Lines, Progress};
use super::{PullError, Pulled, Request, Settings, pull_with};

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Recorder {
    lines: Vec<String>,
    /// Description, bytes there at the beginning, total, bytes that came.
    works: Vec<(String, u64, Option<u64>, u64)>,
}

impl Progress for Recorder {
    fn say(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }

    fn begin(&mut self, what: &str, done: u64, total: Option<u64>) {
        self.works.push((what.to_owned(), done, total, 0));
    }

    fn advance(&mut self, bytes: u64) {
        self.works.last_mut().unwrap().3 += bytes;
    }

    fn end(&mut self) {}
}

/// A home directory and what is pulled into it.
struct House {
    directory: tempfile::TempDir,
    library: Library,
    settings: Settings,
    progress: Recorder,
}

impl House {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let library = Library::open(&directory.path().join("home")).unwrap();
        let settings = Settings {
            hf: HfSettings::default(),
            python: "python3".to_owned(),
            pip_environment: Vec::new(),
            proxies: false,
            stall: std::time::Duration::from_secs(20),
            clock: Arc::new(SystemClock::new()),
        };
        Self { directory, library, settings, progress: Recorder::default() }
    }

    fn pull(&mut self, catalog: &Catalog, what: &str) -> Result<Pulled, PullError> {
        self.request(catalog, &Request { what: what.to_owned(), ..Request::default() })
    }

    fn request(&mut self, catalog: &Catalog, request: &Request) -> Result<Pulled, PullError> {
        pull_with(&self.settings, &self.library, catalog, request, &mut self.progress)
    }

    /// The one failure of a pull that had one source.
    fn failure(&mut self, catalog: &Catalog, what: &str) -> PullError {
        match self.pull(catalog, what).expect_err("the pull should fail") {
            PullError::AllFailed { mut failures, .. } => failures.remove(0).1,
            other => other,
        }
    }

    fn partial_files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.library.partial_directory()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// A small but real model file, larger than one chunk of the copying.
fn model_bytes(seed: u8) -> Vec<u8> {
    let data: Vec<u8> =
        (0..600_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed).collect();
    GgufWriter::new()
        .key("general.architecture", "llama")
        .tensor("w", &[600_000 / 4], Format::F32, &data)
        .finish()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A catalogue with one model, `tiny`.
fn catalog(bytes: u64, sources: &[(&str, Option<&str>)]) -> Catalog {
    let sources = sources.iter().fold(String::new(), |text, (location, sha256)| {
        let sha256 = sha256.map_or_else(String::new, |sha256| format!("sha256 = {sha256:?}\n"));
        format!("{text}[[model.sources]]\nlocation = {location:?}\n{sha256}")
    });
    let text = format!(
        "default = \"tiny\"\n[[model]]\nname = \"tiny\"\ntitle = \"Tiny\"\narchitecture = \"llama\"\nparameters = 1\n\
         bytes = {bytes}\nlicense = \"MIT\"\ncontext = 1\nthinking = \"none\"\nnote = \"take care\"\n{sources}"
    );
    Catalog::parse(&text).unwrap()
}

#[test]
fn a_file_is_copied_once_and_shared_by_its_checksum() {
    let mut house = House::new();
    let model = model_bytes(0);
    let path = house.directory.path().join("some model.gguf");
    std::fs::write(&path, &model).unwrap();
    let catalog = catalog(1, &[("hf:nobody/nothing/x.gguf", None)]);
    let what = format!("file:{}", path.display());
    let pulled = house.pull(&catalog, &what).unwrap();
    assert_eq!((pulled.model.name.as_str(), pulled.model.sha256), ("some model.gguf", sha256(&model)));
    assert_eq!(std::fs::read(&pulled.model.path).unwrap(), model);
    assert!(house.pull(&catalog, &what).unwrap().already);
    assert_eq!(house.partial_files(), Vec::<PathBuf>::new());
    // Another name for the same content needs no source at all.
    std::fs::remove_file(&path).unwrap();
    let request =
        Request { what, name: Some("other".to_owned()), sha256: Some(sha256(&model)), repin: false };
    let other = house.request(&catalog, &request).unwrap();
    assert_eq!(other.model.path, pulled.model.path);
    assert_eq!(house.library.installed().unwrap().len(), 2);
}

#[test]
fn a_path_is_a_source() {
    let mut house = House::new();
    let model = model_bytes(1);
    // Tests run in the folder of their crate.
    let directory = tempfile::tempdir_in(".").unwrap();
    let path = directory.path().join("my model.gguf");
    std::fs::write(&path, &model).unwrap();
    let relative = path.strip_prefix(std::env::current_dir().unwrap()).unwrap_or(&path);
    let catalog = catalog(1, &[("hf:nobody/nothing/x.gguf", None)]);
    let pulled = house.pull(&catalog, relative.to_str().unwrap()).unwrap();
    assert_eq!((pulled.model.name.as_str(), pulled.model.sha256), ("my model.gguf", sha256(&model)));
    let absolute = std::path::absolute(&path).unwrap();
    assert_eq!(pulled.model.source, format!("file:{}", absolute.display()));
    assert!(house.pull(&catalog, absolute.to_str().unwrap()).unwrap().already);
}

#[test]
fn a_file_that_has_changed_can_be_repinned() {
    let mut house = House::new();
    let path = house.directory.path().join("m.gguf");
    let what = format!("file:{}", path.display());
    let catalog = catalog(1, &[(&what, None)]);
    std::fs::write(&path, model_bytes(2)).unwrap();
    house.pull(&catalog, "tiny").unwrap();
    std::fs::write(&path, model_bytes(3)).unwrap();
    assert!(house.pull(&catalog, "tiny").unwrap().already);
    let request = Request { what: "tiny".to_owned(), repin: true, ..Request::default() };
    let pulled = house.request(&catalog, &request).unwrap();
    assert_eq!((pulled.already, pulled.model.sha256), (false, sha256(&model_bytes(3))));
}

#[test]
fn abandoned_downloads_are_removed_by_the_next_pull() {
    let mut house = House::new();
    let clock = Arc::new(ManualClock::new());
    clock.advance(Duration::from_hours(24 * 365));
    house.settings.clock = Arc::clone(&clock) as Arc<dyn base::Clock>;
    let directory = house.library.partial_directory();
    let leave = |name: &str, days: u64| {
        let path = directory.join(name);
        if name.contains(".pip") {
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("half.whl"), "x").unwrap();
        } else {
            std::fs::write(&path, "x").unwrap();
        }
        let age = Duration::from_hours(24 * days);
        let now = Duration::from_millis(clock.unix_ms().try_into().unwrap());
        std::fs::File::open(&path).unwrap().set_modified(UNIX_EPOCH + now - age).unwrap();
    };
    for (name, days) in [
        ("old.part", 31),
        ("old.json", 31),
        ("old.pip", 31),
        ("orphan.json", 31),
        ("slow.part", 29),
        ("slow.json", 40),
        ("new.pip", 29),
    ] {
        leave(name, days);
    }
    let path = house.directory.path().join("m.gguf");
    std::fs::write(&path, model_bytes(4)).unwrap();
    house.pull(&catalog(1, &[(&format!("file:{}", path.display()), None)]), "tiny").unwrap();
    let mut left = house.partial_files();
    left.sort();
    assert_eq!(left, ["new.pip", "slow.json", "slow.part"].map(|name| directory.join(name)));
}

#[test]
fn a_pull_that_is_cancelled_ends_and_says_nothing_more() {
    /// Cancels at the first byte.
    struct Impatient(Arc<std::sync::Mutex<Option<Cancellable>>>);
    impl Progress for Impatient {
        fn say(&mut self, _line: &str) {}
        fn begin(&mut self, _what: &str, _done: u64, _total: Option<u64>) {}
        fn advance(&mut self, _bytes: u64) {
            // From another thread, as the person at the terminal does.
            if let Some(cancellable) = self.0.lock().unwrap().take() {
                std::thread::spawn(move || cancellable.cancel());
            }
        }
        fn end(&mut self) {}
    }
    let house = House::new();
    let path = house.directory.path().join("m.gguf");
    // So long that it can't be copied before the cancelling is heard of.
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    let slot = Arc::new(std::sync::Mutex::new(None));
    let mut progress = Cancellable::new(Box::new(Impatient(Arc::clone(&slot))));
    *slot.lock().unwrap() = Some(progress.clone());
    let request = Request { what: path.display().to_string(), ..Request::default() };
    let catalog = catalog(1, &[("hf:nobody/nothing/x.gguf", None)]);
    let error = pull_with(&house.settings, &house.library, &catalog, &request, &mut progress).unwrap_err();
    assert!(matches!(error, PullError::Cancelled), "{error}");
}

#[test]
fn a_damaged_file_is_fetched_again() {
    let mut house = House::new();
    let model = model_bytes(0);
    let path = house.directory.path().join("m.gguf");
    std::fs::write(&path, &model).unwrap();
    let (sum, location) = (sha256(&model), format!("file:{}", path.display()));
    let catalog = catalog(model.len() as u64, &[(&location, Some(&sum))]);
    let blob = house.pull(&catalog, "tiny").unwrap().model.path;
    std::fs::write(&blob, b"cut short").unwrap();
    let pulled = house.pull(&catalog, "tiny").unwrap();
    assert!(!pulled.already);
    assert_eq!(std::fs::read(&blob).unwrap(), model);
    assert!(house.progress.lines.iter().any(|line| line.contains("damaged")), "{:?}", house.progress.lines);
}

#[test]
fn what_cannot_be_understood_is_refused_with_what_is_allowed() {
    let mut house = House::new();
    let catalog = catalog(1, &[("hf:nobody/nothing/x.gguf", None)]);
    let error = house.pull(&catalog, "tinny").unwrap_err().to_string();
    assert!(error.contains("known: tiny") && error.contains("hf:owner/repo/file.gguf"), "{error}");
    let error = house.pull(&catalog, "hf:nobody").unwrap_err().to_string();
    assert!(error.contains("owner, repository or file is missing"), "{error}");
    let error = house.pull(&catalog, "file:/no/such/file.gguf").unwrap_err().to_string();
    assert!(error.contains("/no/such/file.gguf: No such file"), "{error}");
}

#[test]
fn a_download_that_cannot_fit_is_refused_before_it_begins() {
    let mut house = House::new();
    let catalog = catalog(1 << 60, &[("http://127.0.0.1:9/x.gguf", Some(&"0".repeat(64)))]);
    let error = house.failure(&catalog, "tiny");
    assert!(matches!(error, PullError::NoSpace { needed, .. } if needed == 1 << 60), "{error}");
    let text = error.to_string();
    assert!(text.contains("not enough disk space in") && text.contains("1152921.5 TB needed"), "{text}");
}

#[test]
fn a_disk_that_fills_up_is_told_and_what_is_there_is_kept() {
    let mut house = House::new();
    let path = house.directory.path().join("m.gguf");
    std::fs::write(&path, model_bytes(0)).unwrap();
    let what = format!("file:{}", path.display());
    // /dev/full answers every write with "no space left on device".
    let (part, _) = house.library.partial_paths(&what.parse().unwrap());
    std::os::unix::fs::symlink("/dev/full", part).unwrap();
    let catalog = catalog(1, &[("hf:nobody/nothing/x.gguf", None)]);
    let error = house.pull(&catalog, &what).unwrap_err();
    assert!(matches!(error, PullError::DiskFull { at: 0, .. }), "{error}");
    assert!(error.to_string().starts_with("the disk is full"), "{error}");
    assert_eq!(house.library.installed().unwrap(), []);
}

#[test]
fn lines_tell_every_tenth() {
    let mut out = Vec::new();
    let mut lines = Lines::new(&mut out);
    lines.say("hello \u{1b}[2J");
    lines.begin("Downloading", 250, Some(1_000));
    for _ in 0..75 {
        lines.advance(10);
    }
    lines.end();
    lines.begin("Downloading", 0, None);
    lines.advance(250_000_000);
    let text = String::from_utf8(out).unwrap();
    let expected =
        "hello \\u{1b}[2J\nDownloading (1.0 kB), from 250 B\nDownloading: 300 B of 1.0 kB (30 %)\n";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains('%')).count(), 8, "{text}");
    assert!(text.ends_with("Downloading\nDownloading: 250.0 MB\n"), "{text}");
}
