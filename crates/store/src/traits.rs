use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use crate::{
    AuditEntry, Backup, Conversation, ConversationChange, ConversationId, ConversationPage, Message,
    MessageId, NewAnswer, NewConversation, NewSession, NewTurn, NewUser, Outcome, PageRequest, Progress,
    Rotation, Session, SessionId, StoreError, Turn, User, UserId, UserPage, UserPageRequest, UserRole,
};

/// What every method returns. Dropping it before it is ready leaves the change either done whole or not done.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Users. As soon as there is one, there is always an administrator who is not disabled.
pub trait UserStore: Send + Sync + Debug {
    /// Adds one, with a key of their own that seals what they write. The first one must be said to be, so that
    /// whoever comes first by chance does not take the conversations that are nobody's yet.
    ///
    /// # Errors
    /// [`StoreError::Taken`] for the name or the email address; [`StoreError::Conflict`] if `first` and there is a
    /// user, if not `first` and there is none, and if the first is no administrator.
    fn add_user(&self, new: NewUser) -> StoreFuture<'_, User>;

    /// One of them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn user(&self, id: UserId) -> StoreFuture<'_, User>;

    /// The user with this name or, if there is an `@` in it, with this email address, however it is written.
    fn user_by_login(&self, login: String) -> StoreFuture<'_, Option<User>>;

    /// A page of the list, by folded name.
    fn users(&self, page: UserPageRequest) -> StoreFuture<'_, UserPage>;

    /// How many there are.
    fn users_count(&self) -> StoreFuture<'_, u64>;

    /// Sets the hash of their password; their sessions stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn set_password(&self, id: UserId, password_hash: String) -> StoreFuture<'_, ()>;

    /// Sets what they may do.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] if no administrator would be left.
    fn set_role(&self, id: UserId, role: UserRole) -> StoreFuture<'_, ()>;

    /// Disables them and revokes their sessions, or with `None` lets them sign in again.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] if no administrator would be left.
    fn set_disabled(&self, id: UserId, disabled_ms: Option<i64>) -> StoreFuture<'_, ()>;

    /// Deletes them with their key, their conversations and their sessions, which count as revoked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] if no administrator would be left.
    fn delete_user(&self, id: UserId) -> StoreFuture<'_, ()>;
}

/// Where users are signed in.
pub trait SessionStore: Send + Sync + Debug {
    /// Signs a user in. If they have `sessions_max` live sessions already, the one seen longest ago is revoked.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user, [`StoreError::Conflict`] if they are disabled,
    /// [`StoreError::Full`] if so many of their sessions were revoked that no more can be remembered.
    fn add_session(&self, new: NewSession, sessions_max: u64) -> StoreFuture<'_, Session>;

    /// A user's live sessions (neither revoked nor expired), the last seen first.
    fn sessions(&self, user: UserId) -> StoreFuture<'_, Vec<Session>>;

    /// Notes when sessions were seen, in Unix milliseconds, all in one transaction. Times never go back; sessions
    /// that are gone are passed over.
    fn touch_sessions(&self, seen: Vec<(SessionId, i64)>) -> StoreFuture<'_, ()>;

    /// Ends a session of a user.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not a live one, or another user's.
    fn revoke_session(&self, user: UserId, id: SessionId) -> StoreFuture<'_, ()>;

    /// Ends a user's sessions, all or all but one, and says which.
    fn revoke_sessions(&self, user: UserId, except: Option<SessionId>) -> StoreFuture<'_, Vec<SessionId>>;

    /// Sessions revoked at or after a time that would otherwise still be good, each with the Unix milliseconds at
    /// which it would have expired, the first revoked first. Those of deleted users are among them.
    fn revoked_sessions(&self, since_ms: i64) -> StoreFuture<'_, Vec<(SessionId, i64)>>;
}

/// What happened that matters for security.
pub trait AuditStore: Send + Sync + Debug {
    /// Adds an entry. The 100,000 newest are kept.
    fn audit(&self, entry: AuditEntry) -> StoreFuture<'_, ()>;

    /// The newest entries, about one user or about all and nobody, the newest first.
    fn audit_entries(&self, user: Option<UserId>, limit: u32) -> StoreFuture<'_, Vec<AuditEntry>>;
}

/// Conversations, without their messages. Another user's is not found, exactly like one that is not there.
pub trait ConversationStore: Send + Sync + Debug {
    /// Adds one, unless the owner has `conversations_max` already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user, [`StoreError::Full`].
    fn add_conversation(
        &self,
        owner: UserId,
        new: NewConversation,
        conversations_max: u64,
    ) -> StoreFuture<'_, Conversation>;

