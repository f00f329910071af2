use std::collections::HashMap;

use sqlx::SqliteConnection;

use super::SqliteStore;
use super::conversations::find as find_conversation;
use super::messages::of_conversation;
use super::rows::{parsed, signed};
use crate::seal::{Place, UserKey};
use crate::{
    Archive, ArchiveOutcome, ArchiveStore, Conversation, ConversationId, Message, MessageId, NewArchive,
    Role, Status, StoreError, StoreFuture, UserId,
};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "conversation" };

impl ArchiveStore for SqliteStore {
    fn conversation_ids(&self, owner: UserId) -> StoreFuture<'_, Vec<ConversationId>> {
        Box::pin(async move {
            let rows = sqlx::query(IDS).bind(owner.to_string()).fetch_all(&self.readers).await?;
            rows.iter().map(|row| parsed(row, "id", "conversations.id")).collect()
        })
    }

    fn archive(&self, owner: UserId, id: ConversationId) -> StoreFuture<'_, Archive> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NOT_FOUND)?;
            // Both reads see the same state of the database.
            let mut transaction = self.readers.begin().await?;
            let conversation = find_conversation(&mut transaction, &key, owner, id).await?;
            let messages = of_conversation(&mut transaction, &key, id).await?;
            Ok(Archive { conversation, messages })
        })
    }

    fn add_archive(&self, owner: UserId, new: NewArchive) -> StoreFuture<'_, ArchiveOutcome> {
        Box::pin(async move {
            check_tree(&new.archive)?;
            check_capacity(&new)?;
            let key = self.key(owner).await?.ok_or(super::users::NOT_FOUND)?;
            let Archive { conversation, messages } = new.archive;
            // Sealed before the write lock is taken: it may be much text.
            let sealed: Vec<_> =
                messages.iter().map(|message| self.seal_message(&key, message)).collect::<Result<_, _>>()?;
            let mut transaction = self.write().await?;
            // The key may have been ready since before the owner was deleted.
            super::users::find(&mut transaction, owner).await?;
            match whose(&mut transaction, conversation.id).await? {
                Whose::Nobody => {}
                Whose::Of(other) if other == owner => return Ok(ArchiveOutcome::AlreadyThere),
                Whose::Of(_) => return Err(ID_TAKEN),
            }
            super::conversations::check_capacity(&mut transaction, owner, new.conversations_max).await?;
            self.insert_conversation(&mut transaction, &key, owner, &conversation).await?;
            for (message, sealed) in messages.iter().zip(sealed) {
                insert_message(&mut transaction, message, sealed).await?;
            }
            transaction.commit().await?;
            Ok(ArchiveOutcome::Added)
        })
    }
}

pub(super) const IDS: &str = "SELECT id FROM conversations WHERE owner = ? ORDER BY updated_ms DESC, id DESC";

const ID_TAKEN: StoreError = StoreError::Conflict("an id in this archive is taken");

/// Every answer hangs under a question of its own conversation, every question at the root or under an answer, and
/// parents come first.
fn check_tree(archive: &Archive) -> Result<(), StoreError> {
    let mut roles: HashMap<MessageId, Role> = HashMap::with_capacity(archive.messages.len());
    for message in &archive.messages {
        let above = match message.parent_id {
            None => None,
            Some(parent) => {
                let found = roles.get(&parent).copied();
                Some(found.ok_or(StoreError::Conflict("a message's parent must stand before it"))?)
            }
        };
        match (above, message.role) {
            (None | Some(Role::Assistant), Role::User) | (Some(Role::User), Role::Assistant) => {}
            _ => return Err(StoreError::Conflict("questions and answers must take turns")),
        }
        if message.status == Status::Generating {
            return Err(StoreError::Conflict("an answer in an archive must have ended"));
        }
        if message.conversation_id != archive.conversation.id {
            return Err(StoreError::Conflict("a message in an archive is another conversation's"));
        }
        if roles.insert(message.id, message.role).is_some() {
            return Err(StoreError::Conflict("two messages in an archive have the same id"));
        }
    }
    Ok(())
}

