use super::SqliteStore;
use crate::{Key, KeyChange, KeyId, KeyStore, NewKey, StoreError, StoreFuture, UserId};

fn not_yet<T: Send + 'static>() -> StoreFuture<'static, T> {
    Box::pin(async { Err(StoreError::Conflict("keys are not kept yet")) })
}

impl KeyStore for SqliteStore {
    fn add_key(&self, _: NewKey, _: u64) -> StoreFuture<'_, Key> {
        not_yet()
    }

    fn keys(&self, _: UserId) -> StoreFuture<'_, Vec<Key>> {
        not_yet()
    }

    fn key(&self, _: KeyId) -> StoreFuture<'_, Key> {
        not_yet()
    }

    fn change_key(&self, _: UserId, _: KeyId, _: KeyChange) -> StoreFuture<'_, Key> {
        not_yet()
    }

    fn revoke_key(&self, _: UserId, _: KeyId) -> StoreFuture<'_, ()> {
        not_yet()
    }

    fn revoked_keys(&self, _: i64) -> StoreFuture<'_, Vec<(KeyId, Option<i64>)>> {
        not_yet()
    }

    fn touch_keys(&self, _: Vec<(KeyId, i64)>) -> StoreFuture<'_, ()> {
        not_yet()
    }
}
