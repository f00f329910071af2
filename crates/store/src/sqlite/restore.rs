//! A backup is put in the place of the database.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::file::{self, ASIDE, BEFORE, Draft, LOGS, RESTORING, failed, real, with_suffix};
use super::upgrade::fitting_ring;
use super::{MIGRATIONS, options, pool};
use crate::{Contents, MasterKeys, StoreError};

/// A backup that was found good, beside the database whose place it may take. Dropping it leaves everything as it
/// was. While it is there no server can open the database.
#[derive(Debug)]
pub struct Restore {
    database: PathBuf,
    draft: Draft,
    contents: Contents,
    _lock: File,
}

impl Restore {
    /// Takes the database's lock, copies the backup beside the database and looks whether the copy can be its
    /// successor: that it is whole, that this program knows its schema, and that the master keys open it. Neither the
    /// backup nor the database is changed.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while a server runs, [`StoreError::Unfit`] if the backup is no good,
    /// [`StoreError::KeyMissing`], [`StoreError::KeyExposed`], [`StoreError::KeyUnusable`], [`StoreError::KeyWrong`],
    /// [`StoreError::DiskFull`], [`StoreError::File`].
    pub async fn prepare(database: &Path, backup: &Path, keys: &MasterKeys) -> Result<Self, StoreError> {
        let lock = file::lock(database)?;
        // Opened first: what is read can't be taken for something that was left over.
        let mut source = open(database, backup)?;
        file::remove_leftovers(database);
        let (draft, mut copy) = Draft::beside(database, RESTORING)?;
        let copied = io::copy(&mut source, &mut copy).and_then(|_| copy.sync_all());
        copied.map_err(failed(draft.path()))?;
        let contents = check(draft.path(), backup, keys).await?;
        Ok(Self { database: real(database), draft, contents, _lock: lock })
    }

    /// What would be there afterwards.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Puts it in place. The database of before, if there was one, stays beside it under a name of its own that ends
    /// with `stamp`, or with a number after it where that is taken, and is returned. A process that dies in the middle
    /// leaves either the one or the other, whole.
    ///
    /// # Errors
    /// [`StoreError::File`], [`StoreError::DiskFull`]. The database is as it was then.
    pub async fn carry_out(self, stamp: &str) -> Result<Option<PathBuf>, StoreError> {
        let aside = free_name(&with_suffix(&self.database, &format!("{BEFORE}{stamp}")))?;
        let there = self.database.try_exists().map_err(failed(&self.database))?;
        if there {
            set_aside(&self.database, &aside).await?;
        }
        put_in_place(self.draft.path(), &self.database)?;
        Ok(there.then_some(aside))
    }
}

/// The backup, if it is a file by itself.
fn open(database: &Path, backup: &Path) -> Result<File, StoreError> {
    let metadata = fs::metadata(backup).map_err(failed(backup))?;
    if !metadata.is_file() {
        return Err(unfit(backup, "it is not a file"));
    }
    if real(backup) == real(database) {
        return Err(unfit(backup, "it is the database itself"));
    }
    for suffix in ["-wal", "-journal"] {
        let log = with_suffix(&real(backup), suffix);
        if fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
            let reason = format!(
                "{} stands beside it: it is in use, or was when its program died, and not a backup",
                log.display()
            );
            return Err(unfit(backup, reason));
        }
    }
    File::open(backup).map_err(failed(backup))
}

fn unfit(backup: &Path, reason: impl Into<String>) -> StoreError {
    StoreError::Unfit { path: backup.to_path_buf(), reason: reason.into() }
}

/// Looks at everything in the copy. Errors name the backup.
async fn check(copy: &Path, backup: &Path, keys: &MasterKeys) -> Result<Contents, StoreError> {
    let no_database = |error: sqlx::Error| unfit(backup, format!("it is no whole database ({error})"));
    let database = options().filename(copy).create_if_missing(false);
    let mut connection = database.connect().await.map_err(no_database)?;
    let checked = async {
        check_whole(&mut connection, backup).await?;
        check_schema(&mut connection, backup).await?;
        fitting_ring(&mut connection, keys).await?;
        contents(&mut connection).await
    };
    let checked = checked.await.map_err(|error| match error {
        // There is nobody else who could have it locked or broken.
        StoreError::Database(error) => unfit(backup, format!("it is no whole database ({error})")),
        other => other,
    });
    connection.close().await?;
    checked
}

