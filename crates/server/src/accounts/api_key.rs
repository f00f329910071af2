//! Keys with which programs ask. What a key says stands in it under a signature: whoever holds a valid one is recognised,
//! with the class that they are of, without asking the database. It has a random secret too, of which the database has
//! the hash: who has the signing key alone, or the database alone, can make none.
//!
//! ```text
//! key     = "sk-cachalot-" base64url(payload || HMAC-SHA256(signing key, "cachalot api key" || payload))
//! payload = version 1 | key 16 | user 16 | role 1 | user since, ms 8 | issued, ms 8 | secret 32      (big-endian)
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use store::{KeyId, UserId, UserRole};
use subtle::ConstantTimeEq as _;

/// How every key begins, so that people, and programs that look for secrets, know one when they see it.
pub(crate) const PREFIX: &str = "sk-cachalot-";
const VERSION: u8 = 1;
const PAYLOAD_BYTES: usize = 1 + 16 + 16 + 1 + 8 + 8 + 32;
const MAC_BYTES: usize = 32;
/// Longest text that can be a key, without the prefix; longer ones are not even decoded.
const TEXT_CHARS_MAX: usize = (PAYLOAD_BYTES + MAC_BYTES).div_ceil(3) * 4;
/// Keeps a signature of ours for another purpose from being taken for a key's.
const PURPOSE: &[u8] = b"cachalot api key";
/// Characters by which a user tells a key from others: the prefix and a part of the id, nothing of the secret.
const START_CHARS: usize = PREFIX.len() + 20;

/// What a key says, as of when it was made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) id: KeyId,
    pub(crate) user: UserId,
    pub(crate) role: UserRole,
    /// Unix milliseconds of the sign-up: what tells an existing user from a new one.
    pub(crate) user_since_ms: i64,
    /// Unix milliseconds.
    pub(crate) issued_ms: i64,
    pub(crate) secret: [u8; 32],
}

impl std::fmt::Debug for ApiKey {
    /// Without the secret: what is printed may end in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// Signs keys and checks them.
pub(crate) struct ApiKeySigner {
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for ApiKeySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKeySigner(..)")
    }
}

impl ApiKeySigner {
    /// The same key signs cookies, for another purpose.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // A key shorter than a block is padded with zeros (RFC 2104).
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        Self { mac: Hmac::<Sha256>::new(&block.into()).chain_update(PURPOSE) }
    }

    /// The text of the key, which is shown once.
    pub(crate) fn sign(&self, key: &ApiKey) -> String {
        let payload = key.to_bytes();
        let mac = self.mac.clone().chain_update(payload).finalize().into_bytes();
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode([&payload[..], &mac[..]].concat()))
    }

    /// What the key says, if it is one of ours. Whether it is still good is for the caller to say.
    pub(crate) fn verify(&self, text: &str) -> Option<ApiKey> {
        let text = text.strip_prefix(PREFIX).filter(|text| text.len() <= TEXT_CHARS_MAX)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (payload, mac) = bytes.split_first_chunk::<PAYLOAD_BYTES>()?;
        // In constant time.
        self.mac.clone().chain_update(payload).verify_slice(mac).ok()?;
        ApiKey::from_bytes(payload)
    }
}

