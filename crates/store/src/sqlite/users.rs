use sqlx::SqliteConnection;
use unicode_normalization::UnicodeNormalization as _;

use super::SqliteStore;
use super::api_keys::revoke_all as revoke_all_keys;
use super::rows::{user, user_columns, user_id, wrapped_key};
use super::sessions::revoke_all;
use super::usage::forget_some as forget_some_usage;
use crate::keys::WrappedKey;
use crate::{
    NewUser, SessionId, StoreError, StoreFuture, User, UserId, UserPage, UserPageRequest, UserRole, UserStore,
};

pub(super) const NOT_FOUND: StoreError = StoreError::NotFound { what: "user" };
const LAST_ADMINISTRATOR: StoreError =
    StoreError::Conflict("this is the last administrator: make somebody else one first");

impl UserStore for SqliteStore {
    fn add_user(&self, new: NewUser) -> StoreFuture<'_, User> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let user = self.add(&mut transaction, new, None).await?;
            transaction.commit().await?;
            Ok(user)
        })
    }

    fn user(&self, id: UserId) -> StoreFuture<'_, User> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            find(&mut connection, id).await
        })
    }

    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<User>> {
        Box::pin(async move {
            let query = if login.contains('@') {
                concat!("SELECT ", user_columns!(), " FROM users WHERE email_key = ?")
            } else {
                concat!("SELECT ", user_columns!(), " FROM users WHERE name_key = ?")
            };
            let row = sqlx::query(query).bind(login_key(&login)).fetch_optional(&self.readers).await?;
            row.as_ref().map(user).transpose()
        })
    }

    fn users(&self, page: UserPageRequest) -> StoreFuture<'_, UserPage> {
        Box::pin(async move {
            // One more than asked for tells whether there is a next page. No name folds to nothing.
            let rows = sqlx::query(LIST)
                .bind(name_key(page.after.as_deref().unwrap_or_default()))
                .bind(i64::from(page.limit) + 1)
                .fetch_all(&self.readers)
                .await?;
            let more = rows.len() > page.limit as usize;
            let rows = rows.iter().take(page.limit as usize);
            let users = rows.map(user).collect::<Result<Vec<_>, _>>()?;
            let next = users.last().filter(|_| more).map(|last| last.name.clone());
            Ok(UserPage { users, next })
        })
    }

    fn users_count(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let count: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&self.readers).await?;
            Ok(count.unsigned_abs())
        })
    }

    fn set_password(&self, id: UserId, password_hash: String) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let changed = sqlx::query("UPDATE users SET password_hash = ? WHERE id = ?")
                .bind(password_hash)
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            transaction.commit().await?;
            if changed == 0 { Err(NOT_FOUND) } else { Ok(()) }
        })
    }

    fn change_password(
        &self,
        id: UserId,
        old_hash: Option<String>,
        new_hash: String,
        keep: SessionId,
    ) -> StoreFuture<'_, Vec<SessionId>> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let user = find(&mut transaction, id).await?;
            if user.password_hash != old_hash || user.disabled_ms.is_some() {
                return Err(StoreError::Conflict("the password was changed meanwhile"));
            }
            sqlx::query("UPDATE users SET password_hash = ? WHERE id = ?")
                .bind(new_hash)
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            let revoked = revoke_all(&mut transaction, id, Some(keep), self.now_ms()).await?;
            transaction.commit().await?;
            Ok(revoked)
        })
    }

    fn set_role(&self, id: UserId, role: UserRole) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let user = find(&mut transaction, id).await?;
            if role != UserRole::Admin {
                must_not_be_last(&mut transaction, &user).await?;
            }
            sqlx::query("UPDATE users SET role = ? WHERE id = ?")
                .bind(role.as_str())
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn set_disabled(&self, id: UserId, disabled_ms: Option<i64>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let user = find(&mut transaction, id).await?;
            if disabled_ms.is_some() {
                must_not_be_last(&mut transaction, &user).await?;
                revoke_all(&mut transaction, id, None, self.now_ms()).await?;
            }
            sqlx::query("UPDATE users SET disabled_ms = ? WHERE id = ?")
                .bind(disabled_ms)
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn delete_user(&self, id: UserId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            loop {
                let user = find(&mut transaction, id).await?;
                must_not_be_last(&mut transaction, &user).await?;
                if forget_some_usage(&mut transaction, id).await? {
                    break;
                }
                // There may be very many: others who write take their turns in between.
                transaction.commit().await?;
                transaction = self.write().await?;
            }
            revoke_all(&mut transaction, id, None, self.now_ms()).await?;
            revoke_all_keys(&mut transaction, id, self.now_ms()).await?;
            // Their conversations, and the messages of these, go with them.
            sqlx::query("DELETE FROM users WHERE id = ?")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            self.sealer.forget(id);
            Ok(())
        })
    }
}

impl SqliteStore {
    /// Adds a user in a transaction of the caller's; `email_verified_ms` is for the address, if there is one.
    pub(super) async fn add(
        &self,
        connection: &mut SqliteConnection,
        new: NewUser,
        email_verified_ms: Option<i64>,
    ) -> Result<User, StoreError> {
        let any: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(&mut *connection).await?;
        check_order(&new, any)?;
        check_taken(connection, &new).await?;
        let waiting = if new.first { take_first_user(connection).await? } else { None };
        let (id, wrapped) = match waiting {
            Some(waiting) => waiting,
            None => {
                let id = self.ids.next();
                (id, self.sealer.new_key(id)?.1)
            }
        };
        let user = User {
            id,
            name: new.name,
            email: new.email,
            email_verified_ms,
            role: new.role,
            created_ms: self.now_ms(),
            disabled_ms: None,
            password_hash: new.password_hash,
            key_generation: wrapped.generation,
        };
        insert(connection, &user, &wrapped).await?;
        if new.first {
            sqlx::query("UPDATE conversations SET owner = ? WHERE owner IS NULL")
                .bind(id.to_string())
                .execute(&mut *connection)
                .await?;
        }
        Ok(user)
    }
}

