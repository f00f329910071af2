//! The perplexity of SmolLM2-135M-Instruct `Q4_1` over 24 kB of a novel: what rounding activations, keys and values costs.

use base::TokenId;
use kernels::{Isa, KvFormat, Precision};
use serde::Deserialize;

use crate::reference::{golden, golden_json, smollm};
use crate::runner::{all_logits, isas, load, load_rounding};

/// How far from the exact forward pass rounding to 8 bits may bring us.
const ROUNDING: f64 = 0.005;
/// The same for 16 bits where there are outliers.
const ROUNDING_OF_MIXED: f64 = 0.002;
/// The same for 16 bits, where the KV cache's f16 is the coarsest number.
const ROUNDING_OF_SIXTEEN: f64 = 0.000_5;

/// The same with keys and values of 8 bits.
const ROUNDING_OF_CACHE: f64 = 0.001;

/// By an f64 forward of the dequantised weights.
#[derive(Deserialize)]
struct Expected {
    window: usize,
    tokens: Vec<TokenId>,
    perplexity: f64,
}

fn expected() -> Expected {
    serde_json::from_value(golden_json("perplexity/expected.json")).expect("what make.py writes")
}

/// -ln p of a token.
fn surprise(logits: &[f32], token: TokenId) -> f64 {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - top).exp()).sum();
    f64::from(top) + sum.ln() - f64::from(logits[token as usize])
}

/// Over windows that are read without what came before; the first token of each isn't scored.
fn perplexity(isa: Isa, (precision, kv_format): (Precision, KvFormat), expected: &Expected) -> f64 {
    let mut loaded = load_rounding(&smollm(), isa, 2, precision, kv_format);
    let vocab_size = loaded.info.vocab_size;
    let (mut sum, mut scored) = (0.0, 0_u32);
    for window in expected.tokens.chunks(expected.window) {
        let logits = all_logits(&mut *loaded.model, window, 512);
        for (logits, &token) in logits.chunks_exact(vocab_size).zip(&window[1..]) {
            sum += surprise(logits, token);
            scored += 1;
        }
    }
    (sum / f64::from(scored)).exp()
}

#[test]
fn rounding_keeps_the_perplexity_of_a_text() {
    let expected = expected();
    let mut failures = Vec::new();
    let roundings = [
        ((Precision::Mixed, KvFormat::F16), ROUNDING_OF_MIXED),
        ((Precision::Eight, KvFormat::Q8), ROUNDING),
        ((Precision::Mixed, KvFormat::Q8), ROUNDING_OF_MIXED),
        ((Precision::Eight, KvFormat::F16), ROUNDING),
        ((Precision::Sixteen, KvFormat::F16), ROUNDING_OF_SIXTEEN),
        ((Precision::Sixteen, KvFormat::Q8), ROUNDING_OF_CACHE),
    ];
    // 5,500 tokens take the scalar kernels minutes; they are held to the same logits by other tests.
    for isa in isas().into_iter().filter(|isa| !matches!(isa, Isa::Scalar)) {
        // Another than the best has as many as shows that it does both the products and the cache right.
        let count = if isa == Isa::best() { roundings.len() } else { 2 };
        for (rounding, allowed) in roundings.into_iter().take(count) {
            let ours = perplexity(isa, rounding, &expected);
            let change = ours / expected.perplexity - 1.0;
            let line = format!(
                "{} {rounding:?}: perplexity {ours:.4}, {:+.3} % of {:.4}",
                isa.name(),
                100.0 * change,
                expected.perplexity
            );
            println!("{line}");
            if change.abs() > allowed {
                failures.push(line);
            }
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The ids are those of the tokenizers library.
#[test]
fn the_texts_tokens_are_those_of_the_tokenizer() {
    let loaded = load(&smollm(), Isa::best(), 1);
    let text = std::fs::read_to_string(golden("perplexity/text.txt")).expect("the text");
    assert!(text.len() >= 20_000, "{} bytes are too few", text.len());
    let ids = loaded.tokenizer.encode_text(&text).expect("the text has tokens");
    assert_eq!(ids, expected().tokens);
}
