//! SQLite behind the traits: one connection that writes and a pool that reads, so that nobody waits for a lock but
//! writers for their turn.

mod addresses;
mod api_keys;
mod archives;
mod audit;
mod backup;
mod conversations;
mod file;
mod gate;
mod groups;
mod links;
mod log;
mod messages;
mod meter;
mod one_time_codes;
mod operators;
mod passkeys;
mod quota;
mod restore;
mod retention;
mod rotation;
mod rows;
mod search;
mod sessions;
mod upgrade;
mod usage;
mod users;

use std::fs::File;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Rng};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row as _, Sqlite, SqliteConnection, Transaction};
use tokio::sync::RwLock;

pub use restore::Restore;
pub use users::login_key;

use log::Log;

use crate::lanes::{Entered, Lanes};
use crate::seal::{Sealer, UserKey};
use crate::vault::OneAtATime;
use crate::{IdMaker, MasterKeys, StoreError, StoreFuture, StoreHealth, UserId};

/// Connections that read. Each holds a thread and a page cache of up to 2 MB.
const READERS: u32 = 4;

/// How long SQLite waits for another process's lock (a backup, a person with `sqlite3`).
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// How long a caller waits for its turn at a connection.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// The log is cut back to this size when it has been written into the database, so that a burst leaves no big file.
const LOG_BYTES_MAX: &str = "67108864";

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!();

/// A SQLite database, in a file or in memory.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    /// In which order those come who write.
    lanes: Lanes,
    readers: SqlitePool,
    ids: IdMaker,
    sealer: Sealer,
    keys: MasterKeys,
    /// None in memory.
    disk: Option<Disk>,
    /// None in memory.
    log: Option<Arc<Log>>,
    /// Backups that somebody has.
    backups: OneAtATime,
    /// Copying and rotating keys: a copy has keys of one generation.
    vault: OneAtATime,
    /// Shared by those who read a wrapped key and unwrap it, and had alone by whoever takes away a master key.
    unwrapping: RwLock<()>,
}

/// Where the database is.
#[derive(Debug, Clone)]
struct Disk {
    path: PathBuf,
    /// Held for as long as the store is open or something of it goes on, so that no second process believes that our
    /// answers are interrupted.
    _lock: Arc<File>,
}

impl SqliteStore {
    /// Opens the database file, makes it (mode 0600, in a directory with mode 0700) if there is none, and brings its
    /// schema up to date. Texts that an earlier program left plain are sealed, and answers that a dead process left
    /// generating become interrupted.
    ///
    /// Users' keys are drawn from `rng` too: seed it from the operating system wherever it matters.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::File`], [`StoreError::Schema`] if a newer program wrote it, and any
    /// failure of the database. If the master keys can't be used or are not this database's, it is left as it is:
    /// [`StoreError::KeyMissing`], [`StoreError::KeyExposed`], [`StoreError::KeyUnusable`], [`StoreError::KeyWrong`].
    pub async fn open(
        path: &Path,
        keys: MasterKeys,
        clock: Arc<dyn Clock>,
        rng: Rng,
    ) -> Result<Self, StoreError> {
        let lock = Arc::new(file::prepare(path)?);
        let ring = upgrade::read_keys(path, &keys).await?;
        let options = options().filename(path).journal_mode(SqliteJournalMode::Wal);
        let writer = pool(1, options.clone().pragma("journal_size_limit", LOG_BYTES_MAX)).await?;
        let (sealer, ids) = match upgrade::upgrade(&writer, (&keys, ring), clock, rng).await {
            Ok(upgraded) => upgraded,
            Err(error) => {
                // Before the lock is let go: the next who opens it must not find us still there.
                writer.close().await;
                return Err(error);
            }
        };
        keys.remove_draft();
        file::remove_leftovers(path);
        let readers = pool(READERS, options.pragma("query_only", "ON")).await?;
        let (disk, log) = (Disk { path: path.to_path_buf(), _lock: lock }, Log::of(path)?);
        Ok(Self::new((writer, readers), ids, sealer, keys, Some((disk, log))))
    }

    /// A database that is gone when the store is dropped, as are the keys in it. For tests and for chats that leave
    /// no trace.
    ///
    /// # Errors
    /// Any failure of the database.
    pub async fn in_memory(clock: Arc<dyn Clock>, mut rng: Rng) -> Result<Self, StoreError> {
        // The database lives in its one connection, so readers take their turn with the writer.
        let writer = pool(1, options().in_memory(true)).await?;
        MIGRATIONS.run(&writer).await?;
        let keys = MasterKeys::in_memory();
        let sealer = Sealer::new(keys.make(&mut rng)?, rng.fork());
        Ok(Self::new((writer.clone(), writer), IdMaker::new(clock, rng), sealer, keys, None))
    }

