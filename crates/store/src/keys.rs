//! Master keys, which wrap the users' keys, and the file that holds them.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base::Rng;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::{StoreError, UserId};

pub(crate) const NONCE_LEN: usize = 12;

/// Keeps a wrapped key from being taken for anything else that a master key may seal one day.
const PURPOSE: &[u8] = b"cachalot user key";

/// A thousand generations fit.
const TEXT_BYTES_MAX: u64 = 1 << 16;

/// What a line takes at most: ten digits, a colon, the key in base64, and the end.
const LINE_BYTES_MAX: usize = 10 + 1 + 44 + 1;

type KeyBytes = Zeroizing<[u8; 32]>;

/// Where the master keys are. The newest generation wraps the keys of new users; others are there for as long as they
/// wrap somebody's.
///
/// Whoever has them and the database can read everything; whoever loses them, nothing. They belong into a backup of
/// their own.
#[derive(Clone)]
pub struct MasterKeys {
    source: Source,
}

#[derive(Clone)]
enum Source {
    File(PathBuf),
    /// Under a name for errors.
    Text(PathBuf, Zeroizing<String>),
    Memory,
}

impl fmt::Debug for MasterKeys {
    /// Without the keys: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MasterKeys").field(&self.name()).finish()
    }
}

impl MasterKeys {
    /// In a file with mode 0600, one line `generation:base64` (32 bytes) for each, which is read when the store is
    /// opened. A database in which nothing is wrapped yet gets a new file then.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self { source: Source::File(path.into()) }
    }

    /// In a text that somebody else keeps, such as an environment variable: the lines of a file separated by commas.
    /// `name` is what errors call it.
    pub fn from_text(name: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { source: Source::Text(name.into(), Zeroizing::new(text.into())) }
    }

    /// Nowhere but in the store that has them.
    pub(crate) fn in_memory() -> Self {
        Self { source: Source::Memory }
    }

    fn name(&self) -> &Path {
        match &self.source {
            Source::File(path) | Source::Text(path, _) => path,
            Source::Memory => Path::new("in memory"),
        }
    }

    /// Reads them; `None` if there are none.
    ///
    /// # Errors
    /// [`StoreError::KeyExposed`], [`StoreError::KeyUnusable`], [`StoreError::File`].
    pub(crate) fn read(&self) -> Result<Option<MasterRing>, StoreError> {
        match &self.source {
            Source::File(path) => read_file(path),
            Source::Text(name, text) => MasterRing::parse(name, text, ',').map(Some),
            Source::Memory => Ok(None),
        }
    }

    /// Makes the file with one key. It is on disk, whole, before anything is wrapped with it.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub(crate) fn make(&self, rng: &mut Rng) -> Result<MasterRing, StoreError> {
        let ring = MasterRing::new(self.name(), [(MasterRing::FIRST, random_key(rng))]);
        if let Source::File(path) = &self.source {
            let failed = |source| StoreError::File { path: path.clone(), source };
            let folder = folder_of(path);
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
            write_whole(path, &ring.text()).map_err(failed)?;
        }
        Ok(ring)
    }

    /// The keys to rotate to: those that are held and, unless they have a newer one that doesn't wrap everything yet,
    /// a new one. That is on disk before it is returned.
    ///
    /// # Errors
    /// Those of [`read`](Self::read), [`StoreError::KeyMissing`], [`StoreError::KeyWrong`] if a key that is held is
    /// not where it was read from; [`StoreError::Conflict`] if nobody gave a new one and it can't be made here.
    pub(crate) fn with_newer(&self, held: &MasterRing, rng: &mut Rng) -> Result<MasterRing, StoreError> {
        let kept = match &self.source {
            Source::Memory => held.clone(),
            Source::File(_) | Source::Text(..) => self.read()?.ok_or_else(|| self.missing())?,
        };
        let ring = kept.joined(held)?;
        if kept.keys.len() > 1 {
            return Ok(ring);
        }
        if matches!(self.source, Source::Text(..)) {
            return Err(StoreError::Conflict(
                "the master key is given from outside, and there only one: put a newer one, generation:key, before it",
            ));
        }
        let ring = ring.with_another(random_key(rng))?;
        self.replace(&ring)?;
        Ok(ring)
    }

    /// Takes all but the newest of the keys that are held out of where they are kept; nothing may be wrapped by them
    /// any more. What is left, and the generations that only somebody else can take out.
    ///
    /// # Errors
    /// As [`with_newer`](Self::with_newer).
    pub(crate) fn without_older(&self, held: &MasterRing) -> Result<(MasterRing, Vec<u32>), StoreError> {
        match &self.source {
            Source::Text(..) => {
                let older = held.keys.keys().copied().filter(|&generation| generation < held.newest);
                Ok((held.clone(), older.collect()))
            }
            Source::Memory => Ok((held.only_newest(), Vec::new())),
            Source::File(_) => {
                let kept = self.read()?.ok_or_else(|| self.missing())?;
                let newest = held.only_newest();
                kept.joined(&newest)?;
                if kept.keys.len() > 1 {
                    self.replace(&newest)?;
                }
                Ok((newest, Vec::new()))
            }
        }
    }

    /// Whether more than one generation in them means that a rotation was interrupted. Where somebody else keeps
    /// them, that is for them to say.
    pub(crate) fn are_ours_to_finish(&self) -> bool {
        matches!(self.source, Source::File(_))
    }

    /// Removes what a process left that died while it wrote the file.
    pub(crate) fn remove_draft(&self) {
        if let Source::File(path) = &self.source {
            // Where it can't be removed it does no harm either: nothing is wrapped with what is only in it.
            let _ = fs::remove_file(draft_of(&at_its_end(path)));
        }
    }

    fn replace(&self, ring: &MasterRing) -> Result<(), StoreError> {
        let Source::File(path) = &self.source else { return Ok(()) };
        write_whole(path, &ring.text()).map_err(|source| StoreError::File { path: path.clone(), source })
    }

    /// The error for keys that are not there although something is wrapped.
    pub(crate) fn missing(&self) -> StoreError {
        StoreError::KeyMissing { path: self.name().to_path_buf() }
    }
}

