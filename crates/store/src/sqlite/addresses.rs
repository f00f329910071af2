use super::SqliteStore;
use super::links::insert as insert_link;
use super::sessions::revoke_all;
use super::users::{email_key, find};
use crate::{AddressStore, Identity, NewUser, SessionId, StoreError, StoreFuture, User, UserId};

/// Whoever has a letter can try it twice, or after what it was about has changed.
const USED: StoreError = StoreError::Conflict("this has been done already, or something else has since");

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
