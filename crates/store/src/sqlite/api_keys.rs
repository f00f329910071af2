use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::rows::{key, key_columns, parsed, signed};
use super::sessions::cut;
use super::users::{NOT_FOUND as NO_USER, find as find_user};
use crate::seal::{Place, UserKey};
use crate::{Key, KeyChange, KeyId, KeyStore, NewKey, StoreError, StoreFuture, UserId};

pub(super) const NOT_FOUND: StoreError = StoreError::NotFound { what: "key" };

/// Characters of a key that are kept to tell it from others.
const START_CHARS_MAX: usize = 32;

/// Revoked keys that are remembered.
const REVOKED_MAX: i64 = 100_000;

impl KeyStore for SqliteStore {
    fn add_key(&self, new: NewKey, keys_max: u64) -> StoreFuture<'_, Key> {
        Box::pin(async move {
            let user_key = self.key(new.user).await?.ok_or(NO_USER)?;
            let mut transaction = self.write().await?;
            if find_user(&mut transaction, new.user).await?.disabled_ms.is_some() {
                return Err(StoreError::Conflict("this account is disabled"));
            }
            let count: i64 =
                sqlx::query_scalar(COUNT).bind(new.user.to_string()).fetch_one(&mut *transaction).await?;
            let given = count.unsigned_abs() + 1;
            if given > keys_max {
                return Err(StoreError::Full { what: "keys", allowed: keys_max, given });
            }
            let added = Key {
                id: new.id,
                user: new.user,
                name: new.name,
                start: cut(new.start, START_CHARS_MAX),
                hash: new.hash,
                created_ms: new.created_ms,
                expires_ms: new.expires_ms,
                used_ms: None,
                spent: crate::Nanos::ZERO,
                scope: new.scope,
            };
            insert(&mut transaction, &added, self.sealed_name(&user_key, &added)?).await?;
            transaction.commit().await?;
            Ok(added)
        })
    }

    fn keys(&self, user: UserId) -> StoreFuture<'_, Vec<Key>> {
        Box::pin(async move {
            let Some(user_key) = self.key(user).await? else { return Ok(Vec::new()) };
            let rows = sqlx::query(LIST).bind(user.to_string()).fetch_all(&self.readers).await?;
            rows.iter().map(|row| key(row, &user_key)).collect()
        })
    }

    fn key(&self, id: KeyId) -> StoreFuture<'_, Key> {
        Box::pin(async move {
            let row = sqlx::query(GOOD)
                .bind(id.to_string())
                .bind(self.now_ms())
                .fetch_optional(&self.readers)
                .await?
                .ok_or(NOT_FOUND)?;
            // Whoever was deleted since then has taken the row with them.
            let user_key = self.key(parsed(&row, "user_id", "api_keys.user_id")?).await?.ok_or(NOT_FOUND)?;
            key(&row, &user_key)
        })
    }

    fn change_key(&self, user: UserId, id: KeyId, change: KeyChange) -> StoreFuture<'_, Key> {
        Box::pin(async move {
            let user_key = self.key(user).await?.ok_or(NOT_FOUND)?;
            let mut transaction = self.write().await?;
            let row = sqlx::query(ONE)
                .bind(id.to_string())
                .bind(user.to_string())
                .fetch_optional(&mut *transaction)
                .await?;
            let before = key(&row.ok_or(NOT_FOUND)?, &user_key)?;
            let after = Key {
                name: change.name.unwrap_or(before.name),
                scope: change.scope.unwrap_or(before.scope),
                expires_ms: change.expires_ms.unwrap_or(before.expires_ms),
                ..before
            };
            update(&mut transaction, &after, self.sealed_name(&user_key, &after)?).await?;
            transaction.commit().await?;
            Ok(after)
        })
    }

    fn revoke_key(&self, user: UserId, id: KeyId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let row =
                sqlx::query("DELETE FROM api_keys WHERE id = ? AND user_id = ? RETURNING id, expires_ms")
                    .bind(id.to_string())
                    .bind(user.to_string())
                    .fetch_optional(&mut *transaction)
                    .await?;
            remember(&mut transaction, &[row.ok_or(NOT_FOUND)?], self.now_ms()).await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn revoked_keys(&self, since_ms: i64) -> StoreFuture<'_, Vec<(KeyId, Option<i64>)>> {
        Box::pin(async move {
            let rows =
                sqlx::query(REVOKED).bind(since_ms).bind(self.now_ms()).fetch_all(&self.readers).await?;
            rows.iter().map(revoked).collect()
        })
    }

    fn touch_keys(&self, used: Vec<(KeyId, i64)>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if used.is_empty() {
                return Ok(());
            }
            let mut transaction = self.write_lightly().await?;
            for (id, used_ms) in used {
                sqlx::query(
                    "UPDATE api_keys SET used_ms = ?1 WHERE id = ?2 AND COALESCE(used_ms < ?1, TRUE)",
                )
                .bind(used_ms)
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
    }
}

pub(super) const LIST: &str =
    concat!("SELECT ", key_columns!(), " FROM api_keys WHERE user_id = ? ORDER BY number");

pub(super) const GOOD: &str = concat!(
    "SELECT ",
    key_columns!(),
    " FROM api_keys WHERE id = ? AND COALESCE(expires_ms > ?, TRUE)
        AND (SELECT disabled_ms FROM users WHERE users.id = api_keys.user_id) IS NULL"
);

pub(super) const COUNT: &str = "SELECT COUNT(*) FROM api_keys WHERE user_id = ?";

