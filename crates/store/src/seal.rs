//! Sealing of texts: AES-256-GCM (NIST SP 800-38D) under the key of the user who owns them.
//!
//! ```text
//! sealed text = version 1 | nonce 12 | ciphertext | tag 16        authenticated with it: column name | row id 16
//! wrapped key = nonce 12 | ciphertext 32 | tag 16                 see keys.rs
//! ```
//!
//! The place of a text is authenticated, so that somebody who writes to the database can't move it to another row or
//! column. Nonces are random: with 96 bits, a key may seal 2^32 texts (section 8.3 there), which nobody writes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base::Rng;
use zeroize::Zeroizing;

use crate::keys::{MasterRing, NONCE_LEN, WrappedKey};
use crate::{ConversationId, CreditId, KeyId, MessageId, PasskeyId, StoreError, UserId};

const VERSION: u8 = 1;

/// By how many bytes a sealed text is longer than the text.
pub(crate) const OVERHEAD: usize = 1 + NONCE_LEN + 16;

/// What AES-GCM can seal at once, in bytes.
const TEXT_BYTES_MAX: u64 = (1 << 36) - 32;

/// Users whose keys are held ready.
const CACHE_MAX: usize = 1024;

/// Where a text stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// `table.column`.
    column: &'static str,
    row: [u8; 16],
}

impl Place {
    pub(crate) fn title(id: ConversationId) -> Self {
        Self { column: "conversations.title", row: id.into() }
    }

    pub(crate) fn system(id: ConversationId) -> Self {
        Self { column: "conversations.system", row: id.into() }
    }

    pub(crate) fn content(id: MessageId) -> Self {
        Self { column: "messages.content", row: id.into() }
    }

    pub(crate) fn reasoning(id: MessageId) -> Self {
        Self { column: "messages.reasoning", row: id.into() }
    }

    pub(crate) fn error(id: MessageId) -> Self {
        Self { column: "messages.error", row: id.into() }
    }

    pub(crate) fn one_time_secret(id: UserId) -> Self {
        Self { column: "one_time_codes.secret", row: id.into() }
    }

    pub(crate) fn one_time_step(id: UserId) -> Self {
        Self { column: "one_time_codes.step", row: id.into() }
    }

    pub(crate) fn recovery_codes(id: UserId) -> Self {
        Self { column: "one_time_codes.recovery", row: id.into() }
    }

    pub(crate) fn passkey_name(id: PasskeyId) -> Self {
        Self { column: "passkeys.name", row: id.into() }
    }

    pub(crate) fn key_name(id: KeyId) -> Self {
        Self { column: "api_keys.name", row: id.into() }
    }

    pub(crate) fn credit_note(id: CreditId) -> Self {
        Self { column: "credits.note", row: id.into() }
    }

    /// The id has a fixed length, so no two places give the same bytes.
    fn authenticated(self) -> Vec<u8> {
        [self.column.as_bytes(), &self.row].concat()
    }
}

/// A user's key, ready for use. Its memory is wiped when it is dropped.
pub(crate) struct UserKey(Aes256Gcm);

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKey(..)")
    }
}

impl UserKey {
    /// The text that was sealed for this place.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it was not, or was changed since.
    pub(crate) fn open(&self, place: Place, sealed: &[u8]) -> Result<String, StoreError> {
        let damaged = || StoreError::Damaged {
            column: place.column,
            value: "a text that its owner's key does not open".to_owned(),
        };
        let (version, rest) = sealed.split_first().ok_or_else(damaged)?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        if *version != VERSION {
            return Err(damaged());
        }
        let payload = Payload { msg: ciphertext, aad: &place.authenticated() };
        let text = self.0.decrypt(nonce.into(), payload).map_err(|_| damaged())?;
        String::from_utf8(text).map_err(|_| damaged())
    }

    /// [`open`](Self::open) for a text that there need not be.
    pub(crate) fn open_some(
        &self,
        place: Place,
        sealed: Option<&[u8]>,
    ) -> Result<Option<String>, StoreError> {
        sealed.map(|sealed| self.open(place, sealed)).transpose()
    }
}

/// Makes, wraps and keeps the users' keys, and seals with them.
#[derive(Debug)]
pub(crate) struct Sealer {
    /// Another when the keys are rotated.
    masters: RwLock<Arc<MasterRing>>,
    rng: Mutex<Rng>,
    cache: Mutex<Cache>,
}

