use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::api_keys::NOT_FOUND as NO_KEY;
use super::rows::{credit, optional_parsed, parsed};
use super::sessions::cut;
use super::usage;
use super::users::NOT_FOUND as NO_USER;
use crate::seal::Place;
use crate::{
    Balance, CreditId, CreditKind, CreditPage, CreditPageRequest, Held, HoldId, KeyId, MeterStore, Nanos,
    NewCredit, NewHold, StoreError, StoreFuture, UsageOf, UsagePage, UsageRequest, UsageRow, UsageSum,
    UsageSumRequest, UsedSince, UserId, UserSum, UserSumRequest,
};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "hold" };

const NOTE_CHARS_MAX: usize = 200;

/// The most that a user may have, so that no sum over many of them comes near the end of the numbers: 1,000,000,000
/// units.
const TOTAL_MAX: Nanos = Nanos(1_000_000_000_000_000_000);

impl MeterStore for SqliteStore {
    fn balance(&self, user: UserId) -> StoreFuture<'_, Balance> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            find_balance(&mut connection, user).await
        })
    }

    fn add_credit(&self, new: NewCredit) -> StoreFuture<'_, Balance> {
        Box::pin(async move {
            let key = self.key(new.user).await?.ok_or(NO_USER)?;
            let mut transaction = self.write().await?;
            let before = find_balance(&mut transaction, new.user).await?;
            let amount = credited(&before, new.kind, new.amount)?;
            if amount == Nanos::ZERO {
                return Ok(before);
            }
            let id: CreditId = self.ids.next();
            let note =
                self.sealer.seal(&key, Place::credit_note(id), &cut(new.note.clone(), NOTE_CHARS_MAX))?;
            insert_credit(&mut transaction, id, &NewCredit { amount, ..new.clone() }, note).await?;
            let after = with_credit(before, new.kind, amount);
            set_balance(&mut transaction, new.user, &after).await?;
            transaction.commit().await?;
            Ok(after)
        })
    }

    fn credits(&self, page: CreditPageRequest) -> StoreFuture<'_, CreditPage> {
        Box::pin(async move {
            let Some(key) = self.key(page.user).await? else {
                return Ok(CreditPage { credits: Vec::new(), next: None });
            };
            // One more than asked for tells whether there is a next page.
            let rows = sqlx::query(CREDITS)
                .bind(page.user.to_string())
                .bind(page.before.unwrap_or(i64::MAX))
                .bind(i64::from(page.limit) + 1)
                .fetch_all(&self.readers)
                .await?;
            let more = rows.len() > page.limit as usize;
            let shown = &rows[..rows.len().min(page.limit as usize)];
            let credits = shown.iter().map(|row| credit(row, &key)).collect::<Result<Vec<_>, _>>()?;
            let last = shown.last().filter(|_| more);
            let next = last.map(|row| row.try_get("number")).transpose()?;
            Ok(CreditPage { credits, next })
        })
    }

    fn hold(&self, new: NewHold) -> StoreFuture<'_, Held> {
        Box::pin(async move {
            if new.amount < Nanos::ZERO {
                return Err(StoreError::Conflict("less than nothing can't be held"));
            }
            let mut transaction = self.write_lightly().await?;
            let (available, asked) =
                (find_balance(&mut transaction, new.user).await?.available(), new.amount);
            if let Some(key) = new.key
                && let Some(available) = left_of_key(&mut transaction, new.user, key).await?
                && available < asked
            {
                return Ok(Held::KeySpent { available: available.max(Nanos::ZERO), asked });
            }
            if available < asked {
                return Ok(Held::Empty { available, asked });
            }
            insert_hold(&mut transaction, &new).await?;
            transaction.commit().await?;
            Ok(Held::Held)
        })
    }

    fn settle(&self, hold: Option<HoldId>, usage: UsageRow) -> StoreFuture<'_, UsageRow> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let row = settle(&mut transaction, hold, usage).await?;
            transaction.commit().await?;
            Ok(row)
        })
    }

    fn release(&self, hold: HoldId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write_lightly().await?;
            take_hold(&mut transaction, hold).await?;
            transaction.commit().await?;
            Ok(())
        })
    }

    fn usage(&self, page: UsageRequest) -> StoreFuture<'_, UsagePage> {
        Box::pin(usage::page(self, page))
    }

    fn usage_sums(&self, request: UsageSumRequest) -> StoreFuture<'_, Vec<UsageSum>> {
        Box::pin(usage::sums(self, request))
    }

    fn usage_by_user(&self, request: UserSumRequest) -> StoreFuture<'_, Vec<UserSum>> {
        Box::pin(usage::by_user(self, request))
    }

    fn used_since(&self, of: UsageOf, since_ms: i64) -> StoreFuture<'_, UsedSince> {
        Box::pin(usage::since(self, of, since_ms))
    }

    fn prune_usage(&self, before_ms: i64) -> StoreFuture<'_, u64> {
        Box::pin(usage::prune(self, before_ms))
    }
}

