//! Keys with which programs ask in a user's name.

use std::fmt;
use std::fmt::Debug;

use crate::{KeyId, Nanos, StoreFuture, UserId};

/// What a key may be used for. Lists hold no line breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyScope {
    /// Names of models, in their order; `None` for all that its user may use.
    pub models: Option<Vec<String>>,
    /// What all requests with it may cost together; `None` for as much as its user has.
    pub spend_max: Option<Nanos>,
    /// Network addresses, or ranges of them (CIDR), that it may be used from; empty for any.
    pub addresses: Vec<String>,
    /// Requests going on at once; `None` for as many as its user may.
    pub requests_at_once: Option<u32>,
    /// Requests within 24 hours; `None` for any number.
    pub requests_per_day: Option<u32>,
    /// Tokens, read and written, within 24 hours; `None` for any number.
    pub tokens_per_day: Option<u64>,
}

/// A key that is neither revoked nor deleted with its user.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Its id, which is a part of it. No secret.
    pub id: KeyId,
    /// Whose it is.
    pub user: UserId,
    /// What the user calls it.
    pub name: String,
    /// Its first characters, by which its user tells it from others.
    pub start: String,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds from which it is no longer good; `None` for never.
    pub expires_ms: Option<i64>,
    /// Unix milliseconds of the last request with it that was noted.
    pub used_ms: Option<i64>,
    /// What requests with it have cost.
    pub spent: Nanos,
    /// What it may be used for.
    pub scope: KeyScope,
}

impl Debug for Key {
    /// Without the name and the hash: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("user", &self.user)
            .field("created_ms", &self.created_ms)
            .field("expires_ms", &self.expires_ms)
            .field("used_ms", &self.used_ms)
            .field("spent", &self.spent)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// What a new key starts with.
#[derive(Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id. Made by whoever makes the key, because it is a part of it.
    pub id: KeyId,
    /// Whose it is.
    pub user: UserId,
    /// What the user calls it.
    pub name: String,
    /// Its first characters; 32 of them are kept.
    pub start: String,
    /// SHA-256 of its secret part.
    pub hash: [u8; 32],
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds from which it is no longer good; `None` for never.
    pub expires_ms: Option<i64>,
    /// What it may be used for.
    pub scope: KeyScope,
}

impl Debug for NewKey {
    /// Without the name and the hash: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Fields to change; `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// The new name.
    pub name: Option<String>,
    /// What it may be used for from now on, all of it.
    pub scope: Option<KeyScope>,
    /// When it expires; `Some(None)` for never. One that has expired is good again.
    pub expires_ms: Option<Option<i64>>,
}

/// Users' keys. Another user's is not found, exactly like one that is not there.
pub trait KeyStore: Send + Sync + Debug {
    /// Adds one, unless the user has `keys_max` already, expired ones included.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) if there is no such user,
    /// [`StoreError::Conflict`](crate::StoreError::Conflict) if they are disabled, somebody has a key with this id or
    /// this hash, or a name in a list has a line break, [`StoreError::Full`](crate::StoreError::Full).
    fn add_key(&self, new: NewKey, keys_max: u64) -> StoreFuture<'_, Key>;

    /// A user's, expired ones included, the first added first.
    fn keys(&self, user: UserId) -> StoreFuture<'_, Vec<Key>>;

    /// The one with this id, whosever it is, if it is good.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) also if it was revoked or has expired, or its user is
    /// disabled or gone.
    fn key(&self, id: KeyId) -> StoreFuture<'_, Key>;

    /// Changes the fields that are given.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound), [`StoreError::Conflict`](crate::StoreError::Conflict) if a
    /// name in a list has a line break.
    fn change_key(&self, user: UserId, id: KeyId, change: KeyChange) -> StoreFuture<'_, Key>;

    /// Deletes one for good. Rows of usage keep its id, and what is held for it is settled as it would have been.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound).
    fn revoke_key(&self, user: UserId, id: KeyId) -> StoreFuture<'_, ()>;

    /// Keys revoked at or after a time that would otherwise still be good, each with the Unix milliseconds at which it
    /// would have expired, if ever, the first revoked first. Those of deleted users are among them. The 100,000 newest
    /// are remembered: of one that was forgotten [`key`](Self::key) says no less that it is not there.
    fn revoked_keys(&self, since_ms: i64) -> StoreFuture<'_, Vec<(KeyId, Option<i64>)>>;

    /// Notes when keys were used, in Unix milliseconds, all in one transaction. Times never go back; keys that are gone
    /// are passed over.
    fn touch_keys(&self, used: Vec<(KeyId, i64)>) -> StoreFuture<'_, ()>;
}