fn check_capacity(new: &NewArchive) -> Result<(), StoreError> {
    let messages = new.archive.messages.len() as u64;
    if messages > new.limits.messages_max {
        return Err(StoreError::Full {
            what: "messages in this conversation",
            allowed: new.limits.messages_max,
            given: messages,
        });
    }
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let bytes_of =
        |message: &Message| message.content.len() + length(&message.reasoning) + length(&message.error);
    let bytes = new.archive.messages.iter().map(bytes_of).sum::<usize>() as u64;
    if bytes > new.limits.bytes_max {
        return Err(StoreError::Full {
            what: "bytes of text in this conversation",
            allowed: new.limits.bytes_max,
            given: bytes,
        });
    }
    Ok(())
}

enum Whose {
    Nobody,
    Of(UserId),
}

async fn whose(connection: &mut SqliteConnection, id: ConversationId) -> Result<Whose, StoreError> {
    let row = sqlx::query("SELECT COALESCE(owner, '') AS owner FROM conversations WHERE id = ?")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(Whose::Nobody), |row| parsed(&row, "owner", "conversations.owner").map(Whose::Of))
}

/// The texts of a message as the database takes them.
struct SealedMessage {
    content: Vec<u8>,
    reasoning: Option<Vec<u8>>,
    error: Option<Vec<u8>>,
}

impl SqliteStore {
    fn seal_message(&self, key: &UserKey, message: &Message) -> Result<SealedMessage, StoreError> {
        let id = message.id;
        Ok(SealedMessage {
            content: self.sealer.seal(key, Place::content(id), &message.content)?,
            reasoning: self.sealer.seal_some(key, Place::reasoning(id), message.reasoning.as_deref())?,
            error: self.sealer.seal_some(key, Place::error(id), message.error.as_deref())?,
        })
    }

    async fn insert_conversation(
        &self,
        connection: &mut SqliteConnection,
        key: &UserKey,
        owner: UserId,
        conversation: &Conversation,
    ) -> Result<(), StoreError> {
        let id = conversation.id;
        sqlx::query(
            "INSERT INTO conversations
                (id, owner, title, title_sealed, model, system_sealed, created_ms, updated_ms)
             VALUES (?, ?, '', ?, ?, ?, ?, ?)",
        )
        .bind(id.to_string())
        .bind(owner.to_string())
        .bind(self.sealer.seal(key, Place::title(id), &conversation.title)?)
        .bind(&conversation.model)
        .bind(self.sealer.seal_some(key, Place::system(id), conversation.system.as_deref())?)
        .bind(conversation.created_ms)
        .bind(conversation.updated_ms)
        .execute(connection)
        .await?;
        Ok(())
    }
}

async fn insert_message(
    connection: &mut SqliteConnection,
    message: &Message,
    sealed: SealedMessage,
) -> Result<(), StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO messages
            (id, conversation_id, parent_id, role, status, content, content_sealed, reasoning_sealed, reasoning_ms,
             error_sealed, model, created_ms, prompt_tokens, completion_tokens, reasoning_tokens, queued_ms, ttft_ms,
             total_ms)
         VALUES (?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(message.id.to_string())
    .bind(message.conversation_id.to_string())
    .bind(message.parent_id.map(|id| id.to_string()))
    .bind(message.role.as_str())
    .bind(message.status.as_str())
    .bind(sealed.content)
    .bind(sealed.reasoning)
    .bind(message.reasoning_ms.map(signed))
    .bind(sealed.error)
    .bind(&message.model)
    .bind(message.created_ms)
    .bind(message.usage.map(|usage| signed(usage.prompt_tokens)))
    .bind(message.usage.map(|usage| signed(usage.completion_tokens)))
    .bind(message.usage.map(|usage| signed(usage.reasoning_tokens)))
    .bind(message.timing.map(|timing| signed(timing.queued_ms)))
    .bind(message.timing.and_then(|timing| timing.ttft_ms).map(signed))
    .bind(message.timing.map(|timing| signed(timing.total_ms)))
    .execute(connection)
    .await?
    .rows_affected();
    if inserted == 0 { Err(ID_TAKEN) } else { Ok(()) }
}
