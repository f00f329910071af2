//! What a session cookie says, under a signature: whoever holds a valid one is recognised without asking the database.
//!
//! ```text
//! cookie = base64url(payload || HMAC-SHA256(key, "cachalot session" || payload))
//! payload = version 1 | session 16 | user 16 | role 1 | user since, ms 8 | issued, ms 8     (big-endian)
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use store::{SessionId, UserId, UserRole};

const VERSION: u8 = 1;
const PAYLOAD_BYTES: usize = 1 + 16 + 16 + 1 + 8 + 8;
const MAC_BYTES: usize = 32;
/// Longest text that can be a token; longer ones are not even decoded.
const TEXT_CHARS_MAX: usize = (PAYLOAD_BYTES + MAC_BYTES).div_ceil(3) * 4;
/// Keeps a signature of ours for another purpose from being taken for a session's.
const PURPOSE: &[u8] = b"cachalot session";

/// Who a caller is, as of when the cookie was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionToken {
    pub(crate) session: SessionId,
    pub(crate) user: UserId,
    pub(crate) role: UserRole,
    /// Unix milliseconds of the sign-up: what tells an existing user from a new one.
    pub(crate) user_since_ms: i64,
    /// Unix milliseconds.
    pub(crate) issued_ms: i64,
}

/// Signs tokens and checks them.
pub(crate) struct TokenKey {
    mac: Hmac<Sha256>,
    cookie_name: String,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl TokenKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // A key shorter than a block is padded with zeros (RFC 2104).
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        let mac = Hmac::<Sha256>::new(&block.into());
        let of_key = mac.clone().chain_update(b"cachalot cookie name").finalize().into_bytes();
        // Browsers keep cookies by host, not by port: two servers of one host must not take each other's away.
        let cookie_name = format!("cachalot-{:02x}{:02x}{:02x}", of_key[0], of_key[1], of_key[2]);
        Self { mac: mac.chain_update(PURPOSE), cookie_name }
    }

    /// For a server that is reached by `https`: browsers then take the cookie from nobody but the host itself, neither
    /// from a neighbouring host nor from whoever answers without TLS in its name.
    pub(crate) fn for_https(mut self) -> Self {
        self.cookie_name.insert_str(0, "__Host-");
        self
    }

    pub(crate) fn cookie_name(&self) -> &str {
        &self.cookie_name
    }

    pub(crate) fn sign(&self, token: &SessionToken) -> String {
        let payload = token.to_bytes();
        let mac = self.mac.clone().chain_update(payload).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&payload[..], &mac[..]].concat())
    }

    /// The token, if this key signed it. Whether it is still good is for the caller to say.
    pub(crate) fn verify(&self, text: &str) -> Option<SessionToken> {
        if text.len() > TEXT_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (payload, mac) = bytes.split_first_chunk::<PAYLOAD_BYTES>()?;
        // In constant time.
        self.mac.clone().chain_update(payload).verify_slice(mac).ok()?;
        SessionToken::from_bytes(payload)
    }
}

impl SessionToken {
    fn to_bytes(self) -> [u8; PAYLOAD_BYTES] {
        let mut bytes = [0; PAYLOAD_BYTES];
        bytes[0] = VERSION;
        bytes[1..17].copy_from_slice(&<[u8; 16]>::from(self.session));
        bytes[17..33].copy_from_slice(&<[u8; 16]>::from(self.user));
        bytes[33] = match self.role {
            UserRole::User => 0,
            UserRole::Operator => 1,
            UserRole::Admin => 2,
        };
        bytes[34..42].copy_from_slice(&self.user_since_ms.to_be_bytes());
        bytes[42..].copy_from_slice(&self.issued_ms.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; PAYLOAD_BYTES]) -> Option<Self> {
        let (&[version], rest) = bytes.split_first_chunk()?;
        let (session, rest) = rest.split_first_chunk::<16>()?;
        let (user, rest) = rest.split_first_chunk::<16>()?;
        let (&[role], rest) = rest.split_first_chunk()?;
        let (since, issued) = rest.split_first_chunk::<8>()?;
        if version != VERSION {
            return None;
        }
        Some(Self {
            session: SessionId::from(*session),
            user: UserId::from(*user),
            role: match role {
                0 => UserRole::User,
                1 => UserRole::Operator,
                2 => UserRole::Admin,
                _ => return None,
            },
            user_since_ms: i64::from_be_bytes(*since),
            issued_ms: i64::from_be_bytes(issued.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> SessionToken {
        SessionToken {
            session: SessionId::from([7; 16]),
            user: UserId::from([9; 16]),
            role: UserRole::Operator,
            user_since_ms: 123,
            issued_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn what_was_signed_is_what_is_read() {
        let key = TokenKey::new(&[1; 32]);
        for role in [UserRole::User, UserRole::Operator, UserRole::Admin] {
            let token = SessionToken { role, ..token() };
            let text = key.sign(&token);
            assert_eq!(key.verify(&text), Some(token));
            assert!(text.len() <= TEXT_CHARS_MAX);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        }
    }

    #[test]
    fn another_key_and_every_changed_character_are_refused() {
        let key = TokenKey::new(&[1; 32]);
        let text = key.sign(&token());
        assert_eq!(TokenKey::new(&[2; 32]).verify(&text), None);
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.verify(&String::from_utf8(changed).unwrap()), None, "character {at}");
        }
        for cut in 0..text.len() {
            assert_eq!(key.verify(&text[..cut]), None);
        }
        assert_eq!(key.verify(&format!("{text}A")), None);
        assert_eq!(key.verify(&"A".repeat(1 << 20)), None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_by_chance(text in "\\PC{0,200}") {
            prop_assert_eq!(TokenKey::new(&[1; 32]).verify(&text), None);
        }
    }
}
