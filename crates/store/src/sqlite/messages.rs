use sqlx::SqliteConnection;

use super::SqliteStore;
use super::conversations::find as find_conversation;
use super::rows::{message, message_columns, signed};
use crate::{
    ConversationId, Limits, Message, MessageId, MessageStore, NewAnswer, NewTurn, Outcome, ParentChoice,
    Progress, Role, Status, StoreError, StoreFuture, Turn,
};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "message" };

impl MessageStore for SqliteStore {
    fn messages(&self, conversation: ConversationId) -> StoreFuture<'_, Vec<Message>> {
        Box::pin(async move {
            // Both reads see the same state of the database.
            let mut transaction = self.readers.begin().await?;
            find_conversation(&mut transaction, conversation).await?;
            let rows = sqlx::query(concat!(
                "SELECT ",
                message_columns!(),
                " FROM messages WHERE conversation_id = ? ORDER BY number"
            ))
            .bind(conversation.to_string())
            .fetch_all(&mut *transaction)
            .await?;
            rows.iter().map(message).collect()
        })
    }

    fn message(&self, conversation: ConversationId, id: MessageId) -> StoreFuture<'_, Message> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            find(&mut connection, conversation, id).await
        })
    }

    fn branch(&self, conversation: ConversationId, leaf: MessageId) -> StoreFuture<'_, Vec<Message>> {
        Box::pin(async move {
            // A parent is always older than its child; asking for it ends the recursion in a damaged file too.
            let rows = sqlx::query(concat!(
                "WITH RECURSIVE branch (branch_number, branch_parent) AS (
                    SELECT number, parent_id FROM messages WHERE id = ? AND conversation_id = ?
                    UNION ALL
                    SELECT number, parent_id FROM messages JOIN branch ON id = branch_parent
                    WHERE number < branch_number
                 ) SELECT ",
                message_columns!(),
                " FROM branch JOIN messages ON number = branch_number ORDER BY number"
            ))
            .bind(leaf.to_string())
            .bind(conversation.to_string())
            .fetch_all(&self.readers)
            .await?;
            if rows.is_empty() {
                return Err(NOT_FOUND);
            }
            rows.iter().map(message).collect()
        })
    }

    fn add_turn(&self, turn: NewTurn) -> StoreFuture<'_, Turn> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let conversation = find_conversation(&mut transaction, turn.conversation_id).await?.id;
            let parent = match turn.parent {
                ParentChoice::Root => None,
                ParentChoice::Message(id) => Some(find(&mut transaction, conversation, id).await?),
                ParentChoice::Newest => newest(&mut transaction, conversation).await?,
            };
            if let Some(parent) = &parent {
                must_have_ended(parent)?;
            }
            check_capacity(&mut transaction, conversation, turn.limits, 2, turn.content.len()).await?;

            let parent_id = parent.map(|parent| parent.id);
            let user = Message {
                role: Role::User,
                status: Status::Complete,
                content: turn.content,
                ..self.blank(conversation, parent_id)
            };
            let assistant =
                Message { model: Some(turn.model.clone()), ..self.blank(conversation, Some(user.id)) };
            insert(&mut transaction, &user).await?;
            insert(&mut transaction, &assistant).await?;
            touch(&mut transaction, conversation, &turn.model, &turn.title_if_none, assistant.created_ms)
                .await?;
            transaction.commit().await?;
            Ok(Turn { user, assistant })
        })
    }

    fn add_answer(&self, answer: NewAnswer) -> StoreFuture<'_, Message> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let conversation = find_conversation(&mut transaction, answer.conversation_id).await?.id;
            let beside = find(&mut transaction, conversation, answer.beside).await?;
            must_have_ended(&beside)?;
            check_capacity(&mut transaction, conversation, answer.limits, 1, 0).await?;

            let assistant =
                Message { model: Some(answer.model.clone()), ..self.blank(conversation, beside.parent_id) };
            insert(&mut transaction, &assistant).await?;
            touch(&mut transaction, conversation, &answer.model, "", assistant.created_ms).await?;
            transaction.commit().await?;
            Ok(assistant)
        })
    }

    fn save_progress(&self, progress: Vec<Progress>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if progress.is_empty() {
                return Ok(());
            }
            let mut transaction = self.write().await?;
            for part in progress {
                sqlx::query(
                    "UPDATE messages SET content = ?, reasoning = ?, reasoning_ms = ?
                     WHERE id = ? AND status = 'generating'",
                )
                .bind(part.content)
                .bind(part.reasoning)
                .bind(part.reasoning_ms.map(signed))
                .bind(part.id.to_string())
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
    }

    fn finish(&self, outcome: Outcome) -> StoreFuture<'_, Message> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let row = sqlx::query(concat!(
                "UPDATE messages SET content = ?, reasoning = ?, reasoning_ms = ?, status = ?, error = ?,
                    prompt_tokens = ?, completion_tokens = ?, reasoning_tokens = ?,
                    queued_ms = ?, ttft_ms = ?, total_ms = ?
                 WHERE id = ? AND status = 'generating' RETURNING ",
                message_columns!()
            ))
            .bind(outcome.text.content)
            .bind(outcome.text.reasoning)
            .bind(outcome.text.reasoning_ms.map(signed))
            .bind(outcome.status.as_str())
            .bind(outcome.error)
            .bind(outcome.usage.map(|usage| signed(usage.prompt_tokens)))
            .bind(outcome.usage.map(|usage| signed(usage.completion_tokens)))
            .bind(outcome.usage.map(|usage| signed(usage.reasoning_tokens)))
            .bind(outcome.timing.map(|timing| signed(timing.queued_ms)))
            .bind(outcome.timing.and_then(|timing| timing.ttft_ms).map(signed))
            .bind(outcome.timing.map(|timing| signed(timing.total_ms)))
            .bind(outcome.text.id.to_string())
            .fetch_optional(&mut *transaction)
            .await?;
            let finished = message(&row.ok_or(NOT_FOUND)?)?;
            sqlx::query("UPDATE conversations SET updated_ms = MAX(updated_ms, ?) WHERE id = ?")
                .bind(self.now_ms())
                .bind(finished.conversation_id.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(finished)
        })
    }
}