fn read_file(path: &Path) -> Result<Option<MasterRing>, StoreError> {
    let failed = |source| StoreError::File { path: path.to_path_buf(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o177 != 0 {
        return Err(StoreError::KeyExposed { path: path.to_path_buf(), mode });
    }
    // Reserved in full, so that no copy stays behind when it grows.
    let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES_MAX as usize + 1));
    file.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    MasterRing::parse(path, &text, '\n').map(Some)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn draft_of(path: &Path) -> PathBuf {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    PathBuf::from(draft)
}

/// Where a link leads: the file is replaced there, and the link stays.
fn at_its_end(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Written beside its place first: a file that is there is whole.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let path = at_its_end(path);
    let draft = draft_of(&path);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_draft(&draft, text).and_then(|()| fs::rename(&draft, &path));
    if let Err(error) = written {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    File::open(folder_of(&path))?.sync_all()
}

fn write_draft(draft: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn random_key(rng: &mut Rng) -> KeyBytes {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill(&mut *bytes);
    bytes
}

fn push_line(text: &mut String, generation: u32, bytes: &[u8; 32]) {
    // Writing to a String does not fail.
    let _ = write!(text, "{generation}:");
    STANDARD.encode_string(bytes, text);
    text.push('\n');
}

/// A user's key as the database holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WrappedKey {
    /// `nonce 12 | ciphertext 32 | tag 16`.
    pub(crate) bytes: Vec<u8>,
    /// Of the master key that wraps it.
    pub(crate) generation: u32,
}

/// The master keys themselves. Their memory is wiped when they are dropped.
#[derive(Clone)]
pub(crate) struct MasterRing {
    /// Where they come from, for errors.
    path: PathBuf,
    newest: u32,
    keys: BTreeMap<u32, KeyBytes>,
}

impl fmt::Debug for MasterRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterRing").field("newest", &self.newest).finish_non_exhaustive()
    }
}

