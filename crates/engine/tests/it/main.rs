//! The engine with a fake model: its own thread, batching, chunks, cancels, preemption, failures, shutdown; and
//! the scheduler alone over random histories.

mod engine;
mod fake;
mod simulation;
mod steering;
