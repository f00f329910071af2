use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::groups::NOT_FOUND as NO_GROUP;
use super::rows::{audit_entry, group_ids, user, user_columns};
use super::sessions::revoke_all;
use super::users::{NOT_FOUND, email_key, find as find_user, must_not_be_last, name_key};
use crate::{
    AuditPage, AuditPageRequest, AuditRow, GroupId, NewUser, OperatorStore, StoreError, StoreFuture, User,
    UserCard, UserChange, UserId, UserRole, UserSearch, UserSearchPage,
};

/// The columns that [`card`] reads, in a query on `users` with Unix milliseconds as its first argument.
macro_rules! card_columns {
    () => {
        concat!(
            user_columns!(),
            ", (SELECT MAX(seen_ms) FROM sessions WHERE user_id = users.id AND expires_ms > ?) AS seen_ms,
               (SELECT group_concat(group_id) FROM group_members WHERE user_id = users.id) AS group_ids,
               EXISTS (SELECT 1 FROM one_time_codes WHERE user_id = users.id) AS totp,
               (SELECT COUNT(*) FROM passkeys WHERE user_id = users.id) AS passkeys,
               (SELECT COUNT(*) FROM links WHERE user_id = users.id) AS links"
        )
    };
}

/// Holds for users whose name or email address holds a folded text; both arguments are that text.
macro_rules! is_found {
    () => {
        "(instr(name_key, ?) > 0 OR instr(email_key, ?) > 0)"
    };
}

impl OperatorStore for SqliteStore {
    fn search_users(&self, search: UserSearch) -> StoreFuture<'_, UserSearchPage> {
        Box::pin(async move {
            let (name, email) = (name_key(search.holding.trim()), email_key(search.holding.trim()));
            // Both reads see the same state of the database.
            let mut transaction = self.readers.begin().await?;
            let total: i64 = sqlx::query_scalar(concat!("SELECT COUNT(*) FROM users WHERE ", is_found!()))
                .bind(&name)
                .bind(&email)
                .fetch_one(&mut *transaction)
                .await?;
            // One more than asked for tells whether there is a next page. No name folds to nothing.
            let rows = sqlx::query(SEARCH)
                .bind(self.now_ms())
                .bind(name_key(search.after.as_deref().unwrap_or_default()))
                .bind(&name)
                .bind(&email)
                .bind(i64::from(search.limit) + 1)
                .fetch_all(&mut *transaction)
                .await?;
            let more = rows.len() > search.limit as usize;
            let rows = rows.iter().take(search.limit as usize);
            let users = rows.map(card).collect::<Result<Vec<_>, _>>()?;
            let next = users.last().filter(|_| more).map(|last| last.user.name.clone());
            Ok(UserSearchPage { users, next, total: total.unsigned_abs() })
        })
    }

    fn user_card(&self, id: UserId) -> StoreFuture<'_, UserCard> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            find_card(&mut connection, id, self.now_ms()).await
        })
    }

    fn add_user_to(&self, new: NewUser, groups: Vec<GroupId>) -> StoreFuture<'_, UserCard> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let user = self.add(&mut transaction, new, None).await?;
            set_groups(&mut transaction, user.id, &groups).await?;
            let card = find_card(&mut transaction, user.id, self.now_ms()).await?;
            transaction.commit().await?;
            Ok(card)
        })
    }

    fn change_user(&self, id: UserId, change: UserChange) -> StoreFuture<'_, UserCard> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let now_ms = self.now_ms();
            let before = find_user(&mut transaction, id).await?;
            let disabled = matches!(change.disabled_ms, Some(Some(_)));
            if disabled || change.role.is_some_and(|role| role != UserRole::Admin) {
                must_not_be_last(&mut transaction, &before).await?;
            }
            let after = User {
                name: change.name.unwrap_or_else(|| before.name.clone()),
                email: change.email.unwrap_or_else(|| before.email.clone()),
                role: change.role.unwrap_or(before.role),
                disabled_ms: change.disabled_ms.unwrap_or(before.disabled_ms),
                ..before.clone()
            };
            // Of another address nothing is known.
            let email_verified_ms = before.email_verified_ms.filter(|_| after.email == before.email);
            let after = User { email_verified_ms, ..after };
            check_taken(&mut transaction, &after).await?;
            update(&mut transaction, &after).await?;
            if disabled {
                revoke_all(&mut transaction, id, None, now_ms).await?;
            }
            if let Some(groups) = change.groups {
                set_groups(&mut transaction, id, &groups).await?;
            }
            let card = find_card(&mut transaction, id, now_ms).await?;
            transaction.commit().await?;
            Ok(card)
        })
    }

    fn sessions_count(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let count: i64 =
                sqlx::query_scalar(LIVE_SESSIONS).bind(self.now_ms()).fetch_one(&self.readers).await?;
            Ok(count.unsigned_abs())
        })
    }

    fn audit_page(&self, page: AuditPageRequest) -> StoreFuture<'_, AuditPage> {
        Box::pin(async move {
            let query = match page.user {
                Some(user) => sqlx::query(AUDIT_OF_USER).bind(user.to_string()),
                None => sqlx::query(AUDIT_OF_ALL),
            };
            // One more than asked for tells whether there is a next page.
            let rows = query
                .bind(page.before.unwrap_or(i64::MAX))
                .bind(i64::from(page.limit) + 1)
                .fetch_all(&self.readers)
                .await?;
            let more = rows.len() > page.limit as usize;
            let rows = rows.iter().take(page.limit as usize);
            let entries = rows.map(audit_row).collect::<Result<Vec<_>, _>>()?;
            let next = entries.last().filter(|_| more).map(|last| last.number);
            Ok(AuditPage { entries, next })
        })
    }

    fn bytes(&self) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            let bytes: i64 =
                sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
                    .fetch_one(&self.readers)
                    .await?;
            Ok(bytes.unsigned_abs())
        })
    }
}

