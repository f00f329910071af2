use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A challenge as the `altcha` widget (3.x) takes it: ALTCHA's second protocol. Serialises to the JSON of its
/// `challenge` attribute or address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// What is to be done.
    pub parameters: Parameters,
    /// HMAC-SHA256 of the parameters, in hexadecimal digits.
    pub signature: String,
}

/// What is to be done: find a counter so that PBKDF2 of `nonce || counter` (32 bits, big-endian) with this salt begins
/// with `key_prefix`.
///
/// The fields stand in the order of their names in JSON, as in what the protocol has signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    /// `PBKDF2/SHA-256`.
    pub algorithm: String,
    /// Iterations of each try.
    pub cost: u32,
    /// What it is bound to; see [`Challenges`](super::Challenges).
    pub data: BTreeMap<String, String>,
    /// Unix seconds.
    pub expires_at: i64,
    /// Bytes of the derived key.
    pub key_length: u32,
    /// Hexadecimal digits.
    pub key_prefix: String,
    /// Hexadecimal digits.
    pub nonce: String,
    /// Hexadecimal digits.
    pub salt: String,
}

/// What the widget sends, in Base64.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Payload {
    pub(super) challenge: Challenge,
    pub(super) solution: Solved,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Solved {
    pub(super) counter: u32,
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let halves = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.map(|half| char::from(DIGITS[usize::from(half)])).collect()
}

pub(super) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}
