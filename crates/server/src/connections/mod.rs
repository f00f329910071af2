//! Connections: our own accept loop over hyper, which bounds what anybody can hold and for how long.
//!
//! ```text
//! doorman     users first, by the first bytes, while very many come      doorman.rs
//! door        while they do, who is silent waits in the kernel           door.rs
//! accept      caps and rates by prefix, room by closing idle strangers      accept.rs, lobby.rs, roster/
//! converse    PROXY header -> TLS -> HTTP/1 or HTTP/2                        converse.rs, proxy_protocol.rs
//! watch       a deadline for each phase, budgets of resets and frames        watch.rs (pure), activity.rs
//! requests    whose a connection is, who is in flight                        requests.rs, bodies.rs, streams.rs
//! ```
//!
//! Two parts decide and are pure: the [`Roster`](roster::Roster) who may come in and who goes first, and the
//! [`Watch`](watch::Watch) how long a connection may stay as it is. The rest carries out what they say.

mod accept;
mod activity;
mod bodies;
mod converse;
mod descriptors;
mod door;
mod doorman;
mod limits;
mod lobby;
mod proxy_protocol;
mod requests;
mod roster;
mod streams;
mod transport;
mod watch;

pub(crate) use accept::{Connections, Entrance, run};
pub(crate) use bodies::TooSlow;
pub use descriptors::raise_descriptors_limit;
pub use limits::{ConnectionLimits, PrefixCaps};
pub(crate) use requests::Objection;
