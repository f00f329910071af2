//! Rows of usage and the sums over them, which are written together.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::SqliteStore;
use super::rows::{count, parsed, signed, usage_columns, usage_row};
use crate::{
    Nanos, StoreError, UsageCursor, UsageOf, UsagePage, UsagePeriod, UsageRequest, UsageRow, UsageSum,
    UsageSumRequest, UsedSince, UserId, UserSum, UserSumRequest,
};

const MINUTES_OF_QUARTER: i64 = 15;
const QUARTER_MS: i64 = MINUTES_OF_QUARTER * 60_000;

/// Sums that are given at once.
const SUMS_MAX: usize = 10_000;

/// Rows that are deleted, or made nobody's, in one transaction; others who write wait meanwhile.
const BATCH: i64 = 1000;

/// Adds a row, and what is in it to the sums. Of somebody who is gone it is nobody's.
pub(super) async fn add(connection: &mut SqliteConnection, usage: UsageRow) -> Result<UsageRow, StoreError> {
    let there = match usage.user {
        Some(user) => {
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users WHERE id = ?)")
                .bind(user.to_string())
                .fetch_one(&mut *connection)
                .await?
        }
        None => false,
    };
    let (user, key) = (usage.user.filter(|_| there), usage.key.filter(|_| there));
    let row = UsageRow { user, key, ..usage };
    insert(connection, &row).await?;
    add_to_sums(connection, &row).await?;
    Ok(row)
}

async fn insert(connection: &mut SqliteConnection, row: &UsageRow) -> Result<(), StoreError> {
    let inserted = sqlx::query(concat!(
        "INSERT INTO usage (",
        usage_columns!(),
        ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
    ))
    .bind(row.id.to_string())
    .bind(row.at_ms)
    .bind(row.user.map(|user| user.to_string()))
    .bind(row.key.map(|key| key.to_string()))
    .bind(&*row.endpoint)
    .bind(&row.model)
    .bind(&row.class)
    .bind(signed(row.hit))
    .bind(signed(row.miss))
    .bind(signed(row.output))
    .bind(signed(row.reasoning))
    .bind(row.cost.0)
    .bind(row.queued_ms)
    .bind(row.ttft_ms)
    .bind(row.total_ms)
    .bind(&row.outcome)
    .execute(connection)
    .await?
    .rows_affected();
    if inserted == 0 { Err(StoreError::Conflict("this usage is noted already")) } else { Ok(()) }
}

macro_rules! add_to {
    ($table:literal, $more_columns:literal, $more_values:literal) => {
        concat!(
            "INSERT INTO ",
            $table,
            " (quarter, model, requests, hit, miss, output, reasoning, cost",
            $more_columns,
            ") VALUES (?, ?, 1, ?, ?, ?, ?, ?",
            $more_values,
            ") ON CONFLICT DO UPDATE SET requests = requests + 1, hit = hit + excluded.hit,
                miss = miss + excluded.miss, output = output + excluded.output,
                reasoning = reasoning + excluded.reasoning, cost = cost + excluded.cost"
        )
    };
}

const ADD_TO_ALL: &str = add_to!("usage_of_all", "", "");
const ADD_TO_USER: &str = add_to!("usage_of_users", ", user_id, key_id", ", ?, ?");

