//! What every other crate shares: token ids, time and randomness as arguments, and a queue in which callers take turns.
//!
//! Nothing here does IO, except [`SystemClock`] and [`Rng::from_os`], the two places where the program
//! touches the machine's clock and entropy.

mod clock;
mod fair_queue;
mod rng;
mod utc;

pub use clock::{Clock, ManualClock, SystemClock};
pub use fair_queue::FairQueue;
pub use rng::Rng;
pub use utc::UtcTime;

/// Index of a token in a model's vocabulary.
pub type TokenId = u32;
