use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteStore;
use super::rows::{parsed, word};
use crate::seal::{Place, UserKey};
use crate::{
    ConversationId, Hit, MessageId, Role, Search, SearchPage, SearchPlace, SearchStore, Snippet, StoreError,
    StoreFuture, UserId, Words,
};

/// Messages of one part.
const ROWS_MAX: usize = 256;
/// Bytes of text of one part, within one message.
const BYTES_MAX: usize = 512 << 10;

impl SearchStore for SqliteStore {
    fn search(&self, owner: UserId, search: Search) -> StoreFuture<'_, SearchPage> {
        Box::pin(async move {
            let Some(key) = self.key(owner).await? else {
                return Ok(SearchPage { hits: Vec::new(), scanned: 0, next: None });
            };
            let (rows, more) = self.scan(owner, search.place).await?;
            let next = rows.last().filter(|_| more).map(SealedRow::place);
            let scanned = rows.len() as u64;
            // A text may be large: other work goes on meanwhile.
            let matching = tokio::task::spawn_blocking(move || Matcher::new(&key, &search).hits(rows));
            let hits = matching.await.map_err(|error| StoreError::Database(Box::new(error)))??;
            Ok(SearchPage { hits, scanned, next })
        })
    }
}

impl SqliteStore {
    /// The next part, sealed, and whether there is more. No reader is held while texts are opened and compared.
    async fn scan(
        &self,
        owner: UserId,
        place: Option<SearchPlace>,
    ) -> Result<(Vec<SealedRow>, bool), StoreError> {
        let (updated_ms, conversation, number) = match place {
            Some(place) => (place.updated_ms, place.conversation.to_string(), place.number),
            None => (i64::MAX, String::new(), 0),
        };
        let mut rows = sqlx::query(SCAN)
            .bind(owner.to_string())
            .bind(updated_ms)
            .bind(&conversation)
            .bind(updated_ms)
            .bind(&conversation)
            .bind(number)
            .bind(ROWS_MAX as i64 + 1)
            .fetch(&self.readers);
        let (mut scanned, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.try_next().await? {
            if scanned.len() == ROWS_MAX || bytes >= BYTES_MAX {
                return Ok((scanned, true));
            }
            let row = SealedRow::of(&row)?;
            bytes += row.content.len();
            scanned.push(row);
        }
        Ok((scanned, false))
    }
}

/// The place is given twice: once for the index, once to leave out what was seen of the conversation in the middle of
/// which the last part ended.
pub(super) const SCAN: &str =
    "SELECT conversations.id AS conversation, title_sealed, updated_ms, messages.id AS id, role,
        messages.created_ms AS created_ms, content_sealed, messages.number AS number
     FROM conversations CROSS JOIN messages ON conversation_id = conversations.id
     WHERE owner = ? AND (updated_ms, conversations.id) <= (?, ?)
        AND ((updated_ms, conversations.id) < (?, ?) OR messages.number < ?)
     ORDER BY updated_ms DESC, conversations.id DESC, conversations.number, messages.number DESC LIMIT ?";

struct SealedRow {
    conversation: ConversationId,
    title: Vec<u8>,
    updated_ms: i64,
    number: i64,
    id: MessageId,
    role: Role,
    created_ms: i64,
    content: Vec<u8>,
}

impl SealedRow {
    fn of(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            conversation: parsed(row, "conversation", "conversations.id")?,
            title: row.try_get("title_sealed")?,
            updated_ms: row.try_get("updated_ms")?,
            number: row.try_get("number")?,
            id: parsed(row, "id", "messages.id")?,
            role: word(row, "role", "messages.role", Role::from_word)?,
            created_ms: row.try_get("created_ms")?,
            content: row.try_get("content_sealed")?,
        })
    }

    fn place(&self) -> SearchPlace {
        SearchPlace { updated_ms: self.updated_ms, conversation: self.conversation, number: self.number }
    }
}

/// Opens texts and compares them.
struct Matcher<'a> {
    key: &'a UserKey,
    words: &'a Words,
    scratch: String,
    /// The conversation at hand, which is known from the part before if this one begins in the middle of it.
    conversation: Option<ConversationId>,
    title: String,
}

impl<'a> Matcher<'a> {
    fn new(key: &'a UserKey, search: &'a Search) -> Self {
        let conversation = search.place.map(|place| place.conversation);
        Self { key, words: &search.words, scratch: String::new(), conversation, title: String::new() }
    }

    fn hits(mut self, rows: Vec<SealedRow>) -> Result<Vec<Hit>, StoreError> {
        let mut hits = Vec::new();
        let mut titled = None;
        for row in rows {
            let mut found = None;
            if titled != Some(row.conversation) {
                titled = Some(row.conversation);
                self.title = self.key.open(Place::title(row.conversation), &row.title)?;
                // Its newest message stands for a conversation that is found by its title.
                if self.conversation != titled {
                    found = self.words.find(&self.title, &mut self.scratch);
                }
                self.conversation = titled;
            }
            let content = self.key.open(Place::content(row.id), &row.content)?;
            if let Some(snippet) = self.words.find(&content, &mut self.scratch).or(found) {
                hits.push(self.hit(&row, snippet));
            }
        }
        Ok(hits)
    }

    fn hit(&self, row: &SealedRow, snippet: Snippet) -> Hit {
        Hit {
            conversation_id: row.conversation,
            title: self.title.clone(),
            message_id: row.id,
            role: row.role,
            created_ms: row.created_ms,
            snippet,
        }
    }
}
