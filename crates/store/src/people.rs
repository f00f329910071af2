//! Rows about people: users, their sessions, and what happened to them.

use std::fmt;
use std::time::Duration;

use crate::rows::word_type;
use crate::{SessionId, UserId};

word_type! {
    /// What a user may do.
    UserRole {
        /// Chat.
        User = "user",
        /// Look after the machine.
        Operator = "operator",
        /// Everything, other users included.
        Admin = "admin",
    }
}

/// Somebody with an account.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// As they wrote it; no two names look alike when folded.
    pub name: String,
    /// As they wrote it; no two are the same in lower case.
    pub email: Option<String>,
    /// Unix milliseconds at which somebody who reads the letters to the address showed it last.
    pub email_verified_ms: Option<i64>,
    /// What they may do.
    pub role: UserRole,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds since which they may not sign in.
    pub disabled_ms: Option<i64>,
    /// The hash in PHC form; `None` if they sign in by other means.
    pub password_hash: Option<String>,
    /// Generation of the master key that wraps their key.
    pub key_generation: u32,
}

impl fmt::Debug for User {
    /// Without the hash: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("email", &self.email)
            .field("email_verified_ms", &self.email_verified_ms)
            .field("role", &self.role)
            .field("created_ms", &self.created_ms)
            .field("disabled_ms", &self.disabled_ms)
            .field("key_generation", &self.key_generation)
            .finish_non_exhaustive()
    }
}

/// What a new user starts with. The store chooses the id and makes the key.
#[derive(Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The name. Without `@`: a login with one is looked up among the email addresses only.
    pub name: String,
    /// The email address.
    pub email: Option<String>,
    /// What they may do.
    pub role: UserRole,
    /// The hash in PHC form; `None` if they sign in by other means.
    pub password_hash: Option<String>,
    /// This is the first user, who must be an administrator and takes the conversations that are nobody's yet.
    pub first: bool,
}

impl fmt::Debug for NewUser {
    /// Without the hash: what is printed may end in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewUser")
            .field("name", &self.name)
            .field("email", &self.email)
            .field("role", &self.role)
            .field("first", &self.first)
            .finish_non_exhaustive()
    }
}

/// The link of a letter that makes an account, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignUpLink {
    /// What the address that it went to is remembered by.
    pub address: [u8; 32],
    /// Unix milliseconds at which it was sent.
    pub sent_ms: i64,
    /// How long links like it are good.
    pub lifetime: Duration,
}

impl fmt::Debug for SignUpLink {
    /// Without the fingerprint: whoever has the key can tell whether it is an address's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignUpLink").field("sent_ms", &self.sent_ms).finish_non_exhaustive()
    }
}

/// Which part of the list of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPageRequest {
    /// Most users to return.
    pub limit: u32,
    /// The name after which the page begins; `None` for the first page. There need not be such a user any more.
    pub after: Option<String>,
}

/// A part of the list of users, by folded name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPage {
    /// At most `limit` of them.
    pub users: Vec<User>,
    /// The name after which the next page begins; `None` if this is the last.
    pub next: Option<String>,
}

/// A device on which a user is signed in. One that was revoked is no row any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Who is signed in.
    pub user_id: UserId,
    /// Unix milliseconds.
    pub created_ms: i64,
    /// Unix milliseconds of the last request that was noted.
    pub seen_ms: i64,
    /// Unix milliseconds from which it is no longer good.
    pub expires_ms: i64,
    /// What the browser calls itself, its first 200 characters.
    pub agent: String,
    /// The network address at sign-in, its first 64 characters.
    pub address: String,
}

/// What a new session starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    /// Who signs in.
    pub user_id: UserId,
    /// What the browser calls itself.
    pub agent: String,
    /// The network address.
    pub address: String,
    /// How long it is good.
    pub lifetime: Duration,
}

/// Something that matters for security happened. Holds nothing that anybody wrote but operators' notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// Whom it concerns, if anybody; they may be gone.
    pub user_id: Option<UserId>,
    /// The operator who did it, if it was not the user's own doing; they may be gone.
    pub by: Option<UserId>,
    /// A word of the program's own, such as `login_failed`.
    pub event: String,
    /// The network address, its first 64 characters.
    pub address: String,
    /// What the operator wrote about it, its first 200 characters.
    pub note: Option<String>,
}
