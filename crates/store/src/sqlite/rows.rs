//! Rows of the tables to domain rows. Every column is checked: the file may have been changed by other hands.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::{Conversation, Message, Role, Status, StoreError, Timing, Usage};

/// The columns that [`conversation`] reads, in a query on `conversations`.
macro_rules! conversation_columns {
    () => {
        "id, title, model, system, created_ms, updated_ms"
    };
}

/// The columns that [`message`] reads, in a query on `messages`.
macro_rules! message_columns {
    () => {
        "id, conversation_id, parent_id, role, status, content, reasoning, reasoning_ms, error, model, created_ms, \
         prompt_tokens, completion_tokens, reasoning_tokens, queued_ms, ttft_ms, total_ms"
    };
}

pub(super) use {conversation_columns, message_columns};

pub(super) fn conversation(row: &SqliteRow) -> Result<Conversation, StoreError> {
    Ok(Conversation {
        id: parsed(row, "id", "conversations.id")?,
        title: row.try_get("title")?,
        model: row.try_get("model")?,
        system: row.try_get("system")?,
        created_ms: row.try_get("created_ms")?,
        updated_ms: row.try_get("updated_ms")?,
    })
}

pub(super) fn message(row: &SqliteRow) -> Result<Message, StoreError> {
    let parent: Option<&str> = row.try_get("parent_id")?;
    Ok(Message {
        id: parsed(row, "id", "messages.id")?,
        conversation_id: parsed(row, "conversation_id", "messages.conversation_id")?,
        parent_id: match parent {
            Some(text) => Some(text.parse().map_err(|_| damaged("messages.parent_id", &text))?),
            None => None,
        },
        role: word(row, "role", "messages.role", Role::from_word)?,
        status: word(row, "status", "messages.status", Status::from_word)?,
        content: row.try_get("content")?,
        reasoning: row.try_get("reasoning")?,
        reasoning_ms: optional_count(row, "reasoning_ms", "messages.reasoning_ms")?,
        error: row.try_get("error")?,
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

fn parsed<T: std::str::FromStr>(row: &SqliteRow, name: &str, column: &'static str) -> Result<T, StoreError> {
    let text: &str = row.try_get(name)?;
    text.parse().map_err(|_| damaged(column, &text))
}

fn word<T>(
    row: &SqliteRow,
    name: &str,
    column: &'static str,
    from_word: fn(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let text: &str = row.try_get(name)?;
    from_word(text).ok_or_else(|| damaged(column, &text))
}

fn optional_count(row: &SqliteRow, name: &str, column: &'static str) -> Result<Option<u64>, StoreError> {
    let count: Option<i64> = row.try_get(name)?;
    count.map(|count| u64::try_from(count).map_err(|_| damaged(column, &count))).transpose()
}

/// For the way in: SQLite's integers are signed; no count of ours comes near the end of them.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
