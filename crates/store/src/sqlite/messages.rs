use sqlx::SqliteConnection;

use super::conversations::find as find_conversation;
use super::meter::settle;
use super::rows::{message, message_columns, signed};
use super::{SqliteStore, wait_for};
use crate::seal::{OVERHEAD, Place, UserKey};
use crate::{
    Conversation, ConversationId, Limits, Message, MessageId, MessageStore, NewAnswer, NewTurn, Outcome,
    ParentChoice, Progress, Role, Status, StoreError, StoreFuture, Turn, UserId,
};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "message" };
const NO_CONVERSATION: StoreError = StoreError::NotFound { what: "conversation" };

/// Holds for a row of `messages` whose conversation is the bound user's.
macro_rules! is_owned {
    () => {
        "(SELECT owner FROM conversations WHERE conversations.id = messages.conversation_id) = ?"
    };
}

impl MessageStore for SqliteStore {
    fn messages(&self, owner: UserId, conversation: ConversationId) -> StoreFuture<'_, Vec<Message>> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NO_CONVERSATION)?;
            // Both reads see the same state of the database.
            let mut transaction = self.readers.begin().await?;
            find_conversation(&mut transaction, &key, owner, conversation).await?;
            of_conversation(&mut transaction, &key, conversation).await
        })
    }

    fn message(
        &self,
        owner: UserId,
        conversation: ConversationId,
        id: MessageId,
    ) -> StoreFuture<'_, Message> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NOT_FOUND)?;
            let mut connection = self.readers.acquire().await?;
            find(&mut connection, &key, owner, conversation, id).await
        })
    }

    fn branch(
        &self,
        owner: UserId,
        conversation: ConversationId,
        leaf: MessageId,
    ) -> StoreFuture<'_, Vec<Message>> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NOT_FOUND)?;
            // A parent is always older than its child; asking for it ends the recursion in a damaged file too.
            let rows = sqlx::query(concat!(
                "WITH RECURSIVE branch (branch_number, branch_parent) AS (
                    SELECT number, parent_id FROM messages WHERE id = ? AND conversation_id = ? AND ",
                is_owned!(),
                "   UNION ALL
                    SELECT number, parent_id FROM messages JOIN branch ON id = branch_parent
                    WHERE number < branch_number
                 ) SELECT ",
                message_columns!(),
                " FROM branch JOIN messages ON number = branch_number ORDER BY number"
            ))
            .bind(leaf.to_string())
            .bind(conversation.to_string())
            .bind(owner.to_string())
            .fetch_all(&self.readers)
            .await?;
            if rows.is_empty() {
                return Err(NOT_FOUND);
            }
            rows.iter().map(|row| message(row, &key)).collect()
        })
    }

    fn add_turn(&self, owner: UserId, turn: NewTurn) -> StoreFuture<'_, Turn> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NO_CONVERSATION)?;
            let mut transaction = self.write_lightly().await?;
            let found = find_conversation(&mut transaction, &key, owner, turn.conversation_id).await?;
            let conversation = found.id;
            let parent = match turn.parent {
                ParentChoice::Root => None,
                ParentChoice::Message(id) => {
                    Some(find(&mut transaction, &key, owner, conversation, id).await?)
                }
                ParentChoice::Newest => newest(&mut transaction, &key, conversation).await?,
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
            self.insert(&mut transaction, &key, &user).await?;
            self.insert(&mut transaction, &key, &assistant).await?;
            if found.title.is_empty() {
                self.name(&mut transaction, &key, &found, &turn.title_if_none).await?;
            }
            touch(&mut transaction, conversation, &turn.model, assistant.created_ms).await?;
            transaction.commit().await?;
            Ok(Turn { user, assistant })
        })
    }

    fn on_disk(&self) -> StoreFuture<'_, ()> {
        Box::pin(wait_for(self.log.as_deref()))
    }

    fn add_answer(&self, owner: UserId, answer: NewAnswer) -> StoreFuture<'_, Message> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NO_CONVERSATION)?;
            let mut transaction = self.write().await?;
            let found = find_conversation(&mut transaction, &key, owner, answer.conversation_id).await?;
            let conversation = found.id;
            let beside = find(&mut transaction, &key, owner, conversation, answer.beside).await?;
            must_have_ended(&beside)?;
            check_capacity(&mut transaction, conversation, answer.limits, 1, 0).await?;

            let assistant =
                Message { model: Some(answer.model.clone()), ..self.blank(conversation, beside.parent_id) };
            self.insert(&mut transaction, &key, &assistant).await?;
            touch(&mut transaction, conversation, &answer.model, assistant.created_ms).await?;
            transaction.commit().await?;
            Ok(assistant)
        })
    }

    fn resume_answer(
        &self,
        owner: UserId,
        conversation: ConversationId,
        id: MessageId,
    ) -> StoreFuture<'_, Message> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NO_CONVERSATION)?;
            let mut transaction = self.write().await?;
            let found = find_conversation(&mut transaction, &key, owner, conversation).await?;
            let answer = find(&mut transaction, &key, owner, conversation, id).await?;
            must_have_ended(&answer)?;
            if answer.status == Status::Complete {
                return Err(StoreError::Conflict("this answer is complete: ask for another instead"));
            }
            let reply = sqlx::query("SELECT 1 FROM messages WHERE parent_id = ?")
                .bind(id.to_string())
                .fetch_optional(&mut *transaction)
                .await?;
            if reply.is_some() {
                return Err(StoreError::Conflict("the conversation has gone on from this answer as it is"));
            }
            sqlx::query("UPDATE messages SET status = 'generating', error_sealed = NULL WHERE id = ?")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            let model = answer.model.as_deref().unwrap_or(&found.model);
            touch(&mut transaction, conversation, model, self.now_ms()).await?;
            transaction.commit().await?;
            Ok(Message { status: Status::Generating, error: None, ..answer })
        })
    }

    fn save_progress(&self, progress: Vec<Progress>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if progress.is_empty() {
                return Ok(());
            }
            // Sealed before the write lock is taken: it may be much text.
            let mut sealed = Vec::with_capacity(progress.len());
            for part in progress {
                if let Some(key) = self.key(part.owner).await? {
                    sealed.push(self.seal_progress(&key, &part)?);
                }
            }
            let mut transaction = self.write().await?;
            for part in sealed {
                sqlx::query(concat!(
                    "UPDATE messages SET content_sealed = ?, reasoning_sealed = ?, reasoning_ms = ?
                     WHERE id = ? AND status = 'generating' AND ",
                    is_owned!()
                ))
                .bind(part.content)
                .bind(part.reasoning)
                .bind(part.reasoning_ms)
                .bind(part.id)
                .bind(part.owner)
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
            Ok(())
        })
    }

    fn finish(&self, outcome: Outcome) -> StoreFuture<'_, Message> {
        Box::pin(async move {
            let key = self.key(outcome.text.owner).await?.ok_or(NOT_FOUND)?;
            let text = self.seal_progress(&key, &outcome.text)?;
            let error =
                self.sealer.seal_some(&key, Place::error(outcome.text.id), outcome.error.as_deref())?;
            let mut transaction = self.write().await?;
            let row = sqlx::query(concat!(
                "UPDATE messages SET content_sealed = ?, reasoning_sealed = ?, reasoning_ms = ?, status = ?,
                    error_sealed = ?, prompt_tokens = ?, completion_tokens = ?, reasoning_tokens = ?,
                    queued_ms = ?, ttft_ms = ?, total_ms = ?
                 WHERE id = ? AND status = 'generating' AND ",
                is_owned!(),
                " RETURNING ",
                message_columns!()
            ))
            .bind(text.content)
            .bind(text.reasoning)
            .bind(text.reasoning_ms)
            .bind(outcome.status.as_str())
            .bind(error)
            .bind(outcome.usage.map(|usage| signed(usage.prompt_tokens)))
            .bind(outcome.usage.map(|usage| signed(usage.completion_tokens)))
            .bind(outcome.usage.map(|usage| signed(usage.reasoning_tokens)))
            .bind(outcome.timing.map(|timing| signed(timing.queued_ms)))
            .bind(outcome.timing.and_then(|timing| timing.ttft_ms).map(signed))
            .bind(outcome.timing.map(|timing| signed(timing.total_ms)))
            .bind(text.id)
            .bind(text.owner)
            .fetch_optional(&mut *transaction)
            .await?;
            let finished = message(&row.ok_or(NOT_FOUND)?, &key)?;
            if let Some((hold, usage)) = outcome.metered {
                settle(&mut transaction, hold, usage).await?;
            }
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

/// [`Progress`] as the database takes it.
struct SealedProgress {
    owner: String,
    id: String,
    content: Vec<u8>,
    reasoning: Option<Vec<u8>>,
    reasoning_ms: Option<i64>,
}

impl SqliteStore {
    fn seal_progress(&self, key: &UserKey, part: &Progress) -> Result<SealedProgress, StoreError> {
        let reasoning = part.reasoning.as_deref();
        Ok(SealedProgress {
            owner: part.owner.to_string(),
            id: part.id.to_string(),
            content: self.sealer.seal(key, Place::content(part.id), &part.content)?,
            reasoning: self.sealer.seal_some(key, Place::reasoning(part.id), reasoning)?,
            reasoning_ms: part.reasoning_ms.map(signed),
        })
    }

    async fn insert(
        &self,
        connection: &mut SqliteConnection,
        key: &UserKey,
        message: &Message,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO messages
                (id, conversation_id, parent_id, role, status, content, content_sealed, model, created_ms)
             VALUES (?, ?, ?, ?, ?, '', ?, ?, ?)",
        )
        .bind(message.id.to_string())
        .bind(message.conversation_id.to_string())
        .bind(message.parent_id.map(|id| id.to_string()))
        .bind(message.role.as_str())
        .bind(message.status.as_str())
        .bind(self.sealer.seal(key, Place::content(message.id), &message.content)?)
        .bind(&message.model)
        .bind(message.created_ms)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Gives a conversation its title.
    async fn name(
        &self,
        connection: &mut SqliteConnection,
        key: &UserKey,
        conversation: &Conversation,
        title: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE conversations SET title_sealed = ? WHERE id = ?")
            .bind(self.sealer.seal(key, Place::title(conversation.id), title)?)
            .bind(conversation.id.to_string())
            .execute(connection)
            .await?;
        Ok(())
    }

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

/// All messages of a conversation that is known to be the key's owner's.
pub(super) async fn of_conversation(
    connection: &mut SqliteConnection,
    key: &UserKey,
    conversation: ConversationId,
) -> Result<Vec<Message>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE conversation_id = ? ORDER BY number"
    ))
    .bind(conversation.to_string())
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| message(row, key)).collect()
}

