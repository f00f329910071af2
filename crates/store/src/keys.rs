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
const FILE_BYTES_MAX: u64 = 1 << 16;

/// Where the master keys are: a file with mode 0600, one line `generation:base64` (32 bytes) for each. The newest
/// wraps the keys of new users; the others stay for as long as they wrap somebody's. A database in which nothing is
/// wrapped yet gets a new file when it is opened.
///
/// Whoever has this file and the database can read everything; whoever loses it, nothing. It belongs into a backup
/// of its own.
#[derive(Debug, Clone)]
pub struct MasterKeys {
    path: PathBuf,
}

impl MasterKeys {
    /// In this file, which is read when the store is opened.
    pub fn in_file(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::KeyExposed`], [`StoreError::KeyUnusable`], [`StoreError::File`].
    pub(crate) fn read(&self) -> Result<Option<MasterRing>, StoreError> {
        let failed = |source| StoreError::File { path: self.path.clone(), source };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o177 != 0 {
            return Err(StoreError::KeyExposed { path: self.path.clone(), mode });
        }
        // Reserved in full, so that no copy stays behind when it grows.
        let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize + 1));
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        MasterRing::parse(&self.path, &text).map(Some)
    }

    /// Makes the file with one key. It is on disk, whole, before anything is wrapped with it.
    ///
    /// # Errors
    /// [`StoreError::File`].
    pub(crate) fn make(&self, rng: &mut Rng) -> Result<MasterRing, StoreError> {
        let failed = |source| StoreError::File { path: self.path.clone(), source };
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let bytes = random_key(rng);
        write_new(&self.path, folder, &line(MasterRing::FIRST, &bytes)).map_err(failed)?;
        Ok(MasterRing::new(&self.path, [(MasterRing::FIRST, bytes)]))
    }

    /// The error for a file that is not there although something is wrapped.
    pub(crate) fn missing(&self) -> StoreError {
        StoreError::KeyMissing { path: self.path.clone() }
    }
}

/// Written beside its place first: a file that is there is whole.
fn write_new(path: &Path, folder: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

fn random_key(rng: &mut Rng) -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill(&mut *bytes);
    bytes
}

fn line(generation: u32, bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(64));
    // Writing to a String does not fail.
    let _ = write!(line, "{generation}:");
    STANDARD.encode_string(bytes, &mut line);
    line.push('\n');
    line
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
pub(crate) struct MasterRing {
    /// For errors.
    path: PathBuf,
    newest: u32,
    keys: BTreeMap<u32, Aes256Gcm>,
}

impl fmt::Debug for MasterRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterRing").field("newest", &self.newest).finish_non_exhaustive()
    }
}

impl MasterRing {
    /// Generation of the first key.
    const FIRST: u32 = 1;

    /// One key that is nowhere but in memory.
    pub(crate) fn random(rng: &mut Rng) -> Self {
        Self::new(Path::new("in memory"), [(Self::FIRST, random_key(rng))])
    }

    fn new(path: &Path, keys: impl IntoIterator<Item = (u32, Zeroizing<[u8; 32]>)>) -> Self {
        let keys: BTreeMap<_, _> = keys
            .into_iter()
            .map(|(generation, bytes)| (generation, Aes256Gcm::new((&*bytes).into())))
            .collect();
        let newest = keys.keys().next_back().copied().unwrap_or(Self::FIRST);
        Self { path: path.to_path_buf(), newest, keys }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, StoreError> {
        let unusable = |reason| StoreError::KeyUnusable { path: path.to_path_buf(), reason };
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(unusable(format!("it is longer than {FILE_BYTES_MAX} bytes")));
        }
        let mut keys = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let number = index + 1;
            let (generation, bytes) = parse_line(line.trim()).ok_or_else(|| {
                unusable(format!("line {number} is not `generation:key` with 32 bytes in base64"))
            })?;
            if keys.insert(generation, bytes).is_some() {
                return Err(unusable(format!("line {number} has generation {generation} for a second time")));
            }
        }
        if keys.is_empty() {
            return Err(unusable("it holds no key".to_owned()));
        }
        Ok(Self::new(path, keys))
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
        let key = self.keys.get(&generation).ok_or_else(|| self.wrong(generation))?;
        let ciphertext = key.encrypt(&nonce.into(), payload).map_err(|_| self.wrong(generation))?;
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
        let key = self.keys.get(&wrapped.generation).ok_or_else(wrong)?;
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
}
