//! What is kept: domain rows, narrow traits over them, and the databases behind the traits.
//!
//! The rest of the program holds `Arc<dyn Store>` and knows neither SQL nor which database it is. Every
//! implementation passes the same suite (`tests/conformance/`). A method that returned `Ok` has put what it was
//! given on disk.
//!
//! What users write is sealed: each text under its owner's key, each key under a master key that is kept in a file
//! of its own ([`MasterKeys`]). Whoever has the database only reads who wrote when and how much.

mod api_keys;
mod data;
mod error;
mod factors;
mod fold;
mod gate;
mod groups;
mod id;
mod keys;
mod lanes;
mod links;
mod meter;
mod money;
mod operators;
mod people;
mod rows;
mod seal;
mod sqlite;
mod traits;
mod vault;

pub use api_keys::{Key, KeyChange, KeyScope, KeyStore, NewKey};
pub use data::{
    Archive, ArchiveOutcome, Hit, NewArchive, RETENTION_DAYS_MAX, Search, SearchPage, SearchPlace,
    UserSettings,
};
pub use error::StoreError;
pub use factors::{NewOneTimeCodes, NewPasskey, OneTimeCodes, Passkey, PasskeyBackup, PasskeyUse};
pub use fold::{Snippet, Words};
pub use gate::{GateMove, GatePin, GateStore};
pub use groups::{AnswerTaken, Grant, Group, GroupChange, GroupLimits, NewGroup};
pub use id::{
    ConversationId, CreditId, GroupId, HoldId, IdMaker, KeyId, LinkId, MessageId, ParseIdError, PasskeyId,
    SessionId, UsageId, UserId,
};
pub use keys::MasterKeys;
pub use lanes::{Lane, Place, in_place, place};
pub use links::{Identity, Link};
pub use meter::{
    Balance, Credit, CreditKind, CreditPage, CreditPageRequest, Held, MeterStore, NewCredit, NewHold,
    UsageCursor, UsageOf, UsagePage, UsagePeriod, UsageRequest, UsageRow, UsageSum, UsageSumRequest,
    UsedSince, UserSum, UserSumRequest,
};
pub use money::{Nanos, ParseNanosError};
pub use operators::{
    AuditPage, AuditPageRequest, AuditRow, UserCard, UserChange, UserSearch, UserSearchPage,
};
pub use people::{
    AuditEntry, NewSession, NewUser, Session, SignUpLink, User, UserPage, UserPageRequest, UserRole,
};
pub use rows::{
    Conversation, ConversationChange, ConversationPage, Cursor, Limits, Message, NewAnswer, NewConversation,
    NewTurn, Outcome, PageRequest, ParentChoice, Progress, Role, Status, Timing, Turn, Usage,
};
pub use sqlite::{Restore, SqliteStore, login_key};
pub use traits::{
    AddressStore, ArchiveStore, AuditStore, ConversationStore, GroupStore, LinkStore, MessageStore,
    OneTimeCodeStore, OperatorStore, PasskeyStore, QuotaStore, RetentionStore, SearchStore, SessionStore,
    Store, StoreFuture, StoreHealth, UserStore, VaultStore,
};
pub use vault::{Backup, Contents, Rotation};
