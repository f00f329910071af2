//! Models: weight files, quantised formats, tokenizer, chat templates, shared layers, and one readable file per
//! architecture.

pub mod batch;
pub mod catalog;
pub mod formats;
pub mod gguf;
pub mod library;