pub(super) const CREDITS: &str =
    "SELECT number, id, user_id, kind, amount, by_id, note_sealed, at_ms FROM credits
     WHERE user_id = ? AND number < ? ORDER BY number DESC LIMIT ?";

pub(super) const BALANCE: &str =
    "SELECT COALESCE(granted, 0) AS granted, COALESCE(topped_up, 0) AS topped_up,
        (SELECT COALESCE(SUM(amount), 0) FROM holds WHERE user_id = users.id) AS held
     FROM users LEFT JOIN balances ON balances.user_id = users.id WHERE users.id = ?";

pub(super) const LEFT_OF_KEY: &str =
    "SELECT spend_max, spent, (SELECT COALESCE(SUM(amount), 0) FROM holds WHERE key_id = api_keys.id) AS held
     FROM api_keys WHERE id = ? AND user_id = ?";

async fn find_balance(connection: &mut SqliteConnection, user: UserId) -> Result<Balance, StoreError> {
    let row = sqlx::query(BALANCE).bind(user.to_string()).fetch_optional(connection).await?.ok_or(NO_USER)?;
    Ok(Balance {
        granted: Nanos(row.try_get("granted")?),
        topped_up: Nanos(row.try_get("topped_up")?),
        held: Nanos(row.try_get("held")?),
    })
}

/// What a key may still be used for, which is less than nothing where its limit was lowered; `None` if it has no limit.
async fn left_of_key(
    connection: &mut SqliteConnection,
    user: UserId,
    key: KeyId,
) -> Result<Option<Nanos>, StoreError> {
    let row = sqlx::query(LEFT_OF_KEY)
        .bind(key.to_string())
        .bind(user.to_string())
        .fetch_optional(connection)
        .await?
        .ok_or(NO_KEY)?;
    let (spent, held) = (Nanos(row.try_get("spent")?), Nanos(row.try_get("held")?));
    let spend_max: Option<i64> = row.try_get("spend_max")?;
    Ok(spend_max.map(|spend_max| Nanos(spend_max).saturating_sub(spent).saturating_sub(held)))
}

/// How much really comes or goes of what was asked for.
fn credited(balance: &Balance, kind: CreditKind, amount: Nanos) -> Result<Nanos, StoreError> {
    if amount >= Nanos::ZERO {
        let total = balance.total().saturating_add(amount);
        if total > TOTAL_MAX {
            let (allowed, given) = (in_units(TOTAL_MAX), in_units(total));
            return Err(StoreError::Full { what: "units of credit", allowed, given });
        }
        return Ok(amount);
    }
    let of_kind = match kind {
        CreditKind::Grant => balance.granted,
        CreditKind::TopUp => balance.topped_up,
    };
    let most = of_kind.min(balance.available());
    Ok(amount.max(Nanos::ZERO.saturating_sub(most)))
}

fn in_units(amount: Nanos) -> u64 {
    (amount.0.unsigned_abs()).div_ceil(1_000_000_000)
}

fn with_credit(balance: Balance, kind: CreditKind, amount: Nanos) -> Balance {
    match kind {
        CreditKind::Grant => Balance { granted: balance.granted.saturating_add(amount), ..balance },
        CreditKind::TopUp => Balance { topped_up: balance.topped_up.saturating_add(amount), ..balance },
    }
}

