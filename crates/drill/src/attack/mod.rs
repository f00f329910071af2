//! The attackers. They run on threads of their own, on the cores that the server does not have, behind everybody else
//! in the queue for them.

mod army;
mod flood;
mod hold;
mod http2;
mod mob;
mod tally;
mod wire;

pub(crate) use army::{Army, HELD_MAX, IN_FLIGHT_MAX, Orders};
pub(crate) use http2::speaks_http2;
pub use tally::Count;
pub(crate) use tally::Tallies;