const ONE: &str = concat!("SELECT ", key_columns!(), " FROM api_keys WHERE id = ? AND user_id = ?");

pub(super) const REVOKED: &str = "SELECT id, expires_ms FROM revoked_keys
     WHERE revoked_ms >= ? AND COALESCE(expires_ms > ?, TRUE) ORDER BY revoked_ms, number";

impl SqliteStore {
    fn sealed_name(&self, user_key: &UserKey, key: &Key) -> Result<Vec<u8>, StoreError> {
        self.sealer.seal(user_key, Place::key_name(key.id), &key.name)
    }
}

/// Revokes all of a user's keys, who is about to be deleted.
pub(super) async fn revoke_all(
    connection: &mut SqliteConnection,
    user: UserId,
    now_ms: i64,
) -> Result<(), StoreError> {
    let rows = sqlx::query("DELETE FROM api_keys WHERE user_id = ? RETURNING id, expires_ms")
        .bind(user.to_string())
        .fetch_all(&mut *connection)
        .await?;
    remember(connection, &rows, now_ms).await
}

/// Notes that these keys, rows of `id` and `expires_ms`, were revoked, as far as they were good.
async fn remember(
    connection: &mut SqliteConnection,
    rows: &[SqliteRow],
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM revoked_keys WHERE expires_ms <= ?")
        .bind(now_ms)
        .execute(&mut *connection)
        .await?;
    for row in rows {
        let (id, expires_ms) = revoked(row)?;
        if expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms) {
            continue;
        }
        let number = sqlx::query("INSERT INTO revoked_keys (id, revoked_ms, expires_ms) VALUES (?, ?, ?)")
            .bind(id.to_string())
            .bind(now_ms)
            .bind(expires_ms)
            .execute(&mut *connection)
            .await?
            .last_insert_rowid();
        sqlx::query("DELETE FROM revoked_keys WHERE number <= ?")
            .bind(number - REVOKED_MAX)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn revoked(row: &SqliteRow) -> Result<(KeyId, Option<i64>), StoreError> {
    use sqlx::Row as _;
    Ok((parsed(row, "id", "api_keys.id")?, row.try_get("expires_ms")?))
}

async fn insert(connection: &mut SqliteConnection, key: &Key, name: Vec<u8>) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO api_keys (id, user_id, hash, start, name_sealed, created_ms, expires_ms, spent, addresses)
         VALUES (?, ?, ?, ?, ?, ?, ?, 0, '') ON CONFLICT DO NOTHING",
    )
    .bind(key.id.to_string())
    .bind(key.user.to_string())
    .bind(key.hash.as_slice())
    .bind(&key.start)
    .bind(&name)
    .bind(key.created_ms)
    .bind(key.expires_ms)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if inserted == 0 {
        return Err(StoreError::Conflict("there is such a key already"));
    }
    update(connection, key, name).await
}

/// Writes what can be changed of a key that is there.
async fn update(connection: &mut SqliteConnection, key: &Key, name: Vec<u8>) -> Result<(), StoreError> {
    let scope = &key.scope;
    sqlx::query(
        "UPDATE api_keys SET name_sealed = ?, expires_ms = ?, models = ?, spend_max = ?, addresses = ?,
            requests_at_once = ?, requests_per_day = ?, tokens_per_day = ?
         WHERE id = ?",
    )
    .bind(name)
    .bind(key.expires_ms)
    .bind(scope.models.as_deref().map(one_a_line).transpose()?)
    .bind(scope.spend_max.map(|amount| amount.0))
    .bind(one_a_line(&scope.addresses)?)
    .bind(scope.requests_at_once)
    .bind(scope.requests_per_day)
    .bind(scope.tokens_per_day.map(signed))
    .bind(key.id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

fn one_a_line(names: &[String]) -> Result<String, StoreError> {
    if names.iter().any(|name| name.is_empty() || name.contains(['\n', '\r'])) {
        return Err(StoreError::Conflict(
            "names of models and addresses are not empty and have no line breaks",
        ));
    }
    Ok(names.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{ManualClock, Rng};

    use super::*;
    use crate::{KeyScope, NewUser, UserRole, UserStore as _};

    #[tokio::test]
    async fn only_so_many_revoked_keys_are_remembered() {
        let store = SqliteStore::in_memory(Arc::new(ManualClock::new()), Rng::from_seed(1)).await.unwrap();
        let first = NewUser {
            name: "Ahab".to_owned(),
            email: None,
            role: UserRole::Admin,
            password_hash: None,
            first: true,
        };
        let user = store.add_user(first).await.unwrap().id;
        sqlx::query(
            "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
             INSERT INTO revoked_keys (number, id, revoked_ms)
             SELECT n, format('00000000-0000-7000-8000-%012x', n), 0 FROM counted",
        )
        .bind(REVOKED_MAX)
        .execute(&store.writer)
        .await
        .unwrap();
        let id = KeyId::from([7; 16]);
        let new = NewKey {
            id,
            user,
            name: String::new(),
            start: String::new(),
            hash: [0; 32],
            created_ms: 0,
            expires_ms: None,
            scope: KeyScope::default(),
        };
        store.add_key(new, 1).await.unwrap();
        store.revoke_key(user, id).await.unwrap();
        let remembered = store.revoked_keys(0).await.unwrap();
        assert_eq!(remembered.len() as i64, REVOKED_MAX);
        assert_eq!(remembered[0].0.to_string(), "00000000-0000-7000-8000-000000000002");
        assert_eq!(remembered.last(), Some(&(id, None)));
    }
}
