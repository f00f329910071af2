//! The control socket of a server: whoever may open it may do all that administrators may.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tokio::net::UnixListener;

/// Where a server with this home listens.
pub(crate) fn path(home: &Path) -> PathBuf {
    home.join("control.sock")
}

/// The socket's file, which goes when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What is left behind is replaced by the next server.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Longest path of a socket, in bytes, with the zero after it (`sun_path` of Linux and of BSD, whichever is shorter).
const PATH_BYTES_MAX: usize = 104;

/// Listens on the control socket, for this user only; one that a dead server left is replaced. To be called by who
/// holds the database's lock. `None` if the home's path is too long for a socket's.
pub(crate) fn listen(home: &Path) -> anyhow::Result<Option<(UnixListener, SocketFile)>> {
    let path = path(home);
    let bound = bind(home, &path).with_context(|| format!("{} can't be listened on", path.display()))?;
    Ok(bound.map(|listener| (listener, SocketFile(path))))
}

fn bind(home: &Path, path: &Path) -> io::Result<Option<UnixListener>> {
    // In a directory of our own until its mode is right: between the two nobody else may open it.
    let folder = tempfile::Builder::new().prefix(".control").tempdir_in(home)?;
    let draft = folder.path().join("s");
    if draft.as_os_str().len().max(path.as_os_str().len()) >= PATH_BYTES_MAX {
        return Ok(None);
    }
    let listener = UnixListener::bind(&draft)?;
    std::fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
    std::fs::rename(&draft, path)?;
    Ok(Some(listener))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileTypeExt as _;

    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn private_alone_and_gone_at_the_end() {
        let home = tempfile::tempdir().unwrap();
        // As a killed server leaves it.
        drop(UnixListener::bind(path(home.path())).unwrap());
        assert!(UnixStream::connect(path(home.path())).await.is_err());
        let (listener, file) = listen(home.path()).unwrap().unwrap();
        let facts = std::fs::metadata(path(home.path())).unwrap();
        assert!(facts.file_type().is_socket());
        assert_eq!(facts.permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
        let (connected, accepted) = tokio::join!(UnixStream::connect(path(home.path())), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
        drop(file);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_no_error() {
        let home = tempfile::tempdir().unwrap();
        let long = home.path().join("x".repeat(100));
        std::fs::create_dir(&long).unwrap();
        assert!(listen(&long).unwrap().is_none());
        assert_eq!(std::fs::read_dir(&long).unwrap().count(), 0);
        let error = listen(&home.path().join("none")).unwrap_err();
        assert!(error.to_string().contains("control.sock can't be listened on"), "{error}");
    }
}