async fn find(
    connection: &mut SqliteConnection,
    key: &UserKey,
    owner: UserId,
    conversation: ConversationId,
    id: MessageId,
) -> Result<Message, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        message_columns!(),
        " FROM messages WHERE id = ? AND conversation_id = ? AND ",
        is_owned!()
    ))
    .bind(id.to_string())
    .bind(conversation.to_string())
    .bind(owner.to_string())
    .fetch_optional(connection)
    .await?;
    message(&row.ok_or(NOT_FOUND)?, key)
}

/// Of a conversation that is known to be the key's owner's.
async fn newest(
    connection: &mut SqliteConnection,
    key: &UserKey,
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
    row.map(|row| message(&row, key)).transpose()
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
    // What counts is what the user wrote, not what sealing adds to it.
    let (messages, bytes): (i64, i64) = sqlx::query_as(
        "SELECT COUNT(*),
            COALESCE(SUM(octet_length(content_sealed) - ? + COALESCE(octet_length(reasoning_sealed) - ?, 0)), 0)
         FROM messages WHERE conversation_id = ?",
    )
    .bind(OVERHEAD as i64)
    .bind(OVERHEAD as i64)
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

/// Notes in the conversation that it was written to now, and with which model.
async fn touch(
    connection: &mut SqliteConnection,
    conversation: ConversationId,
    model: &str,
    now_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE conversations SET model = ?, updated_ms = MAX(updated_ms, ?) WHERE id = ?")
        .bind(model)
        .bind(now_ms)
        .bind(conversation.to_string())
        .execute(connection)
        .await?;
    Ok(())
}
