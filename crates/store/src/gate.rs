//! Rows about the registration gate.

use std::fmt::Debug;

use crate::StoreFuture;

/// The gate went from one level to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateMove {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The level before: a word of the program's own.
    pub from: String,
    /// The level since.
    pub to: String,
    /// Why, in JSON.
    pub reasons: String,
}

/// The level that an operator holds the gate at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatePin {
    /// A word of the program's own.
    pub level: String,
    /// Unix milliseconds since when.
    pub at_ms: i64,
}

/// What the registration gate did, and what it must know after a restart.
pub trait GateStore: Send + Sync + Debug {
    /// Adds a move. The 10,000 newest are kept.
    fn add_move(&self, new: GateMove) -> StoreFuture<'_, ()>;

    /// The newest moves, the newest first.
    fn moves(&self, limit: u32) -> StoreFuture<'_, Vec<GateMove>>;

    /// Sets the level that the gate is held at, or with `None` lets it run.
    fn set_pin(&self, pin: Option<GatePin>) -> StoreFuture<'_, ()>;

    /// The level that the gate is held at, if any.
    fn pin(&self) -> StoreFuture<'_, Option<GatePin>>;

    /// Takes an invitation that is good until `expires_ms` (Unix milliseconds), and says whether it may be: of many who
    /// ask with one, only the first is told so.
    ///
    /// # Errors
    /// [`StoreError::Full`](crate::StoreError::Full) if 100,000 used ones are not yet too old.
    fn take_invitation(&self, id: [u8; 16], expires_ms: i64) -> StoreFuture<'_, bool>;

    /// Takes an invitation back that made no account after all. One that was not taken stays as it is.
    fn give_back_invitation(&self, id: [u8; 16]) -> StoreFuture<'_, ()>;

    /// Whether an invitation was taken.
    fn is_invitation_taken(&self, id: [u8; 16]) -> StoreFuture<'_, bool>;
}
