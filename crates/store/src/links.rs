//! Rows about accounts elsewhere with which users sign in here.

use crate::{LinkId, UserId};

/// An account at a provider with which a user signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its id.
    pub id: LinkId,
    /// Whose it is.
    pub user_id: UserId,
    /// The provider's id.
    pub provider: String,
    /// Unix milliseconds.
    pub created_ms: i64,
}

/// An account at a provider, as the provider names it.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The provider's id, as the settings say. Not a part of who it is: settings may give it to another provider.
    pub provider: String,
    /// The provider's own name, the address of its issuer.
    pub issuer: String,
    /// What it knows the user as: never given to anybody else, unlike a name or an address.
    pub subject: String,
}

impl std::fmt::Debug for Identity {
    /// Without the subject, which may be an address.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("provider", &self.provider).finish_non_exhaustive()
    }
}
