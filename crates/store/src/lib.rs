//! What is kept: domain rows, narrow traits over them, and the databases behind the traits.
//!
//! The rest of the program holds `Arc<dyn Store>` and knows neither SQL nor which database it is. Every
//! implementation passes the same suite (`tests/conformance.rs`). A method that returned `Ok` has put what it was
//! given on disk.

mod error;
mod id;
mod rows;
mod sqlite;
mod traits;

pub use error::StoreError;
pub use id::{ConversationId, IdMaker, MessageId, ParseIdError};
pub use rows::{
    Conversation, ConversationChange, ConversationPage, Cursor, Limits, Message, NewAnswer, NewConversation,
    NewTurn, Outcome, PageRequest, ParentChoice, Progress, Role, Status, Timing, Turn, Usage,
};
pub use sqlite::SqliteStore;
pub use traits::{ConversationStore, MessageStore, Store, StoreFuture, StoreHealth};
