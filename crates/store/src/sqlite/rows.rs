//! Rows of the tables to domain rows. Every column is checked: the file may have been changed by other hands.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::keys::WrappedKey;
use crate::seal::{Place, UserKey};
use crate::{
    AuditEntry, Conversation, ConversationId, Credit, CreditId, CreditKind, GroupId, Key, KeyId, KeyScope,
    Link, Message, MessageId, Nanos, Passkey, PasskeyBackup, PasskeyId, Role, Session, Status, StoreError,
    Timing, Usage, UsageRow, User, UserId, UserRole,
};

/// The columns that [`conversation`] reads, in a query on `conversations`.
macro_rules! conversation_columns {
    () => {
        "id, title_sealed, model, system_sealed, created_ms, updated_ms"
    };
}

/// The columns that [`message`] reads, in a query on `messages`.
macro_rules! message_columns {
    () => {
        "id, conversation_id, parent_id, role, status, content_sealed, reasoning_sealed, reasoning_ms, error_sealed, \
         model, created_ms, prompt_tokens, completion_tokens, reasoning_tokens, queued_ms, ttft_ms, total_ms"
    };
}

/// The columns that [`user`] reads, in a query on `users`.
macro_rules! user_columns {
    () => {
        "id, name, email, email_verified_ms, role, created_ms, disabled_ms, password_hash, key_generation"
    };
}

/// The columns that [`session`] reads, in a query on `sessions`.
macro_rules! session_columns {
    () => {
        "id, user_id, created_ms, seen_ms, expires_ms, agent, address"
    };
}

/// The columns that [`passkey`] reads, in a query on `passkeys`.
macro_rules! passkey_columns {
    () => {
        "id, user_id, credential_id, public_key, sign_count, backup, transports, name_sealed, created_ms, used_ms"
    };
}

/// The columns that [`key`] reads, in a query on `api_keys`.
macro_rules! key_columns {
    () => {
        "id, user_id, hash, start, name_sealed, created_ms, expires_ms, used_ms, spent, models, spend_max, addresses, \
         requests_at_once, requests_per_day, tokens_per_day"
    };
}

/// The columns that [`usage_row`] reads, in a query on `usage`.
macro_rules! usage_columns {
    () => {
        "id, at_ms, user_id, key_id, endpoint, model, class, hit, miss, output, reasoning, cost, queued_ms, ttft_ms, \
         total_ms, outcome"
    };
}

pub(super) use {conversation_columns, message_columns, passkey_columns, session_columns, user_columns};
pub(super) use {key_columns, usage_columns};

pub(super) fn user(row: &SqliteRow) -> Result<User, StoreError> {
    Ok(User {
        id: parsed(row, "id", "users.id")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        email_verified_ms: row.try_get("email_verified_ms")?,
        role: word(row, "role", "users.role", UserRole::from_word)?,
        created_ms: row.try_get("created_ms")?,
        disabled_ms: row.try_get("disabled_ms")?,
        password_hash: row.try_get("password_hash")?,
        key_generation: generation(row)?,
    })
}

/// From `wrapped_key` and `key_generation`.
pub(super) fn wrapped_key(row: &SqliteRow) -> Result<WrappedKey, StoreError> {
    Ok(WrappedKey { bytes: row.try_get("wrapped_key")?, generation: generation(row)? })
}

/// From `id`, where that is a user's.
pub(super) fn user_id(row: &SqliteRow) -> Result<UserId, StoreError> {
    parsed(row, "id", "users.id")
}

fn generation(row: &SqliteRow) -> Result<u32, StoreError> {
    small(row, "key_generation", "users.key_generation")
}

pub(super) fn session(row: &SqliteRow) -> Result<Session, StoreError> {
    Ok(Session {
        id: parsed(row, "id", "sessions.id")?,
        user_id: parsed(row, "user_id", "sessions.user_id")?,
        created_ms: row.try_get("created_ms")?,
        seen_ms: row.try_get("seen_ms")?,
        expires_ms: row.try_get("expires_ms")?,
        agent: row.try_get("agent")?,
        address: row.try_get("address")?,
    })
}

pub(super) fn passkey(row: &SqliteRow, key: &UserKey) -> Result<Passkey, StoreError> {
    let id: PasskeyId = parsed(row, "id", "passkeys.id")?;
    Ok(Passkey {
        id,
        user_id: parsed(row, "user_id", "passkeys.user_id")?,
        credential_id: row.try_get("credential_id")?,
        public_key: row.try_get("public_key")?,
        sign_count: small(row, "sign_count", "passkeys.sign_count")?,
        backup: word(row, "backup", "passkeys.backup", PasskeyBackup::from_word)?,
        transports: small(row, "transports", "passkeys.transports")?,
        name: key.open(Place::passkey_name(id), row.try_get("name_sealed")?)?,
        created_ms: row.try_get("created_ms")?,
        used_ms: row.try_get("used_ms")?,
    })
}