impl ApiKey {
    /// What the database has of the secret. It is random and long, so that nothing slower is needed.
    pub(crate) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }

    /// Whether the database has this key's hash, in constant time.
    pub(crate) fn is_of(&self, hash: &[u8; 32]) -> bool {
        self.hash().ct_eq(hash).into()
    }

    /// Of a key's text, what it is known by.
    pub(crate) fn start(text: &str) -> String {
        text.chars().take(START_CHARS).collect()
    }

    fn to_bytes(self) -> [u8; PAYLOAD_BYTES] {
        let mut bytes = [0; PAYLOAD_BYTES];
        bytes[0] = VERSION;
        bytes[1..17].copy_from_slice(&<[u8; 16]>::from(self.id));
        bytes[17..33].copy_from_slice(&<[u8; 16]>::from(self.user));
        bytes[33] = match self.role {
            UserRole::User => 0,
            UserRole::Operator => 1,
            UserRole::Admin => 2,
        };
        bytes[34..42].copy_from_slice(&self.user_since_ms.to_be_bytes());
        bytes[42..50].copy_from_slice(&self.issued_ms.to_be_bytes());
        bytes[50..].copy_from_slice(&self.secret);
        bytes
    }

    fn from_bytes(bytes: &[u8; PAYLOAD_BYTES]) -> Option<Self> {
        let (&[version], rest) = bytes.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (user, rest) = rest.split_first_chunk::<16>()?;
        let (&[role], rest) = rest.split_first_chunk()?;
        let (since, rest) = rest.split_first_chunk::<8>()?;
        let (issued, secret) = rest.split_first_chunk::<8>()?;
        if version != VERSION {
            return None;
        }
        Some(Self {
            id: KeyId::from(*id),
            user: UserId::from(*user),
            role: match role {
                0 => UserRole::User,
                1 => UserRole::Operator,
                2 => UserRole::Admin,
                _ => return None,
            },
            user_since_ms: i64::from_be_bytes(*since),
            issued_ms: i64::from_be_bytes(*issued),
            secret: secret.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::token::TokenKey;
    use super::*;

    fn key() -> ApiKey {
        ApiKey {
            id: KeyId::from([7; 16]),
            user: UserId::from([9; 16]),
            role: UserRole::Operator,
            user_since_ms: 123,
            issued_ms: 1_700_000_000_000,
            secret: [0xc3; 32],
        }
    }

    #[test]
    fn what_was_signed_is_what_is_read() {
        let signer = ApiKeySigner::new(&[1; 32]);
        for role in [UserRole::User, UserRole::Operator, UserRole::Admin] {
            let key = ApiKey { role, ..key() };
            let text = signer.sign(&key);
            assert_eq!(signer.verify(&text), Some(key));
            assert!(text.starts_with(PREFIX) && text.len() <= PREFIX.len() + TEXT_CHARS_MAX);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{text}");
        }
    }

    #[test]
    fn another_key_and_every_changed_character_are_refused() {
        let signer = ApiKeySigner::new(&[1; 32]);
        let text = signer.sign(&key());
        assert_eq!(ApiKeySigner::new(&[2; 32]).verify(&text), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(signer.verify(&String::from_utf8(changed).unwrap()), None, "character {at}");
        }
        for cut in 0..text.len() {
            assert_eq!(signer.verify(&text[..cut]), None);
        }
        assert_eq!(signer.verify(&format!("{text}A")), None);
        assert_eq!(signer.verify(&format!("{PREFIX}{}", "A".repeat(1 << 20))), None);
    }

    #[test]
    fn a_cookie_is_no_key_and_a_key_no_cookie() {
        let (signer, cookies) = (ApiKeySigner::new(&[1; 32]), TokenKey::new(&[1; 32]));
        let text = signer.sign(&key());
        assert_eq!(cookies.verify(&text), None);
        assert_eq!(cookies.verify(&text[PREFIX.len()..]), None);
    }

    #[test]
    fn the_start_has_nothing_of_the_secret() {
        let signer = ApiKeySigner::new(&[1; 32]);
        let start = ApiKey::start(&signer.sign(&key()));
        assert_eq!(start, ApiKey::start(&signer.sign(&ApiKey { secret: [0; 32], ..key() })));
        assert_ne!(start, ApiKey::start(&signer.sign(&ApiKey { id: KeyId::from([8; 16]), ..key() })));
        assert_eq!(start.len(), 32);
    }

    proptest! {
        #[test]
        fn no_text_is_a_key_by_chance(text in "\\PC{0,200}") {
            let signer = ApiKeySigner::new(&[1; 32]);
            prop_assert_eq!(signer.verify(&text), None);
            prop_assert_eq!(signer.verify(&format!("{PREFIX}{text}")), None);
        }
    }
}
