//! One file per command.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod list;
pub(crate) mod pull;
pub(crate) mod restore;
pub(crate) mod rm;
pub(crate) mod show;
pub(crate) mod up;
pub(crate) mod user;
