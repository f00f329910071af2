//! The perplexity of a text by a model: `cargo run -p cachalot-models --example perplexity -- TEXT.json 8-bit|mixed|16-bit MODEL...`.
//!
//! TEXT.json is as `golden/perplexity/make.py` writes it: `tokens`, and `window`, after so many of which the model forgets
//! what it has read. The first token of a window isn't scored. Prints a line with the perplexity for each model, whose
//! inputs of products are rounded so; keys and values are kept as f16.

use std::path::Path;

use base::TokenId;
use kernels::Precision;
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Wanted};
use models::{LoadOptions, LoadedModel};
use serde_json::Value;

/// -ln p of a token.
fn surprise(logits: &[f32], token: TokenId) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - top).exp()).sum();
    f64::from(top) + sum.ln() - f64::from(logits[token as usize])
}

fn perplexity(loaded: &mut LoadedModel, tokens: &[TokenId], window: usize) -> f64 {
    let blocks: Vec<BlockId> = (0..window.div_ceil(KV_BLOCK_TOKENS) as BlockId).collect();
    loaded.model.allocate_kv(blocks.len()).expect("room for the cache");
    let (mut logits, mut sum, mut scored) = (Vec::new(), 0.0, 0_u32);
    for tokens in tokens.chunks(window) {
        let chunk = Chunk { tokens, position: 0, blocks: &blocks, wanted: Wanted::All };
        loaded.model.forward(&[chunk], &mut logits).expect("a step");
        for (logits, &token) in logits.chunks_exact(loaded.info.vocab_size).zip(&tokens[1..]) {
            sum += surprise(logits, token);
            scored += 1;
        }
    }
    (sum / f64::from(scored)).exp()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [text, rounding, paths @ ..] = arguments.as_slice() else {
        panic!("the arguments are TEXT.json, 8-bit, mixed or 16-bit, and models");
    };
    let precision = Precision::by_name(rounding).expect("8-bit, mixed or 16-bit");
    let text = std::fs::read_to_string(text).expect("the text");
    let text: Value = serde_json::from_str(&text).expect("JSON");
    let tokens: Vec<TokenId> = serde_json::from_value(text["tokens"].clone()).expect("token ids");
    let window: usize = serde_json::from_value(text["window"].clone()).expect("a number of tokens");
    for path in paths {
        let options = LoadOptions { threads: 2, precision, ..LoadOptions::default() };
        let mut loaded = models::load(Path::new(path), &options).expect("a model");
        println!("{:.6}", perplexity(&mut loaded, &tokens, window));
    }
}
