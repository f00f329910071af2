//! SQLite behind the traits: one connection that writes and a pool that reads, so that nobody waits for a lock but
//! writers for their turn.

mod conversations;
mod file;
mod messages;
mod rows;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Rng};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use crate::{IdMaker, StoreError, StoreFuture, StoreHealth};

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
    readers: SqlitePool,
    ids: IdMaker,
    /// Held for as long as the store is open, so that no second process believes that our answers are interrupted.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the database file, makes it (mode 0600, in a directory with mode 0700) if there is none, and brings its
    /// schema up to date. Answers that a dead process left generating become interrupted.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::File`], [`StoreError::Schema`] if a newer program wrote it, and any
    /// failure of the database.
    pub async fn open(path: &Path, clock: Arc<dyn Clock>, rng: Rng) -> Result<Self, StoreError> {
        let lock = file::prepare(path)?;
        let options = options().filename(path).journal_mode(SqliteJournalMode::Wal);
        let writer = pool(1, options.clone().pragma("journal_size_limit", LOG_BYTES_MAX)).await?;
        MIGRATIONS.run(&writer).await?;
        let readers = pool(READERS, options.pragma("query_only", "ON")).await?;
        let store = Self { writer, readers, ids: IdMaker::new(clock, rng), _lock: Some(lock) };
        store.mark_interrupted().await?;
        Ok(store)
    }

    /// A database that is gone when the store is dropped. For tests and for chats that leave no trace.
    ///
    /// # Errors
    /// Any failure of the database.
    pub async fn in_memory(clock: Arc<dyn Clock>, rng: Rng) -> Result<Self, StoreError> {
        // The database lives in its one connection, so readers take their turn with the writer.
        let writer = pool(1, options().in_memory(true)).await?;
        MIGRATIONS.run(&writer).await?;
        Ok(Self { readers: writer.clone(), writer, ids: IdMaker::new(clock, rng), _lock: None })
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

    /// A transaction that holds the write lock from the start: it never has to give up half-way because another
    /// took the lock between its read and its write.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }

    async fn mark_interrupted(&self) -> Result<(), StoreError> {
        let marked = sqlx::query("UPDATE messages SET status = 'interrupted' WHERE status = 'generating'")
            .execute(&self.writer)
            .await?
            .rows_affected();
        if marked > 0 {
            tracing::info!(
                answers = marked,
                "answers that the last process left unfinished are marked interrupted"
            );
        }
        Ok(())
    }

    fn now_ms(&self) -> i64 {
        self.ids.clock().unix_ms()
    }
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

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.readers.close().await;
            self.writer.close().await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use base::SystemClock;

    use super::*;
    use crate::{ConversationStore as _, MessageStore as _};

    async fn open(path: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(path, Arc::new(SystemClock::new()), Rng::from_seed(1)).await
    }

    async fn pragma(pool: &SqlitePool, question: &'static str) -> String {
        let row: (String,) = sqlx::query_as(question).fetch_one(pool).await.unwrap();
        row.0
    }

    #[tokio::test]
    async fn every_connection_has_the_settings_that_keep_what_was_acknowledged() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(&folder.path().join("chats.db")).await.unwrap();
        for pool in [&store.writer, &store.readers] {
            assert_eq!(pragma(pool, "SELECT journal_mode FROM pragma_journal_mode").await, "wal");
            assert_eq!(pragma(pool, "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous").await, "2");
            assert_eq!(pragma(pool, "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys").await, "1");
            assert_eq!(
                pragma(pool, "SELECT CAST(secure_delete AS TEXT) FROM pragma_secure_delete").await,
                "1"
            );
        }
        let refused = sqlx::query("DELETE FROM messages").execute(&store.readers).await;
        assert!(refused.is_err(), "a reader must not write");
    }

    #[tokio::test]
    async fn every_step_of_the_schema_applies_on_the_one_before_and_keeps_its_rows() {
        // Steps are applied one at a time, as releases did; rows written at the first are there after the last.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chats.db");
        let early = pool(1, options().filename(&path).journal_mode(SqliteJournalMode::Wal)).await.unwrap();
        let first = MIGRATIONS.iter().next().unwrap().version;
        MIGRATIONS.run_to(first, &early).await.unwrap();
        for statement in [
            "INSERT INTO conversations VALUES
                (1, '00000000-0000-7000-8000-000000000001', 'Whales', 'm', 'Be brief.', 1, 2)",
            "INSERT INTO messages (id, conversation_id, role, status, content, created_ms) VALUES
                ('00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001',
                 'user', 'complete', 'How deep?', 3)",
        ] {
            sqlx::query(statement).execute(&early).await.unwrap();
        }
        for step in MIGRATIONS.iter().skip(1) {
            MIGRATIONS.run_to(step.version, &early).await.unwrap();
        }
        early.close().await;

        let store = open(&path).await.unwrap();
        let conversation = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        assert_eq!(store.conversation(conversation).await.unwrap().title, "Whales");
        assert_eq!(store.messages(conversation).await.unwrap()[0].content, "How deep?");
    }

    #[tokio::test]
    async fn a_database_of_a_newer_program_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chats.db");
        let store = open(&path).await.unwrap();
        sqlx::query("INSERT INTO _sqlx_migrations VALUES (9999, 'the future', 0, TRUE, x'00', 0)")
            .execute(&store.writer)
            .await
            .unwrap();
        store.close().await.unwrap();
        drop(store);
        let error = open(&path).await.unwrap_err();
        assert!(matches!(&error, StoreError::Schema(text) if text.contains("9999")), "{error}");
    }

    #[tokio::test]
    async fn text_that_is_no_database_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chats.db");
        std::fs::write(
            &path,
            "this is not a database, but it is longer than a header of one hundred bytes".repeat(20),
        )
        .unwrap();
        let error = open(&path).await.unwrap_err();
        assert!(matches!(error, StoreError::Database(_)), "{error}");
    }
}
