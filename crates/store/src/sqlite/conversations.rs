use sqlx::SqliteConnection;

use super::SqliteStore;
use super::rows::{conversation, conversation_columns, signed};
use crate::{
    Conversation, ConversationChange, ConversationId, ConversationPage, ConversationStore, Cursor,
    NewConversation, PageRequest, StoreError, StoreFuture,
};

const NOT_FOUND: StoreError = StoreError::NotFound { what: "conversation" };

impl ConversationStore for SqliteStore {
    fn add_conversation(
        &self,
        new: NewConversation,
        conversations_max: u64,
    ) -> StoreFuture<'_, Conversation> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let held: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM conversations").fetch_one(&mut *transaction).await?;
            if held >= signed(conversations_max) {
                let given = held.unsigned_abs() + 1;
                return Err(StoreError::Full { what: "conversations", allowed: conversations_max, given });
            }
            let now_ms = self.now_ms();
            let id: ConversationId = self.ids.next();
            sqlx::query("INSERT INTO conversations (id, title, model, created_ms, updated_ms) VALUES (?, '', ?, ?, ?)")
                .bind(id.to_string())
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

    fn conversation(&self, id: ConversationId) -> StoreFuture<'_, Conversation> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            find(&mut connection, id).await
        })
    }

    fn conversations(&self, page: PageRequest) -> StoreFuture<'_, ConversationPage> {
        Box::pin(async move {
            // One more than asked for tells whether there is a next page.
            let limit = i64::from(page.limit) + 1;
            let (before_ms, before_id) = match page.before {
                Some(cursor) => (cursor.updated_ms, cursor.id.to_string()),
                None => (i64::MAX, String::new()),
            };
            let rows = sqlx::query(concat!(
                "SELECT ",
                conversation_columns!(),
                " FROM conversations WHERE (updated_ms, id) < (?, ?) ORDER BY updated_ms DESC, id DESC LIMIT ?"
            ))
            .bind(before_ms)
            .bind(before_id)
            .bind(limit)
            .fetch_all(&self.readers)
            .await?;
            let mut conversations = rows.iter().map(conversation).collect::<Result<Vec<_>, _>>()?;
            let more = conversations.len() > page.limit as usize;
            conversations.truncate(page.limit as usize);
            let last = conversations.last().filter(|_| more);
            let next = last.map(|last| Cursor { updated_ms: last.updated_ms, id: last.id });
            Ok(ConversationPage { conversations, next })
        })
    }

    fn change_conversation(
        &self,
        id: ConversationId,
        change: ConversationChange,
    ) -> StoreFuture<'_, Conversation> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let mut conversation = find(&mut transaction, id).await?;
            conversation.title = change.title.unwrap_or(conversation.title);
            conversation.model = change.model.unwrap_or(conversation.model);
            conversation.system = change.system.unwrap_or(conversation.system);
            sqlx::query("UPDATE conversations SET title = ?, model = ?, system = ? WHERE id = ?")
                .bind(&conversation.title)
                .bind(&conversation.model)
                .bind(&conversation.system)
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(conversation)
        })
    }

    fn delete_conversation(&self, id: ConversationId) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut transaction = self.write().await?;
            let deleted = sqlx::query("DELETE FROM conversations WHERE id = ?")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?
                .rows_affected();
            transaction.commit().await?;
            if deleted == 0 { Err(NOT_FOUND) } else { Ok(()) }
        })
    }
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    id: ConversationId,
) -> Result<Conversation, StoreError> {
    let row = sqlx::query(concat!("SELECT ", conversation_columns!(), " FROM conversations WHERE id = ?"))
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    conversation(&row.ok_or(NOT_FOUND)?)
}