async fn add_to_sums(connection: &mut SqliteConnection, row: &UsageRow) -> Result<(), StoreError> {
    let adding = |query| {
        sqlx::query(query)
            .bind(row.at_ms.div_euclid(QUARTER_MS))
            .bind(&row.model)
            .bind(signed(row.hit))
            .bind(signed(row.miss))
            .bind(signed(row.output))
            .bind(signed(row.reasoning))
            .bind(row.cost.0)
    };
    adding(ADD_TO_ALL).execute(&mut *connection).await?;
    if let Some(user) = row.user {
        adding(ADD_TO_USER)
            .bind(user.to_string())
            .bind(row.key.map(|key| key.to_string()).unwrap_or_default())
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Makes some rows of a user, who is about to be deleted, nobody's, and says whether those were the last. The sums over
/// them go with the user.
pub(super) async fn forget_some(connection: &mut SqliteConnection, user: UserId) -> Result<bool, StoreError> {
    let forgotten =
        sqlx::query(FORGET).bind(user.to_string()).bind(BATCH).execute(connection).await?.rows_affected();
    Ok(forgotten < BATCH as u64)
}

pub(super) const FORGET: &str = "UPDATE usage SET user_id = NULL, key_id = NULL
     WHERE number IN (SELECT number FROM usage WHERE user_id = ? LIMIT ?)";

/// Bound are since when, before which place, how many, and whose.
macro_rules! page_of {
    ($whose:literal) => {
        concat!(
            "SELECT number, ",
            usage_columns!(),
            " FROM usage WHERE at_ms >= ?1 AND (at_ms, number) < (?2, ?3)",
            $whose,
            " ORDER BY at_ms DESC, number DESC LIMIT ?4"
        )
    };
}

pub(super) const PAGE_OF_ALL: &str = page_of!("");
pub(super) const PAGE_OF_USER: &str = page_of!(" AND user_id = ?5");
// The plus keeps SQLite from walking all that the user has for the rows of one key.
pub(super) const PAGE_OF_KEY: &str = page_of!(" AND +user_id = ?5 AND key_id = ?6");

pub(super) async fn page(store: &SqliteStore, page: UsageRequest) -> Result<UsagePage, StoreError> {
    // The end of the time is a place too: whichever comes first, so that the index is walked from there.
    let end = (page.until_ms, i64::MIN);
    let (before_ms, before) = page.before.map_or(end, |cursor| end.min((cursor.at_ms, cursor.number)));
    let query = match page.of {
        UsageOf::Everybody => sqlx::query(PAGE_OF_ALL),
        UsageOf::User(_) => sqlx::query(PAGE_OF_USER),
        UsageOf::Key(..) => sqlx::query(PAGE_OF_KEY),
    };
    // One more than asked for tells whether there is a next page.
    let query = query.bind(page.since_ms).bind(before_ms).bind(before).bind(i64::from(page.limit) + 1);
    let query = match page.of {
        UsageOf::Everybody => query,
        UsageOf::User(user) => query.bind(user.to_string()),
        UsageOf::Key(user, key) => query.bind(user.to_string()).bind(key.to_string()),
    };
    let found = query.fetch_all(&store.readers).await?;
    let more = found.len() > page.limit as usize;
    let shown = &found[..found.len().min(page.limit as usize)];
    let rows = shown.iter().map(usage_row).collect::<Result<Vec<_>, _>>()?;
    let next = shown.last().filter(|_| more).map(cursor).transpose()?;
    Ok(UsagePage { rows, next })
}

fn cursor(row: &SqliteRow) -> Result<UsageCursor, StoreError> {
    Ok(UsageCursor { at_ms: row.try_get("at_ms")?, number: row.try_get("number")? })
}

/// A whole number of days long before any row, in minutes: what is divided is never less than nothing.
macro_rules! origin {
    () => {
        "1440000000"
    };
}

const ORIGIN_MINUTES: i64 = 1_440_000_000;

/// Bound are how many minutes a place is ahead of UTC, how many are in a period, since and until which quarter, how many,
/// and whose.
macro_rules! sums_of {
    ($table:literal, $whose:literal) => {
        concat!(
            "SELECT (quarter * 15 + ?1 + ",
            origin!(),
            ") / ?2 AS period, model, SUM(requests) AS requests, SUM(hit) AS hit, SUM(miss) AS miss,
                SUM(output) AS output, SUM(reasoning) AS reasoning, SUM(cost) AS cost
             FROM ",
            $table,
            " WHERE quarter >= ?3 AND quarter < ?4",
            $whose,
            " GROUP BY period, model ORDER BY period, model LIMIT ?5"
        )
    };
}

pub(super) const SUMS_OF_ALL: &str = sums_of!("usage_of_all", "");
pub(super) const SUMS_OF_USER: &str = sums_of!("usage_of_users", " AND user_id = ?6");
pub(super) const SUMS_OF_KEY: &str = sums_of!("usage_of_users", " AND user_id = ?6 AND key_id = ?7");

pub(super) async fn sums(store: &SqliteStore, request: UsageSumRequest) -> Result<Vec<UsageSum>, StoreError> {
    let period = match request.by {
        UsagePeriod::Hour => 60,
        UsagePeriod::Day => 24 * 60,
    };
    let zone = i64::from(request.zone_minutes).div_euclid(MINUTES_OF_QUARTER) * MINUTES_OF_QUARTER;
    let query = match request.of {
        UsageOf::Everybody => sqlx::query(SUMS_OF_ALL),
        UsageOf::User(_) => sqlx::query(SUMS_OF_USER),
        UsageOf::Key(..) => sqlx::query(SUMS_OF_KEY),
    };
    let query = query
        .bind(zone)
        .bind(period)
        .bind(request.since_ms.div_euclid(QUARTER_MS))
        .bind(quarters_until(request.until_ms))
        .bind(SUMS_MAX as i64 + 1);
    let query = match request.of {
        UsageOf::Everybody => query,
        UsageOf::User(user) => query.bind(user.to_string()),
        UsageOf::Key(user, key) => query.bind(user.to_string()).bind(key.to_string()),
    };
    let rows = query.fetch_all(&store.readers).await?;
    if rows.len() > SUMS_MAX {
        return Err(StoreError::Full { what: "sums", allowed: SUMS_MAX as u64, given: rows.len() as u64 });
    }
    let from_ms = |period_number: i64| (period_number * period - ORIGIN_MINUTES - zone) * 60_000;
    rows.iter().map(|row| sum(row, from_ms(row.try_get("period")?))).collect()
}

/// The quarter before which a time ends that need not end with one.
fn quarters_until(until_ms: i64) -> i64 {
    let quarter = until_ms.div_euclid(QUARTER_MS);
    if until_ms.rem_euclid(QUARTER_MS) == 0 { quarter } else { quarter + 1 }
}

fn sum(row: &SqliteRow, from_ms: i64) -> Result<UsageSum, StoreError> {
    let Sums { requests, hit, miss, output, reasoning, cost } = Sums::of(row)?;
    Ok(UsageSum { from_ms, model: row.try_get("model")?, requests, hit, miss, output, reasoning, cost })
}

/// What there is a sum of.
struct Sums {
    requests: u64,
    hit: u64,
    miss: u64,
    output: u64,
    reasoning: u64,
    cost: Nanos,
}

impl Sums {
    fn of(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            requests: count(row, "requests", "the sum of requests")?,
            hit: count(row, "hit", "the sum of hits")?,
            miss: count(row, "miss", "the sum of misses")?,
            output: count(row, "output", "the sum of output")?,
            reasoning: count(row, "reasoning", "the sum of reasoning")?,
            cost: Nanos(row.try_get("cost")?),
        })
    }
}

