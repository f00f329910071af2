//! Checksums as text.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Whether a text is a SHA-256 as this program writes them: 64 lower-case hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The first 128 bits of the text's SHA-256 in hexadecimal.
pub(crate) fn digest_key(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes())[..16])
}
