//! What stands between strangers and the server's users: pure state machines and bounded counters. Time
//! ([`std::time::Duration`] of `base::Clock::monotonic`) and randomness (`base::Rng`) are arguments; nothing here does
//! IO, waits or locks.

mod bucket;
mod class;
mod concentration;
pub mod gate;
mod moment;
mod prefix;
mod rates;
pub mod registration;
mod share;
mod sketch;

pub use bucket::Bucket;
pub use class::{Class, Credential, Trust};
pub use concentration::Concentration;
pub use gate::{Gate, GateSettings, Level, Move, Reason, Signals};
pub use moment::Moment;
pub use prefix::{Prefix, Width};
pub use rates::Rates;
pub use registration::{Answer, Proof, Registrar, RegistrarSettings};
pub use share::{Full, Pool, Shares, Slot};
