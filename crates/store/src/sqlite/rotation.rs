//! Master keys are rotated: a new one is put on disk, every user's key is wrapped under it, and the old one is taken
//! away. Whatever is wrapped can be unwrapped by the keys on disk after each of these steps and in the middle of it.

use sqlx::SqliteConnection;
use sqlx::sqlite::SqlitePool;

use super::rows::{user_id, wrapped_key};
use super::{SqliteStore, begin, empty_log};
use crate::keys::MasterKeys;
use crate::seal::Sealer;
use crate::vault::Permit;
use crate::{Rotation, StoreError};

/// Keys that are wrapped anew in one transaction; between two, others write.
const BATCH: i64 = 100;

pub(super) async fn rotate(store: &SqliteStore) -> Result<Rotation, StoreError> {
    let permit = store.vault.take("rotation of keys")?;
    let held = store.sealer.masters();
    let mut rng = store.sealer.fork_rng();
    let (permit, masters) = on_disk(store, permit, move |keys| keys.with_newer(&held, &mut rng)).await?;
    let generation = masters.newest();
    store.sealer.set_masters(masters);
    let rewrapped = rewrap_all(&store.writer, &store.sealer).await?;
    empty_log(&store.writer).await?;
    let held = store.sealer.masters();
    let (_permit, (masters, removable)) =
        on_disk(store, permit, move |keys| keys.without_older(&held)).await?;
    // Whoever has read a wrapped key of before may unwrap it first.
    let _alone = store.unwrapping.write().await;
    store.sealer.set_masters(masters);
    Ok(Rotation { generation, rewrapped, removable })
}

/// Finishes what a dead process began. Where that can't be done, both keys stay and all goes on as before.
pub(super) async fn finish_interrupted(writer: &SqlitePool, sealer: &Sealer, keys: &MasterKeys) {
    let held = sealer.masters();
    if !held.has_older() || !keys.are_ours_to_finish() {
        return;
    }
    let finished = async {
        let rewrapped = rewrap_all(writer, sealer).await?;
        empty_log(writer).await?;
        sealer.set_masters(keys.without_older(&held)?.0);
        Ok::<_, StoreError>(rewrapped)
    };
    match finished.await {
        Ok(rewrapped) => {
            let generation = held.newest();
            tracing::info!(generation, rewrapped, "an interrupted rotation of the master key is finished");
        }
        Err(error) => {
            tracing::error!(%error, "an interrupted rotation of the master key could not be finished");
        }
    }
}

/// Works on the file of the master keys where waiting for a disk is no harm. What is begun is ended, and nothing else
/// of the kind begins before, even if nobody waits for it.
async fn on_disk<T: Send + 'static>(
    store: &SqliteStore,
    permit: Permit,
    work: impl FnOnce(&MasterKeys) -> Result<T, StoreError> + Send + 'static,
) -> Result<(Permit, T), StoreError> {
    let (keys, disk) = (store.keys.clone(), store.disk.clone());
    let working = tokio::task::spawn_blocking(move || {
        let done = work(&keys);
        drop(disk);
        done.map(|done| (permit, done))
    });
    working.await.map_err(|error| StoreError::Database(Box::new(error)))?
}

/// Wraps everything under the newest master key, and says how many keys that were. Who adds a user while it runs, in
/// a transaction of their own, wraps the key under the newest already or is before our last look.
async fn rewrap_all(writer: &SqlitePool, sealer: &Sealer) -> Result<u64, StoreError> {
    let mut all = 0;
    loop {
        let rewrapped = rewrap_some(writer, sealer).await?;
        all += rewrapped;
        if rewrapped == 0 {
            return Ok(all);
        }
    }
}

/// Wraps one batch; how many there were, none if all is done.
async fn rewrap_some(writer: &SqlitePool, sealer: &Sealer) -> Result<u64, StoreError> {
    let mut transaction = begin(writer).await?;
    let newest = i64::from(sealer.masters().newest());
    let mut count = 0;
    for (select, update) in [(OLD_USERS, UPDATE_USER), (OLD_FIRST_USER, UPDATE_FIRST_USER)] {
        count += rewrap_rows(&mut transaction, sealer, newest, (select, update)).await?;
    }
    transaction.commit().await?;
    Ok(count)
}

async fn rewrap_rows(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    newest: i64,
    (select, update): (&'static str, &'static str),
) -> Result<u64, StoreError> {
    let rows = sqlx::query(select).bind(newest).bind(BATCH).fetch_all(&mut *connection).await?;
    for row in &rows {
        let user = user_id(row)?;
        let wrapped = sealer.rewrap(user, &wrapped_key(row)?)?;
        sqlx::query(update)
            .bind(wrapped.bytes)
            .bind(i64::from(wrapped.generation))
            .bind(user.to_string())
            .execute(&mut *connection)
            .await?;
    }
    Ok(rows.len() as u64)
}

pub(super) const OLD_USERS: &str =
    "SELECT id, wrapped_key, key_generation FROM users WHERE key_generation < ? LIMIT ?";
const UPDATE_USER: &str = "UPDATE users SET wrapped_key = ?, key_generation = ? WHERE id = ?";
const OLD_FIRST_USER: &str =
    "SELECT id, wrapped_key, key_generation FROM first_user WHERE key_generation < ? LIMIT ?";
const UPDATE_FIRST_USER: &str = "UPDATE first_user SET wrapped_key = ?, key_generation = ? WHERE id = ?";

#[cfg(test)]
mod tests;