    fn new(
        (writer, readers): (SqlitePool, SqlitePool),
        ids: IdMaker,
        sealer: Sealer,
        keys: MasterKeys,
        file: Option<(Disk, Log)>,
    ) -> Self {
        let (backups, vault) = (OneAtATime::default(), OneAtATime::default());
        let lanes = Lanes::new();
        let (disk, log) = file.map(|(disk, log)| (disk, Arc::new(log))).unzip();
        Self {
            writer,
            lanes,
            readers,
            ids,
            sealer,
            keys,
            disk,
            log,
            backups,
            vault,
            unwrapping: RwLock::default(),
        }
    }

    /// Reads the whole database and compares it with itself.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] with the first finding.
    pub async fn check_integrity(&self) -> Result<(), StoreError> {
        let finding: String =
            sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&self.readers).await?;
        if finding != "ok" {
            return Err(StoreError::Damaged { column: "the file", value: finding });
        }
        let orphan = sqlx::query("PRAGMA foreign_key_check").fetch_optional(&self.readers).await?;
        match orphan {
            Some(_) => Err(StoreError::Damaged { column: "a foreign key", value: "no such row".to_owned() }),
            None => Ok(()),
        }
    }

    /// A transaction that writes, when the [lane](crate::lanes) of the task lets it on. Its commit returns when the disk
    /// has it, and lets the next go on before.
    async fn write(&self) -> Result<Write, StoreError> {
        Ok(Write { log: self.log.clone(), ..self.write_lightly().await? })
    }

    /// As [`write`](Self::write), for what nobody is told of by itself (that an answer was asked for, what is held for it,
    /// when somebody was last seen), what holds nothing yet (a new conversation), and what is waited for later
    /// ([`on_disk`](MessageStore::on_disk)): its commit doesn't wait for the disk. The next that does waits for all before it
    /// too. If the machine loses power in between, these are lost, and no others; if only the program dies, nothing is.
    async fn write_lightly(&self) -> Result<Write, StoreError> {
        let entered = self.lanes.enter().await?;
        let transaction = self.writer.begin_with(BEGIN_LIGHTLY).await?;
        Ok(Write { transaction, entered, log: None })
    }

    /// The key of a user; `None` if there is no such user. To be asked for before a connection is held: with the
    /// database in memory there is only one.
    async fn key(&self, user: UserId) -> Result<Option<Arc<UserKey>>, StoreError> {
        if let Some(key) = self.sealer.ready(user) {
            return Ok(Some(key));
        }
        let _unwrapping = self.unwrapping.read().await;
        let row = sqlx::query("SELECT wrapped_key, key_generation FROM users WHERE id = ?")
            .bind(user.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| self.sealer.unwrap(user, &rows::wrapped_key(&row)?)).transpose()
    }

    fn now_ms(&self) -> i64 {
        self.ids.clock().unix_ms()
    }
}

/// A transaction that writes, and its place.
#[derive(Debug)]
struct Write {
    // Ends first.
    transaction: Transaction<'static, Sqlite>,
    entered: Entered,
    /// Whose coming to the disk the commit waits for.
    log: Option<Arc<Log>>,
}

impl Write {
    async fn commit(self) -> Result<(), StoreError> {
        let Self { transaction, entered, log } = self;
        transaction.commit().await?;
        drop(entered);
        wait_for(log.as_deref()).await
    }
}

/// Waits until what was committed before is on the disk. A database in memory has no log.
async fn wait_for(log: Option<&Log>) -> Result<(), StoreError> {
    match log {
        Some(log) => log.wait().await,
        None => Ok(()),
    }
}

impl Deref for Write {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

/// A transaction that holds the write lock from the start: it never has to give up half-way because another took the
/// lock between its read and its write.
async fn begin(writer: &SqlitePool) -> Result<Transaction<'static, Sqlite>, StoreError> {
    Ok(writer.begin_with(BEGIN).await?)
}

/// For what is done by itself: the commit is on the disk when it returns. The one before may have been a light one.
const BEGIN: &str = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE";
/// With the log, a commit is then as whole as ever, but not yet on the disk (SQLite, PRAGMA synchronous).
const BEGIN_LIGHTLY: &str = "PRAGMA synchronous = NORMAL; BEGIN IMMEDIATE";

/// Writes the log into the database and cuts it to nothing: it may hold copies of what was overwritten.
async fn empty_log(writer: &SqlitePool) -> Result<(), StoreError> {
    let checkpoint = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(writer).await?;
    if checkpoint.try_get::<i64, _>(0)? != 0 {
        return Err(StoreError::Busy("another process reads the log that has to be emptied".into()));
    }
    Ok(())
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .create_if_missing(true)
        .foreign_keys(true)
        // A commit returns when the disk has it.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(LOCK_WAIT)
        // Deleted text is overwritten, not only unlinked.
        .pragma("secure_delete", "ON")
        .pragma("trusted_schema", "OFF")
}

async fn pool(connections: u32, options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    let pool = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(connections)
        .acquire_timeout(TURN_WAIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await?;
    Ok(pool)
}

impl StoreHealth for SqliteStore {
    fn ping(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            sqlx::query("SELECT 1").execute(&self.readers).await?;
            Ok(())
        })
    }

    fn writes_by_lane(&self) -> [u64; 4] {
        self.lanes.begun()
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.readers.close().await;
            self.writer.close().await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
