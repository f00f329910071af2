use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::rows::{parsed, session, session_columns, signed};
use super::users::find as find_user;
use crate::{NewSession, Session, SessionId, SessionStore, StoreError, StoreFuture, UserId};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "session" };

const AGENT_CHARS_MAX: usize = 200;
pub(super) const ADDRESS_CHARS_MAX: usize = 64;

/// Revoked sessions that are remembered for one user, so that nobody fills the disk by signing in and out. Forgetting
/// one early would make it good again.
const REVOKED_MAX: u64 = 10_000;

impl SessionStore for SqliteStore {
    fn add_session(&self, new: NewSession, sessions_max: u64) -> StoreFuture<'_, Session> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let now_ms = self.now_ms();
            if find_user(&mut transaction, new.user_id).await?.disabled_ms.is_some() {
                return Err(StoreError::Conflict("this account is disabled"));
            }
            forget_expired(&mut transaction, now_ms).await?;
            check_revoked(&mut transaction, new.user_id).await?;
            // Room for the new one.
            revoke_eldest(&mut transaction, new.user_id, sessions_max.saturating_sub(1), now_ms).await?;
            let session = Session {
                id: self.ids.next(),
                user_id: new.user_id,
                created_ms: now_ms,
                seen_ms: now_ms,
                expires_ms: now_ms.saturating_add(milliseconds(new.lifetime)),
                agent: cut(new.agent, AGENT_CHARS_MAX),
                address: cut(new.address, ADDRESS_CHARS_MAX),
            };
            insert(&mut transaction, &session).await?;
            transaction.commit().await?;
            Ok(session)
        })
    }

    fn sessions(&self, user: UserId) -> StoreFuture<'_, Vec<Session>> {
        Box::pin(async move {
            let rows =
                sqlx::query(LIST).bind(user.to_string()).bind(self.now_ms()).fetch_all(&self.readers).await?;
            rows.iter().map(session).collect()
        })
    }

    fn touch_sessions(&self, seen: Vec<(SessionId, i64)>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if seen.is_empty() {
                return Ok(());
            }
            let mut transaction = self.write_lightly().await?;
            for (id, seen_ms) in seen {
                sqlx::query("UPDATE sessions SET seen_ms = ? WHERE id = ? AND seen_ms < ?")
                    .bind(seen_ms)
                    .bind(id.to_string())
                    .bind(seen_ms)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
    }

    fn revoke_session(&self, user: UserId, id: SessionId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let now_ms = self.now_ms();
            let row = sqlx::query(
                "DELETE FROM sessions WHERE id = ? AND user_id = ? AND expires_ms > ?
                 RETURNING id, expires_ms",
            )
            .bind(id.to_string())
            .bind(user.to_string())
            .bind(now_ms)
            .fetch_optional(&mut *transaction)
            .await?;
            remember(&mut transaction, user, &[row.ok_or(NOT_FOUND)?], now_ms).await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn revoke_sessions(&self, user: UserId, except: Option<SessionId>) -> StoreFuture<'_, Vec<SessionId>> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let revoked = revoke_all(&mut transaction, user, except, self.now_ms()).await?;
            transaction.commit().await?;
            Ok(revoked)
        })
    }

    fn revoked_sessions(&self, since_ms: i64) -> StoreFuture<'_, Vec<(SessionId, i64)>> {
        Box::pin(async move {
            let rows =
                sqlx::query(REVOKED).bind(since_ms).bind(self.now_ms()).fetch_all(&self.readers).await?;
            rows.iter().map(revoked).collect()
        })
    }
}

pub(super) const LIST: &str = concat!(
    "SELECT ",
    session_columns!(),
    " FROM sessions WHERE user_id = ? AND expires_ms > ? ORDER BY seen_ms DESC, number DESC"
);

pub(super) const REVOKED: &str =
    "SELECT id, expires_ms FROM revoked_sessions WHERE revoked_ms >= ? AND expires_ms > ?
     ORDER BY revoked_ms, id";

pub(super) const REVOKE_ELDEST: &str = "DELETE FROM sessions WHERE number IN (
        SELECT number FROM sessions WHERE user_id = ? ORDER BY seen_ms DESC, number DESC LIMIT -1 OFFSET ?
     ) RETURNING id, expires_ms";

