use sqlx::SqliteConnection;

use super::SqliteStore;
use super::links::insert as insert_link;
use super::rows::signed;
use super::sessions::{milliseconds, revoke_all};
use super::users::{email_key, find};
use crate::{AddressStore, Identity, NewUser, SessionId, SignUpLink, StoreError, StoreFuture, User, UserId};

/// Whoever has a letter can try it twice, or after what it was about has changed.
const USED: StoreError = StoreError::Conflict("this has been done already, or something else has since");

/// Used links that are remembered: forgetting one early would make it good again.
const USED_SIGN_UPS_MAX: u64 = 100_000;

impl AddressStore for SqliteStore {
    fn add_verified_user(&self, new: NewUser, identity: Option<Identity>) -> StoreFuture<'_, User> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let verified_ms = new.email.is_some().then(|| self.now_ms());
            let user = self.add(&mut transaction, new, verified_ms).await?;
            if let Some(identity) = identity {
                insert_link(&mut transaction, &self.new_link(user.id, &identity), &identity).await?;
            }
            transaction.commit().await?;
            Ok(user)
        })
    }

    fn add_user_by_link(&self, new: NewUser, link: SignUpLink) -> StoreFuture<'_, User> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let now_ms = self.now_ms();
            take_sign_up(&mut transaction, link, now_ms).await?;
            let user = self.add(&mut transaction, new, Some(now_ms)).await?;
            transaction.commit().await?;
            Ok(user)
        })
    }

    fn change_email(
        &self,
        id: UserId,
        old: Option<String>,
        old_hash: Option<String>,
        new: String,
    ) -> StoreFuture<'_, User> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let user = find(&mut transaction, id).await?;
            let same = user.email.as_ref() == Some(&new);
            let done = same && user.email_verified_ms.is_some();
            if user.email != old || user.password_hash != old_hash || user.disabled_ms.is_some() || done {
                return Err(USED);
            }
            let taken: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE email_key = ? AND id <> ?)")
                    .bind(email_key(&new))
                    .bind(id.to_string())
                    .fetch_one(&mut *transaction)
                    .await?;
            if taken {
                return Err(StoreError::Taken { what: "email address" });
            }
            let verified_ms = self.now_ms();
            sqlx::query("UPDATE users SET email = ?, email_key = ?, email_verified_ms = ? WHERE id = ?")
                .bind(&new)
                .bind(email_key(&new))
                .bind(verified_ms)
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(User { email: Some(new), email_verified_ms: Some(verified_ms), ..user })
        })
    }

    fn reset_password(
        &self,
        id: UserId,
        email: String,
        old_hash: Option<String>,
        new_hash: String,
    ) -> StoreFuture<'_, Vec<SessionId>> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let user = find(&mut transaction, id).await?;
            if user.password_hash != old_hash || user.email != Some(email) || user.disabled_ms.is_some() {
                return Err(USED);
            }
            sqlx::query("UPDATE users SET password_hash = ?, email_verified_ms = ? WHERE id = ?")
                .bind(new_hash)
                .bind(self.now_ms())
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            let revoked = revoke_all(&mut transaction, id, None, self.now_ms()).await?;
            transaction.commit().await?;
            Ok(revoked)
        })
    }
}

pub(super) const SIGN_UP_USED: &str = "SELECT used_ms FROM used_sign_ups WHERE address = ?";

pub(super) const FORGET_SIGN_UPS: &str = "DELETE FROM used_sign_ups WHERE expires_ms <= ?";

/// Notes that a link is used, and with it those sent to the same address before.
async fn take_sign_up(
    connection: &mut SqliteConnection,
    link: SignUpLink,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(FORGET_SIGN_UPS).bind(now_ms).execute(&mut *connection).await?;
    let used_ms: Option<i64> =
        sqlx::query_scalar(SIGN_UP_USED).bind(&link.address[..]).fetch_optional(&mut *connection).await?;
    if used_ms.is_some_and(|used_ms| link.sent_ms <= used_ms) {
        return Err(USED);
    }
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM used_sign_ups").fetch_one(&mut *connection).await?;
    if used_ms.is_none() && count >= signed(USED_SIGN_UPS_MAX) {
        let given = count.unsigned_abs() + 1;
        return Err(StoreError::Full { what: "sign-ups in a day", allowed: USED_SIGN_UPS_MAX, given });
    }
    // Also where the clock went back since it was sent.
    let used_ms = now_ms.max(link.sent_ms);
    sqlx::query("INSERT OR REPLACE INTO used_sign_ups (address, used_ms, expires_ms) VALUES (?, ?, ?)")
        .bind(&link.address[..])
        .bind(used_ms)
        .bind(used_ms.saturating_add(milliseconds(link.lifetime)))
        .execute(connection)
        .await?;
    Ok(())
}