async fn check_whole(connection: &mut SqliteConnection, backup: &Path) -> Result<(), StoreError> {
    let finding: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut *connection).await?;
    if finding != "ok" {
        return Err(unfit(backup, format!("it is damaged ({finding})")));
    }
    match sqlx::query("PRAGMA foreign_key_check").fetch_optional(connection).await? {
        Some(_) => Err(unfit(backup, "it is damaged (a row belongs to one that is not there)")),
        None => Ok(()),
    }
}

/// The schema must be one that this program, or an earlier one, has made; the rest is done when it is opened.
async fn check_schema(connection: &mut SqliteConnection, backup: &Path) -> Result<(), StoreError> {
    let found = objects(&mut *connection).await?;
    if !found.contains(&("table".to_owned(), "_sqlx_migrations".to_owned())) {
        return Err(unfit(backup, "it is another program's database"));
    }
    let steps = sqlx::query("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version")
        .fetch_all(&mut *connection)
        .await?;
    let mut known = MIGRATIONS.iter();
    let mut last = 0;
    for step in &steps {
        let version: i64 = step.try_get("version")?;
        let expected = known.next().filter(|known| known.version == version).ok_or_else(|| {
            unfit(backup, format!("its schema has step {version}, which this program does not know"))
        })?;
        let checksum: Vec<u8> = step.try_get("checksum")?;
        if !step.try_get::<bool, _>("success")? || checksum != *expected.checksum {
            return Err(unfit(
                backup,
                format!("step {version} of its schema was not done as this program does it"),
            ));
        }
        last = version;
    }
    if steps.is_empty() {
        return Err(unfit(backup, "nothing was ever written to it"));
    }
    let model = pool(1, options().in_memory(true)).await?;
    MIGRATIONS.run_to(last, &model).await?;
    let expected = objects(&mut *model.acquire().await?).await?;
    if let Some((kind, name)) = found.iter().find(|object| !expected.contains(object)) {
        return Err(unfit(backup, format!("it has a {kind} {name:?}, which this program does not make")));
    }
    match expected.iter().find(|object| !found.contains(object)) {
        Some((kind, name)) => Err(unfit(backup, format!("it lacks the {kind} {name:?}"))),
        None => Ok(()),
    }
}

/// Kinds and names of what is in a schema, but for SQLite's own.
async fn objects(connection: &mut SqliteConnection) -> Result<Vec<(String, String)>, StoreError> {
    let query =
        r"SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY 1, 2";
    Ok(sqlx::query_as(query).fetch_all(connection).await?)
}

async fn contents(connection: &mut SqliteConnection) -> Result<Contents, StoreError> {
    let there_are_users = objects(&mut *connection).await?.iter().any(|(_, name)| name == "users");
    let users = if there_are_users {
        sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&mut *connection).await?
    } else {
        0_i64
    };
    let row =
        sqlx::query("SELECT COUNT(*), MAX(updated_ms), (SELECT COUNT(*) FROM messages) FROM conversations")
            .fetch_one(connection)
            .await?;
    Ok(Contents {
        users: users.unsigned_abs(),
        conversations: row.try_get::<i64, _>(0)?.unsigned_abs(),
        updated_ms: row.try_get(1)?,
        messages: row.try_get::<i64, _>(2)?.unsigned_abs(),
    })
}

/// A name that no file has.
fn free_name(path: &Path) -> Result<PathBuf, StoreError> {
    for number in 1..100 {
        let name = if number == 1 { path.to_path_buf() } else { with_suffix(path, &format!("-{number}")) };
        if !name.try_exists().map_err(failed(&name))? {
            return Ok(name);
        }
    }
    Err(failed(path)(io::ErrorKind::AlreadyExists.into()))
}

/// Gives the database of before another name too. It keeps its own until something takes its place.
async fn set_aside(database: &Path, aside: &Path) -> Result<(), StoreError> {
    if logs(database).is_empty() {
        name_too(database, aside)?;
    } else {
        set_aside_with_logs(database, aside).await?;
    }
    file::sync_folder_of(database).map_err(failed(database))
}

/// A server that was killed leaves what was written last in the log. That is written into a copy first: a log that is
/// damaged would take the only database there is with it.
async fn set_aside_with_logs(database: &Path, aside: &Path) -> Result<(), StoreError> {
    let (copy, mut file) = Draft::beside(database, ASIDE)?;
    copy_into(database, &mut file).map_err(failed(copy.path()))?;
    for suffix in logs(database) {
        let path = with_suffix(copy.path(), suffix);
        let copied = file::private_new(&path)
            .and_then(|mut file| copy_into(&with_suffix(database, suffix), &mut file));
        copied.map_err(failed(&path))?;
    }
    if fold_logs(copy.path()).await.is_ok() {
        // Here too, so that there is nothing in the logs that is lost with them.
        fold_logs(database).await?;
        name_too(copy.path(), aside)?;
    } else {
        tracing::warn!("the database of before is damaged; it is kept with its log as it is");
        for suffix in logs(database) {
            name_too(&with_suffix(database, suffix), &with_suffix(aside, suffix))?;
        }
        name_too(database, aside)?;
    }
    Ok(())
}

