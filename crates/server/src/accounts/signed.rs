//! What session cookies and API keys have in common: who holds one, under a signature.
//!
//! ```text
//! text    = base64url(payload || HMAC-SHA256(key, purpose || payload))
//! claims  = version 1 | id 16 | user 16 | role 1 | user since, ms 8 | issued, ms 8     (big-endian)
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use store::{UserId, UserRole};

const VERSION: u8 = 1;
/// Bytes of [`Claims`].
pub(super) const CLAIMS_BYTES: usize = 1 + 16 + 16 + 1 + 8 + 8;
const MAC_BYTES: usize = 32;

/// HMAC-SHA256 with a key of 32 bytes.
pub(super) fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key shorter than a block is padded with zeros (RFC 2104).
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    Hmac::<Sha256>::new(&block.into())
}

/// Longest text that can have a payload of so many bytes.
pub(super) const fn text_chars_max(payload_bytes: usize) -> usize {
    (payload_bytes + MAC_BYTES).div_ceil(3) * 4
}

/// Signs payloads of one purpose, and checks them.
pub(super) struct Signer {
    mac: Hmac<Sha256>,
}

impl Signer {
    /// `purpose` keeps a signature of ours for another purpose from being taken for one of these.
    pub(super) fn new(key: &[u8; 32], purpose: &[u8]) -> Self {
        Self { mac: hmac(key).chain_update(purpose) }
    }

    pub(super) fn sign(&self, payload: &[u8]) -> String {
        let mac = self.mac.clone().chain_update(payload).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([payload, &mac[..]].concat())
    }

    /// The payload, if this key signed it. Texts that are too long are not even decoded.
    pub(super) fn verify<const BYTES: usize>(&self, text: &str) -> Option<[u8; BYTES]> {
        if text.len() > text_chars_max(BYTES) {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (payload, mac) = bytes.split_first_chunk::<BYTES>()?;
        // In constant time.
        self.mac.clone().chain_update(payload).verify_slice(mac).ok()?;
        Some(*payload)
    }
}

/// Who somebody is, as of when it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claims {
    /// Of the session or the key.
    pub(super) id: [u8; 16],
    pub(super) user: UserId,
    pub(super) role: UserRole,
    /// Unix milliseconds of the sign-up: what tells an existing user from a new one.
    pub(super) user_since_ms: i64,
    /// Unix milliseconds.
    pub(super) issued_ms: i64,
}

impl Claims {
    pub(super) fn to_bytes(self) -> [u8; CLAIMS_BYTES] {
        let mut bytes = [0; CLAIMS_BYTES];
        bytes[0] = VERSION;
        bytes[1..17].copy_from_slice(&self.id);
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

    pub(super) fn from_bytes(bytes: &[u8; CLAIMS_BYTES]) -> Option<Self> {
        let (&[version], rest) = bytes.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk::<16>()?;
        let (user, rest) = rest.split_first_chunk::<16>()?;
        let (&[role], rest) = rest.split_first_chunk()?;
        let (since, issued) = rest.split_first_chunk::<8>()?;
        if version != VERSION {
            return None;
        }
        Some(Self {
            id: *id,
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
