//! Small random models of every architecture against the transformers library.

use base::TokenId;
use kernels::Isa;
use models::batch::{BlockId, Chunk, KV_BLOCK_TOKENS, Ran, Wanted};
use serde::Deserialize;

use crate::reference::{golden, golden_floats, golden_json};
use crate::runner::{CHUNKS, THREADS, all_logits, isas, load};

/// Positions whose logits are kept: the odd ones.
const KEPT_FIRST: usize = 1;
const KEPT_STEP: usize = 2;

#[derive(Debug, Deserialize)]
struct Tiny {
    name: String,
    /// Allowed relative error.
    tolerance: f64,
    /// The same against the library with keys and values rounded to f16, as our cache has them.
    tolerance_f16_cache: f64,
}

fn models() -> Vec<Tiny> {
    let models = serde_json::from_value(golden_json("tiny/models.json")["models"].take());
    models.expect("models.json lists the models")
}

fn tokens() -> Vec<TokenId> {
    serde_json::from_value(golden_json("tiny/tokens.json")).expect("tokens.json is a list of ids")
}

/// The largest difference at any kept position, over the largest logit of that position. `given` has all positions,
/// `expected` the kept ones.
fn relative_error(given: &[f32], expected: &[f32], vocab_size: usize) -> f64 {
    let kept = given.chunks_exact(vocab_size).skip(KEPT_FIRST).step_by(KEPT_STEP);
    assert_eq!(kept.len() * vocab_size, expected.len());
    let errors = kept.zip(expected.chunks_exact(vocab_size)).map(|(given, expected)| {
        let largest = expected.iter().fold(0.0f64, |most, &logit| most.max(f64::from(logit).abs()));
        let differences = given.iter().zip(expected).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs());
        largest_of(differences) / largest
    });
    largest_of(errors)
}

#[test]
fn a_step_that_was_given_up_leaves_no_trace() {
    let tokens = tokens();
    let (first, second) = tokens.split_at(tokens.len() / 2);
    let blocks: Vec<BlockId> = (0..tokens.len().div_ceil(KV_BLOCK_TOKENS) as BlockId).collect();
    let chunk = |tokens, position| Chunk { tokens, position, blocks: &blocks, wanted: Wanted::Last };
    for tiny in models() {
        let mut loaded = load(&golden(&format!("tiny/{}.gguf", tiny.name)), Isa::best(), 2);
        let model = loaded.model.as_mut();
        model.allocate_kv(blocks.len()).expect("room for the cache");
        let mut expected = Vec::new();
        model.forward(&[chunk(&tokens, 0)], &mut expected).expect("a step");
        model.allocate_kv(blocks.len()).expect("room for the cache");
        let mut logits = Vec::new();
        model.forward(&[chunk(first, 0)], &mut logits).expect("a step");
        for layers in 0..loaded.info.layers {
            let mut asked = 0;
            let mut stop = || {
                asked += 1;
                asked > layers
            };
            let ran = model.forward_unless(&[chunk(second, first.len())], &mut logits, &mut stop);
            assert_eq!((ran, logits.len()), (Ok(Ran::GivenUp), 0), "{} after {layers}", tiny.name);
        }
        model.forward(&[chunk(second, first.len())], &mut logits).expect("a step");
        let bits = |logits: &[f32]| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&logits), bits(&expected), "{}", tiny.name);
    }
}

/// As `f64::max`, but NaN wins.
fn largest_of(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |most, next| if next <= most { most } else { next })
}

/// Checks every model of an architecture under every instruction set, thread count and chunking.
fn check(architecture: &str) {
    let tokens = tokens();
    let models: Vec<Tiny> = models().into_iter().filter(|tiny| tiny.name.starts_with(architecture)).collect();
    assert!(
        models.len() >= 4,
        "{architecture} has {} models in golden/tiny, at least 4 are wanted",
        models.len()
    );
    let mut failures = Vec::new();
    for tiny in models {
        let expected = golden_floats(&format!("tiny/{}.logits", tiny.name));
        let (exact, f16_cache) = expected.split_at(expected.len() / 2);
        for isa in isas() {
            let (logits, vocab_size) = logits_of_every_way(&tiny.name, isa, &tokens);
            for (reference, expected, allowed) in
                [("f32", exact, tiny.tolerance), ("f16 cache", f16_cache, tiny.tolerance_f16_cache)]
            {
                let error = relative_error(&logits, expected, vocab_size);
                let line = format!(
                    "{:22} {:7} {reference:9} {error:.1e}, allowed {allowed:.0e}",
                    tiny.name,
                    isa.name()
                );
                println!("{line}");
                if error.is_nan() || error >= allowed {
                    failures.push(line);
                }
            }
        }
    }
    assert!(failures.is_empty(), "relative errors against the transformers library: {failures:#?}");
}

/// The logits of a model, after a check that threads and chunks don't change a bit of them; and their width.
fn logits_of_every_way(name: &str, isa: Isa, tokens: &[TokenId]) -> (Vec<f32>, usize) {
    let path = golden(&format!("tiny/{name}.gguf"));
    let mut first: Option<Vec<f32>> = None;
    let mut vocab_size = 0;
    for threads in THREADS {
        let mut loaded = load(&path, isa, threads);
        vocab_size = loaded.info.vocab_size;
        assert_eq!(vocab_size, loaded.tokenizer.vocab_size(), "{name}");
        for chunk in CHUNKS {
            let logits = all_logits(&mut *loaded.model, tokens, chunk);
            let first = first.get_or_insert_with(|| logits.clone());
            let same = first.iter().zip(&logits).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{name}, {}: {threads} threads and chunks of {chunk} change the bits", isa.name());
        }
    }
    (first.expect("at least one run"), vocab_size)
}

#[test]
fn llama_equals_the_transformers_library() {
    check("llama");
}

#[test]
fn qwen2_equals_the_transformers_library() {
    check("qwen2");
}

#[test]
fn qwen3_equals_the_transformers_library() {
    check("qwen3");
}

/// The vocabularies are there so that the files load; that they also work is worth one line.
#[test]
fn vocabularies_of_the_tiny_models_merge_and_decode() {
    for Tiny { name, .. } in models() {
        let loaded = load(&golden(&format!("tiny/{name}.gguf")), Isa::Scalar, 1);
        let ids = loaded.tokenizer.encode_text("hello world").expect("plain text has tokens");
        assert_eq!(ids.len(), 2, "{name}: {ids:?}");
        assert_eq!(loaded.tokenizer.decode(&ids), "hello world", "{name}");
    }
}
