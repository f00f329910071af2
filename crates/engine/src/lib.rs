//! The engine: answers many sequences of tokens at once with one model. Token ids only, knows nothing of text.
//!
//! [`Engine`] is a handle to a step loop on its own thread. A step is four calls:
//!
//! ```text
//! plan     what runs next                    scheduler::Scheduler::plan, pure
//! forward  one pass of the model over it     models::batch::Model::forward
//! (masks)  what may come next, beside it     Steering::allowed, on a thread of its own
//! pick     the next token of each sequence   sampler::Sampler::pick, pure
//! commit   tokens, ends, freed blocks        scheduler::Scheduler::commit, pure
//! ```
//!
//! A sequence may be steered: a [`Steering`] says before each token what may come, and hears what was taken, also after
//! the sequence has lost its place to others and got it back. Whatever it does, others don't notice. A submission may
//! also ask how probable its prompt is ([`Submission::prompt_logprobs`]).
//!
//! # Example
//! ```no_run
//! # fn example(model: Box<dyn models::batch::Model>) -> Result<(), Box<dyn std::error::Error>> {
//! use engine::{CacheScope, Engine, EngineConfig, Priority, SamplingParams, SequenceEvent, Submission};
//!
//! let config = EngineConfig { kv_blocks: 1024, step_tokens_max: 512, running_max: 16, waiting_max: 256, kv_claimed: false };
//! let clock = std::sync::Arc::new(base::SystemClock::new());
//! let engine = Engine::start(model, config, clock, base::Rng::from_os()?)?;
//! let mut sequence = engine.submit(Submission {
//!     prompt: vec![1, 2, 3],
//!     sampling: SamplingParams::greedy(),
//!     tokens_max: 100,
//!     end_tokens: vec![0],
//!     priority: Priority::High,
//!     scope: CacheScope::default(),
//!     steering: None,
//!     prompt_logprobs: None,
//! })?;
//! while let Some(event) = sequence.blocking_next() {
//!     if let SequenceEvent::Token(token) = event {
//!         println!("{}", token.id);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod blocks;
mod engine;
mod events;
mod forward;
mod masks;
mod prefix;
pub mod sampler;
pub mod scheduler;
mod stats;
mod steering;
mod step;

pub use engine::{Engine, EngineConfig, EngineError, Sequence, SubmitError};
pub use events::{EngineUsage, FinishReason, GeneratedToken, Priority, SequenceEvent, Submission};
pub use prefix::CacheScope;
pub use sampler::{LOGIT_BIAS_MAX, LOGPROBS_MAX, ParamError, SamplingParams};
pub use stats::{EngineStats, FinishCounts, LATENCY_BOUNDS_SECONDS, LatencyHistogram};
pub use steering::{Allowed, Steering, TokenMask};