const BY_USER: &str = "SELECT user_id, name, requests, hit, miss, output, reasoning, cost FROM (
        SELECT user_id, SUM(requests) AS requests, SUM(hit) AS hit, SUM(miss) AS miss, SUM(output) AS output,
            SUM(reasoning) AS reasoning, SUM(cost) AS cost
        FROM usage_of_users WHERE quarter >= ? AND quarter < ? GROUP BY user_id
        ORDER BY cost DESC, requests DESC, user_id LIMIT ?
     ) JOIN users ON users.id = user_id ORDER BY cost DESC, requests DESC, user_id";

pub(super) async fn by_user(
    store: &SqliteStore,
    request: UserSumRequest,
) -> Result<Vec<UserSum>, StoreError> {
    let rows = sqlx::query(BY_USER)
        .bind(request.since_ms.div_euclid(QUARTER_MS))
        .bind(quarters_until(request.until_ms))
        .bind(request.limit)
        .fetch_all(&store.readers)
        .await?;
    let user_sum = |row: &SqliteRow| {
        let Sums { requests, hit, miss, output, reasoning, cost } = Sums::of(row)?;
        let (user, name) = (parsed(row, "user_id", "usage_of_users.user_id")?, row.try_get("name")?);
        Ok(UserSum { user, name, requests, hit, miss, output, reasoning, cost })
    };
    rows.iter().map(user_sum).collect()
}

macro_rules! since_of {
    ($table:literal, $whose:literal) => {
        concat!(
            "SELECT COALESCE(SUM(requests), 0) AS requests, COALESCE(SUM(hit + miss + output), 0) AS tokens FROM ",
            $table,
            " WHERE quarter >= ?1",
            $whose
        )
    };
}

pub(super) const SINCE_OF_ALL: &str = since_of!("usage_of_all", "");
pub(super) const SINCE_OF_USER: &str = since_of!("usage_of_users", " AND user_id = ?2");
pub(super) const SINCE_OF_KEY: &str = since_of!("usage_of_users", " AND user_id = ?2 AND key_id = ?3");

pub(super) async fn since(store: &SqliteStore, of: UsageOf, since_ms: i64) -> Result<UsedSince, StoreError> {
    let quarter = since_ms.div_euclid(QUARTER_MS);
    let query = match of {
        UsageOf::Everybody => sqlx::query(SINCE_OF_ALL).bind(quarter),
        UsageOf::User(user) => sqlx::query(SINCE_OF_USER).bind(quarter).bind(user.to_string()),
        UsageOf::Key(user, key) => {
            sqlx::query(SINCE_OF_KEY).bind(quarter).bind(user.to_string()).bind(key.to_string())
        }
    };
    let row = query.fetch_one(&store.readers).await?;
    Ok(UsedSince {
        requests: count(&row, "requests", "the sum of requests")?,
        tokens: count(&row, "tokens", "the sum of tokens")?,
    })
}

pub(super) const PRUNE: &str =
    "DELETE FROM usage WHERE number IN (SELECT number FROM usage WHERE at_ms < ? ORDER BY at_ms LIMIT ?)";

pub(super) async fn prune(store: &SqliteStore, before_ms: i64) -> Result<u64, StoreError> {
    let mut transaction = store.write().await?;
    let pruned =
        sqlx::query(PRUNE).bind(before_ms).bind(BATCH).execute(&mut *transaction).await?.rows_affected();
    transaction.commit().await?;
    Ok(pruned)
}
