use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::rows::signed;
use crate::{GateMove, GatePin, GateStore, StoreError, StoreFuture};

/// Moves that are kept.
const MOVES_MAX: i64 = 10_000;

/// Used invitations that are remembered: forgetting one early would make it good again.
const USED_INVITATIONS_MAX: u64 = 100_000;

impl GateStore for SqliteStore {
    fn add_move(&self, new: GateMove) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let number = sqlx::query(
                "INSERT INTO gate_moves (at_ms, from_level, to_level, reasons) VALUES (?, ?, ?, ?)",
            )
            .bind(new.at_ms)
            .bind(new.from)
            .bind(new.to)
            .bind(new.reasons)
            .execute(&mut *transaction)
            .await?
            .last_insert_rowid();
            // Numbers have no gaps: only the oldest ever go.
            sqlx::query("DELETE FROM gate_moves WHERE number <= ?")
                .bind(number - MOVES_MAX)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn moves(&self, limit: u32) -> StoreFuture<'_, Vec<GateMove>> {
        Box::pin(async move {
            let rows = sqlx::query(MOVES).bind(i64::from(limit)).fetch_all(&self.readers).await?;
            rows.iter().map(gate_move).collect()
        })
    }

    fn set_pin(&self, pin: Option<GatePin>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            match pin {
                Some(pin) => {
                    sqlx::query("INSERT OR REPLACE INTO gate_pin (only, level, at_ms) VALUES (1, ?, ?)")
                        .bind(pin.level)
                        .bind(pin.at_ms)
                        .execute(&mut *transaction)
                        .await?
                }
                None => sqlx::query("DELETE FROM gate_pin").execute(&mut *transaction).await?,
            };
            transaction.commit().await?;
            Ok(())
        })
    }

    fn pin(&self) -> StoreFuture<'_, Option<GatePin>> {
        Box::pin(async move {
            let row = sqlx::query("SELECT level, at_ms FROM gate_pin").fetch_optional(&self.readers).await?;
            row.map(|row| Ok(GatePin { level: row.try_get("level")?, at_ms: row.try_get("at_ms")? }))
                .transpose()
        })
    }

    fn take_invitation(&self, id: [u8; 16], expires_ms: i64) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            sqlx::query(FORGET_INVITATIONS).bind(self.now_ms()).execute(&mut *transaction).await?;
            let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM used_invitations")
                .fetch_one(&mut *transaction)
                .await?;
            if count >= signed(USED_INVITATIONS_MAX) {
                let given = count.unsigned_abs() + 1;
                let allowed = USED_INVITATIONS_MAX;
                return Err(StoreError::Full { what: "used invitations", allowed, given });
            }
            let taken = sqlx::query("INSERT OR IGNORE INTO used_invitations (id, expires_ms) VALUES (?, ?)")
                .bind(&id[..])
                .bind(expires_ms)
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            transaction.commit().await?;
            Ok(taken == 1)
        })
    }

    fn give_back_invitation(&self, id: [u8; 16]) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            sqlx::query("DELETE FROM used_invitations WHERE id = ?")
                .bind(&id[..])
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn is_invitation_taken(&self, id: [u8; 16]) -> StoreFuture<'_, bool> {
        Box::pin(async move {
            Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM used_invitations WHERE id = ?)")
                .bind(&id[..])
                .fetch_one(&self.readers)
                .await?)
        })
    }
}

pub(super) const MOVES: &str =
    "SELECT at_ms, from_level, to_level, reasons FROM gate_moves ORDER BY number DESC LIMIT ?";

pub(super) const FORGET_INVITATIONS: &str = "DELETE FROM used_invitations WHERE expires_ms <= ?";

fn gate_move(row: &SqliteRow) -> Result<GateMove, StoreError> {
    Ok(GateMove {
        at_ms: row.try_get("at_ms")?,
        from: row.try_get("from_level")?,
        to: row.try_get("to_level")?,
        reasons: row.try_get("reasons")?,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base::{ManualClock, Rng};

    use super::*;

    async fn count(store: &SqliteStore, query: &'static str) -> (i64, i64) {
        sqlx::query_as(query).fetch_one(&store.readers).await.unwrap()
    }

    #[tokio::test]
    async fn the_oldest_moves_make_room() {
        let store = SqliteStore::in_memory(Arc::new(ManualClock::new()), Rng::from_seed(1)).await.unwrap();
        sqlx::query(
            "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
             INSERT INTO gate_moves (number, at_ms, from_level, to_level, reasons)
             SELECT n, n, 'open', 'challenge', '[]' FROM counted",
        )
        .bind(MOVES_MAX)
        .execute(&store.writer)
        .await
        .unwrap();
        let new = GateMove { at_ms: 7, from: "a".into(), to: "b".into(), reasons: "[]".into() };
        store.add_move(new.clone()).await.unwrap();
        let found = count(&store, "SELECT COUNT(*), MIN(number) FROM gate_moves").await;
        assert_eq!(found, (MOVES_MAX, 2));
        assert_eq!(store.moves(1).await.unwrap(), [new]);
    }

    #[tokio::test]
    async fn used_invitations_are_bounded_and_none_is_forgotten_early() {
        let store = SqliteStore::in_memory(Arc::new(ManualClock::new()), Rng::from_seed(1)).await.unwrap();
        sqlx::query(
            "WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?)
             INSERT INTO used_invitations (id, expires_ms) SELECT CAST(n AS BLOB), 5 FROM counted",
        )
        .bind(signed(USED_INVITATIONS_MAX))
        .execute(&store.writer)
        .await
        .unwrap();
        let error = store.take_invitation([1; 16], 9).await.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        let found = count(&store, "SELECT COUNT(*), 0 FROM used_invitations").await;
        assert_eq!(found.0, signed(USED_INVITATIONS_MAX));
    }
}
