//! `DeepSeek`'s endpoints about a user.

pub(super) mod balance;