impl SqliteStore {
    /// An answer of which nothing is written yet.
    fn blank(&self, conversation_id: ConversationId, parent_id: Option<MessageId>) -> Message {
        Message {
            id: self.ids.next(),
            conversation_id,
            parent_id,
            role: Role::Assistant,
            status: Status::Generating,
            content: String::new(),
            reasoning: None,
            reasoning_ms: None,
            error: None,
            model: None,
            created_ms: self.now_ms(),
            usage: None,
            timing: None,
        }
    }
}

async fn find(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Message, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE id = ? AND conversation_id = ?"
    ))
    .bind(id.to_string())
    .bind(conversation.to_string())
    .fetch_optional(connection)
    .await?;
    message(&row.ok_or(NOT_FOUND)?)
}

async fn newest(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
) -> Result<Option<Message>, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE conversation_id = ? ORDER BY number DESC LIMIT 1"
    ))
    .bind(conversation.to_string())
    .fetch_optional(connection)
    .await?;
    row.as_ref().map(message).transpose()
}

fn must_have_ended(answer: &Message) -> Result<(), StoreError> {
    if answer.role != Role::Assistant {
        return Err(StoreError::Conflict("this message is not an answer"));
    }
    if answer.status == Status::Generating {
        return Err(StoreError::Conflict("this answer is still being written: wait for its end or stop it"));
    }
    Ok(())
}

async fn check_capacity(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    limits: Limits,
    more_messages: u64,
    more_bytes: usize,
) -> Result<(), StoreError> {
    let (messages, bytes): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*), COALESCE(SUM(octet_length(content) + COALESCE(octet_length(reasoning), 0)), 0)
         FROM messages WHERE conversation_id = ?",
    )
    .bind(conversation.to_string())
    .fetch_one(connection)
    .await?;
    let messages = messages.unsigned_abs() + more_messages;
    if messages > limits.messages_max {
        return Err(StoreError::Full {
            what: "messages in this conversation",
            allowed: limits.messages_max,
            given: messages,
        });
    }
    let bytes = bytes.unsigned_abs() + more_bytes as u64;
    if bytes > limits.bytes_max {
        return Err(StoreError::Full {
            what: "bytes of text in this conversation",
            allowed: limits.bytes_max,
            given: bytes,
        });
    }
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, message: &Message) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO messages (id, conversation_id, parent_id, role, status, content, model, created_ms)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(message.id.to_string())
    .bind(message.conversation_id.to_string())
    .bind(message.parent_id.map(|id| id.to_string()))
    .bind(message.role.as_str())
    .bind(message.status.as_str())
    .bind(&message.content)
    .bind(&message.model)
    .bind(message.created_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes in the conversation that it was written to now, and with which model.
async fn touch(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    model: &str,
    title_if_none: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE conversations
         SET model = ?, title = CASE title WHEN '' THEN ? ELSE title END, updated_ms = MAX(updated_ms, ?)
         WHERE id = ?",
    )
    .bind(model)
    .bind(title_if_none)
    .bind(now_ms)
    .bind(conversation.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
