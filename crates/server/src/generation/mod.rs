//! What the endpoints of programs have in common: leave to generate, one or several answers to one or several prompts,
//! what they took, and a client that is told while it waits that it is not forgotten.
//!
//! An endpoint reads its request, calls [`begin`], and answers with [`whole`] or [`stream`] in the form of its API.

mod begin;
mod leave;
mod lend;
mod respond;
mod running;
pub(crate) mod translate;

pub(crate) use begin::{Asked, Order, begin, check, look, seat};
pub(crate) use lend::lend;
pub(crate) use respond::{Form, stream, whole, whole_as};
pub(crate) use running::{Ended, Running, Step};
