use std::fs::File;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::file::{BACKUP, Draft, failed};
use super::{Disk, SqliteStore, options, rotation};
use crate::{Backup, Rotation, StoreError, StoreFuture, VaultStore};

impl VaultStore for SqliteStore {
    fn backup(&self) -> StoreFuture<'_, Backup> {
        Box::pin(async move {
            if self.readers.is_closed() {
                return Err(sqlx::Error::PoolClosed.into());
            }
            let Some(disk) = self.disk.clone() else {
                return Err(StoreError::Conflict(
                    "a database in memory is kept nowhere, backups of it included",
                ));
            };
            let permit = self.backups.take("backup")?;
            let alone = self.vault.take("backup")?;
            // A task of its own: SQLite goes on copying when nobody waits for it any more, and until it has ended
            // the next must not begin.
            let copying = tokio::spawn(async move {
                let copied = copy(&disk).await;
                drop(alone);
                let (file, bytes) = copied?;
                Ok(Backup { file, bytes, _permit: permit })
            });
            copying.await.map_err(|error| StoreError::Database(Box::new(error)))?
        })
    }

    fn rotate_keys(&self) -> StoreFuture<'_, Rotation> {
        Box::pin(rotation::rotate(self))
    }
}

async fn copy(disk: &Disk) -> Result<(File, u64), StoreError> {
    let (draft, file) = Draft::beside(&disk.path, BACKUP)?;
    // By a connection of its own, which nobody waits for, and which sees one moment from its beginning to its end.
    vacuum_into(options().filename(&disk.path).create_if_missing(false), draft.path()).await?;
    let bytes = file.metadata().map_err(failed(draft.path()))?.len();
    // With the draft goes the file's name; whoever reads it, and nobody else, has it now.
    Ok((file, bytes))
}

/// Writes a copy into an empty file, by another handle than ours: it stays at its beginning.
async fn vacuum_into(database: SqliteConnectOptions, path: &Path) -> Result<(), StoreError> {
    /// Primary result code `SQLITE_FULL`.
    const FULL: i64 = 13;
    let name = path.to_str().ok_or_else(|| failed(path)(std::io::ErrorKind::InvalidFilename.into()))?;
    let mut connection = database.connect().await?;
    let vacuumed = sqlx::query("VACUUM INTO ?").bind(name).execute(&mut connection).await;
    connection.close().await?;
    vacuumed.map(|_| ()).map_err(|error| {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<i64>().ok());
        match code {
            Some(code) if code & 0xff == FULL => StoreError::DiskFull { path: path.to_path_buf() },
            _ => error.into(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_that_fails_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chats.db");
        std::fs::write(&path, "no database, and longer than the header of one would be ".repeat(20)).unwrap();
        let lock = std::sync::Arc::new(super::super::file::lock(&path).unwrap());
        let names = || std::fs::read_dir(folder.path()).unwrap().count();
        let before = names();
        copy(&Disk { path, _lock: lock }).await.unwrap_err();
        assert_eq!(names(), before);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_disk_without_room_is_said_to_be_full() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chats.db");
        let mut connection = options().filename(&path).create_if_missing(true).connect().await.unwrap();
        sqlx::query("CREATE TABLE whales (name TEXT)").execute(&mut connection).await.unwrap();
        // A file that takes nothing.
        let full = folder.path().join("full");
        std::os::unix::fs::symlink("/dev/full", &full).unwrap();
        let error = vacuum_into(options().filename(&path), &full).await.unwrap_err();
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert!(error.to_string().contains("no room left"), "{error}");
    }
}