/// Revokes a user's live sessions, all or all but one.
pub(super) async fn revoke_all(
    connection: &mut SqliteConnection,
    user: UserId,
    except: Option<SessionId>,
    now_ms: i64,
) -> Result<Vec<SessionId>, StoreError> {
    let rows = sqlx::query(
        "DELETE FROM sessions WHERE user_id = ? AND expires_ms > ? AND id IS NOT ? RETURNING id, expires_ms",
    )
    .bind(user.to_string())
    .bind(now_ms)
    .bind(except.map(|id| id.to_string()))
    .fetch_all(&mut *connection)
    .await?;
    remember(connection, user, &rows, now_ms).await
}

/// Revokes all of a user's sessions but the `kept` seen last. None of them has expired.
async fn revoke_eldest(
    connection: &mut SqliteConnection,
    user: UserId,
    kept: u64,
    now_ms: i64,
) -> Result<(), StoreError> {
    let rows = sqlx::query(REVOKE_ELDEST)
        .bind(user.to_string())
        .bind(signed(kept))
        .fetch_all(&mut *connection)
        .await?;
    remember(connection, user, &rows, now_ms).await?;
    Ok(())
}

/// Notes that these sessions, rows of `id` and `expires_ms`, were revoked.
async fn remember(
    connection: &mut SqliteConnection,
    user: UserId,
    rows: &[SqliteRow],
    now_ms: i64,
) -> Result<Vec<SessionId>, StoreError> {
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        let (id, expires_ms) = revoked(row)?;
        sqlx::query("INSERT INTO revoked_sessions (id, user_id, revoked_ms, expires_ms) VALUES (?, ?, ?, ?)")
            .bind(id.to_string())
            .bind(user.to_string())
            .bind(now_ms)
            .bind(expires_ms)
            .execute(&mut *connection)
            .await?;
        ids.push(id);
    }
    Ok(ids)
}

fn revoked(row: &SqliteRow) -> Result<(SessionId, i64), StoreError> {
    Ok((parsed(row, "id", "sessions.id")?, row.try_get("expires_ms")?))
}

async fn forget_expired(connection: &mut SqliteConnection, now_ms: i64) -> Result<(), StoreError> {
    for query in
        ["DELETE FROM sessions WHERE expires_ms <= ?", "DELETE FROM revoked_sessions WHERE expires_ms <= ?"]
    {
        sqlx::query(query).bind(now_ms).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn check_revoked(connection: &mut SqliteConnection, user: UserId) -> Result<(), StoreError> {
    let revoked: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM revoked_sessions WHERE user_id = ?")
        .bind(user.to_string())
        .fetch_one(connection)
        .await?;
    let given = revoked.unsigned_abs() + 1;
    if given > REVOKED_MAX {
        return Err(StoreError::Full { what: "ended sessions of this account", allowed: REVOKED_MAX, given });
    }
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, session: &Session) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO sessions (id, user_id, created_ms, seen_ms, expires_ms, agent, address)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(session.id.to_string())
    .bind(session.user_id.to_string())
    .bind(session.created_ms)
    .bind(session.seen_ms)
    .bind(session.expires_ms)
    .bind(&session.agent)
    .bind(&session.address)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The first characters of a text that came from a stranger.
pub(super) fn cut(mut text: String, chars_max: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{ManualClock, Rng};

    use super::*;
    use crate::{NewUser, UserRole, UserStore as _};

    #[tokio::test]
    async fn signing_in_and_out_for_ever_fills_nothing() {
        let clock = Arc::new(ManualClock::new());
        let store = SqliteStore::in_memory(clock.clone(), Rng::from_seed(1)).await.unwrap();
        let first = NewUser {
            name: "Ahab".to_owned(),
            email: None,
            role: UserRole::Admin,
            password_hash: None,
            first: true,
        };
        let user_id = store.add_user(first).await.unwrap().id;
        sqlx::query(
            "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
             INSERT INTO revoked_sessions SELECT n, ?, 0, 1000 FROM counted",
        )
        .bind(signed(REVOKED_MAX))
        .bind(user_id.to_string())
        .execute(&store.writer)
        .await
        .unwrap();
        let new = || NewSession {
            user_id,
            agent: String::new(),
            address: String::new(),
            lifetime: Duration::from_hours(1),
        };
        let error = store.add_session(new(), 10).await.unwrap_err();
        let full = matches!(error, StoreError::Full { allowed: REVOKED_MAX, given: 10_001, .. });
        assert!(full, "{error}");
        // As they expire there is room again, and no row of them stays.
        clock.advance(Duration::from_secs(1));
        store.add_session(new(), 10).await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM revoked_sessions")
            .fetch_one(&store.readers)
            .await
            .unwrap();
        assert_eq!(left, 0);
    }
}