pub(super) const SEARCH: &str = concat!(
    "SELECT ",
    card_columns!(),
    " FROM users WHERE name_key > ? AND ",
    is_found!(),
    " ORDER BY name_key LIMIT ?"
);

pub(super) const LIVE_SESSIONS: &str = "SELECT COUNT(*) FROM sessions WHERE expires_ms > ?";

macro_rules! audit_query {
    ($condition:literal) => {
        concat!(
            "SELECT audit.number, at_ms, user_id, by_id, event, address, note,
                about.name AS user_name, operator.name AS by_name
             FROM audit LEFT JOIN users AS about ON about.id = user_id
                LEFT JOIN users AS operator ON operator.id = by_id
             WHERE ",
            $condition,
            "audit.number < ? ORDER BY audit.number DESC LIMIT ?"
        )
    };
}

pub(super) const AUDIT_OF_USER: &str = audit_query!("user_id = ? AND ");
pub(super) const AUDIT_OF_ALL: &str = audit_query!("");

fn card(row: &SqliteRow) -> Result<UserCard, StoreError> {
    Ok(UserCard {
        user: user(row)?,
        groups: group_ids(row)?,
        totp: row.try_get("totp")?,
        passkeys: row.try_get::<i64, _>("passkeys")?.unsigned_abs(),
        links: row.try_get::<i64, _>("links")?.unsigned_abs(),
        seen_ms: row.try_get("seen_ms")?,
    })
}

fn audit_row(row: &SqliteRow) -> Result<AuditRow, StoreError> {
    Ok(AuditRow {
        number: row.try_get("number")?,
        entry: audit_entry(row)?,
        user_name: row.try_get("user_name")?,
        by_name: row.try_get("by_name")?,
    })
}

async fn find_card(
    connection: &mut SqliteConnection,
    id: UserId,
    now_ms: i64,
) -> Result<UserCard, StoreError> {
    let row = sqlx::query(concat!("SELECT ", card_columns!(), " FROM users WHERE id = ?"))
        .bind(now_ms)
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    card(&row.ok_or(NOT_FOUND)?)
}

/// Fails if the name or the address is another user's.
async fn check_taken(connection: &mut SqliteConnection, user: &User) -> Result<(), StoreError> {
    let name: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE name_key = ? AND id <> ?)")
        .bind(name_key(&user.name))
        .bind(user.id.to_string())
        .fetch_one(&mut *connection)
        .await?;
    if name {
        return Err(StoreError::Taken { what: "name" });
    }
    let email: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE email_key = ? AND id <> ?)")
            .bind(user.email.as_deref().map(email_key))
            .bind(user.id.to_string())
            .fetch_one(connection)
            .await?;
    if email { Err(StoreError::Taken { what: "email address" }) } else { Ok(()) }
}

async fn update(connection: &mut SqliteConnection, user: &User) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE users SET name = ?, name_key = ?, email = ?, email_key = ?, email_verified_ms = ?, role = ?,
            disabled_ms = ?
         WHERE id = ?",
    )
    .bind(&user.name)
    .bind(name_key(&user.name))
    .bind(&user.email)
    .bind(user.email.as_deref().map(email_key))
    .bind(user.email_verified_ms)
    .bind(user.role.as_str())
    .bind(user.disabled_ms)
    .bind(user.id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

async fn set_groups(
    connection: &mut SqliteConnection,
    user: UserId,
    groups: &[GroupId],
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM group_members WHERE user_id = ?")
        .bind(user.to_string())
        .execute(&mut *connection)
        .await?;
    // Everybody is in that one anyway.
    for group in groups.iter().filter(|group| **group != GroupId::EVERYONE) {
        let found = sqlx::query(
            "INSERT INTO group_members (user_id, group_id) SELECT ?, id FROM user_groups WHERE id = ?
             ON CONFLICT DO UPDATE SET group_id = group_id",
        )
        .bind(user.to_string())
        .bind(group.to_string())
        .execute(&mut *connection)
        .await?
        .rows_affected();
        if found == 0 {
            return Err(NO_GROUP);
        }
    }
    Ok(())
}
