//! Keys with which programs ask. What a key says stands in it under a signature: whoever holds a valid one is recognised,
//! with the class that they are of, without asking the database. It has a random secret too, of which the database has
//! the hash: who has the signing key alone, or the database alone, can make none.
//!
//! ```text
//! key     = "sk-cachalot-" base64url(payload || HMAC-SHA256(signing key, "cachalot api key" || payload))
//! payload = claims (see `signed.rs`) | secret 32
//! ```

use sha2::{Digest as _, Sha256};
use store::{KeyId, UserId, UserRole};
use subtle::ConstantTimeEq as _;

use super::signed::{CLAIMS_BYTES, Claims, Signer};

/// How every key begins, so that people, and programs that look for secrets, know one when they see it.
pub(crate) const PREFIX: &str = "sk-cachalot-";
const PAYLOAD_BYTES: usize = CLAIMS_BYTES + 32;
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
    signer: Signer,
}

impl std::fmt::Debug for ApiKeySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKeySigner(..)")
    }
}

impl ApiKeySigner {
    /// The same key signs cookies, for another purpose.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self { signer: Signer::new(key, PURPOSE) }
    }

    /// The text of the key, which is shown once.
    pub(crate) fn sign(&self, key: &ApiKey) -> String {
        format!("{PREFIX}{}", self.signer.sign(&key.to_bytes()))
    }

    /// What the key says, if it is one of ours. Whether it is still good is for the caller to say.
    pub(crate) fn verify(&self, text: &str) -> Option<ApiKey> {
        ApiKey::from_bytes(&self.signer.verify::<PAYLOAD_BYTES>(text.strip_prefix(PREFIX)?)?)
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
        let Self { id, user, role, user_since_ms, issued_ms, secret } = self;
        let claims = Claims { id: id.into(), user, role, user_since_ms, issued_ms };
        let mut bytes = [0; PAYLOAD_BYTES];
        bytes[..CLAIMS_BYTES].copy_from_slice(&claims.to_bytes());
        bytes[CLAIMS_BYTES..].copy_from_slice(&secret);
        bytes
    }

    fn from_bytes(bytes: &[u8; PAYLOAD_BYTES]) -> Option<Self> {
        let (claims, secret) = bytes.split_first_chunk::<CLAIMS_BYTES>()?;
        let Claims { id, user, role, user_since_ms, issued_ms } = Claims::from_bytes(claims)?;
        let secret = secret.try_into().ok()?;
        Some(Self { id: KeyId::from(id), user, role, user_since_ms, issued_ms, secret })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::signed::text_chars_max;
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
            assert!(text.starts_with(PREFIX) && text.len() <= PREFIX.len() + text_chars_max(PAYLOAD_BYTES));
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