pub(super) const LIST: &str =
    concat!("SELECT ", user_columns!(), " FROM users WHERE name_key > ? ORDER BY name_key LIMIT ?");

/// Two tell as much as all.
pub(super) const ADMINISTRATORS: &str =
    "SELECT COUNT(*) FROM (SELECT 1 FROM users WHERE role = 'admin' AND disabled_ms IS NULL LIMIT 2)";

pub(super) async fn find(connection: &mut SqliteConnection, id: UserId) -> Result<User, StoreError> {
    let row = sqlx::query(concat!("SELECT ", user_columns!(), " FROM users WHERE id = ?"))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    user(&row.ok_or(NOT_FOUND)?)
}

/// What all spellings have in common of a name or an email address with which a user is looked up
/// ([`UserStore::user_by_login`]).
pub fn login_key(login: &str) -> String {
    let login = login.trim();
    if login.contains('@') { email_key(login) } else { name_key(login) }
}

/// What two names have in common that people would take for the same. Folding may undo the normal form, so that is
/// made twice.
pub(super) fn name_key(name: &str) -> String {
    let lower: String = name.nfkc().flat_map(char::to_lowercase).collect();
    lower.nfkc().collect()
}

pub(super) fn email_key(email: &str) -> String {
    email.to_lowercase()
}

/// The first user is made by whoever set the server up, and nobody else is before that.
fn check_order(new: &NewUser, any: bool) -> Result<(), StoreError> {
    match (new.first, any) {
        (true, true) => Err(StoreError::Conflict("there are users already")),
        (false, false) => Err(StoreError::Conflict("there is no administrator yet: set the server up first")),
        (true, false) if new.role != UserRole::Admin => {
            Err(StoreError::Conflict("the first user must be an administrator"))
        }
        _ => Ok(()),
    }
}

async fn check_taken(connection: &mut SqliteConnection, new: &NewUser) -> Result<(), StoreError> {
    let name: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE name_key = ?)")
        .bind(name_key(&new.name))
        .fetch_one(&mut *connection)
        .await?;
    if name {
        return Err(StoreError::Taken { what: "name" });
    }
    let email: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE email_key = ?)")
        .bind(new.email.as_deref().map(email_key))
        .fetch_one(connection)
        .await?;
    if email { Err(StoreError::Taken { what: "email address" }) } else { Ok(()) }
}

/// The id and the key that wait for the first user, if there were conversations before there were users.
async fn take_first_user(
    connection: &mut SqliteConnection,
) -> Result<Option<(UserId, WrappedKey)>, StoreError> {
    let row = sqlx::query("DELETE FROM first_user RETURNING id, wrapped_key, key_generation")
        .fetch_optional(connection)
        .await?;
    row.map(|row| Ok((user_id(&row)?, wrapped_key(&row)?))).transpose()
}

async fn insert(
    connection: &mut SqliteConnection,
    user: &User,
    wrapped: &WrappedKey,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO users
            (id, name, name_key, email, email_key, email_verified_ms, role, created_ms, password_hash, wrapped_key,
             key_generation)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(user.id.to_string())
    .bind(&user.name)
    .bind(name_key(&user.name))
    .bind(&user.email)
    .bind(user.email.as_deref().map(email_key))
    .bind(user.email_verified_ms)
    .bind(user.role.as_str())
    .bind(user.created_ms)
    .bind(&user.password_hash)
    .bind(&wrapped.bytes)
    .bind(i64::from(wrapped.generation))
    .execute(connection)
    .await?;
    Ok(())
}

/// Fails if this user is the only administrator who may sign in.
pub(super) async fn must_not_be_last(
    connection: &mut SqliteConnection,
    user: &User,
) -> Result<(), StoreError> {
    if user.role != UserRole::Admin || user.disabled_ms.is_some() {
        return Ok(());
    }
    let administrators: i64 = sqlx::query_scalar(ADMINISTRATORS).fetch_one(connection).await?;
    if administrators < 2 { Err(LAST_ADMINISTRATOR) } else { Ok(()) }
}

/// Fails if a user could not sign in any more, as things are in this transaction.
pub(super) async fn must_have_a_way_in(
    connection: &mut SqliteConnection,
    user: UserId,
) -> Result<(), StoreError> {
    let has: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM users WHERE id = ?1 AND password_hash IS NOT NULL)
             OR EXISTS (SELECT 1 FROM links WHERE user_id = ?1)
             OR EXISTS (SELECT 1 FROM passkeys WHERE user_id = ?1)",
    )
    .bind(user.to_string())
    .fetch_one(connection)
    .await?;
    if has {
        return Ok(());
    }
    Err(StoreError::Conflict("this is the last way in to this account: set a password or add another first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_fold_to_the_same() {
        for (one, other) in
            [("Ahab", "AHAB"), ("\u{fb01}n", "fin"), ("Ａｈａｂ", "ahab"), ("e\u{301}", "É"), ("Ⅻ", "xii")]
        {
            assert_eq!(name_key(one), name_key(other), "{one} {other}");
        }
        assert_ne!(name_key("ahab"), name_key("ahah"));
        for name in ["Ahab", "\u{130}stanbul", "ΌΣΟΣ", "\u{1e9e}", "\u{2126}", "\u{3f4}\u{345}"] {
            assert_eq!(name_key(name), name_key(&name_key(name)), "folded once is folded: {name}");
        }
    }
}
