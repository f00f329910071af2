//! The engine: scheduler, KV block pool, sampler and the step loop. Token ids only, knows nothing of text.

mod engine;
mod events;
mod sampler;
pub mod scheduler;
mod stats;
mod step;

pub use engine::{Engine, EngineConfig, EngineError, Sequence, SubmitError};
pub use events::{EngineUsage, FinishReason, GeneratedToken, Priority, SequenceEvent, Submission};
pub use sampler::{LOGIT_BIAS_MAX, LOGPROBS_MAX, ParamError, SamplingParams};
pub use stats::{EngineStats, FinishCounts, LATENCY_BOUNDS_SECONDS, LatencyHistogram};
