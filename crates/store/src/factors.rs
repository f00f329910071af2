//! Rows about what users prove themselves with besides a password: one-time codes, recovery codes and passkeys.

use std::fmt;

use zeroize::Zeroizing;

use crate::rows::word_type;
use crate::{PasskeyId, UserId};

/// The one-time codes (TOTP, RFC 6238) of a user.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimeCodes {
    /// The secret that the codes come from, in the server's encoding.
    pub secret: Zeroizing<String>,
    /// Recovery codes that are left.
    pub recovery_codes_left: u32,
}

impl fmt::Debug for OneTimeCodes {
    /// Without the secret: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneTimeCodes")
            .field("recovery_codes_left", &self.recovery_codes_left)
            .finish_non_exhaustive()
    }
}

/// What one-time codes start with.
#[derive(Clone, PartialEq, Eq)]
pub struct NewOneTimeCodes {
    /// The secret, in the server's encoding.
    pub secret: Zeroizing<String>,
    /// The step of time of the code that proved that the user has the secret: it is taken.
    pub step: u64,
    /// Hashes of the recovery codes, without line breaks.
    pub recovery_codes: Vec<String>,
}

impl fmt::Debug for NewOneTimeCodes {
    /// Without the secret and the hashes: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewOneTimeCodes").field("step", &self.step).finish_non_exhaustive()
    }
}

word_type! {
    /// Whether an authenticator keeps a passkey in one place only.
    PasskeyBackup {
        /// It can't be copied.
        Never = "never",
        /// It can be copied to other devices, and has not been.
        Possible = "possible",
        /// There is a copy.
        Made = "made",
    }
}

/// A passkey: a key pair (Web Authentication) whose public half is kept here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passkey {
    /// Its id.
    pub id: PasskeyId,
    /// Whose it is.
    pub user_id: UserId,
    /// What the authenticator calls it.
    pub credential_id: Vec<u8>,
    /// The public key with its kind, in the server's encoding.
    pub public_key: Vec<u8>,
    /// How often it has signed, as far as the authenticator counts.
    pub sign_count: u32,
    /// Whether there may be copies.
    pub backup: PasskeyBackup,
    /// How the authenticator can be reached, in the server's encoding.
    pub transports: u8,
    /// What the user calls it.
    pub name: String,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds of the last sign-in with it.
    pub used_ms: Option<i64>,
}

/// What a new passkey starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPasskey {
    /// What the authenticator calls it.
    pub credential_id: Vec<u8>,
    /// The public key with its kind, in the server's encoding.
    pub public_key: Vec<u8>,
    /// How often it has signed.
    pub sign_count: u32,
    /// Whether there may be copies.
    pub backup: PasskeyBackup,
    /// How the authenticator can be reached, in the server's encoding.
    pub transports: u8,
    /// What the user calls it.
    pub name: String,
}

/// What a signature said about a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasskeyUse {
    /// How often it has signed, this time included; always 0 if the authenticator does not count.
    pub sign_count: u32,
    /// Whether there may be copies.
    pub backup: PasskeyBackup,
}