async fn set_balance(
    connection: &mut SqliteConnection,
    user: UserId,
    balance: &Balance,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO balances (user_id, granted, topped_up) VALUES (?, ?, ?)
         ON CONFLICT DO UPDATE SET granted = excluded.granted, topped_up = excluded.topped_up",
    )
    .bind(user.to_string())
    .bind(balance.granted.0)
    .bind(balance.topped_up.0)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_credit(
    connection: &mut SqliteConnection,
    id: CreditId,
    new: &NewCredit,
    note: Vec<u8>,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO credits (id, user_id, kind, amount, by_id, note_sealed, at_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(new.user.to_string())
    .bind(new.kind.as_str())
    .bind(new.amount.0)
    .bind(new.by.map(|by| by.to_string()))
    .bind(note)
    .bind(new.at_ms)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_hold(connection: &mut SqliteConnection, new: &NewHold) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO holds (id, user_id, key_id, amount, created_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(new.id.to_string())
    .bind(new.user.to_string())
    .bind(new.key.map(|key| key.to_string()))
    .bind(new.amount.0)
    .bind(new.created_ms)
    .execute(connection)
    .await?
    .rows_affected();
    if inserted == 0 { Err(StoreError::Conflict("there is such a hold already")) } else { Ok(()) }
}

/// What was held, and for whom.
struct Taken {
    user: UserId,
    key: Option<KeyId>,
    amount: Nanos,
}

async fn take_hold(connection: &mut SqliteConnection, hold: HoldId) -> Result<Taken, StoreError> {
    let row = sqlx::query("DELETE FROM holds WHERE id = ? RETURNING user_id, key_id, amount")
        .bind(hold.to_string())
        .fetch_optional(connection)
        .await?
        .ok_or(NOT_FOUND)?;
    Ok(Taken {
        user: parsed(&row, "user_id", "holds.user_id")?,
        key: optional_parsed(&row, "key_id", "holds.key_id")?,
        amount: Nanos(row.try_get("amount")?),
    })
}

/// [`MeterStore::settle`] in a transaction of the caller's.
pub(super) async fn settle(
    connection: &mut SqliteConnection,
    hold: Option<HoldId>,
    usage: UsageRow,
) -> Result<UsageRow, StoreError> {
    let Some(hold) = hold else {
        return usage::add(connection, UsageRow { cost: Nanos::ZERO, ..usage }).await;
    };
    let held = take_hold(connection, hold).await?;
    // What is held is always there, so nothing gets negative.
    let cost = usage.cost.clamp(Nanos::ZERO, held.amount);
    charge(connection, &held, cost).await?;
    usage::add(connection, UsageRow { user: Some(held.user), key: held.key, cost, ..usage }).await
}

/// Takes from what was granted first.
async fn charge(connection: &mut SqliteConnection, held: &Taken, cost: Nanos) -> Result<(), StoreError> {
    if cost == Nanos::ZERO {
        return Ok(());
    }
    sqlx::query(
        "UPDATE balances SET granted = granted - MIN(granted, ?1),
            topped_up = topped_up - (?1 - MIN(granted, ?1))
         WHERE user_id = ?2",
    )
    .bind(cost.0)
    .bind(held.user.to_string())
    .execute(&mut *connection)
    .await?;
    if let Some(key) = held.key {
        sqlx::query("UPDATE api_keys SET spent = spent + ? WHERE id = ?")
            .bind(cost.0)
            .bind(key.to_string())
            .execute(connection)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(granted: i64, topped_up: i64, held: i64) -> Balance {
        Balance { granted: Nanos(granted), topped_up: Nanos(topped_up), held: Nanos(held) }
    }

    #[test]
    fn credit_is_taken_back_as_far_as_it_is_there_and_free() {
        let check = |balance: Balance, kind, amount, expected| {
            let really = credited(&balance, kind, Nanos(amount)).unwrap();
            assert_eq!(really, Nanos(expected), "{balance:?} {amount}");
        };
        check(balance(0, 0, 0), CreditKind::Grant, 5, 5);
        check(balance(0, 0, 0), CreditKind::Grant, -5, 0);
        check(balance(3, 9, 0), CreditKind::Grant, -5, -3);
        check(balance(3, 9, 0), CreditKind::TopUp, -5, -5);
        check(balance(3, 9, 8), CreditKind::TopUp, -5, -4);
        check(balance(3, 9, 12), CreditKind::TopUp, -5, 0);
        check(balance(3, 9, 0), CreditKind::TopUp, i64::MIN, -9);
    }

    #[test]
    fn nobody_has_more_than_can_be_counted() {
        let most = balance(TOTAL_MAX.0 - 1, 0, 0);
        assert_eq!(credited(&most, CreditKind::TopUp, Nanos(1)).unwrap(), Nanos(1));
        for amount in [2, i64::MAX] {
            let error = credited(&most, CreditKind::TopUp, Nanos(amount)).unwrap_err();
            assert!(matches!(error, StoreError::Full { allowed: 1_000_000_000, .. }), "{error}");
        }
    }
}
