//! Copies of the whole, and the change of master keys.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use crate::StoreError;

/// A copy of the whole database as it was at one moment. Texts in it are sealed as they were, under keys that the
/// master keys of that moment wrap. The file has no name any more: it is gone when this is dropped.
#[derive(Debug)]
pub struct Backup {
    /// At its beginning, for reading.
    pub file: File,
    /// Its length.
    pub bytes: u64,
    /// No other backup is made before this one is dropped.
    pub(crate) _permit: Permit,
}

/// What a rotation of the master keys did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The generation that wraps everything now.
    pub generation: u32,
    /// Keys of users that were wrapped by an older one.
    pub rewrapped: u64,
    /// Older generations that wrap nothing any more, where only whoever gave them can take them away. None where
    /// they were in a file of ours: they have left it.
    pub removable: Vec<u32>,
}

/// What is in a database that may be put in another's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Accounts.
    pub users: u64,
    /// Conversations.
    pub conversations: u64,
    /// Messages of all of them.
    pub messages: u64,
    /// Unix milliseconds of the last change of a conversation.
    pub updated_ms: Option<i64>,
}

/// Something of which one goes on at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct OneAtATime(Arc<Mutex<Option<&'static str>>>);

/// Lets the next one begin when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(OneAtATime);

impl OneAtATime {
    /// # Errors
    /// [`StoreError::Running`] with what does.
    pub(crate) fn take(&self, what: &'static str) -> Result<Permit, StoreError> {
        // A word is never left half-written, so a poisoned lock still holds a good one.
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *running {
            Some(what) => Err(StoreError::Running { what }),
            None => {
                *running = Some(what);
                Ok(Permit(self.clone()))
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
