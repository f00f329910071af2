//! What a user has as a whole: to take along and bring back, to search, and to be rid of after a while.

use crate::{Conversation, ConversationId, Limits, Message, MessageId, Role, Snippet, Words};

/// A conversation with all its messages, in the order in which they were added: a parent stands before its children.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// The conversation.
    pub conversation: Conversation,
    /// Its messages.
    pub messages: Vec<Message>,
}

/// An archive that becomes a user's. Ids, times and states are taken as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewArchive {
    /// What to add.
    pub archive: Archive,
    /// Conversations that the user may have.
    pub conversations_max: u64,
    /// Capacity of the conversation.
    pub limits: Limits,
}

/// What became of a [`NewArchive`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveOutcome {
    /// It is there now.
    Added,
    /// The user had a conversation with this id, which stays as it is.
    AlreadyThere,
}

/// Looks through a part of what a user has.
#[derive(Debug, Clone)]
pub struct Search {
    /// What must occur, all of it in one text.
    pub words: Words,
    /// Where to go on; `None` to begin with the newest.
    pub place: Option<SearchPlace>,
}

/// How far a search has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchPlace {
    pub(crate) updated_ms: i64,
    pub(crate) conversation: ConversationId,
    pub(crate) number: i64,
}

/// What one part of a search found: in conversations by their last change, in each by the order of its messages, the
/// newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchPage {
    /// The messages found.
    pub hits: Vec<Hit>,
    /// Messages that were looked at.
    pub scanned: u64,
    /// Where to go on; `None` when everything was looked at.
    pub next: Option<SearchPlace>,
}

/// A message that was found by its text; or the newest of a conversation that was found by its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// The conversation's title.
    pub title: String,
    /// The message.
    pub message_id: MessageId,
    /// Who wrote it.
    pub role: Role,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// The part of the text, or of the title, where the words are.
    pub snippet: Snippet,
}

/// What a user chose for themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserSettings {
    /// Days after its last change, 1 to [`RETENTION_DAYS_MAX`], after which a conversation is deleted; `None` for never.
    pub retention_days: Option<u32>,
}

/// Longest time that can be chosen, in days; longer is for ever.
pub const RETENTION_DAYS_MAX: u32 = 3650;
