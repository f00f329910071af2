use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use crate::{
    AnswerTaken, Archive, ArchiveOutcome, AuditEntry, AuditPage, AuditPageRequest, Backup, Conversation,
    ConversationChange, ConversationId, ConversationPage, GateStore, Grant, Group, GroupChange, GroupId,
    Identity, KeyStore, Link, LinkId, Message, MessageId, MeterStore, NewAnswer, NewArchive, NewConversation,
    NewGroup, NewOneTimeCodes, NewPasskey, NewSession, NewTurn, NewUser, OneTimeCodes, Outcome, PageRequest,
    Passkey, PasskeyId, PasskeyUse, Progress, Rotation, Search, SearchPage, Session, SessionId, SignUpLink,
    StoreError, Turn, User, UserCard, UserChange, UserId, UserPage, UserPageRequest, UserRole, UserSearch,
    UserSearchPage, UserSettings,
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

    /// Sets the hash of their password and revokes all their sessions but the one in which they did so, all of it or
    /// none; says which.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] if they have another hash than `old_hash` by now, or are
    /// disabled.
    fn change_password(
        &self,
        id: UserId,
        old_hash: Option<String>,
        new_hash: String,
        keep: SessionId,
    ) -> StoreFuture<'_, Vec<SessionId>>;

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

    /// Deletes them with what seals their texts, their conversations, their credit, and their sessions and keys, which
    /// count as revoked. Rows of usage stay, and are nobody's; where there are very many of them, they become so before
    /// the rest is done, which is done at once.
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

/// Users' one-time codes (TOTP), and the recovery codes for who has lost what shows them.
pub trait OneTimeCodeStore: Send + Sync + Debug {
    /// Turns them on for a user, in place of any that they had.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user.
    fn set_one_time_codes(&self, user: UserId, new: NewOneTimeCodes) -> StoreFuture<'_, ()>;

    /// A user's, if they are on.
    fn one_time_codes(&self, user: UserId) -> StoreFuture<'_, Option<OneTimeCodes>>;

    /// Takes a step of time, whose code was right, and says whether it may be: of many who ask with one step, and
    /// after a later one, only the first is told so. Without one-time codes nobody is.
    fn take_step(&self, user: UserId, step: u64) -> StoreFuture<'_, bool>;

    /// Replaces the hashes of the recovery codes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the user has no one-time codes.
    fn set_recovery_codes(&self, user: UserId, codes: Vec<String>) -> StoreFuture<'_, ()>;

    /// Takes the recovery code with this hash, and says whether it was there.
    fn take_recovery_code(&self, user: UserId, code: String) -> StoreFuture<'_, bool>;

    /// Turns them off, recovery codes included.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if they are not on.
    fn remove_one_time_codes(&self, user: UserId) -> StoreFuture<'_, ()>;
}

/// Users' passkeys. Another user's is not found, exactly like one that is not there.
pub trait PasskeyStore: Send + Sync + Debug {
    /// Adds one, unless the user has `passkeys_max` already.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user, [`StoreError::Conflict`] if anybody has this credential,
    /// [`StoreError::Full`].
    fn add_passkey(&self, user: UserId, new: NewPasskey, passkeys_max: u64) -> StoreFuture<'_, Passkey>;

    /// A user's, the first added first.
    fn passkeys(&self, user: UserId) -> StoreFuture<'_, Vec<Passkey>>;

    /// The one with this credential id, whosever it is.
    fn passkey_by_credential(&self, credential_id: Vec<u8>) -> StoreFuture<'_, Option<Passkey>>;

    /// Gives one another name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn rename_passkey(&self, user: UserId, id: PasskeyId, name: String) -> StoreFuture<'_, Passkey>;

    /// Notes a sign-in with one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] if its counter does not go on: once it has counted, each
    /// number must be greater than the one before.
    fn passkey_used(&self, user: UserId, id: PasskeyId, usage: PasskeyUse) -> StoreFuture<'_, ()>;

    /// Deletes one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] if the user could not sign in any more.
    fn delete_passkey(&self, user: UserId, id: PasskeyId) -> StoreFuture<'_, ()>;

    /// Removes a user's one-time codes, recovery codes and passkeys: for operators, who look after it that there is
    /// another way in. The password and accounts elsewhere stay.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user.
    fn clear_factors(&self, user: UserId) -> StoreFuture<'_, ()>;
}

/// Conversations, without their messages. Another user's is not found, exactly like one that is not there.
pub trait ConversationStore: Send + Sync + Debug {
    /// Adds one, unless the owner has `conversations_max` already. There is nothing in it, and until there is, it doesn't
    /// outlast a loss of power.
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

    /// Adds a question and its answer, which starts as generating. Both are there from then on, and outlast a loss of
    /// power once [`on_disk`](Self::on_disk) is ready: the answer can begin before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the conversation or the parent, [`StoreError::Conflict`] if the parent is not an
    /// answer or is still being written, [`StoreError::Full`].
    fn add_turn(&self, owner: UserId, turn: NewTurn) -> StoreFuture<'_, Turn>;

    /// Ready when all that was written before is on the disk: to be waited for before a question is acknowledged.
    ///
    /// # Errors
    /// [`StoreError::File`], [`StoreError::DiskFull`]: what was written is there, but a loss of power may undo it.
    fn on_disk(&self) -> StoreFuture<'_, ()>;

    /// Adds an answer beside another, which starts as generating.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the conversation or the answer, [`StoreError::Conflict`] if that is not an answer
    /// or is still being written, [`StoreError::Full`].
    fn add_answer(&self, owner: UserId, answer: NewAnswer) -> StoreFuture<'_, Message>;

    /// Has an answer generating again that ended before it was complete. Its text stays, to be gone on from, and so does
    /// what it took; why it failed, if it did, is forgotten.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the conversation or the answer, [`StoreError::Conflict`] if that is not an answer, is
    /// complete or still being written, or the conversation has gone on from it.
    fn resume_answer(
        &self,
        owner: UserId,
        conversation: ConversationId,
        id: MessageId,
    ) -> StoreFuture<'_, Message>;

    /// Writes the text so far of answers that are being written, of any owners, all in one transaction. Those that
    /// have ended or are gone are passed over.
    fn save_progress(&self, progress: Vec<Progress>) -> StoreFuture<'_, ()>;

    /// Ends an answer that is being written and notes what it took, as [`MeterStore::settle`] does, all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is gone or has ended already, or the hold is gone. What was held stays held then:
    /// settle or release it.
    fn finish(&self, outcome: Outcome) -> StoreFuture<'_, Message>;
}

/// Email addresses that are known to reach their users.
pub trait AddressStore: Send + Sync + Debug {
    /// Adds a user who has shown that the address, if there is one, is theirs, and who signs in with an account
    /// elsewhere if one is given.
    ///
    /// # Errors
    /// As [`UserStore::add_user`], and [`StoreError::Taken`] for the account elsewhere.
    fn add_verified_user(&self, new: NewUser, identity: Option<Identity>) -> StoreFuture<'_, User>;

    /// Adds a user by the link of a letter to their address. No link that was sent to it until now, this one or
    /// another, makes an account any more, also not when this one is deleted.
    ///
    /// # Errors
    /// As [`UserStore::add_user`], [`StoreError::Conflict`] if such a link was used before, and [`StoreError::Full`]
    /// if 100,000 were within their lifetime.
    fn add_user_by_link(&self, new: NewUser, link: SignUpLink) -> StoreFuture<'_, User>;

    /// Sets an address that somebody has shown to be this user's, in place of the one that they had when they asked
    /// for it. Whoever sets a new password takes back with it what was asked for under the old one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if they have another one by now than `old`, or this one,
    /// verified, or another hash of the password than `old_hash`, or are disabled; [`StoreError::Taken`] if it is
    /// another user's.
    fn change_email(
        &self,
        id: UserId,
        old: Option<String>,
        old_hash: Option<String>,
        new: String,
    ) -> StoreFuture<'_, User>;

    /// Sets the hash of the password of somebody who reads the letters to `email`, marks the address as theirs, and
    /// revokes all sessions, of which it says which.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] if they have another hash than `old_hash` by now, or another
    /// address, or are disabled.
    fn reset_password(
        &self,
        id: UserId,
        email: String,
        old_hash: Option<String>,
        new_hash: String,
    ) -> StoreFuture<'_, Vec<SessionId>>;
}

/// Accounts elsewhere with which users sign in.
pub trait LinkStore: Send + Sync + Debug {
    /// Lets a user sign in with an account elsewhere. What is linked already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user, [`StoreError::Taken`] if it is another user's,
    /// [`StoreError::Full`] if they have 20.
    fn add_link(&self, user: UserId, identity: Identity) -> StoreFuture<'_, Link>;

    /// Whose account elsewhere this is.
    fn user_by_identity(&self, identity: Identity) -> StoreFuture<'_, Option<User>>;

    /// A user's, the first made first.
    fn links(&self, user: UserId) -> StoreFuture<'_, Vec<Link>>;

    /// Takes one away.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not there, or another user's; [`StoreError::Conflict`] if it is the last way in
    /// that they have.
    fn remove_link(&self, user: UserId, id: LinkId) -> StoreFuture<'_, ()>;
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

    /// Writes that were begun since it was opened, by [`Lane`](crate::Lane), the last first.
    fn writes_by_lane(&self) -> [u64; 4];

    /// Waits for what is under way, then closes; every later call fails.
    fn close(&self) -> StoreFuture<'_, ()>;
}

/// Groups: which models their members may use, and how much. Everybody is in [`GroupId::EVERYONE`], which is always
/// there.
pub trait GroupStore: Send + Sync + Debug {
    /// Adds one, without members.
    ///
    /// # Errors
    /// [`StoreError::Taken`] for the name, [`StoreError::Full`] if there are 1,000 already.
    fn add_group(&self, new: NewGroup) -> StoreFuture<'_, Group>;

    /// All of them, by folded name.
    fn groups(&self) -> StoreFuture<'_, Vec<Group>>;

    /// One of them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn group(&self, id: GroupId) -> StoreFuture<'_, Group>;

    /// Changes the fields that are given.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Taken`] for the name, [`StoreError::Conflict`] for that of
    /// [`GroupId::EVERYONE`].
    fn change_group(&self, id: GroupId, change: GroupChange) -> StoreFuture<'_, Group>;

    /// Deletes it; its members lose what only it gave them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`] for [`GroupId::EVERYONE`].
    fn delete_group(&self, id: GroupId) -> StoreFuture<'_, ()>;

    /// What a user's groups give them together; what everybody has, for a user who is not there.
    fn grant(&self, user: UserId) -> StoreFuture<'_, Grant>;
}

/// How many answers users ask for.
pub trait QuotaStore: Send + Sync + Debug {
    /// Counts one more answer that a user asks for, unless that would be more than `per_day` within 24 hours. Answers
    /// are counted by the hour, each until 24 hours after the end of its hour; deleting them changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user.
    fn take_answer(&self, user: UserId, per_day: Option<u64>) -> StoreFuture<'_, AnswerTaken>;

    /// Takes one answer back that was counted in this hour, because it could not be begun.
    fn give_back_answer(&self, user: UserId, hour: i64) -> StoreFuture<'_, ()>;
}

/// What operators ask about people.
pub trait OperatorStore: Send + Sync + Debug {
    /// A page of the users whose name or email address holds a text, by folded name.
    fn search_users(&self, search: UserSearch) -> StoreFuture<'_, UserSearchPage>;

    /// A user and what operators see besides.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn user_card(&self, id: UserId) -> StoreFuture<'_, UserCard>;

    /// Adds a user who is in these groups, or doesn't.
    ///
    /// # Errors
    /// Those of [`UserStore::add_user`]; [`StoreError::NotFound`] for a group.
    fn add_user_to(&self, new: NewUser, groups: Vec<GroupId>) -> StoreFuture<'_, UserCard>;

    /// Changes the fields that are given, all of them or none. Whoever is disabled is signed out everywhere.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for the user or a group, [`StoreError::Taken`], [`StoreError::Conflict`] if no
    /// administrator would be left.
    fn change_user(&self, id: UserId, change: UserChange) -> StoreFuture<'_, UserCard>;

    /// How many sessions are live.
    fn sessions_count(&self) -> StoreFuture<'_, u64>;

    /// A page of the audit log, the newest first.
    fn audit_page(&self, page: AuditPageRequest) -> StoreFuture<'_, AuditPage>;

    /// Bytes of the database.
    fn bytes(&self) -> StoreFuture<'_, u64>;
}

/// Conversations as a whole, to take along and to bring back.
pub trait ArchiveStore: Send + Sync + Debug {
    /// The ids of all of the owner's conversations, the last changed first.
    fn conversation_ids(&self, owner: UserId) -> StoreFuture<'_, Vec<ConversationId>>;

    /// A conversation with all its messages, as they are at one moment.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn archive(&self, owner: UserId, id: ConversationId) -> StoreFuture<'_, Archive>;

    /// Adds a conversation with all its messages, all or nothing. Its id and those of its messages must be such that
    /// no other user's can be the same: made anew, or from the owner's id.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if there is no such user, [`StoreError::Full`], and [`StoreError::Conflict`] if the
    /// messages are no tree of ended answers to questions, or one of the ids is taken by another's.
    fn add_archive(&self, owner: UserId, new: NewArchive) -> StoreFuture<'_, ArchiveOutcome>;
}

/// Finding things again.
pub trait SearchStore: Send + Sync + Debug {
    /// Looks through the next part of the owner's messages and titles. A part is small: whoever searches goes on until
    /// there is no next place, or they have enough. Conversations that change meanwhile may be missed.
    fn search(&self, owner: UserId, search: Search) -> StoreFuture<'_, SearchPage>;
}

/// What users chose, and what follows from it.
pub trait RetentionStore: Send + Sync + Debug {
    /// What a user chose.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn user_settings(&self, user: UserId) -> StoreFuture<'_, UserSettings>;

    /// Sets all of it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    fn set_user_settings(&self, user: UserId, settings: UserSettings) -> StoreFuture<'_, ()>;

    /// Deletes some conversations, at most a few, that were last changed longer ago than their owners want, or than
    /// `days_max`, and in which no answer is being written. How many; none when there are no more.
    fn delete_expired(&self, now_ms: i64, days_max: Option<u32>) -> StoreFuture<'_, u64>;
}

/// Names the parts once.
macro_rules! store_of {
    ($($part:ident)+) => {
        /// All of it.
        pub trait Store: $($part +)+ {}

        impl<S: $($part +)+> Store for S {}
    };
}

store_of! {
    UserStore
    AddressStore
    LinkStore
    SessionStore
    OneTimeCodeStore
    PasskeyStore
    AuditStore
    ConversationStore
    MessageStore
    GroupStore
    QuotaStore
    OperatorStore
    ArchiveStore
    SearchStore
    RetentionStore
    KeyStore
    MeterStore
    GateStore
    VaultStore
    StoreHealth
}
