//! What is kept: domain rows, narrow traits over them, and the databases behind the traits.
//!
//! The rest of the program holds `Arc<dyn Store>` and knows neither SQL nor which database it is. Every
//! implementation passes the same suite (`tests/conformance/`). A method that returned `Ok` has put what it was
//! given on disk.
//!
//! What users write is sealed: each text under its owner's key, each key under a master key that is kept in a file
//! of its own ([`MasterKeys`]). Whoever has the database only reads who wrote when and how much.

mod error;
mod id;
mod keys;
mod people;
mod rows;
mod seal;
mod sqlite;
mod traits;
mod vault;

pub use error::StoreError;
pub use id::{ConversationId, IdMaker, MessageId, ParseIdError, SessionId, UserId};
pub use keys::MasterKeys;
pub use people::{AuditEntry, NewSession, NewUser, Session, User, UserPage, UserPageRequest, UserRole};
pub use rows::{
    Conversation, ConversationChange, ConversationPage, Cursor, Limits, Message, NewAnswer, NewConversation,
    NewTurn, Outcome, PageRequest, ParentChoice, Progress, Role, Status, Timing, Turn, Usage,
};
pub use sqlite::{Restore, SqliteStore};
pub use traits::{
    AuditStore, ConversationStore, MessageStore, SessionStore, Store, StoreFuture, StoreHealth, UserStore,
    VaultStore,
};
pub use vault::{Backup, Contents, Rotation};
