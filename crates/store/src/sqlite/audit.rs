use super::SqliteStore;
use super::rows::audit_entry;
use super::sessions::{ADDRESS_CHARS_MAX, cut};
use crate::{AuditEntry, AuditStore, StoreFuture, UserId};

/// Entries that are kept.
const ENTRIES_MAX: i64 = 100_000;

/// Longest note of an operator.
const NOTE_CHARS_MAX: usize = 200;

impl AuditStore for SqliteStore {
    fn audit(&self, entry: AuditEntry) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let number = sqlx::query(
                "INSERT INTO audit (at_ms, user_id, by_id, event, address, note) VALUES (?, ?, ?, ?, ?, ?)",
            )
            .bind(entry.at_ms)
            .bind(entry.user_id.map(|id| id.to_string()))
            .bind(entry.by.map(|id| id.to_string()))
            .bind(entry.event)
            .bind(cut(entry.address, ADDRESS_CHARS_MAX))
            .bind(entry.note.map(|note| cut(note, NOTE_CHARS_MAX)))
            .execute(&mut *transaction)
            .await?
            .last_insert_rowid();
            // Numbers have no gaps: only the oldest ever go.
            sqlx::query("DELETE FROM audit WHERE number <= ?")
                .bind(number - ENTRIES_MAX)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn audit_entries(&self, user: Option<UserId>, limit: u32) -> StoreFuture<'_, Vec<AuditEntry>> {
        Box::pin(async move {
            let query = match user {
                Some(user) => sqlx::query(OF_USER).bind(user.to_string()),
                None => sqlx::query(OF_ALL),
            };
            let rows = query.bind(i64::from(limit)).fetch_all(&self.readers).await?;
            rows.iter().map(audit_entry).collect()
        })
    }
}

pub(super) const OF_USER: &str = "SELECT at_ms, user_id, by_id, event, address, note FROM audit WHERE user_id = ? ORDER BY number DESC LIMIT ?";

const OF_ALL: &str =
    "SELECT at_ms, user_id, by_id, event, address, note FROM audit ORDER BY number DESC LIMIT ?";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{ManualClock, Rng};

    use super::*;

    #[tokio::test]
    async fn the_oldest_entries_make_room() {
        let store = SqliteStore::in_memory(Arc::new(ManualClock::new()), Rng::from_seed(1)).await.unwrap();
        sqlx::query(
            "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
             INSERT INTO audit (number, at_ms, event, address) SELECT n, n, 'test', '' FROM counted",
        )
        .bind(ENTRIES_MAX)
        .execute(&store.writer)
        .await
        .unwrap();
        for at_ms in [7, 8] {
            let entry = AuditEntry {
                at_ms,
                user_id: None,
                by: None,
                event: "last".to_owned(),
                address: String::new(),
                note: None,
            };
            store.audit(entry).await.unwrap();
        }
        let (count, oldest): (i64, i64) = sqlx::query_as("SELECT COUNT(*), MIN(number) FROM audit")
            .fetch_one(&store.readers)
            .await
            .unwrap();
        assert_eq!((count, oldest), (ENTRIES_MAX, 3));
        assert_eq!(store.audit_entries(None, 1).await.unwrap()[0].at_ms, 8);
    }
}
