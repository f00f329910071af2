//! What stands between strangers and the server's users: pure state machines and bounded counters.
//!
//! Time (`base::Clock::monotonic`, or Unix milliseconds where a cookie is compared) and randomness (`base::Rng`) are
//! arguments. Nothing here does IO, waits or locks; the server puts each part behind a lock of its own and holds it for
//! one call. Whatever a stranger can grow has a fixed capacity, stated where it is made.
//!
//! # The walk
//!
//! What the server calls, in the order in which a request meets it:
//!
//! | when | what | asks |
//! |---|---|---|
//! | a connection is accepted, before TLS | [`Pool`] of connections, [`Rates`] | does its [`Prefix`] hold too many, does it come too often? |
//! | the first header is there | [`Trust::class`] | whose is it, by signatures alone? then [`Pool::change_class`] |
//! | before the body | [`Adaptive::admit`], [`Pool`] of request slots | is there room for the class? else 503 and `Retry-After` |
//! | a sign-up | [`Challenges`], [`Registrar::register`] | an account, a place, or what to show first |
//! | a login | [`Logins::check`], then a [`Pool`] of hashes | allow, challenge, delay |
//! | an answer of a model | [`price`], [`Brownout::reduce`], [`Pool`] of engine slots | may it be so large, how large may it be now? |
//! | every second | [`Gate::tick`], [`Registrar::tick`], [`Brownout::tick`] | which level is it, who is called up? |
//!
//! ```
//! use std::time::Duration;
//! use base::{Clock, ManualClock, Rng};
//! use defence::{
//!     Answer, Challenges, Class, Credential, Difficulty, Gate, GateSettings, Moment, Pool, Prefix, Proof, Registrar,
//!     RegistrarSettings, Shares, Signals, Trust, challenge,
//! };
//!
//! let (clock, mut rng) = (ManualClock::new(), Rng::from_seed(1));
//! let mut gate = Gate::new(GateSettings::default(), clock.monotonic());
//! let mut registrar = Registrar::new(RegistrarSettings::default(), &mut rng);
//! let mut challenges = Challenges::new(&mut rng);
//! let mut connections = Pool::new(1024, Shares::default(), 16);
//!
//! // Somebody connects: nothing is known but the address.
//! let address = "192.0.2.7".parse()?;
//! let mut slot = connections.take(Class::Unknown, Prefix::narrow(address))?;
//!
//! // Their first header has a session cookie, whose signature is good.
//! let credential = Credential::Account { issued_ms: clock.unix_ms(), since_ms: Some(-90_000_000) };
//! let class = Trust::default().class(Some(credential), gate.onset_ms(), clock.unix_ms());
//! assert_eq!(class, Class::Established);
//! connections.change_class(&mut slot, class);
//!
//! // Every second the gate is told what happened. A flood closes it within three.
//! for _ in 0..3 {
//!     clock.advance(Duration::from_secs(1));
//!     let signals = Signals { attempted: 100, ..Signals::default() };
//!     if let Some(moved) = gate.tick(&signals, Moment::now(&clock)) {
//!         println!("{:?} -> {:?}: {}", moved.from, moved.to, moved.reasons[0]);
//!     }
//!     registrar.tick(gate.level(), clock.monotonic());
//! }
//!
//! // Somebody new asks for an account, and is asked for a proof of work, which is bound to where they are.
//! let answer = registrar.register(gate.level(), address.into(), Proof::default(), clock.monotonic());
//! assert_eq!(answer, Answer::SolveChallenge);
//! let here = (Prefix::wide(address), "sign up");
//! let difficulty = Difficulty::at(gate.level());
//! let asked = challenges.issue(difficulty, here, challenge::LIFETIME, clock.unix_ms(), &mut rng);
//! let solved = challenge::solve(&asked).expect("the browser's widget does this");
//! let proof = Proof { challenge: challenges.claim(&solved, here, clock.unix_ms())?.is_right(), ..Proof::default() };
//! match registrar.register(gate.level(), address.into(), proof, clock.monotonic()) {
//!     Answer::Make => { /* hash the password, add the user */ }
//!     Answer::Wait { place, about, .. } => println!("{place:?}: about {} s", about.as_secs()),
//!     other => println!("{other:?}"),
//! }
//! connections.give_back(slot);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it costs to hold
//!
//! With default settings about 5 MiB, whatever the number of addresses: 640 KiB for the budget's counters, 3.8 MiB for
//! logins, up to 13 MiB more for a full waiting list and 7 MiB for answers to challenges, both of which are freed as they
//! empty.

mod adaptive;
mod brownout;
mod bucket;
pub mod challenge;
mod class;
mod concentration;
pub mod gate;
pub mod login;
mod moment;
mod prefix;
pub mod price;
mod rates;
pub mod registration;
mod share;
mod sketch;
mod source;

pub use adaptive::{Adaptive, AdaptiveSettings, Shed};
pub use brownout::{Brownout, Dimness, Reduced};
pub use bucket::Bucket;
pub use challenge::{Challenge, ChallengeError, Challenges, Claim, Difficulty};
pub use class::{Class, Credential, Trust};
pub use concentration::Concentration;
pub use gate::{Gate, GateSettings, Level, Move, Reason, Signals};
pub use login::{LoginAnswer, LoginLimits, LoginProof, LoginReason, Logins};
pub use moment::Moment;
pub use prefix::{Prefix, Width};
pub use price::{Caps, CapsByClass, InFlight, Request, TooMuch, Weights};
pub use rates::Rates;
pub use registration::{Answer, Proof, Registrar, RegistrarSettings};
pub use share::{Full, Pool, Shares, Slot};
pub use source::{Network, Source};
