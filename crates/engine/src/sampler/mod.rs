//! Sampling.
mod params;
pub use params::{LOGIT_BIAS_MAX, LOGPROBS_MAX, ParamError, SamplingParams};
