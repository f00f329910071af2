//! The attack drill: people who use a server and attackers who want to take it from them, on one machine, by a
//! schedule that a seed decides; and what became of the people.
//!
//! Nothing but loopback is ever asked: the whole of 127.0.0.0/8 serves as source addresses, so that thousands of
//! networks can attack. It runs on Linux.

mod address;
mod attack;
mod calibrate;
mod challenge;
mod costs;
mod events;
mod force;
mod http;
mod kind;
mod machine;
mod people;
mod plan;
mod record;
mod report;
mod run;
mod sample;
mod schedule;
mod stats;
mod status;
mod target;
mod timer;

pub use attack::Count;
pub use calibrate::Capacity;
pub use costs::Cost;
pub use force::descriptors_needed;
pub use kind::{Kind, Resource, UnknownKind};
pub use machine::{Cores, TooFewDescriptors, Usage, pin, raise_descriptors, usage_of};
pub use plan::{ADDRESSES_MAX, Choices, People, Plan, PlanError, Targets};
pub use report::{Attack, ChatPoint, Report, Verdict};
pub use run::{DrillError, Site, run};
pub use sample::Sample;
pub use schedule::Phase;
pub use stats::{Chats, Logins, Newcomers, OfPhase, Summary, Times, Unmeasured};
pub use target::{Admin, Target, TargetError};
