//! The models' logits against other programs' logits, and against themselves under every way of running.
//!
//! `golden/README.md` says where the vectors come from and what the tolerances are drawn from.

mod continuation;
mod packs;
mod perplexity;
mod reference;
mod runner;
mod smollm;
mod tiny;
