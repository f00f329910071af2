//! One file per command.

pub(crate) mod backup;
pub(crate) mod balance;
pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod config;
#[cfg(target_os = "linux")]
pub(crate) mod drill;
pub(crate) mod gate;
pub(crate) mod group;
pub(crate) mod key;
pub(crate) mod list;
pub(crate) mod pull;
pub(crate) mod restore;
pub(crate) mod rm;
pub(crate) mod rotate_key;
pub(crate) mod session;
pub(crate) mod show;
pub(crate) mod up;
pub(crate) mod usage;
pub(crate) mod user;
