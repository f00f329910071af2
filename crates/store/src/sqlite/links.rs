use sqlx::SqliteConnection;

use super::SqliteStore;
use super::rows::{link, user, user_columns};
use super::users::{find as find_user, must_have_a_way_in};
use crate::{Identity, Link, LinkId, LinkStore, StoreError, StoreFuture, User, UserId};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "login" };
const TAKEN: StoreError = StoreError::Taken { what: "login" };

/// Accounts elsewhere that one user may have.
const LINKS_MAX: u64 = 20;

impl LinkStore for SqliteStore {
    fn add_link(&self, user: UserId, identity: Identity) -> StoreFuture<'_, Link> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            find_user(&mut transaction, user).await?;
            if let Some(there) = find(&mut transaction, &identity).await? {
                return if there.user_id == user { Ok(there) } else { Err(TAKEN) };
            }
            let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM links WHERE user_id = ?")
                .bind(user.to_string())
                .fetch_one(&mut *transaction)
                .await?;
            let given = count.unsigned_abs() + 1;
            if given > LINKS_MAX {
                return Err(StoreError::Full { what: "logins of this account", allowed: LINKS_MAX, given });
            }
            let link = self.new_link(user, &identity);
            insert(&mut transaction, &link, &identity).await?;
            transaction.commit().await?;
            Ok(link)
        })
    }

    fn user_by_identity(&self, identity: Identity) -> StoreFuture<'_, Option<User>> {
        Box::pin(async move {
            let row = sqlx::query(OWNER)
                .bind(identity.issuer)
                .bind(identity.subject)
                .fetch_optional(&self.readers)
                .await?;
            row.as_ref().map(user).transpose()
        })
    }

    fn links(&self, user: UserId) -> StoreFuture<'_, Vec<Link>> {
        Box::pin(async move {
            let rows = sqlx::query(LIST).bind(user.to_string()).fetch_all(&self.readers).await?;
            rows.iter().map(link).collect()
        })
    }

    fn remove_link(&self, user: UserId, id: LinkId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let removed = sqlx::query("DELETE FROM links WHERE id = ? AND user_id = ?")
                .bind(id.to_string())
                .bind(user.to_string())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            if removed == 0 {
                return Err(NOT_FOUND);
            }
            must_have_a_way_in(&mut transaction, user).await?;
            transaction.commit().await?;
            Ok(())
        })
    }
}

impl SqliteStore {
    pub(super) fn new_link(&self, user_id: UserId, identity: &Identity) -> Link {
        let provider = identity.provider.clone();
        Link { id: self.ids.next(), user_id, provider, created_ms: self.now_ms() }
    }
}

pub(super) const OWNER: &str = concat!(
    "SELECT ",
    user_columns!(),
    " FROM users WHERE id = (SELECT user_id FROM links WHERE issuer = ? AND subject = ?)"
);

pub(super) const LIST: &str =
    "SELECT id, user_id, provider, created_ms FROM links WHERE user_id = ? ORDER BY number";

async fn find(connection: &mut SqliteConnection, identity: &Identity) -> Result<Option<Link>, StoreError> {
    let query = "SELECT id, user_id, provider, created_ms FROM links WHERE issuer = ? AND subject = ?";
    let row =
        sqlx::query(query).bind(&identity.issuer).bind(&identity.subject).fetch_optional(connection).await?;
    row.as_ref().map(link).transpose()
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    link: &Link,
    identity: &Identity,
) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO links (id, user_id, provider, issuer, subject, created_ms) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (issuer, subject) DO NOTHING",
    )
    .bind(link.id.to_string())
    .bind(link.user_id.to_string())
    .bind(&link.provider)
    .bind(&identity.issuer)
    .bind(&identity.subject)
    .bind(link.created_ms)
    .execute(connection)
    .await?
    .rows_affected();
    if inserted == 0 { Err(TAKEN) } else { Ok(()) }
}
