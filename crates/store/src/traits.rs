use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use crate::{
    Conversation, ConversationChange, ConversationId, ConversationPage, Message, MessageId, NewAnswer,
    NewConversation, NewTurn, Outcome, PageRequest, Progress, StoreError, Turn,
};

/// What every method returns. Dropping it before it is ready leaves the change either done whole or not done.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Conversations, without their messages.
pub trait ConversationStore: Send + Sync + Debug {
    /// Adds one, unless there are `conversations_max` already.
    ///
    /// # Errors
    /// [`StoreError::Full`].
    fn add_conversation(&self, new: NewConversation, conversations_max: u64)
    -> StoreFuture<'_, Conversation>;

    /// One of them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn conversation(&self, id: ConversationId) -> StoreFuture<'_, Conversation>;

    /// A page of the list, the last changed first.
    fn conversations(&self, page: PageRequest) -> StoreFuture<'_, ConversationPage>;

    /// Changes the fields that are given; the place in the list stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn change_conversation(
        &self,
        id: ConversationId,
        change: ConversationChange,
    ) -> StoreFuture<'_, Conversation>;

    /// Deletes it with all its messages.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn delete_conversation(&self, id: ConversationId) -> StoreFuture<'_, ()>;
}

/// The messages of conversations.
pub trait MessageStore: Send + Sync + Debug {
    /// The whole tree, in the order in which the messages were added.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such conversation.
    fn messages(&self, conversation: ConversationId) -> StoreFuture<'_, Vec<Message>>;

    /// One message of a conversation.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also if the message is another conversation's.
    fn message(&self, conversation: ConversationId, id: MessageId) -> StoreFuture<'_, Message>;

    /// The branch that ends with a message, from the root to it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also if the message is another conversation's.
    fn branch(&self, conversation: ConversationId, leaf: MessageId) -> StoreFuture<'_, Vec<Message>>;

    /// Adds a question and its answer, which starts as generating.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the conversation or the parent, [`StoreError::Conflict`] if the parent is not an
    /// answer or is still being written, [`StoreError::Full`].
    fn add_turn(&self, turn: NewTurn) -> StoreFuture<'_, Turn>;

    /// Adds an answer beside another, which starts as generating.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the conversation or the answer, [`StoreError::Conflict`] if that is not an answer
    /// or is still being written, [`StoreError::Full`].
    fn add_answer(&self, answer: NewAnswer) -> StoreFuture<'_, Message>;

    /// Writes the text so far of answers that are being written, all in one transaction. Those that have ended or
    /// are gone are passed over.
    fn save_progress(&self, progress: Vec<Progress>) -> StoreFuture<'_, ()>;

    /// Ends an answer that is being written.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is gone or has ended already.
    fn finish(&self, outcome: Outcome) -> StoreFuture<'_, Message>;
}

/// The store as a whole.
pub trait StoreHealth: Send + Sync + Debug {
    /// Asks the database for something small.
    fn ping(&self) -> StoreFuture<'_, ()>;

    /// Waits for what is under way, then closes; every later call fails.
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// All of it.
pub trait Store: ConversationStore + MessageStore + StoreHealth {}

impl<S: ConversationStore + MessageStore + StoreHealth> Store for S {}
