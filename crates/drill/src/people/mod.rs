//! Those for whom the server is there.

mod accounts;
mod chat;
mod visits;

pub(crate) use accounts::{Accounts, Administrator, DESK, Failed};
pub(crate) use chat::hold_chat;
pub(crate) use visits::{World, receive};