pub(super) fn key(row: &SqliteRow, user_key: &UserKey) -> Result<Key, StoreError> {
    let id: KeyId = parsed(row, "id", "api_keys.id")?;
    let hash: &[u8] = row.try_get("hash")?;
    Ok(Key {
        id,
        user: parsed(row, "user_id", "api_keys.user_id")?,
        name: user_key.open(Place::key_name(id), row.try_get("name_sealed")?)?,
        start: row.try_get("start")?,
        hash: hash.try_into().map_err(|_| damaged("api_keys.hash", &hash.len()))?,
        created_ms: row.try_get("created_ms")?,
        expires_ms: row.try_get("expires_ms")?,
        used_ms: row.try_get("used_ms")?,
        spent: Nanos(row.try_get("spent")?),
        scope: KeyScope {
            models: row.try_get::<Option<&str>, _>("models")?.map(lines),
            spend_max: row.try_get::<Option<i64>, _>("spend_max")?.map(Nanos),
            addresses: lines(row.try_get("addresses")?),
            requests_at_once: optional_small(row, "requests_at_once", "api_keys.requests_at_once")?,
            requests_per_day: optional_small(row, "requests_per_day", "api_keys.requests_per_day")?,
            tokens_per_day: optional_count(row, "tokens_per_day", "api_keys.tokens_per_day")?,
        },
    })
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// From all columns of `credits`.
pub(super) fn credit(row: &SqliteRow, key: &UserKey) -> Result<Credit, StoreError> {
    let id: CreditId = parsed(row, "id", "credits.id")?;
    Ok(Credit {
        id,
        user: parsed(row, "user_id", "credits.user_id")?,
        kind: word(row, "kind", "credits.kind", CreditKind::from_word)?,
        amount: Nanos(row.try_get("amount")?),
        by: optional_parsed(row, "by_id", "credits.by_id")?,
        note: key.open(Place::credit_note(id), row.try_get("note_sealed")?)?,
        at_ms: row.try_get("at_ms")?,
    })
}

pub(super) fn usage_row(row: &SqliteRow) -> Result<UsageRow, StoreError> {
    Ok(UsageRow {
        id: parsed(row, "id", "usage.id")?,
        at_ms: row.try_get("at_ms")?,
        user: optional_parsed(row, "user_id", "usage.user_id")?,
        key: optional_parsed(row, "key_id", "usage.key_id")?,
        endpoint: row.try_get::<String, _>("endpoint")?.into(),
        model: row.try_get("model")?,
        class: row.try_get("class")?,
        hit: count(row, "hit", "usage.hit")?,
        miss: count(row, "miss", "usage.miss")?,
        output: count(row, "output", "usage.output")?,
        reasoning: count(row, "reasoning", "usage.reasoning")?,
        cost: Nanos(row.try_get("cost")?),
        queued_ms: row.try_get("queued_ms")?,
        ttft_ms: row.try_get("ttft_ms")?,
        total_ms: row.try_get("total_ms")?,
        outcome: row.try_get("outcome")?,
    })
}

/// From `group_ids`: groups' ids with commas between them, or null for none.
pub(super) fn group_ids(row: &SqliteRow) -> Result<Vec<GroupId>, StoreError> {
    let text: Option<&str> = row.try_get("group_ids")?;
    let ids = text.into_iter().flat_map(|text| text.split(','));
    ids.map(|id| id.parse().map_err(|_| damaged("group_members.group_id", &id))).collect()
}

/// From all columns of `links` but the number, the issuer and the subject.
pub(super) fn link(row: &SqliteRow) -> Result<Link, StoreError> {
    Ok(Link {
        id: parsed(row, "id", "links.id")?,
        user_id: parsed(row, "user_id", "links.user_id")?,
        provider: row.try_get("provider")?,
        created_ms: row.try_get("created_ms")?,
    })
}

/// From all columns of `audit` but the number.
pub(super) fn audit_entry(row: &SqliteRow) -> Result<AuditEntry, StoreError> {
    Ok(AuditEntry {
        at_ms: row.try_get("at_ms")?,
        user_id: optional_parsed(row, "user_id", "audit.user_id")?,
        by: optional_parsed(row, "by_id", "audit.by_id")?,
        event: row.try_get("event")?,
        address: row.try_get("address")?,
        note: row.try_get("note")?,
    })
}

pub(super) fn conversation(row: &SqliteRow, key: &UserKey) -> Result<Conversation, StoreError> {
    let id: ConversationId = parsed(row, "id", "conversations.id")?;
    Ok(Conversation {
        id,
        title: key.open(Place::title(id), row.try_get("title_sealed")?)?,
        model: row.try_get("model")?,
        system: key.open_some(Place::system(id), row.try_get("system_sealed")?)?,
        created_ms: row.try_get("created_ms")?,
        updated_ms: row.try_get("updated_ms")?,
    })
}

pub(super) fn message(row: &SqliteRow, key: &UserKey) -> Result<Message, StoreError> {
    let id: MessageId = parsed(row, "id", "messages.id")?;
    Ok(Message {
        id,
        conversation_id: parsed(row, "conversation_id", "messages.conversation_id")?,
        parent_id: optional_parsed(row, "parent_id", "messages.parent_id")?,
        role: word(row, "role", "messages.role", Role::from_word)?,
        status: word(row, "status", "messages.status", Status::from_word)?,
        content: key.open(Place::content(id), row.try_get("content_sealed")?)?,
        reasoning: key.open_some(Place::reasoning(id), row.try_get("reasoning_sealed")?)?,
        reasoning_ms: optional_count(row, "reasoning_ms", "messages.reasoning_ms")?,
        error: key.open_some(Place::error(id), row.try_get("error_sealed")?)?,
        model: row.try_get("model")?,
        created_ms: row.try_get("created_ms")?,
        usage: usage(row)?,
        timing: timing(row)?,
    })
}

fn usage(row: &SqliteRow) -> Result<Option<Usage>, StoreError> {
    let Some(prompt_tokens) = optional_count(row, "prompt_tokens", "messages.prompt_tokens")? else {
        return Ok(None);
    };
    Ok(Some(Usage {
        prompt_tokens,
        completion_tokens: optional_count(row, "completion_tokens", "messages.completion_tokens")?
            .unwrap_or(0),
        reasoning_tokens: optional_count(row, "reasoning_tokens", "messages.reasoning_tokens")?.unwrap_or(0),
    }))
}

fn timing(row: &SqliteRow) -> Result<Option<Timing>, StoreError> {
    let Some(total_ms) = optional_count(row, "total_ms", "messages.total_ms")? else { return Ok(None) };
    Ok(Some(Timing {
        queued_ms: optional_count(row, "queued_ms", "messages.queued_ms")?.unwrap_or(0),
        ttft_ms: optional_count(row, "ttft_ms", "messages.ttft_ms")?,
        total_ms,
    }))
}

fn damaged(column: &'static str, value: &dyn ToString) -> StoreError {
    StoreError::Damaged { column, value: value.to_string() }
}

pub(super) fn parsed<T: std::str::FromStr>(
    row: &SqliteRow,
    name: &str,
    column: &'static str,
) -> Result<T, StoreError> {
    let text: &str = row.try_get(name)?;
    text.parse().map_err(|_| damaged(column, &text))
}

pub(super) fn optional_parsed<T: std::str::FromStr>(
    row: &SqliteRow,
    name: &str,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<&str> = row.try_get(name)?;
    text.map(|text| text.parse().map_err(|_| damaged(column, &text))).transpose()
}

pub(super) fn word<T>(
    row: &SqliteRow,
    name: &str,
    column: &'static str,
    from_word: fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text: &str = row.try_get(name)?;
    from_word(text).ok_or_else(|| damaged(column, &text))
}

/// A number of a smaller type than SQLite's.
fn small<T: TryFrom<i64>>(row: &SqliteRow, name: &str, column: &'static str) -> Result<T, StoreError> {
    let number: i64 = row.try_get(name)?;
    T::try_from(number).map_err(|_| damaged(column, &number))
}

pub(super) fn count(row: &SqliteRow, name: &str, column: &'static str) -> Result<u64, StoreError> {
    small(row, name, column)
}

fn optional_count(row: &SqliteRow, name: &str, column: &'static str) -> Result<Option<u64>, StoreError> {
    let count: Option<i64> = row.try_get(name)?;
    count.map(|count| u64::try_from(count).map_err(|_| damaged(column, &count))).transpose()
}

/// As [`optional_count`], where it is known to be small.
pub(super) fn optional_small(
    row: &SqliteRow,
    name: &str,
    column: &'static str,
) -> Result<Option<u32>, StoreError> {
    let count: Option<i64> = row.try_get(name)?;
    count.map(|count| u32::try_from(count).map_err(|_| damaged(column, &count))).transpose()
}

/// For the way in: SQLite's integers are signed; no count of ours comes near the end of them.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