    /// One of them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn conversation(&self, owner: UserId, id: ConversationId) -> StoreFuture<'_, Conversation>;

    /// A page of the owner's list, the last changed first.
    fn conversations(&self, owner: UserId, page: PageRequest) -> StoreFuture<'_, ConversationPage>;

    /// Changes the fields that are given; the place in the list stays.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn change_conversation(
        &self,
        owner: UserId,
        id: ConversationId,
        change: ConversationChange,
    ) -> StoreFuture<'_, Conversation>;

    /// Deletes it with all its messages.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn delete_conversation(&self, owner: UserId, id: ConversationId) -> StoreFuture<'_, ()>;
}

/// The messages of conversations. Those of another user's are not found, exactly like those that are not there.
pub trait MessageStore: Send + Sync + Debug {
    /// The whole tree, in the order in which the messages were added.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such conversation.
    fn messages(&self, owner: UserId, conversation: ConversationId) -> StoreFuture<'_, Vec<Message>>;

    /// One message of a conversation.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also if the message is another conversation's.
    fn message(&self, owner: UserId, conversation: ConversationId, id: MessageId)
    -> StoreFuture<'_, Message>;

    /// The branch that ends with a message, from the root to it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], also if the message is another conversation's.
    fn branch(
        &self,
        owner: UserId,
        conversation: ConversationId,
        leaf: MessageId,
    ) -> StoreFuture<'_, Vec<Message>>;

    /// Adds a question and its answer, which starts as generating.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the conversation or the parent, [`StoreError::Conflict`] if the parent is not an
    /// answer or is still being written, [`StoreError::Full`].
    fn add_turn(&self, owner: UserId, turn: NewTurn) -> StoreFuture<'_, Turn>;

    /// Adds an answer beside another, which starts as generating.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the conversation or the answer, [`StoreError::Conflict`] if that is not an answer
    /// or is still being written, [`StoreError::Full`].
    fn add_answer(&self, owner: UserId, answer: NewAnswer) -> StoreFuture<'_, Message>;

    /// Writes the text so far of answers that are being written, of any owners, all in one transaction. Those that
    /// have ended or are gone are passed over.
    fn save_progress(&self, progress: Vec<Progress>) -> StoreFuture<'_, ()>;

    /// Ends an answer that is being written.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is gone or has ended already.
    fn finish(&self, outcome: Outcome) -> StoreFuture<'_, Message>;
}

/// Copies of the whole, and the keys to it.
pub trait VaultStore: Send + Sync + Debug {
    /// Copies the database as it is now, while others go on reading and writing. Whatever was acknowledged before the
    /// call is in it. Dropping the future stops nothing; what it would have given is thrown away when it is there.
    ///
    /// # Errors
    /// [`StoreError::Running`] if a backup is being made or has not been dropped yet, or the keys are being rotated:
    /// a copy with keys of two generations would open with neither file; [`StoreError::DiskFull`],
    /// [`StoreError::File`]; [`StoreError::Conflict`] if it is in memory only.
    fn backup(&self) -> StoreFuture<'_, Backup>;

    /// Wraps every user's key under a new master key, while others go on, and takes the older ones out of where they
    /// are kept. What users wrote stays as it is. A rotation that was interrupted, or whose future was dropped, is
    /// finished instead of beginning another.
    ///
    /// # Errors
    /// [`StoreError::Running`] if a backup is being made or the keys are being rotated; those of reading and writing
    /// the master keys; [`StoreError::Conflict`] if a new key can only be given from outside and none was;
    /// [`StoreError::Busy`] if somebody reads for so long that the log, which holds what the old key wrapped, can't be
    /// emptied: the old key stays then, and the next call goes on.
    fn rotate_keys(&self) -> StoreFuture<'_, Rotation>;
}

/// The store as a whole.
pub trait StoreHealth: Send + Sync + Debug {
    /// Asks the database for something small.
    fn ping(&self) -> StoreFuture<'_, ()>;

    /// Waits for what is under way, then closes; every later call fails.
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// All of it.
pub trait Store:
    UserStore + SessionStore + AuditStore + ConversationStore + MessageStore + VaultStore + StoreHealth
{
}

impl<S> Store for S where
    S: UserStore + SessionStore + AuditStore + ConversationStore + MessageStore + VaultStore + StoreHealth
{
}
