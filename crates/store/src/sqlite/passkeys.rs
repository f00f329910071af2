use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::one_time_codes::remove as remove_one_time_codes;
use super::rows::{parsed, passkey, passkey_columns, signed};
use super::users::{NOT_FOUND as NO_USER, find as find_user, must_have_a_way_in};
use crate::seal::Place;
use crate::{NewPasskey, Passkey, PasskeyId, PasskeyStore, PasskeyUse, StoreError, StoreFuture, UserId};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "passkey" };
const TAKEN: StoreError = StoreError::Conflict("this passkey belongs to an account already");
const COUNTER_WENT_BACK: StoreError =
    StoreError::Conflict("the passkey's counter went back: there is a copy of it");

impl PasskeyStore for SqliteStore {
    fn add_passkey(&self, user: UserId, new: NewPasskey, passkeys_max: u64) -> StoreFuture<'_, Passkey> {
        Box::pin(async move {
            let key = self.key(user).await?.ok_or(NO_USER)?;
            let mut transaction = self.write().await?;
            find_user(&mut transaction, user).await?;
            let given = count(&mut transaction, user).await? + 1;
            if given > passkeys_max {
                return Err(StoreError::Full { what: "passkeys", allowed: passkeys_max, given });
            }
            let taken: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM passkeys WHERE credential_id = ?)")
                    .bind(&new.credential_id)
                    .fetch_one(&mut *transaction)
                    .await?;
            if taken {
                return Err(TAKEN);
            }
            let passkey = Passkey {
                id: self.ids.next(),
                user_id: user,
                credential_id: new.credential_id,
                public_key: new.public_key,
                sign_count: new.sign_count,
                backup: new.backup,
                transports: new.transports,
                name: new.name,
                created_ms: self.now_ms(),
                used_ms: None,
            };
            let name = self.sealer.seal(&key, Place::passkey_name(passkey.id), &passkey.name)?;
            insert(&mut transaction, &passkey, name).await?;
            transaction.commit().await?;
            Ok(passkey)
        })
    }

    fn passkeys(&self, user: UserId) -> StoreFuture<'_, Vec<Passkey>> {
        Box::pin(async move {
            let Some(key) = self.key(user).await? else { return Ok(Vec::new()) };
            let rows = sqlx::query(LIST).bind(user.to_string()).fetch_all(&self.readers).await?;
            rows.iter().map(|row| passkey(row, &key)).collect()
        })
    }

    fn passkey_by_credential(&self, credential_id: Vec<u8>) -> StoreFuture<'_, Option<Passkey>> {
        Box::pin(async move {
            let row = sqlx::query(BY_CREDENTIAL).bind(credential_id).fetch_optional(&self.readers).await?;
            let Some(row) = row else { return Ok(None) };
            // Whoever was deleted since then has taken the row with them.
            let Some(key) = self.key(owner(&row)?).await? else { return Ok(None) };
            passkey(&row, &key).map(Some)
        })
    }

    fn rename_passkey(&self, user: UserId, id: PasskeyId, name: String) -> StoreFuture<'_, Passkey> {
        Box::pin(async move {
            let key = self.key(user).await?.ok_or(NOT_FOUND)?;
            let mut transaction = self.write().await?;
            let row = sqlx::query(concat!(
                "UPDATE passkeys SET name_sealed = ? WHERE id = ? AND user_id = ? RETURNING ",
                passkey_columns!()
            ))
            .bind(self.sealer.seal(&key, Place::passkey_name(id), &name)?)
            .bind(id.to_string())
            .bind(user.to_string())
            .fetch_optional(&mut *transaction)
            .await?;
            let renamed = passkey(&row.ok_or(NOT_FOUND)?, &key)?;
            transaction.commit().await?;
            Ok(renamed)
        })
    }

    fn passkey_used(&self, user: UserId, id: PasskeyId, usage: PasskeyUse) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let last: Option<i64> =
                sqlx::query_scalar("SELECT sign_count FROM passkeys WHERE id = ? AND user_id = ?")
                    .bind(id.to_string())
                    .bind(user.to_string())
                    .fetch_optional(&mut *transaction)
                    .await?;
            let last = last.ok_or(NOT_FOUND)?;
            // One that has always been 0 belongs to an authenticator that does not count.
            let counts = i64::from(usage.sign_count);
            if last > 0 && counts <= last {
                return Err(COUNTER_WENT_BACK);
            }
            sqlx::query("UPDATE passkeys SET sign_count = ?, backup = ?, used_ms = ? WHERE id = ?")
                .bind(counts)
                .bind(usage.backup.as_str())
                .bind(self.now_ms())
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn delete_passkey(&self, user: UserId, id: PasskeyId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let removed = sqlx::query("DELETE FROM passkeys WHERE id = ? AND user_id = ?")
                .bind(id.to_string())
                .bind(user.to_string())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            if removed == 0 {
                return Err(NOT_FOUND);
            }
            // If not, the transaction is rolled back.
            must_have_a_way_in(&mut transaction, user).await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn clear_factors(&self, user: UserId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            find_user(&mut transaction, user).await?;
            remove_one_time_codes(&mut transaction, user).await?;
            sqlx::query("DELETE FROM passkeys WHERE user_id = ?")
                .bind(user.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
    }
}

pub(super) const LIST: &str =
    concat!("SELECT ", passkey_columns!(), " FROM passkeys WHERE user_id = ? ORDER BY number");

pub(super) const BY_CREDENTIAL: &str =
    concat!("SELECT ", passkey_columns!(), " FROM passkeys WHERE credential_id = ?");

fn owner(row: &SqliteRow) -> Result<UserId, StoreError> {
    parsed(row, "user_id", "passkeys.user_id")
}

async fn count(connection: &mut SqliteConnection, user: UserId) -> Result<u64, StoreError> {
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM passkeys WHERE user_id = ?")
        .bind(user.to_string())
        .fetch_one(connection)
        .await?;
    Ok(count.unsigned_abs())
}

async fn insert(
    connection: &mut SqliteConnection,
    passkey: &Passkey,
    name: Vec<u8>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO passkeys
            (id, user_id, credential_id, public_key, sign_count, backup, transports, name_sealed, created_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(passkey.id.to_string())
    .bind(passkey.user_id.to_string())
    .bind(&passkey.credential_id)
    .bind(&passkey.public_key)
    .bind(signed(passkey.sign_count.into()))
    .bind(passkey.backup.as_str())
    .bind(signed(passkey.transports.into()))
    .bind(name)
    .bind(passkey.created_ms)
    .execute(connection)
    .await?;
    Ok(())
}
