use sqlx::SqliteConnection;

use super::SqliteStore;
use super::rows::{conversation, conversation_columns, signed};
use crate::seal::{Place, UserKey};
use crate::{
    Conversation, ConversationChange, ConversationId, ConversationPage, ConversationStore, Cursor,
    NewConversation, PageRequest, StoreError, StoreFuture, UserId,
};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "conversation" };

impl ConversationStore for SqliteStore {
    fn add_conversation(
        &self,
        owner: UserId,
        new: NewConversation,
        conversations_max: u64,
    ) -> StoreFuture<'_, Conversation> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(super::users::NOT_FOUND)?;
            let mut transaction = self.write_lightly().await?;
            // The key may have been ready since before the owner was deleted.
            super::users::find(&mut transaction, owner).await?;
            check_capacity(&mut transaction, owner, conversations_max).await?;
            let now_ms = self.now_ms();
            let id: ConversationId = self.ids.next();
            sqlx::query(
                "INSERT INTO conversations (id, owner, title, title_sealed, model, created_ms, updated_ms)
                 VALUES (?, ?, '', ?, ?, ?, ?)",
            )
            .bind(id.to_string())
            .bind(owner.to_string())
            .bind(self.sealer.seal(&key, Place::title(id), "")?)
            .bind(&new.model)
            .bind(now_ms)
            .bind(now_ms)
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(Conversation {
                id,
                title: String::new(),
                model: new.model,
                system: None,
                created_ms: now_ms,
                updated_ms: now_ms,
            })
        })
    }

    fn conversation(&self, owner: UserId, id: ConversationId) -> StoreFuture<'_, Conversation> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NOT_FOUND)?;
            let mut connection = self.readers.acquire().await?;
            find(&mut connection, &key, owner, id).await
        })
    }

    fn conversations(&self, owner: UserId, page: PageRequest) -> StoreFuture<'_, ConversationPage> {
        Box::pin(async move {
            let Some(key) = self.key(owner).await? else {
                return Ok(ConversationPage { conversations: Vec::new(), next: None });
            };
            // One more than asked for tells whether there is a next page.
            let limit = i64::from(page.limit) + 1;
            let (before_ms, before_id) = match page.before {
                Some(cursor) => (cursor.updated_ms, cursor.id.to_string()),
                None => (i64::MAX, String::new()),
            };
            let rows = sqlx::query(LIST)
                .bind(owner.to_string())
                .bind(before_ms)
                .bind(before_id)
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
            let more = rows.len() > page.limit as usize;
            let rows = rows.iter().take(page.limit as usize);
            let conversations = rows.map(|row| conversation(row, &key)).collect::<Result<Vec<_>, _>>()?;
            let last = conversations.last().filter(|_| more);
            let next = last.map(|last| Cursor { updated_ms: last.updated_ms, id: last.id });
            Ok(ConversationPage { conversations, next })
        })
    }

    fn change_conversation(
        &self,
        owner: UserId,
        id: ConversationId,
        change: ConversationChange,
    ) -> StoreFuture<'_, Conversation> {
        Box::pin(async move {
            let key = self.key(owner).await?.ok_or(NOT_FOUND)?;
            let mut transaction = self.write().await?;
            let mut conversation = find(&mut transaction, &key, owner, id).await?;
            conversation.title = change.title.unwrap_or(conversation.title);
            conversation.model = change.model.unwrap_or(conversation.model);
            conversation.system = change.system.unwrap_or(conversation.system);
            let system = conversation.system.as_deref();
            sqlx::query(
                "UPDATE conversations SET title_sealed = ?, model = ?, system_sealed = ? WHERE id = ?",
            )
            .bind(self.sealer.seal(&key, Place::title(id), &conversation.title)?)
            .bind(&conversation.model)
            .bind(self.sealer.seal_some(&key, Place::system(id), system)?)
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(conversation)
        })
    }

    fn delete_conversation(&self, owner: UserId, id: ConversationId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let deleted = sqlx::query("DELETE FROM conversations WHERE id = ? AND owner = ?")
                .bind(id.to_string())
                .bind(owner.to_string())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            transaction.commit().await?;
            if deleted == 0 { Err(NOT_FOUND) } else { Ok(()) }
        })
    }
}

pub(super) const LIST: &str = concat!(
    "SELECT ",
    conversation_columns!(),
    " FROM conversations WHERE owner = ? AND (updated_ms, id) < (?, ?)
      ORDER BY updated_ms DESC, id DESC LIMIT ?"
);

/// Whether the owner may have one more.
pub(super) async fn check_capacity(
    connection: &mut SqliteConnection,
    owner: UserId,
    conversations_max: u64,
) -> Result<(), StoreError> {
    let held: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM conversations WHERE owner = ?")
        .bind(owner.to_string())
        .fetch_one(connection)
        .await?;
    if held >= signed(conversations_max) {
        let given = held.unsigned_abs() + 1;
        return Err(StoreError::Full { what: "conversations", allowed: conversations_max, given });
    }
    Ok(())
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    key: &UserKey,
    owner: UserId,
    id: ConversationId,
) -> Result<Conversation, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        conversation_columns!(),
        " FROM conversations WHERE id = ? AND owner = ?"
    ))
    .bind(id.to_string())
    .bind(owner.to_string())
    .fetch_optional(connection)
    .await?;
    conversation(&row.ok_or(NOT_FOUND)?, key)
}
