use std::sync::Arc;

use sqlx::{Row as _, SqliteConnection};
use zeroize::Zeroizing;

use super::users::{NOT_FOUND as NO_USER, find as find_user};
use super::{SqliteStore, Write};
use crate::seal::{Place, UserKey};
use crate::{NewOneTimeCodes, OneTimeCodeStore, OneTimeCodes, StoreError, StoreFuture, UserId};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "one-time codes" };

impl OneTimeCodeStore for SqliteStore {
    fn set_one_time_codes(&self, user: UserId, new: NewOneTimeCodes) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let key = self.key(user).await?.ok_or(NO_USER)?;
            let secret = self.sealer.seal(&key, Place::one_time_secret(user), &new.secret)?;
            let step = self.sealer.seal(&key, Place::one_time_step(user), &new.step.to_string())?;
            let codes =
                self.sealer.seal(&key, Place::recovery_codes(user), &new.recovery_codes.join("\n"))?;
            let mut transaction = self.write().await?;
            // Who was deleted in between is not found, which a foreign key would say in other words.
            find_user(&mut transaction, user).await?;
            sqlx::query(
                "INSERT OR REPLACE INTO one_time_codes
                    (user_id, created_ms, secret_sealed, step_sealed, recovery_sealed)
                 VALUES (?, ?, ?, ?, ?)",
            )
            .bind(user.to_string())
            .bind(self.now_ms())
            .bind(secret)
            .bind(step)
            .bind(codes)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn one_time_codes(&self, user: UserId) -> StoreFuture<'_, Option<OneTimeCodes>> {
        Box::pin(async move {
            let Some(key) = self.key(user).await? else { return Ok(None) };
            let row =
                sqlx::query("SELECT secret_sealed, recovery_sealed FROM one_time_codes WHERE user_id = ?")
                    .bind(user.to_string())
                    .fetch_optional(&self.readers)
                    .await?;
            let Some(row) = row else { return Ok(None) };
            let codes = key.open(Place::recovery_codes(user), row.try_get("recovery_sealed")?)?;
            Ok(Some(OneTimeCodes {
                secret: Zeroizing::new(
                    key.open(Place::one_time_secret(user), row.try_get("secret_sealed")?)?,
                ),
                recovery_codes_left: codes.lines().count() as u32,
            }))
        })
    }

    fn take_step(&self, user: UserId, step: u64) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let Some((key, mut transaction)) = self.begin_with_key(user).await? else { return Ok(false) };
            let Some(sealed) = sealed(&mut transaction, STEP, user).await? else { return Ok(false) };
            let place = Place::one_time_step(user);
            let last = key.open(place, &sealed)?;
            let damaged = |_| StoreError::Damaged {
                column: "one_time_codes.step",
                value: "a text that is no step".to_owned(),
            };
            if step <= last.parse::<u64>().map_err(damaged)? {
                return Ok(false);
            }
            sqlx::query("UPDATE one_time_codes SET step_sealed = ? WHERE user_id = ?")
                .bind(self.sealer.seal(&key, place, &step.to_string())?)
                .bind(user.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(true)
        })
    }

    fn set_recovery_codes(&self, user: UserId, codes: Vec<String>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let (key, mut transaction) = self.begin_with_key(user).await?.ok_or(NOT_FOUND)?;
            let sealed = self.sealer.seal(&key, Place::recovery_codes(user), &codes.join("\n"))?;
            let changed = write_recovery_codes(&mut transaction, user, sealed).await?;
            transaction.commit().await?;
            if changed { Ok(()) } else { Err(NOT_FOUND) }
        })
    }

    fn take_recovery_code(&self, user: UserId, code: String) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let Some((key, mut transaction)) = self.begin_with_key(user).await? else { return Ok(false) };
            let Some(sealed) = sealed(&mut transaction, RECOVERY, user).await? else { return Ok(false) };
            let place = Place::recovery_codes(user);
            let codes = key.open(place, &sealed)?;
            let left: Vec<_> = codes.lines().filter(|left| *left != code).collect();
            if left.len() == codes.lines().count() {
                return Ok(false);
            }
            let sealed = self.sealer.seal(&key, place, &left.join("\n"))?;
            write_recovery_codes(&mut transaction, user, sealed).await?;
            transaction.commit().await?;
            Ok(true)
        })
    }

    fn remove_one_time_codes(&self, user: UserId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let removed = remove(&mut transaction, user).await?;
            transaction.commit().await?;
            if removed { Ok(()) } else { Err(NOT_FOUND) }
        })
    }
}

impl SqliteStore {
    /// A user's key and then, so that it does not wait for itself, a transaction that writes.
    async fn begin_with_key(&self, user: UserId) -> Result<Option<(Arc<UserKey>, Write)>, StoreError> {
        let Some(key) = self.key(user).await? else { return Ok(None) };
        Ok(Some((key, self.write().await?)))
    }
}

const STEP: &str = "SELECT step_sealed FROM one_time_codes WHERE user_id = ?";
const RECOVERY: &str = "SELECT recovery_sealed FROM one_time_codes WHERE user_id = ?";

async fn sealed(
    connection: &mut SqliteConnection,
    query: &'static str,
    user: UserId,
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(sqlx::query_scalar(query).bind(user.to_string()).fetch_optional(connection).await?)
}

async fn write_recovery_codes(
    connection: &mut SqliteConnection,
    user: UserId,
    sealed: Vec<u8>,
) -> Result<bool, StoreError> {
    let changed = sqlx::query("UPDATE one_time_codes SET recovery_sealed = ? WHERE user_id = ?")
        .bind(sealed)
        .bind(user.to_string())
        .execute(connection)
        .await?
        .rows_affected();
    Ok(changed > 0)
}

/// Whether there were any.
pub(super) async fn remove(connection: &mut SqliteConnection, user: UserId) -> Result<bool, StoreError> {
    let removed = sqlx::query("DELETE FROM one_time_codes WHERE user_id = ?")
        .bind(user.to_string())
        .execute(connection)
        .await?
        .rows_affected();
    Ok(removed > 0)
}
