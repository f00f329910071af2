//! Numeric kernels for CPUs: slices in and slices out, the instruction set chosen at run time.
//!
//! - [`Isa`] is the instruction set as a value: holding it is the proof that the CPU has it.
//! - [`Pool`] splits a region's tasks over fixed threads; results never depend on how many.
//! - [`PackedMatrix`] holds weights in panels of 16 rows, [`Activations`] the inputs, [`matmul`] multiplies them.
//! - [`ops`] are the small steps of a layer; [`KvCache`] and [`attention`] are the memory of a sequence.
//!
//! Every kernel is written once over a vocabulary of 16-lane vectors and compiled for each instruction set, the
//! portable one included.

#![allow(
    clippy::inline_always,
    reason = "kernels must inline into the function that has the target features"
)]
#![allow(
    clippy::needless_range_loop,
    reason = "index loops over registers unroll, iterators over them may not"
)]

mod activations;
mod isa;
mod kv;
pub mod limits;
mod matmul;
mod memory;
pub mod ops;
mod packed;
mod pool;
mod simd;

pub use activations::{Activations, Needs, Precision};
pub use isa::{Avx2, Avx512, AvxVnni, Isa, Neon};
pub use kv::{AttentionChunk, KvCache, KvFormat, KvShape, attention};
pub use matmul::{matmul, matmul_many};
pub use memory::{Arena, Image};
pub use packed::{CodeLayout, CodeRow, CodeWidth, NONLINEAR_FOUR, PackedMatrix, RowSource, SourceLayout};
pub use pool::Pool;
