//! What happens to a database before it is open: the master key is tried, the schema brought up to date, and texts
//! that an earlier program left plain are sealed.

use std::path::Path;
use std::sync::Arc;

use base::{Clock, Rng};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use super::rows::{parsed, user_id, wrapped_key};
use super::{MIGRATIONS, begin, empty_log, options, rotation};
use crate::keys::{MasterKeys, MasterRing, WrappedKey};
use crate::seal::{Place, Sealer, UserKey};
use crate::{ConversationId, IdMaker, MessageId, StoreError, UserId};

/// Rows that are sealed in one transaction. A conversation's limit bounds how much text that can be.
const BATCH: i64 = 100;

/// All of it, in the order in which nothing is lost if the process dies.
pub(super) async fn upgrade(
    writer: &SqlitePool,
    (keys, ring): (&MasterKeys, Option<MasterRing>),
    clock: Arc<dyn Clock>,
    mut rng: Rng,
) -> Result<(Sealer, IdMaker), StoreError> {
    MIGRATIONS.run(writer).await?;
    let ring = match ring {
        Some(ring) => ring,
        None => keys.make(&mut rng)?,
    };
    let sealer = Sealer::new(ring, rng.fork());
    let ids = IdMaker::new(clock, rng);
    seal_texts(writer, &sealer, &ids).await?;
    mark_interrupted(writer).await?;
    release_holds(writer).await?;
    rotation::finish_interrupted(writer, &sealer, keys).await;
    Ok((sealer, ids))
}

/// Reads the master keys and looks whether they fit, before anything is changed: even the mode of the log stands in the
/// file.
pub(super) async fn read_keys(path: &Path, keys: &MasterKeys) -> Result<Option<MasterRing>, StoreError> {
    let mut connection = options().filename(path).connect().await?;
    let ring = fitting_ring(&mut connection, keys).await;
    connection.close().await?;
    ring
}

/// The master keys, if they unwrap what is in this database; `None` if there are none and nothing is wrapped.
pub(super) async fn fitting_ring(
    connection: &mut SqliteConnection,
    keys: &MasterKeys,
) -> Result<Option<MasterRing>, StoreError> {
    let ring = keys.read()?;
    let wrapped = one_key_of_each_generation(connection).await?;
    match &ring {
        Some(ring) => {
            for (user, wrapped) in &wrapped {
                ring.unwrap(*user, wrapped)?;
            }
        }
        None if !wrapped.is_empty() => return Err(keys.missing()),
        None => {}
    }
    Ok(ring)
}

/// Of a database that may be older than users.
async fn one_key_of_each_generation(
    connection: &mut SqliteConnection,
) -> Result<Vec<(UserId, WrappedKey)>, StoreError> {
    let there_are_users: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'first_user')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !there_are_users {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT id, wrapped_key, key_generation FROM users
         WHERE number IN (SELECT MIN(number) FROM users GROUP BY key_generation)
         UNION ALL SELECT id, wrapped_key, key_generation FROM first_user",
    )
    .fetch_all(&mut *connection)
    .await?;
    rows.iter().map(|row| Ok((user_id(row)?, wrapped_key(row)?))).collect()
}

/// Seals what an earlier program left plain, and leaves no trace of it. Goes on where a process that died in the
/// middle of it stopped.
async fn seal_texts(writer: &SqlitePool, sealer: &Sealer, ids: &IdMaker) -> Result<(), StoreError> {
    let waiting: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM chores WHERE name = 'seal texts')")
        .fetch_one(writer)
        .await?;
    if !waiting {
        return Ok(());
    }
    tracing::info!("the texts of an earlier version are being sealed; this is done once");
    let key = first_user_key(writer, sealer, ids).await?;
    let mut after = 0;
    while let Some(last) = seal_conversations(writer, sealer, &key, after).await? {
        after = last;
    }
    after = 0;
    while let Some(last) = seal_messages(writer, sealer, &key, after).await? {
        after = last;
    }
    // Pages that were moved or split may hold copies of what they once held, and so does the log.
    sqlx::query("VACUUM").execute(writer).await?;
    empty_log(writer).await?;
    sqlx::query("DELETE FROM chores WHERE name = 'seal texts'").execute(writer).await?;
    tracing::info!("all texts are sealed");
    Ok(())
}

/// The key that the first user will get, made when it is first asked for.
async fn first_user_key(
    writer: &SqlitePool,
    sealer: &Sealer,
    ids: &IdMaker,
) -> Result<Arc<UserKey>, StoreError> {
    let mut transaction = begin(writer).await?;
    let row = sqlx::query("SELECT id, wrapped_key, key_generation FROM first_user")
        .fetch_optional(&mut *transaction)
        .await?;
    if let Some(row) = row {
        return sealer.unwrap(user_id(&row)?, &wrapped_key(&row)?);
    }
    let id: UserId = ids.next();
    let (key, wrapped) = sealer.new_key(id)?;
    sqlx::query("INSERT INTO first_user (one, id, wrapped_key, key_generation) VALUES (1, ?, ?, ?)")
        .bind(id.to_string())
        .bind(wrapped.bytes)
        .bind(i64::from(wrapped.generation))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(key)
}