impl MasterRing {
    /// Generation of the first key.
    const FIRST: u32 = 1;

    fn new(path: &Path, keys: impl IntoIterator<Item = (u32, KeyBytes)>) -> Self {
        let keys: BTreeMap<_, _> = keys.into_iter().collect();
        let newest = keys.keys().next_back().copied().unwrap_or(Self::FIRST);
        Self { path: path.to_path_buf(), newest, keys }
    }

    fn parse(path: &Path, text: &str, separator: char) -> Result<Self, StoreError> {
        let unusable = |reason| StoreError::KeyUnusable { path: path.to_path_buf(), reason };
        if text.len() as u64 > TEXT_BYTES_MAX {
            return Err(unusable(format!("it is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let entry = if separator == '\n' { "line" } else { "entry" };
        let mut keys = BTreeMap::new();
        for (index, line) in text.split(separator).enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let number = index + 1;
            let (generation, bytes) = parse_line(line.trim()).ok_or_else(|| {
                unusable(format!("{entry} {number} is not `generation:key` with 32 bytes in base64"))
            })?;
            if keys.insert(generation, bytes).is_some() {
                return Err(unusable(format!(
                    "{entry} {number} has generation {generation} for a second time"
                )));
            }
        }
        if keys.is_empty() {
            return Err(unusable("it holds no key".to_owned()));
        }
        Ok(Self::new(path, keys))
    }

    /// The lines of a file, the newest first.
    fn text(&self) -> Zeroizing<String> {
        // Reserved in full, so that no copy stays behind when it grows.
        let mut text = Zeroizing::new(String::with_capacity(self.keys.len() * LINE_BYTES_MAX));
        for (generation, bytes) in self.keys.iter().rev() {
            push_line(&mut text, *generation, bytes);
        }
        text
    }

    fn with_another(&self, bytes: KeyBytes) -> Result<Self, StoreError> {
        let generation = self.newest.checked_add(1).ok_or_else(|| StoreError::KeyUnusable {
            path: self.path.clone(),
            reason: format!("there is no generation after {}", self.newest),
        })?;
        let mut ring = self.clone();
        ring.keys.insert(generation, bytes);
        ring.newest = generation;
        Ok(ring)
    }

    fn only_newest(&self) -> Self {
        let mut ring = self.clone();
        ring.keys.retain(|&generation, _| generation == ring.newest);
        ring
    }

    /// All of these and of those that a process holds, whose newest must be among these. An older one of theirs may
    /// have been taken away without their knowing.
    fn joined(&self, held: &Self) -> Result<Self, StoreError> {
        let mut ring = self.clone();
        for (&generation, bytes) in &held.keys {
            match self.keys.get(&generation) {
                Some(ours) if ours == bytes => {}
                None if generation < held.newest => {
                    ring.keys.insert(generation, bytes.clone());
                }
                _ => return Err(self.wrong(generation)),
            }
        }
        Ok(ring)
    }

    fn cipher(&self, generation: u32) -> Result<Aes256Gcm, StoreError> {
        let bytes = self.keys.get(&generation).ok_or_else(|| self.wrong(generation))?;
        Ok(Aes256Gcm::new((&**bytes).into()))
    }

    /// Whether there are keys besides the newest.
    pub(crate) fn has_older(&self) -> bool {
        self.keys.len() > 1
    }

    /// The generation that wraps new keys.
    pub(crate) fn newest(&self) -> u32 {
        self.newest
    }

    /// Wraps a user's key under the newest master key.
    pub(crate) fn wrap(
        &self,
        user: UserId,
        bytes: &[u8; 32],
        nonce: [u8; NONCE_LEN],
    ) -> Result<WrappedKey, StoreError> {
        let generation = self.newest;
        let payload = Payload { msg: bytes, aad: &authenticated(user, generation) };
        let ciphertext =
            self.cipher(generation)?.encrypt(&nonce.into(), payload).map_err(|_| self.wrong(generation))?;
        Ok(WrappedKey { bytes: [&nonce[..], &ciphertext].concat(), generation })
    }

    /// The key that was wrapped for this user.
    ///
    /// # Errors
    /// [`StoreError::KeyWrong`].
    pub(crate) fn unwrap(
        &self,
        user: UserId,
        wrapped: &WrappedKey,
    ) -> Result<Zeroizing<[u8; 32]>, StoreError> {
        let wrong = || self.wrong(wrapped.generation);
        let key = self.cipher(wrapped.generation)?;
        let (nonce, ciphertext) = wrapped.bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
        let payload = Payload { msg: ciphertext, aad: &authenticated(user, wrapped.generation) };
        let plain = Zeroizing::new(key.decrypt(nonce.into(), payload).map_err(|_| wrong())?);
        let mut bytes = Zeroizing::new([0; 32]);
        if plain.len() != bytes.len() {
            return Err(wrong());
        }
        bytes.copy_from_slice(&plain);
        Ok(bytes)
    }

    fn wrong(&self, generation: u32) -> StoreError {
        StoreError::KeyWrong { path: self.path.clone(), generation }
    }
}

fn authenticated(user: UserId, generation: u32) -> Vec<u8> {
    let user: [u8; 16] = user.into();
    [PURPOSE, &user, &generation.to_be_bytes()].concat()
}

fn parse_line(line: &str) -> Option<(u32, Zeroizing<[u8; 32]>)> {
    let (generation, text) = line.split_once(':')?;
    // What 32 bytes become, with the padding.
    if text.len() != 44 || !generation.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let generation = generation.parse().ok().filter(|&generation| generation > 0)?;
    // The decoder asks for room for what 44 characters can hold at most.
    let mut decoded = Zeroizing::new([0_u8; 33]);
    if STANDARD.decode_slice(text, &mut *decoded).ok()? != 32 {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    bytes.copy_from_slice(&decoded[..32]);
    Some((generation, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: [u8; 16] = [7; 16];

    fn line(generation: u32, bytes: &[u8; 32]) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        push_line(&mut text, generation, bytes);
        text
    }

    fn keys_with(text: &str, mode: u32) -> (tempfile::TempDir, MasterKeys) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (folder, MasterKeys::in_file(path))
    }

    #[test]
    fn what_is_made_is_private_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("made/by/us/master.key");
        let keys = MasterKeys::in_file(&path);
        assert!(keys.read().unwrap().is_none());
        let made = keys.make(&mut Rng::from_seed(1)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft stays");

        let wrapped = made.wrap(USER.into(), &[9; 32], [0; 12]).unwrap();
        assert_eq!((wrapped.generation, wrapped.bytes.len()), (1, 12 + 32 + 16));
        let read = keys.read().unwrap().unwrap();
        assert_eq!(*read.unwrap(USER.into(), &wrapped).unwrap(), [9; 32]);
    }

    #[test]
    fn a_draft_that_a_dead_process_left_is_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("master.key.new"), "half a k").unwrap();
        let keys = MasterKeys::in_file(folder.path().join("master.key"));
        assert!(keys.read().unwrap().is_none());
        keys.make(&mut Rng::from_seed(1)).unwrap();
        assert!(keys.read().unwrap().is_some());
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        let text = line(1, &[1; 32]);
        for mode in [0o640, 0o604, 0o644, 0o620, 0o700, 0o601] {
            let (_folder, keys) = keys_with(&text, mode);
            let error = keys.read().unwrap_err();
            assert!(matches!(error, StoreError::KeyExposed { mode: given, .. } if given == mode), "{error}");
            assert!(error.to_string().contains(&format!("{mode:o}")), "{error}");
        }
        for mode in [0o600, 0o400] {
            assert!(keys_with(&text, mode).1.read().unwrap().is_some());
        }
    }

    #[test]
    fn the_newest_generation_wraps_and_all_unwrap() {
        let one = line(1, &[1; 32]);
        let (_folder, keys) = keys_with(&one, 0o600);
        let old = keys.read().unwrap().unwrap().wrap(USER.into(), &[9; 32], [0; 12]).unwrap();
        let (_folder, keys) = keys_with(&format!("\n{}{}\n", *line(12, &[2; 32]), *one), 0o600);
        let both = keys.read().unwrap().unwrap();
        assert_eq!(*both.unwrap(USER.into(), &old).unwrap(), [9; 32]);
        let new = both.wrap(USER.into(), &[9; 32], [0; 12]).unwrap();
        assert_eq!(new.generation, 12);
        let (_folder, keys) = keys_with(&one, 0o600);
        let error = keys.read().unwrap().unwrap().unwrap(USER.into(), &new).unwrap_err();
        assert!(matches!(error, StoreError::KeyWrong { generation: 12, .. }), "{error}");
        // The generation is authenticated too.
        let relabelled = WrappedKey { generation: 1, ..new };
        assert!(both.unwrap(USER.into(), &relabelled).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_line_and_not_repeated() {
        let good = line(1, &[1; 32]);
        let key = good.trim().strip_prefix("1:").unwrap();
        for (text, expected) in [
            (String::new(), "no key"),
            ("\n \n".to_owned(), "no key"),
            ("secret".to_owned(), "line 1"),
            (format!("{}secret:{key}", *good), "line 2"),
            (format!("0:{key}"), "line 1"),
            (format!("+1:{key}"), "line 1"),
            (format!("4294967296:{key}"), "line 1"),
            (format!("2:{}", &key[..43]), "line 1"),
            (format!("2:{key}{key}"), "line 1"),
            (format!("2:{}!", &key[..43]), "line 1"),
            (format!("{0}{0}", *good), "second time"),
            ("\n".repeat(1 << 17), "longer"),
        ] {
            let (_folder, keys) = keys_with(&text, 0o600);
            let error = keys.read().unwrap_err();
            assert!(matches!(error, StoreError::KeyUnusable { .. }), "{error}");
            let shown = error.to_string();
            assert!(shown.contains(expected) && !shown.contains("secret"), "{text:?}: {shown}");
        }
    }

    #[test]
    fn a_text_holds_the_lines_with_commas_between_and_is_not_printed() {
        let (one, two) = (line(1, &[1; 32]), line(2, &[2; 32]));
        let (one, two) = (one.trim(), two.trim());
        let ring = |text: &str| MasterKeys::from_text("$KEY", text).read().map(Option::unwrap);
        for text in [format!("{two},{one}"), format!("{one}, {two} ,"), format!(",{two},{one}\n")] {
            let ring = ring(&text).unwrap();
            assert_eq!((ring.newest(), ring.keys.len()), (2, 2), "{text:?}");
        }
        let (_folder, keys) = keys_with(&line(1, &[1; 32]), 0o600);
        let wrapped = keys.read().unwrap().unwrap().wrap(USER.into(), &[9; 32], [0; 12]).unwrap();
        assert_eq!(*ring(one).unwrap().unwrap(USER.into(), &wrapped).unwrap(), [9; 32]);
        for (text, expected) in [
            (String::new(), "no key"),
            (" , ".to_owned(), "no key"),
            (format!("{two},secret"), "entry 2"),
            (format!("{one}\n{two}"), "entry 1"),
            (format!("{one},{one}"), "second time"),
        ] {
            let shown = ring(&text).unwrap_err().to_string();
            assert!(shown.contains(expected) && shown.contains("$KEY"), "{text:?}: {shown}");
            assert!(!shown.contains("secret") && !shown.contains(&one[2..]), "{text:?}: {shown}");
        }
        let shown = format!("{:?}", MasterKeys::from_text("$KEY", one));
        assert!(shown.contains("$KEY") && !shown.contains(&one[2..]), "{shown}");
    }

    #[test]
    fn a_newer_key_is_added_and_the_older_leave() {
        let (folder, keys) = keys_with(&line(3, &[3; 32]), 0o600);
        let mut rng = Rng::from_seed(1);
        let held = keys.read().unwrap().unwrap();
        let both = keys.with_newer(&held, &mut rng).unwrap();
        assert_eq!(both.newest(), 4);
        assert_eq!(both.keys, keys.read().unwrap().unwrap().keys, "it is on disk");
        // One that was interrupted here is gone on with, whatever the process still holds.
        assert_eq!(keys.with_newer(&held, &mut rng).unwrap().keys, both.keys);
        assert_eq!(keys.with_newer(&both, &mut rng).unwrap().keys, both.keys);

        let (newest, removable) = keys.without_older(&both).unwrap();
        assert_eq!((newest.newest(), newest.keys.len(), removable), (4, 1, vec![]));
        assert_eq!(keys.read().unwrap().unwrap().keys, newest.keys);
        assert_eq!(keys.without_older(&both).unwrap().0.keys, newest.keys, "twice is as good as once");
        let path = folder.path().join("master.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays");
        assert!(both.with_another(random_key(&mut rng)).is_ok());
        let (_folder, last) = keys_with(&line(u32::MAX, &[3; 32]), 0o600);
        let error = last.with_newer(&last.read().unwrap().unwrap(), &mut rng).unwrap_err();
        assert!(error.to_string().contains("no generation after"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_the_one_that_was_read_is_left_alone() {
        let mut rng = Rng::from_seed(1);
        for other in [line(1, &[8; 32]), line(2, &[1; 32])] {
            let (folder, keys) = keys_with(&line(1, &[1; 32]), 0o600);
            let path = folder.path().join("master.key");
            let held = keys.read().unwrap().unwrap();
            let both = held.with_another(random_key(&mut rng)).unwrap();
            fs::write(&path, &*other).unwrap();
            let wrong = |result: Result<(), StoreError>| matches!(result, Err(StoreError::KeyWrong { .. }));
            assert!(wrong(keys.with_newer(&held, &mut rng).map(|_| ())));
            assert!(wrong(keys.without_older(&both).map(|_| ())));
            assert_eq!(fs::read_to_string(&path).unwrap(), *other);
            fs::remove_file(&path).unwrap();
            assert!(matches!(keys.with_newer(&held, &mut rng), Err(StoreError::KeyMissing { .. })));
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_behind_a_link_is_replaced_where_it_is() {
        let (folder, _) = keys_with(&line(1, &[1; 32]), 0o600);
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("master.key");
        std::os::unix::fs::symlink(folder.path().join("master.key"), &link).unwrap();
        let keys = MasterKeys::in_file(&link);
        let held = keys.read().unwrap().unwrap();
        keys.with_newer(&held, &mut Rng::from_seed(1)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(keys.read().unwrap().unwrap().newest(), 2);
    }

    #[test]
    fn keys_that_somebody_else_keeps_are_neither_made_nor_taken_away() {
        let mut rng = Rng::from_seed(1);
        let (one, two) = (line(1, &[1; 32]), line(2, &[2; 32]));
        let single = MasterKeys::from_text("$KEY", one.trim());
        let held = single.read().unwrap().unwrap();
        assert!(matches!(single.with_newer(&held, &mut rng), Err(StoreError::Conflict(_))));
        let both = MasterKeys::from_text("$KEY", format!("{},{}", two.trim(), one.trim()));
        let held = both.read().unwrap().unwrap();
        assert_eq!(both.with_newer(&held, &mut rng).unwrap().keys, held.keys);
        let (kept, removable) = both.without_older(&held).unwrap();
        assert_eq!((kept.keys, removable), (held.keys, vec![1]));
    }
}