impl Sealer {
    /// `rng` must be nobody else's: two that draw the same nonces give the texts away.
    pub(crate) fn new(masters: MasterRing, rng: Rng) -> Self {
        Self { masters: RwLock::new(Arc::new(masters)), rng: Mutex::new(rng), cache: Mutex::default() }
    }

    /// The master keys as they are now.
    pub(crate) fn masters(&self) -> Arc<MasterRing> {
        Arc::clone(&self.masters.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From here on other master keys wrap and unwrap. Whatever is wrapped must be by one of them.
    pub(crate) fn set_masters(&self, masters: MasterRing) {
        *self.masters.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(masters);
    }

    /// A generator of its own for a new master key.
    pub(crate) fn fork_rng(&self) -> Rng {
        self.rng().fork()
    }

    /// A key for a new user.
    pub(crate) fn new_key(&self, user: UserId) -> Result<(Arc<UserKey>, WrappedKey), StoreError> {
        let mut bytes = Zeroizing::new([0_u8; 32]);
        self.rng().fill(&mut *bytes);
        let wrapped = self.masters().wrap(user, &bytes, self.nonce())?;
        Ok((self.keep(user, &bytes), wrapped))
    }

    /// A user's key, if it is held ready.
    pub(crate) fn ready(&self, user: UserId) -> Option<Arc<UserKey>> {
        lock(&self.cache).get(user)
    }

    /// A user's key, from what the database holds of it.
    ///
    /// # Errors
    /// [`StoreError::KeyWrong`].
    pub(crate) fn unwrap(&self, user: UserId, wrapped: &WrappedKey) -> Result<Arc<UserKey>, StoreError> {
        let bytes = self.masters().unwrap(user, wrapped)?;
        Ok(self.keep(user, &bytes))
    }

    /// A user's key wrapped under the newest master key.
    ///
    /// # Errors
    /// [`StoreError::KeyWrong`].
    pub(crate) fn rewrap(&self, user: UserId, wrapped: &WrappedKey) -> Result<WrappedKey, StoreError> {
        let masters = self.masters();
        let bytes = masters.unwrap(user, wrapped)?;
        masters.wrap(user, &bytes, self.nonce())
    }

    /// Holds a user's key ready no longer.
    pub(crate) fn forget(&self, user: UserId) {
        lock(&self.cache).keys.remove(&user);
    }

    /// Seals a text for its place.
    ///
    /// # Errors
    /// [`StoreError::Full`] for a text of 64 GiB and more.
    pub(crate) fn seal(&self, key: &UserKey, place: Place, text: &str) -> Result<Vec<u8>, StoreError> {
        let nonce = self.nonce();
        let payload = Payload { msg: text.as_bytes(), aad: &place.authenticated() };
        let ciphertext = key.0.encrypt(&nonce.into(), payload).map_err(|_| StoreError::Full {
            what: "bytes in a text",
            allowed: TEXT_BYTES_MAX,
            given: text.len() as u64,
        })?;
        let mut sealed = Vec::with_capacity(text.len() + OVERHEAD);
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// [`seal`](Self::seal) for a text that there need not be.
    pub(crate) fn seal_some(
        &self,
        key: &UserKey,
        place: Place,
        text: Option<&str>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        text.map(|text| self.seal(key, place, text)).transpose()
    }

    fn keep(&self, user: UserId, bytes: &[u8; 32]) -> Arc<UserKey> {
        let key = Arc::new(UserKey(Aes256Gcm::new(bytes.into())));
        lock(&self.cache).put(user, Arc::clone(&key));
        key
    }

    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = [0_u8; NONCE_LEN];
        self.rng().fill(&mut nonce);
        nonce
    }

    fn rng(&self) -> MutexGuard<'_, Rng> {
        lock(&self.rng)
    }
}

/// Neither the generator nor the cache is ever left half-changed, so a poisoned lock still holds a good one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// At most [`CACHE_MAX`] keys; the one used longest ago makes room.
#[derive(Debug, Default)]
struct Cache {
    /// Each with the tick of its last use.
    keys: HashMap<UserId, (Arc<UserKey>, u64)>,
    ticks: u64,
}

impl Cache {
    fn get(&mut self, user: UserId) -> Option<Arc<UserKey>> {
        self.ticks += 1;
        let (key, used) = self.keys.get_mut(&user)?;
        *used = self.ticks;
        Some(Arc::clone(key))
    }

