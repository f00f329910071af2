//! The server through real TCP on loopback, with fake models behind real dialogues and a real database.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod chat;
mod conversations;
mod guard;
mod health;
mod limits;
mod load;
mod logs;
mod people;
mod shutdown;
mod support;
mod vault;
