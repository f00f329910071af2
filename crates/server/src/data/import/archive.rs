//! The zip archive that an export is. Its directory is walked once, without holding it, and refused as a whole if there is
//! anything in it that no service writes; of its entries only the conversations are unpacked.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read, Seek};

use zip::read::{Config, ZipFileEntry};
use zip::result::ZipError;
use zip::unstable::read::ZipIterable;
use zip::{CompressionMethod, ZipReadOptions};

use super::budget::Bounds;
use super::error::ImportError;
use super::read::GoOn;
use crate::error::shortened;

/// Times by which an entry may be larger than it is packed. Text of conversations has some five to twenty.
const RATIO_MAX: u64 = 200;
/// Entries up to this size may have any ratio.
const SMALL_BYTES: u64 = 1 << 20;
/// Folders above the conversations: exports are sometimes packed anew with their folder.
const FOLDERS_MAX: usize = 1;
/// Files of conversations: a large export of ChatGPT has several.
const FILES_MAX: usize = 1000;
/// Bytes of a header before the name.
const HEADER_BYTES: u64 = 30;

/// Gives the entries with conversations to `take`, by name, for as long as it may go on.
pub(super) fn read<R: Read + Seek>(
    source: R,
    bounds: &Bounds,
    go_on: &GoOn<'_>,
    take: &mut dyn FnMut(&mut dyn Read) -> Result<(), ImportError>,
) -> Result<(), ImportError> {
    let mut archive = ZipIterable::try_new(source, Config::default()).map_err(malformed)?;
    for entry in check(&mut archive, bounds, go_on)? {
        go_on()?;
        let reader = archive.files().map_err(malformed)?.reader_mut();
        let mut file = entry.with_reader(reader, ZipReadOptions::new()).map_err(malformed)?;
        take(&mut file)?;
    }
    Ok(())
}

/// Walks the directory once; what is to be read.
fn check<R: Read + Seek>(
    archive: &mut ZipIterable<R>,
    bounds: &Bounds,
    go_on: &GoOn<'_>,
) -> Result<Vec<ZipFileEntry<'static>>, ImportError> {
    let (allowed, given) = (bounds.entries_max, archive.len());
    if given > allowed {
        return Err(ImportError::TooLarge(format!(
            "the archive may have at most {allowed} entries, this one has {given}"
        )));
    }
    // Only hashes of names and two numbers are held of each entry that is not to be read.
    let (hasher, mut names) = (RandomState::new(), HashSet::new());
    let mut spans = Vec::new();
    let mut wanted = Vec::new();
    for entry in archive.files().map_err(malformed)? {
        go_on()?;
        let entry = entry.map_err(malformed)?;
        check_entry(&entry, bounds)?;
        if !names.insert(hasher.hash_one(entry.name_raw())) {
            return Err(suspicious(&entry, "is there twice"));
        }
        let length = HEADER_BYTES + entry.name_raw().len() as u64 + entry.compressed_size();
        spans.push((entry.header_start(), entry.header_start().saturating_add(length)));
        if is_wanted(&entry) {
            wanted.push(entry);
        }
        if wanted.len() > FILES_MAX {
            let message = format!("the archive may have at most {FILES_MAX} files of conversations");
            return Err(ImportError::TooLarge(message));
        }
    }
    spans.sort_unstable();
    if spans.is_sorted_by(|before, after| before.1 <= after.0) {
        if wanted.is_empty() {
            let message = "there is no conversations.json in the archive: the export of Cachalot, DeepSeek or \
                           ChatGPT has one";
            return Err(ImportError::Unsupported(message.to_owned()));
        }
        wanted.sort_unstable_by(|one, other| one.name_raw().cmp(other.name_raw()));
        return Ok(wanted);
    }
    Err(ImportError::Malformed("entries of the archive overlap".to_owned()))
}

fn check_entry(entry: &ZipFileEntry<'_>, bounds: &Bounds) -> Result<(), ImportError> {
    let name = std::str::from_utf8(entry.name_raw());
    let name = name.map_err(|_| suspicious(entry, "has a name that is not UTF-8"))?;
    let parts = || name.trim_end_matches('/').split('/');
    if name.starts_with('/') || parts().any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(suspicious(entry, "has a name that leads out of its folder"));
    }
    if name.contains(['\\', '\0']) || name.as_bytes().get(1) == Some(&b':') {
        return Err(suspicious(entry, "has a name that is a path of another kind"));
    }
    if entry.is_symlink() {
        return Err(suspicious(entry, "is a link"));
    }
    if entry.encrypted() {
        let message = format!("the archive is encrypted ({:?}): unpack it first", shortened(name));
        return Err(ImportError::Unsupported(message));
    }
    if !matches!(entry.compression(), CompressionMethod::Stored | CompressionMethod::Deflated) {
        let message = format!("{:?} is packed in a way that is not known", shortened(name));
        return Err(ImportError::Unsupported(message));
    }
    let (size, packed) = (entry.size(), entry.compressed_size());
    if size > SMALL_BYTES && size / RATIO_MAX > packed {
        let message = format!(
            "{:?} is packed to less than a {RATIO_MAX}th of its {size} bytes, which no conversation is",
            shortened(name)
        );
        return Err(ImportError::TooLarge(message));
    }
    if is_wanted(entry) && size > bounds.unpacked_bytes_max {
        let allowed = bounds.unpacked_bytes_max;
        let message = format!("{:?} has {size} bytes, {allowed} are allowed", shortened(name));
        return Err(ImportError::TooLarge(message));
    }
    Ok(())
}

/// `conversations.json`, or a part of it: `conversations-000.json`.
fn is_wanted(entry: &ZipFileEntry<'_>) -> bool {
    let Ok(name) = std::str::from_utf8(entry.name_raw()) else { return false };
    let file = name.rsplit('/').next().unwrap_or(name);
    let number = file.strip_prefix("conversations").and_then(|rest| rest.strip_suffix(".json"));
    let is_conversations = number.is_some_and(|number| {
        let digits = number.strip_prefix('-').unwrap_or(number);
        digits.len() <= 6 && digits.bytes().all(|byte| byte.is_ascii_digit()) && number != "-"
    });
    // A Mac puts a twin of each file into a folder of this name.
    is_conversations && name.matches('/').count() <= FOLDERS_MAX && !name.starts_with("__MACOSX/")
}

fn suspicious(entry: &ZipFileEntry<'_>, what: &str) -> ImportError {
    let name = String::from_utf8_lossy(entry.name_raw());
    ImportError::Malformed(format!("the archive's entry {:?} {what}", shortened(&name)))
}

fn malformed(error: ZipError) -> ImportError {
    match error {
        ZipError::Io(error) if is_ours(&error) => ImportError::Io(error),
        error => ImportError::Malformed(format!("it is no whole zip archive ({error})")),
    }
}

/// Whether an error is the disk's. The file's own faults have these kinds.
pub(super) fn is_ours(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    !matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}
