//! Commits wait for the disk together.
//!
//! A commit is in the log, and the next can begin; whoever must know that it outlasts a loss of power then waits until the
//! log is on the disk. One such wait serves every commit before it: the one writer isn't held up by the disk, and many who
//! wait at once wait for one.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::file::{failed, with_suffix};
use crate::StoreError;

/// The log of a database in a file.
pub(super) struct Log {
    path: PathBuf,
    to_disk: Arc<dyn Fn() -> io::Result<()> + Send + Sync>,
    /// Commits that have been made.
    made: AtomicU64,
    /// Of these, how many are on the disk. Held by the one who brings more there.
    on_disk: Mutex<u64>,
}

impl Log {
    /// The log of an open database. The file that SQLite has made is the same until the database is closed.
    pub(super) fn of(database: &Path) -> Result<Self, StoreError> {
        let path = with_suffix(database, "-wal");
        let file = File::options().read(true).write(true).open(&path).map_err(failed(&path))?;
        Ok(Self::new(path, move || file.sync_data()))
    }

    fn new(path: PathBuf, to_disk: impl Fn() -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { path, to_disk: Arc::new(to_disk), made: AtomicU64::new(0), on_disk: Mutex::new(0) }
    }

    /// Waits until what was committed before is on the disk.
    ///
    /// # Errors
    /// [`StoreError::File`], [`StoreError::DiskFull`]: what was committed is there, but a loss of power may undo it.
    pub(super) async fn wait(&self) -> Result<(), StoreError> {
        let mine = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        let mut on_disk = self.on_disk.lock().await;
        if *on_disk >= mine {
            return Ok(());
        }
        let made = self.made.load(Ordering::SeqCst);
        let to_disk = Arc::clone(&self.to_disk);
        let done = tokio::task::spawn_blocking(move || to_disk()).await;
        done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed(&self.path))?;
        *on_disk = made;
        Ok(())
    }

    /// How many commits have waited, or wait.
    #[cfg(test)]
    pub(super) fn waits(&self) -> u64 {
        self.made.load(Ordering::SeqCst)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("path", &self.path).field("made", &self.made).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex as StdMutex;
    use std::sync::mpsc;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_at_once_wait_for_one() {
        let (began, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel::<()>();
        let gone = StdMutex::new(gone);
        let log = Arc::new(Log::new(PathBuf::new(), move || {
            began.send(()).unwrap();
            gone.lock().unwrap().recv().map_err(io::Error::other)
        }));
        let wait = || {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.wait().await })
        };
        let first = wait();
        let begun = tokio::task::spawn_blocking(move || begun.recv().map(|()| begun)).await.unwrap().unwrap();
        // What is committed while the disk is at work isn't in what it writes.
        let others: Vec<_> = (0..9).map(|_| wait()).collect();
        while log.made.load(Ordering::SeqCst) < 10 {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert!(others.iter().all(|other| !other.is_finished()));
        go.send(()).unwrap();
        for other in join_all(others).await {
            other.unwrap().unwrap();
        }
        begun.recv().unwrap();
        begun.try_recv().unwrap_err();
        // A disk that fails is said to those who wait for it, and tried again by the next.
        drop(go);
        assert!(matches!(wait().await.unwrap(), Err(StoreError::File { .. })));
        assert!(wait().await.unwrap().is_err());
    }
}
