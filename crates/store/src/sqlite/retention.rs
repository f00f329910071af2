use super::SqliteStore;
use super::users::NOT_FOUND;
use crate::{RetentionStore, StoreError, StoreFuture, UserId, UserSettings};

/// Conversations that go in one transaction. A conversation's limit bounds how much that can be; others who write wait
/// meanwhile.
const BATCH: i64 = 20;

impl RetentionStore for SqliteStore {
    fn user_settings(&self, user: UserId) -> StoreFuture<'_, UserSettings> {
        Box::pin(async move {
            let row: Option<(Option<u32>,)> = sqlx::query_as("SELECT retention_days FROM users WHERE id = ?")
                .bind(user.to_string())
                .fetch_optional(&self.readers)
                .await?;
            let (retention_days,) = row.ok_or(NOT_FOUND)?;
            Ok(UserSettings { retention_days })
        })
    }

    fn set_user_settings(&self, user: UserId, settings: UserSettings) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let changed = sqlx::query("UPDATE users SET retention_days = ? WHERE id = ?")
                .bind(settings.retention_days)
                .bind(user.to_string())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            transaction.commit().await?;
            if changed == 0 { Err(NOT_FOUND) } else { Ok(()) }
        })
    }

    fn delete_expired(&self, now_ms: i64, days_max: Option<u32>) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            // Looked for without the write lock: it is a walk over all users.
            let expired: Vec<(i64, i64)> = sqlx::query_as(EXPIRED)
                .bind(days_max)
                .bind(now_ms)
                .bind(BATCH)
                .fetch_all(&self.readers)
                .await?;
            if expired.is_empty() {
                return Ok(0);
            }
            let mut transaction = self.write().await?;
            let mut deleted = 0;
            for (number, updated_ms) in expired {
                // Unless somebody went on with it meanwhile.
                deleted += sqlx::query(DELETE_UNCHANGED)
                    .bind(number)
                    .bind(updated_ms)
                    .execute(&mut *transaction)
                    .await?
                    .rows_affected();
            }
            transaction.commit().await?;
            Ok::<u64, StoreError>(deleted)
        })
    }
}

/// Of a user's days and the server's, the fewer; nothing is older than none at all.
pub(super) const EXPIRED: &str = "SELECT conversations.number, updated_ms
     FROM users CROSS JOIN conversations ON owner = users.id
     WHERE updated_ms < ?2 - 86400000 * MIN(COALESCE(retention_days, ?1), COALESCE(?1, retention_days))
        AND NOT EXISTS (
            SELECT 1 FROM messages WHERE conversation_id = conversations.id AND status = 'generating'
        )
     LIMIT ?3";

const DELETE_UNCHANGED: &str = "DELETE FROM conversations
     WHERE number = ? AND updated_ms = ? AND NOT EXISTS (
        SELECT 1 FROM messages WHERE conversation_id = conversations.id AND status = 'generating'
     )";
