//! What questions about usage cost at 1,000,000 rows: `cargo run --release --package cachalot-store --example usage`.
//!
//! 1,000 users, one of whom has asked for half of the rows with two keys, and two models, over 30 days, in memory. Prints
//! the median of several rounds of each question, the first of which does not count, and how long it takes to hold and to
//! settle in a file, where each waits for the disk. An argument is another number of rows.

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Rng, SystemClock};
use store::{
    CreditKind, IdMaker, KeyId, KeyScope, KeyStore as _, MasterKeys, MeterStore as _, Nanos, NewCredit,
    NewHold, NewKey, NewUser, OperatorStore as _, SqliteStore, StoreError, StoreFuture, UsageOf, UsagePeriod,
    UsageRequest, UsageRow, UsageSumRequest, UserId, UserRole, UserStore as _, UserSumRequest,
};

const USERS: usize = 1000;
const DAY_MS: i64 = 86_400_000;
const DAYS: i64 = 30;
const ROUNDS: usize = 15;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rows: usize = std::env::args().nth(1).map_or(Ok(1_000_000), |rows| rows.parse())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut rng = Rng::from_seed(1);
    let ids = IdMaker::new(clock.clone(), rng.fork());
    let store = SqliteStore::in_memory(clock.clone(), Rng::from_os()?).await?;
    let users = users(&store, USERS).await?;
    let busy = users[0];
    let keys = [key(&store, busy, &ids).await?, key(&store, busy, &ids).await?];
    let began = clock.monotonic();
    for number in 0..rows {
        let who = match number % 4 {
            at @ (0 | 1) => (busy, Some(keys[at])),
            _ => (users[1 + rng.below(USERS - 1)], None),
        };
        let at_ms = rng.below((DAYS * DAY_MS) as usize) as i64;
        store.settle(None, usage(&ids, who, at_ms, rng.below(2))).await?;
    }
    let took = milliseconds(clock.monotonic() - began);
    let megabytes = store.bytes().await? >> 20;
    println!("{rows} rows: {:.3} ms each, {megabytes} MiB", took / rows as f64);
    for (who, of) in [
        ("everybody", UsageOf::Everybody),
        ("a busy user", UsageOf::User(busy)),
        ("a busy user's key", UsageOf::Key(busy, keys[0])),
        ("another user", UsageOf::User(users[7])),
    ] {
        questions(&store, &clock, who, of).await?;
    }
    let most = UserSumRequest { since_ms: 0, until_ms: DAYS * DAY_MS, limit: 100 };
    timed(&clock, "everybody", "who used the most in 30 days", || store.usage_by_user(most)).await?;
    timed(&clock, "everybody", "prune 1,000 rows", || store.prune_usage(DAYS * DAY_MS)).await?;
    let began = clock.monotonic();
    store.delete_user(busy).await?;
    println!("a busy user is deleted: {:.0} ms", milliseconds(clock.monotonic() - began));
    hold_and_settle(&clock, &ids).await
}

async fn questions(
    store: &SqliteStore,
    clock: &Arc<dyn Clock>,
    who: &str,
    of: UsageOf,
) -> Result<(), StoreError> {
    let page = UsageRequest { of, since_ms: 0, until_ms: i64::MAX, limit: 100, before: None };
    let mut deep = page;
    for _ in 0..20 {
        deep.before = store.usage(deep).await?.next.or(deep.before);
    }
    let (until_ms, by) = (DAYS * DAY_MS, UsagePeriod::Day);
    let days = UsageSumRequest { of, since_ms: 0, until_ms, by, zone_minutes: 330 };
    let hours = UsageSumRequest { since_ms: (DAYS - 7) * DAY_MS, by: UsagePeriod::Hour, ..days };
    timed(clock, who, "the first 100 rows", || store.usage(page)).await?;
    timed(clock, who, "100 rows, 2,000 later", || store.usage(deep)).await?;
    timed(clock, who, "30 days by day", || store.usage_sums(days)).await?;
    timed(clock, who, "7 days by hour", || store.usage_sums(hours)).await?;
    timed(clock, who, "used in the last day", || store.used_since(of, (DAYS - 1) * DAY_MS)).await
}

async fn timed<'a, T>(
    clock: &Arc<dyn Clock>,
    who: &str,
    what: &str,
    mut ask: impl FnMut() -> StoreFuture<'a, T>,
) -> Result<(), StoreError> {
    let mut times = Vec::new();
    for round in 0..=ROUNDS {
        let began = clock.monotonic();
        ask().await?;
        if round > 0 {
            times.push(clock.monotonic() - began);
        }
    }
    times.sort_unstable();
    println!("{who}, {what}: median {:.2} ms of {ROUNDS} rounds", milliseconds(times[ROUNDS / 2]));
    Ok(())
}

async fn hold_and_settle(clock: &Arc<dyn Clock>, ids: &IdMaker) -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let master = MasterKeys::in_file(folder.path().join("master.key"));
    let path = folder.path().join("usage.db");
    let store = SqliteStore::open(&path, master, clock.clone(), Rng::from_os()?).await?;
    let user = users(&store, 1).await?[0];
    let key = Some(key(&store, user, ids).await?);
    let store = &store;
    timed(clock, "in a file", "hold and settle", || {
        let id = ids.next();
        let hold = NewHold { id, user, key, amount: Nanos(1000), created_ms: 0 };
        let usage = usage(ids, (user, key), 0, 0);
        Box::pin(async move {
            store.hold(hold).await?;
            store.settle(Some(id), usage).await
        })
    })
    .await?;
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

async fn users(store: &SqliteStore, count: usize) -> Result<Vec<UserId>, Box<dyn std::error::Error>> {
    let mut users = Vec::new();
    for number in 0..count {
        let first = number == 0;
        let role = if first || number == 1 { UserRole::Admin } else { UserRole::User };
        let name = format!("user {number}");
        users.push(store.add_user(NewUser { name, email: None, role, password_hash: None, first }).await?.id);
    }
    let (user, kind, amount) = (users[0], CreditKind::TopUp, Nanos(1_000_000_000_000));
    store.add_credit(NewCredit { user, kind, amount, by: None, note: String::new(), at_ms: 0 }).await?;
    Ok(users)
}

async fn key(store: &SqliteStore, user: UserId, ids: &IdMaker) -> Result<KeyId, Box<dyn std::error::Error>> {
    let id: KeyId = ids.next();
    let bytes: [u8; 16] = id.into();
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(&bytes);
    let new = NewKey {
        id,
        user,
        name: "a key".to_owned(),
        start: String::new(),
        hash,
        created_ms: 0,
        expires_ms: None,
        scope: KeyScope::default(),
    };
    Ok(store.add_key(new, 10).await?.id)
}

fn usage(ids: &IdMaker, (user, key): (UserId, Option<KeyId>), at_ms: i64, model: usize) -> UsageRow {
    UsageRow {
        id: ids.next(),
        at_ms,
        user: Some(user),
        key,
        endpoint: "/v1/chat/completions".into(),
        model: ["qwen3:1.7b", "smollm2:135m"][model].to_owned(),
        class: "user".to_owned(),
        hit: 500,
        miss: 100,
        output: 300,
        reasoning: 100,
        cost: Nanos(1000),
        queued_ms: 1,
        ttft_ms: Some(100),
        total_ms: 4000,
        outcome: "stop".to_owned(),
    }
}