    fn put(&mut self, user: UserId, key: Arc<UserKey>) {
        self.ticks += 1;
        self.keys.insert(user, (key, self.ticks));
        if self.keys.len() > CACHE_MAX {
            // A walk over a thousand entries is small beside the read of the database that brought us here.
            let oldest = self.keys.iter().min_by_key(|(_, (_, used))| *used).map(|(user, _)| *user);
            oldest.and_then(|user| self.keys.remove(&user));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MasterKeys;

    fn sealer(seed: u64) -> Sealer {
        let mut rng = Rng::from_seed(seed);
        Sealer::new(MasterKeys::in_memory().make(&mut rng).unwrap(), rng.fork())
    }

    fn user(number: usize) -> UserId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        bytes.into()
    }

    fn message(number: u8) -> MessageId {
        [number; 16].into()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let sealer = sealer(1);
        let (key, _) = sealer.new_key(user(1)).unwrap();
        let (other, _) = sealer.new_key(user(2)).unwrap();
        let place = Place::content(message(1));
        for text in ["", "krill", "\0é\u{10ffff}", &"deep ".repeat(10_000)] {
            let sealed = sealer.seal(&key, place, text).unwrap();
            assert_eq!(sealed.len(), text.len() + OVERHEAD);
            assert_eq!(key.open(place, &sealed).unwrap(), text);
            assert!(key.open(Place::content(message(2)), &sealed).is_err(), "another row");
            assert!(key.open(Place::reasoning(message(1)), &sealed).is_err(), "another column");
            assert!(key.open(Place::title([1; 16].into()), &sealed).is_err(), "another table");
            assert!(other.open(place, &sealed).is_err(), "another owner");
        }
    }

    #[test]
    fn a_changed_or_cut_text_is_damage_and_not_shown() {
        let sealer = sealer(2);
        let (key, _) = sealer.new_key(user(1)).unwrap();
        let place = Place::content(message(1));
        let sealed = sealer.seal(&key, place, "secret").unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            let error = key.open(place, &changed).unwrap_err();
            assert!(matches!(error, StoreError::Damaged { column: "messages.content", .. }), "{error}");
            assert!(!error.to_string().contains("secret"));
            assert!(key.open(place, &sealed[..index]).is_err());
        }
    }

    #[test]
    fn the_same_text_is_sealed_differently_each_time() {
        let sealer = sealer(3);
        let (key, _) = sealer.new_key(user(1)).unwrap();
        let place = Place::content(message(1));
        assert_ne!(sealer.seal(&key, place, "a").unwrap(), sealer.seal(&key, place, "a").unwrap());
    }

    #[test]
    fn a_wrapped_key_is_good_for_its_user_and_its_master_only() {
        let sealer = sealer(4);
        let (key, wrapped) = sealer.new_key(user(1)).unwrap();
        let place = Place::content(message(1));
        let sealed = sealer.seal(&key, place, "a").unwrap();
        sealer.forget(user(1));
        assert!(sealer.ready(user(1)).is_none());
        assert_eq!(sealer.unwrap(user(1), &wrapped).unwrap().open(place, &sealed).unwrap(), "a");
        assert!(sealer.ready(user(1)).is_some());
        let wrong = |result: Result<_, StoreError>| {
            matches!(result.map(|_| ()), Err(StoreError::KeyWrong { generation: 1, .. }))
        };
        assert!(wrong(sealer.unwrap(user(2), &wrapped)));
        assert!(wrong(super::tests::sealer(5).unwrap(user(1), &wrapped)));
        let cut = WrappedKey { bytes: wrapped.bytes[..11].to_vec(), ..wrapped };
        assert!(wrong(sealer.unwrap(user(1), &cut)));
    }

    #[test]
    fn the_key_used_longest_ago_makes_room() {
        let sealer = sealer(6);
        for number in 0..CACHE_MAX {
            sealer.new_key(user(number)).unwrap();
        }
        assert!(sealer.ready(user(0)).is_some());
        sealer.new_key(user(CACHE_MAX)).unwrap();
        assert!(sealer.ready(user(0)).is_some(), "just used");
        assert!(sealer.ready(user(1)).is_none(), "used longest ago");
        assert_eq!(lock(&sealer.cache).keys.len(), CACHE_MAX);
    }
}
