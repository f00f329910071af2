//! One-time codes (TOTP, RFC 6238: SHA-1, six digits, 30 seconds, as every app takes them) and the recovery codes for
//! who has lost what shows them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

/// Bytes of a secret: the size of the hash (RFC 4226, section 4).
pub(crate) const SECRET_BYTES: usize = 20;
/// Recovery codes that somebody gets at once.
pub(crate) const RECOVERY_CODES: usize = 10;
/// Bytes of a recovery code: nobody guesses 80 bits, so that a fast hash keeps it.
pub(crate) const RECOVERY_BYTES: usize = 10;

/// Longest text that can be a code, in bytes.
const CODE_BYTES_MAX: usize = 64;
/// Crockford's digits, without those that look like others.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A code as somebody typed it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Code {
    /// Six digits.
    OneTime(String),
    /// Anything else: the hash of what may be a recovery code.
    Recovery(String),
}

impl Code {
    /// Spaces and dashes that people put between digits don't matter, nor does case.
    pub(crate) fn read(typed: &str) -> Option<Self> {
        if typed.len() > CODE_BYTES_MAX {
            return None;
        }
        let text: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        let one_time = text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit());
        Some(if one_time { Self::OneTime(text) } else { Self::Recovery(recovery_hash(&text)) })
    }
}

/// A secret in base32, the form in which it is shown and kept.
pub(crate) fn secret_text(bytes: [u8; SECRET_BYTES]) -> Zeroizing<String> {
    Zeroizing::new(Secret::new_stack(bytes).to_base32())
}

/// What an app reads from the picture: the secret, and under which names to show it. `None` if it is no secret.
pub(crate) fn uri(secret: &str, server: &str, user: &str) -> Option<Zeroizing<String>> {
    // Colons separate the two.
    let (server, user) = (server.replace(':', " "), user.replace(':', " "));
    let totp = builder(secret)?.with_issuer(Some(server)).with_account_name(user).build().ok()?;
    totp.to_url().ok().map(Zeroizing::new)
}

/// The step of time of which this is the code: now, or one before or after, for clocks that go wrong.
pub(crate) fn step_of(secret: &str, code: &str, now_ms: i64) -> Option<u64> {
    let totp: Totp = builder(secret)?.build().ok()?;
    totp.check(code, now_ms.max(0).unsigned_abs() / 1000)
}

fn builder(secret: &str) -> Option<Builder> {
    Some(Builder::new().with_secret(Secret::try_from_base32(secret).ok()?))
}

/// A recovery code: 16 characters in groups of four.
pub(crate) fn recovery_code(bytes: [u8; RECOVERY_BYTES]) -> String {
    let mut number = bytes.into_iter().fold(0_u128, |number, byte| number << 8 | u128::from(byte));
    let mut code = String::with_capacity(19);
    for index in 0..16 {
        if index > 0 && index % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(DIGITS[(number & 31) as usize]));
        number >>= 5;
    }
    code
}

/// What is kept of a recovery code.
pub(crate) fn recovery_hash(code: &str) -> String {
    let mut hash = Sha256::new();
    let mut text = Zeroizing::new(String::with_capacity(code.len()));
    for c in code.chars().filter(|c| !c.is_whitespace() && *c != '-') {
        // What is read or typed for what it looks like.
        let c = match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        };
        // Writing to a String does not fail.
        let _ = write!(text, "{c}");
    }
    hash.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Appendix B there, last six digits.
        let secret = secret_text(*b"12345678901234567890");
        for (second, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ] {
            let step = second / 30;
            assert_eq!(step_of(&secret, code, second * 1000), Some(step.unsigned_abs()));
            // One step of a clock that is wrong, and no more.
            for (off, good) in [(-60, false), (-30, true), (30, true), (60, false)] {
                let found = step_of(&secret, code, (second + off).max(0) * 1000);
                if second + off >= 0 {
                    assert_eq!(found.is_some(), good, "{second} {off}");
                }
                assert!(found.is_none_or(|found| found == step.unsigned_abs()));
            }
        }
        for code in ["", "28708", "2870822", "28708x", "+28708", "٢٨٧٠٨٢"] {
            assert_eq!(step_of(&secret, code, 59_000), None, "{code}");
        }
        assert_eq!(step_of("no secret", "287082", 59_000), None);
        step_of(&secret, "287082", i64::MIN);
        step_of(&secret, "287082", i64::MAX);
    }

    #[test]
    fn an_app_reads_what_it_needs() {
        let secret = secret_text([7; SECRET_BYTES]);
        let found = uri(&secret, "Cachalot (chat.example.org:8443)", "Ahab: captain & 鲸").unwrap();
        assert!(found.starts_with("otpauth://totp/"), "{found:?}");
        let read = Totp::from_url(found.as_str()).unwrap();
        assert_eq!(read.secret().to_base32(), *secret);
        assert_eq!(read.account_name(), "Ahab  captain & 鲸");
        assert_eq!(read.issuer(), Some("Cachalot (chat.example.org 8443)"));
    }

    #[test]
    fn a_recovery_code_is_read_however_it_is_typed() {
        let code = recovery_code([0x80, 1, 2, 3, 4, 5, 6, 7, 8, 0xff]);
        assert_eq!(code.len(), 19);
        let read = |typed: &str| Code::read(typed);
        let expected = Some(Code::Recovery(recovery_hash(&code)));
        for typed in
            [&code, &code.to_uppercase(), &code.replace('-', ""), &format!("  {} ", code.replace('-', " "))]
        {
            assert!(read(typed) == expected, "{typed}");
        }
        assert!(recovery_hash("01oO-iIlL") == recovery_hash("0100 1111"));
        assert!(recovery_hash("abcd") != recovery_hash("abce"));
        let all = recovery_code([255; RECOVERY_BYTES]);
        assert_eq!(
            (all.as_str(), recovery_code([0; RECOVERY_BYTES])),
            ("zzzz-zzzz-zzzz-zzzz", "0000-0000-0000-0000".into())
        );
        assert!(read("123 456") == Some(Code::OneTime("123456".to_owned())));
        assert!(matches!(read("١٢٣٤٥٦"), Some(Code::Recovery(_))));
        assert!(read(&"1".repeat(65)).is_none());
    }
}
