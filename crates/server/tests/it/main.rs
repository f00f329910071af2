//! The server through real TCP on loopback, with fake models behind real dialogues and a real database.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod acme;
mod admin;
mod chat;
mod conversations;
mod data;
mod groups;
mod guard;
mod health;
mod hostile;
mod import;
mod limits;
mod load;
mod logs;
mod mail;
mod oidc;
mod passkeys;
mod people;
mod proxy;
mod second_factor;
mod shutdown;
mod support;
mod tls;
mod vault;
