//! What a session cookie says, under a signature: whoever holds a valid one is recognised without asking the database.

use hmac::Mac as _;
use store::{SessionId, UserId, UserRole};

use super::signed::{CLAIMS_BYTES, Claims, Signer, hmac};

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
    signer: Signer,
    cookie_name: String,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl TokenKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let of_key = hmac(key).chain_update(b"cachalot cookie name").finalize().into_bytes();
        // Browsers keep cookies by host, not by port: two servers of one host must not take each other's away.
        let cookie_name = format!("cachalot-{:02x}{:02x}{:02x}", of_key[0], of_key[1], of_key[2]);
        Self { signer: Signer::new(key, PURPOSE), cookie_name }
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
        self.signer.sign(&Claims::from(*token).to_bytes())
    }

    /// The token, if this key signed it. Whether it is still good is for the caller to say.
    pub(crate) fn verify(&self, text: &str) -> Option<SessionToken> {
        Claims::from_bytes(&self.signer.verify::<CLAIMS_BYTES>(text)?).map(SessionToken::from)
    }
}

impl From<SessionToken> for Claims {
    fn from(token: SessionToken) -> Self {
        let SessionToken { session, user, role, user_since_ms, issued_ms } = token;
        Self { id: session.into(), user, role, user_since_ms, issued_ms }
    }
}

impl From<Claims> for SessionToken {
    fn from(claims: Claims) -> Self {
        let Claims { id, user, role, user_since_ms, issued_ms } = claims;
        Self { session: SessionId::from(id), user, role, user_since_ms, issued_ms }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::signed::text_chars_max;
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
            assert!(text.len() <= text_chars_max(CLAIMS_BYTES));
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