/// Seals one batch of conversations; the number of the last one, `None` if there was none.
async fn seal_conversations(
    writer: &SqlitePool,
    sealer: &Sealer,
    key: &UserKey,
    after: i64,
) -> Result<Option<i64>, StoreError> {
    let mut transaction = begin(writer).await?;
    let rows = sqlx::query(
        "SELECT number, id, title, system FROM conversations
         WHERE number > ? AND title_sealed IS NULL ORDER BY number LIMIT ?",
    )
    .bind(after)
    .bind(BATCH)
    .fetch_all(&mut *transaction)
    .await?;
    for row in &rows {
        let id: ConversationId = parsed(row, "id", "conversations.id")?;
        sqlx::query(
            "UPDATE conversations SET title_sealed = ?, system_sealed = ?, title = '', system = NULL
             WHERE number = ?",
        )
        .bind(sealer.seal(key, Place::title(id), row.try_get("title")?)?)
        .bind(sealer.seal_some(key, Place::system(id), row.try_get("system")?)?)
        .bind(row.try_get::<i64, _>("number")?)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    last_number(rows.last())
}

/// Seals one batch of messages; the number of the last one, `None` if there was none.
async fn seal_messages(
    writer: &SqlitePool,
    sealer: &Sealer,
    key: &UserKey,
    after: i64,
) -> Result<Option<i64>, StoreError> {
    let mut transaction = begin(writer).await?;
    let rows = sqlx::query(
        "SELECT number, id, content, reasoning, error FROM messages
         WHERE number > ? AND content_sealed IS NULL ORDER BY number LIMIT ?",
    )
    .bind(after)
    .bind(BATCH)
    .fetch_all(&mut *transaction)
    .await?;
    for row in &rows {
        let id: MessageId = parsed(row, "id", "messages.id")?;
        sqlx::query(
            "UPDATE messages SET content_sealed = ?, reasoning_sealed = ?, error_sealed = ?,
                content = '', reasoning = NULL, error = NULL
             WHERE number = ?",
        )
        .bind(sealer.seal(key, Place::content(id), row.try_get("content")?)?)
        .bind(sealer.seal_some(key, Place::reasoning(id), row.try_get("reasoning")?)?)
        .bind(sealer.seal_some(key, Place::error(id), row.try_get("error")?)?)
        .bind(row.try_get::<i64, _>("number")?)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    last_number(rows.last())
}

fn last_number(row: Option<&SqliteRow>) -> Result<Option<i64>, StoreError> {
    Ok(row.map(|row| row.try_get("number")).transpose()?)
}

/// Answers that a dead process left generating become interrupted.
async fn mark_interrupted(writer: &SqlitePool) -> Result<(), StoreError> {
    let marked = sqlx::query("UPDATE messages SET status = 'interrupted' WHERE status = 'generating'")
        .execute(writer)
        .await?
        .rows_affected();
    if marked > 0 {
        tracing::info!(
            answers = marked,
            "answers that the last process left unfinished are marked interrupted"
        );
    }
    Ok(())
}

/// What a dead process held for requests is free again: they ended with it.
async fn release_holds(writer: &SqlitePool) -> Result<(), StoreError> {
    let released = sqlx::query("DELETE FROM holds").execute(writer).await?.rows_affected();
    if released > 0 {
        tracing::info!(holds = released, "what the last process held for requests is released");
    }
    Ok(())
}

/// As much of opening as a process does that dies after some batches.
#[cfg(test)]
pub(super) async fn seal_some_texts(
    writer: &SqlitePool,
    master: std::path::PathBuf,
    batches: u32,
) -> Result<(), StoreError> {
    let mut rng = Rng::from_seed(5);
    MIGRATIONS.run(writer).await?;
    let ring = MasterKeys::in_file(master).make(&mut rng)?;
    let sealer = Sealer::new(ring, rng.fork());
    let ids = IdMaker::new(Arc::new(base::ManualClock::new()), rng);
    let key = first_user_key(writer, &sealer, &ids).await?;
    let (mut conversation, mut message) = (Some(0), Some(0));
    for _ in 0..batches {
        if let Some(after) = conversation {
            conversation = seal_conversations(writer, &sealer, &key, after).await?;
        } else if let Some(after) = message {
            message = seal_messages(writer, &sealer, &key, after).await?;
        }
    }
    Ok(())
}
