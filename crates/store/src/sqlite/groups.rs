use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::rows::{optional_small, parsed};
use super::users::name_key;
use crate::{
    Grant, Group, GroupChange, GroupId, GroupLimits, GroupStore, NewGroup, StoreError, StoreFuture, UserId,
};

pub(super) const NOT_FOUND: StoreError = StoreError::NotFound { what: "group" };
const TAKEN: StoreError = StoreError::Taken { what: "group name" };

/// Groups that there may be.
const GROUPS_MAX: u64 = 1000;

/// The columns that [`group`] reads, in a query on `user_groups`. Everybody is in the group of everybody.
macro_rules! group_columns {
    () => {
        "id, name, all_models, answers_at_once, messages_per_day, output_tokens_max,
         CASE id WHEN '00000000-0000-0000-0000-000000000000' THEN (SELECT COUNT(*) FROM users)
         ELSE (SELECT COUNT(*) FROM group_members WHERE group_id = user_groups.id) END AS members"
    };
}

impl GroupStore for SqliteStore {
    fn add_group(&self, new: NewGroup) -> StoreFuture<'_, Group> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let count: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM user_groups").fetch_one(&mut *transaction).await?;
            let given = count.unsigned_abs() + 1;
            if given > GROUPS_MAX {
                return Err(StoreError::Full { what: "groups", allowed: GROUPS_MAX, given });
            }
            let id: GroupId = self.ids.next();
            check_taken(&mut transaction, id, &new.name).await?;
            sqlx::query("INSERT INTO user_groups (id, name, name_key, all_models) VALUES (?, ?, ?, TRUE)")
                .bind(id.to_string())
                .bind(&new.name)
                .bind(name_key(&new.name))
                .execute(&mut *transaction)
                .await?;
            set_models(&mut transaction, id, new.models.as_deref()).await?;
            set_limits(&mut transaction, id, new.limits).await?;
            let group = find(&mut transaction, id).await?;
            transaction.commit().await?;
            Ok(group)
        })
    }

    fn groups(&self) -> StoreFuture<'_, Vec<Group>> {
        Box::pin(async move {
            // All reads see the same state of the database.
            let mut transaction = self.readers.begin().await?;
            let mut models: HashMap<String, Vec<String>> = HashMap::new();
            let rows = sqlx::query("SELECT group_id, model FROM group_models ORDER BY group_id, model")
                .fetch_all(&mut *transaction)
                .await?;
            for row in rows {
                models.entry(row.try_get("group_id")?).or_default().push(row.try_get("model")?);
            }
            let rows =
                sqlx::query(concat!("SELECT ", group_columns!(), " FROM user_groups ORDER BY name_key"))
                    .fetch_all(&mut *transaction)
                    .await?;
            let models_of = |row: &SqliteRow| -> Result<Vec<String>, StoreError> {
                Ok(models.get(row.try_get::<&str, _>("id")?).cloned().unwrap_or_default())
            };
            rows.iter().map(|row| group(row, models_of(row)?)).collect()
        })
    }

    fn group(&self, id: GroupId) -> StoreFuture<'_, Group> {
        Box::pin(async move {
            let mut transaction = self.readers.begin().await?;
            find(&mut transaction, id).await
        })
    }

    fn change_group(&self, id: GroupId, change: GroupChange) -> StoreFuture<'_, Group> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let found = find(&mut transaction, id).await?;
            if let Some(name) = change.name.filter(|name| *name != found.name) {
                if id == GroupId::EVERYONE {
                    return Err(StoreError::Conflict("the group of everybody keeps its name"));
                }
                check_taken(&mut transaction, id, &name).await?;
                sqlx::query("UPDATE user_groups SET name = ?, name_key = ? WHERE id = ?")
                    .bind(&name)
                    .bind(name_key(&name))
                    .bind(id.to_string())
                    .execute(&mut *transaction)
                    .await?;
            }
            if let Some(models) = change.models {
                set_models(&mut transaction, id, models.as_deref()).await?;
            }
            if let Some(limits) = change.limits {
                set_limits(&mut transaction, id, limits).await?;
            }
            let changed = find(&mut transaction, id).await?;
            transaction.commit().await?;
            Ok(changed)
        })
    }

    fn delete_group(&self, id: GroupId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if id == GroupId::EVERYONE {
                return Err(StoreError::Conflict("the group of everybody can't be deleted"));
            }
            let mut transaction = self.write().await?;
            let deleted = sqlx::query("DELETE FROM user_groups WHERE id = ?")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            transaction.commit().await?;
            if deleted == 0 { Err(NOT_FOUND) } else { Ok(()) }
        })
    }

    fn grant(&self, user: UserId) -> StoreFuture<'_, Grant> {
        Box::pin(async move {
            let mut transaction = self.readers.begin().await?;
            let rows = sqlx::query(GRANTED)
                .bind(GroupId::EVERYONE.to_string())
                .bind(user.to_string())
                .fetch_all(&mut *transaction)
                .await?;
            let mut grant = Grant::NOTHING;
            for row in &rows {
                let id: GroupId = parsed(row, "id", "user_groups.id")?;
                let all: bool = row.try_get("all_models")?;
                let models = if all { None } else { Some(models_of(&mut transaction, id).await?) };
                grant = grant.with(models, limits(row)?);
            }
            Ok(grant)
        })
    }
}

