//! The key that signs session cookies and API keys: a file of its own, so that losing it only signs everybody out and ends
//! all API keys.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use base::Rng;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Reads the key, or makes one (mode 0600) where there is none.
pub(crate) fn read_or_make(path: &Path, rng: &mut Rng) -> anyhow::Result<[u8; 32]> {
    match fs::metadata(path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                bail!(
                    "{} has mode {mode:03o}, and whoever reads it can sign in as anybody: remove it (everybody signs in \
                     again and makes new API keys), or chmod 600 it if nobody else had access",
                    path.display()
                );
            }
            let text =
                fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))?;
            let bytes = STANDARD.decode(text.trim()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            bytes.with_context(|| {
                format!(
                    "{} must hold 32 bytes in base64 and holds something else: remove it, and everybody signs in again and makes \
                     new API keys",
                    path.display()
                )
            })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make(path, rng),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", path.display())),
    }
}

fn make(path: &Path, rng: &mut Rng) -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    rng.fill(&mut key);
    let draft = path.with_extension("new");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        writeln!(file, "{}", STANDARD.encode(key))?;
        file.sync_all()?;
        fs::rename(&draft, path)
    })();
    written.with_context(|| format!("{} can't be written", path.display()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_once_private_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookie.key");
        let made = read_or_make(&path, &mut Rng::from_seed(1)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_or_make(&path, &mut Rng::from_seed(2)).unwrap(), made);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let error = read_or_make(&path, &mut Rng::from_seed(3)).unwrap_err().to_string();
        assert!(error.contains("mode 644"), "{error}");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "c2hvcnQ=").unwrap();
        let error = read_or_make(&path, &mut Rng::from_seed(3)).unwrap_err().to_string();
        assert!(error.contains("32 bytes"), "{error}");
    }
}