/// The logs beside a database in which there is something that may not be in it.
fn logs(database: &Path) -> Vec<&'static str> {
    let there = |suffix: &&str| fs::metadata(with_suffix(database, suffix)).is_ok_and(|log| log.len() > 0);
    ["-wal", "-journal"].into_iter().filter(there).collect()
}

/// Writes what is in the logs of a database into it.
async fn fold_logs(database: &Path) -> Result<(), StoreError> {
    let mut connection =
        SqliteConnectOptions::new().filename(database).create_if_missing(false).connect().await?;
    let folded = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
    connection.close().await?;
    folded?;
    match logs(database)[..] {
        [] => Ok(()),
        _ => Err(StoreError::Busy("another process reads the log that has to be emptied".into())),
    }
}

fn copy_into(path: &Path, file: &mut File) -> io::Result<()> {
    io::copy(&mut File::open(path)?, file)?;
    file.sync_all()
}

/// By a second name or, where a file can't have two, by a copy.
fn name_too(path: &Path, other: &Path) -> Result<(), StoreError> {
    match fs::hard_link(path, other) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let copied = file::private_new(other).and_then(|mut file| copy_into(path, &mut file));
            copied.map_err(failed(other))
        }
        linked => linked.map_err(failed(other)),
    }
}

/// The successor must not be taken for what the log of its predecessor belongs to.
fn put_in_place(draft: &Path, database: &Path) -> Result<(), StoreError> {
    for suffix in LOGS {
        let log = with_suffix(database, suffix);
        match fs::remove_file(&log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&log)(error)),
            _ => {}
        }
    }
    let placed = file::sync_folder_of(database).and_then(|()| fs::rename(draft, database));
    placed.map_err(failed(database))?;
    // It is in place, whether or not the disk has been heard to say so.
    if let Err(error) = file::sync_folder_of(database) {
        tracing::warn!(%error, "the disk may not have the new name of the restored database yet");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{Rng, SystemClock};

    use super::*;
    use crate::{NewUser, SqliteStore, StoreHealth as _, UserRole, UserStore as _};

    async fn opened(database: &Path) -> SqliteStore {
        let keys = MasterKeys::in_file(database.with_file_name("master.key"));
        let rng = Rng::from_os().unwrap();
        SqliteStore::open(database, keys, Arc::new(SystemClock::new()), rng).await.unwrap()
    }

    async fn add(store: &SqliteStore, name: &str, first: bool) {
        let role = UserRole::Admin;
        let new = NewUser { name: name.to_owned(), email: None, role, password_hash: None, first };
        store.add_user(new).await.unwrap();
    }

    /// A restoration dies when the database has its place aside and the backup is not in its place yet.
    #[tokio::test]
    async fn until_the_backup_is_in_place_the_database_is() {
        for killed in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (database, aside) = (folder.path().join("chats.db"), folder.path().join("chats.db.before-x"));
            let store = opened(&database).await;
            add(&store, "Ahab", true).await;
            if killed {
                // What was written last stands in the log only.
                for suffix in ["", "-wal"] {
                    let copy = with_suffix(&database, &format!(".copy{suffix}"));
                    fs::copy(with_suffix(&database, suffix), copy).unwrap();
                }
            }
            store.close().await.unwrap();
            drop(store);
            if killed {
                for suffix in ["", "-wal"] {
                    let copy = with_suffix(&database, &format!(".copy{suffix}"));
                    fs::rename(copy, with_suffix(&database, suffix)).unwrap();
                }
                assert_eq!(logs(&database), ["-wal"]);
            }
            set_aside(&database, &aside).await.unwrap();
            assert!(aside.exists());
            // Nothing is lost with the logs from here on.
            assert_eq!(logs(&database), [""; 0]);
            let store = opened(&database).await;
            assert_eq!(store.users_count().await.unwrap(), 1);
            // One that is the database by another name has gone, so that nobody takes it for another one.
            assert_eq!(aside.exists(), killed);
            add(&store, "Starbuck", false).await;
            store.close().await.unwrap();
            drop(store);
            if killed {
                fs::rename(&aside, folder.path().join("other.db")).unwrap();
                let other = opened(&folder.path().join("other.db")).await;
                assert_eq!(other.users_count().await.unwrap(), 1, "a copy of its own");
            }
        }
    }
}