pub(super) const GRANTED: &str =
    "SELECT id, all_models, answers_at_once, messages_per_day, output_tokens_max FROM user_groups
     WHERE id IN (SELECT ? UNION ALL SELECT group_id FROM group_members WHERE user_id = ?)";

fn group(row: &SqliteRow, models: Vec<String>) -> Result<Group, StoreError> {
    let all: bool = row.try_get("all_models")?;
    let members: i64 = row.try_get("members")?;
    Ok(Group {
        id: parsed(row, "id", "user_groups.id")?,
        name: row.try_get("name")?,
        models: (!all).then_some(models),
        limits: limits(row)?,
        members: members.unsigned_abs(),
    })
}

fn limits(row: &SqliteRow) -> Result<GroupLimits, StoreError> {
    Ok(GroupLimits {
        answers_at_once: optional_small(row, "answers_at_once", "user_groups.answers_at_once")?,
        messages_per_day: optional_small(row, "messages_per_day", "user_groups.messages_per_day")?,
        output_tokens_max: optional_small(row, "output_tokens_max", "user_groups.output_tokens_max")?,
    })
}

async fn find(connection: &mut SqliteConnection, id: GroupId) -> Result<Group, StoreError> {
    let row = sqlx::query(concat!("SELECT ", group_columns!(), " FROM user_groups WHERE id = ?"))
        .bind(id.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    group(&row.ok_or(NOT_FOUND)?, models_of(connection, id).await?)
}

async fn models_of(connection: &mut SqliteConnection, id: GroupId) -> Result<Vec<String>, StoreError> {
    let models = sqlx::query_scalar("SELECT model FROM group_models WHERE group_id = ? ORDER BY model")
        .bind(id.to_string())
        .fetch_all(connection)
        .await?;
    Ok(models)
}

async fn check_taken(connection: &mut SqliteConnection, id: GroupId, name: &str) -> Result<(), StoreError> {
    let taken: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM user_groups WHERE name_key = ? AND id <> ?)")
            .bind(name_key(name))
            .bind(id.to_string())
            .fetch_one(connection)
            .await?;
    if taken { Err(TAKEN) } else { Ok(()) }
}

async fn set_models(
    connection: &mut SqliteConnection,
    id: GroupId,
    models: Option<&[String]>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE user_groups SET all_models = ? WHERE id = ?")
        .bind(models.is_none())
        .bind(id.to_string())
        .execute(&mut *connection)
        .await?;
    sqlx::query("DELETE FROM group_models WHERE group_id = ?")
        .bind(id.to_string())
        .execute(&mut *connection)
        .await?;
    for model in models.unwrap_or_default() {
        sqlx::query("INSERT INTO group_models (group_id, model) VALUES (?, ?) ON CONFLICT DO NOTHING")
            .bind(id.to_string())
            .bind(model)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn set_limits(
    connection: &mut SqliteConnection,
    id: GroupId,
    limits: GroupLimits,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE user_groups SET answers_at_once = ?, messages_per_day = ?, output_tokens_max = ? WHERE id = ?",
    )
    .bind(limits.answers_at_once)
    .bind(limits.messages_per_day)
    .bind(limits.output_tokens_max)
    .bind(id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{ManualClock, Rng};

    use super::*;

    #[tokio::test]
    async fn there_are_only_so_many_groups() {
        let store = SqliteStore::in_memory(Arc::new(ManualClock::new()), Rng::from_seed(1)).await.unwrap();
        sqlx::query(
            "WITH RECURSIVE counted (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
             INSERT INTO user_groups (id, name, name_key, all_models) SELECT n, n, n, TRUE FROM counted",
        )
        .bind(GROUPS_MAX as i64)
        .execute(&store.writer)
        .await
        .unwrap();
        let error = store
            .add_group(NewGroup { name: "one more".to_owned(), ..NewGroup::default() })
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Full { allowed: GROUPS_MAX, given: 1001, .. }), "{error}");
    }
}
