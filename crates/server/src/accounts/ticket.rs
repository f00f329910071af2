//! What the server hands out and wants back, without keeping it: a sealed text that says for what it is good, and until
//! when. Nobody can read, change or make one, and a stranger who asks for many of them fills nothing.
//!
//! ```text
//! ticket  = base64url(nonce 12 | ciphertext | tag 16)     AES-256-GCM, authenticated with it: purpose
//! plain   = until, Unix ms 8 (big-endian) | content, JSON
//! ```
//!
//! A ticket can be used more than once before its time is up: whoever gives one out puts into it what the first use
//! changes (the hash of a password, say), or notes its use: of ceremonies in memory ([`super::challenges`]), of sign-ups in
//! the store, as their links are good for longer than a process.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

const NONCE_BYTES: usize = 12;
/// Longest text that can be a ticket; longer ones are not even decoded.
const TEXT_CHARS_MAX: usize = 8192;

/// Seals tickets and opens them.
pub(crate) struct Tickets {
    cipher: Aes256Gcm,
    fingerprints: Hmac<Sha256>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

/// Why a text is no ticket. Which of the two it is may be said: whoever has an expired one was given it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTicket {
    /// It was one.
    Expired,
    /// It never was, or not for this purpose.
    Invalid,
}

impl Tickets {
    /// `key` is the one that signs cookies; tickets have one of their own that is derived from it.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // A key shorter than a block is padded with zeros (RFC 2104).
        let mut block = [0; 64];
        block[..key.len()].copy_from_slice(key);
        let mac = <Hmac<Sha256> as hmac::KeyInit>::new(&block.into());
        let derived = |what: &[u8]| mac.clone().chain_update(what).finalize().into_bytes();
        let mut of_fingerprints = [0; 64];
        of_fingerprints[..32].copy_from_slice(&derived(b"cachalot fingerprint key"));
        Self {
            cipher: Aes256Gcm::new(&derived(b"cachalot ticket key")),
            fingerprints: <Hmac<Sha256> as hmac::KeyInit>::new(&of_fingerprints.into()),
        }
    }

    /// What a text is remembered by for `purpose` where it should not be kept itself: without the key nobody can tell
    /// whose it is.
    pub(crate) fn fingerprint(&self, purpose: &'static str, text: &str) -> [u8; 32] {
        let mac = self.fingerprints.clone().chain_update(purpose).chain_update([0]).chain_update(text);
        mac.finalize().into_bytes().into()
    }

    /// A ticket for `purpose`, a word of the program's own, good until `until_ms`. No nonce is ever used twice.
    /// `None` if the content is too large.
    pub(crate) fn seal<T: Serialize>(
        &self,
        purpose: &'static str,
        content: &T,
        until_ms: i64,
        nonce: [u8; NONCE_BYTES],
    ) -> Option<String> {
        let mut plain = until_ms.to_be_bytes().to_vec();
        serde_json::to_writer(&mut plain, content).ok()?;
        let payload = Payload { msg: &plain, aad: purpose.as_bytes() };
        let ciphertext = self.cipher.encrypt(&nonce.into(), payload).ok()?;
        let text = URL_SAFE_NO_PAD.encode([&nonce[..], &ciphertext].concat());
        (text.len() <= TEXT_CHARS_MAX).then_some(text)
    }

    /// What is in a ticket.
    ///
    /// # Errors
    /// [`NoTicket`].
    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        purpose: &'static str,
        text: &str,
        now_ms: i64,
    ) -> Result<T, NoTicket> {
        if text.len() > TEXT_CHARS_MAX {
            return Err(NoTicket::Invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoTicket::Invalid)?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(NoTicket::Invalid)?;
        let payload = Payload { msg: ciphertext, aad: purpose.as_bytes() };
        let plain = self.cipher.decrypt(nonce.into(), payload).map_err(|_| NoTicket::Invalid)?;
        let (until_ms, content) = plain.split_first_chunk::<8>().ok_or(NoTicket::Invalid)?;
        if now_ms >= i64::from_be_bytes(*until_ms) {
            return Err(NoTicket::Expired);
        }
        serde_json::from_slice(content).map_err(|_| NoTicket::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_sealed_is_read_for_its_purpose_and_in_its_time() {
        let tickets = Tickets::new(&[1; 32]);
        let content = ("ishmael".to_owned(), vec![7, 8]);
        let text = tickets.seal("reset", &content, 1000, [3; 12]).unwrap();
        assert!(!text.contains("ishmael"));
        assert_eq!(tickets.open("reset", &text, 999), Ok(content));
        let open = |tickets: &Tickets, purpose, text: &str, now_ms| {
            tickets.open::<(String, Vec<i32>)>(purpose, text, now_ms).unwrap_err()
        };
        assert_eq!(open(&tickets, "reset", &text, 1000), NoTicket::Expired);
        assert_eq!(open(&tickets, "verify", &text, 0), NoTicket::Invalid);
        assert_eq!(open(&Tickets::new(&[2; 32]), "reset", &text, 0), NoTicket::Invalid);
        assert_eq!(tickets.open::<u64>("reset", &text, 0), Err(NoTicket::Invalid));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(open(&tickets, "reset", &changed, 0), NoTicket::Invalid, "character {at}");
            assert_eq!(open(&tickets, "reset", &text[..at], 0), NoTicket::Invalid);
        }
        assert_eq!(tickets.seal("reset", &"a".repeat(8192), 1000, [3; 12]), None);
        assert_eq!(open(&tickets, "reset", &"A".repeat(1 << 20), 0), NoTicket::Invalid);
    }

    #[test]
    fn a_fingerprint_is_a_text_s_for_its_purpose_and_under_a_key() {
        let tickets = Tickets::new(&[1; 32]);
        let one = tickets.fingerprint("sign up", "ishmael");
        assert_eq!(one, Tickets::new(&[1; 32]).fingerprint("sign up", "ishmael"));
        assert_ne!(one, tickets.fingerprint("sign up", "ishmaeL"));
        assert_ne!(one, tickets.fingerprint("sign u", "pishmael"));
        assert_ne!(one, Tickets::new(&[2; 32]).fingerprint("sign up", "ishmael"));
    }

    proptest! {
        #[test]
        fn no_text_is_a_ticket_by_chance(text in "\\PC{0,200}") {
            let opened = Tickets::new(&[1; 32]).open::<String>("reset", &text, 0);
            prop_assert_eq!(opened, Err(NoTicket::Invalid));
        }
    }
}
