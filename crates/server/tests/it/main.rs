//! The server through real TCP on loopback, with fake models behind real dialogues and a real database.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod acme;
mod admin;
mod anthropic;
mod chat;
mod completions;
mod connections;
mod contract;
mod conversations;
mod data;
mod flood;
mod gate;
mod groups;
mod guard;
mod health;
mod hostile;
mod http2;
mod import;
mod keys;
mod limits;
mod load;
mod logs;
mod mail;
mod meter;
mod oidc;
mod openapi;
mod passkeys;
mod people;
mod proxy;
mod proxy_protocol;
mod responses;
mod second_factor;
mod shutdown;
mod support;
mod tls;
mod tokens;
mod tools;
mod vault;
