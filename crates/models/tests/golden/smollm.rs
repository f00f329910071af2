//! SmolLM2-135M-Instruct `Q4_1` against llama.cpp and against an f32 forward of the dequantised weights.

use std::ops::RangeInclusive;

use base::TokenId;
use kernels::{Isa, KvFormat, Precision};
use serde_json::Value;

use crate::reference::{Position, Prompt, golden_json, positions, prompts, smollm};
use crate::runner::{all_logits, first, isas, load, load_rounding};

/// Longer prompts are left to the vector kernels.
const SCALAR_TOKENS_MAX: usize = 110;

/// What is asked of our logits against one reference.
struct Comparison {
    /// The reference's file.
    path: &'static str,
    /// Allowed mean of KL(reference || ours), in nats.
    divergence_mean: RangeInclusive<f64>,
    /// The first token must be the reference's wherever the reference's largest logit leads by more than this.
    margin: f32,
}

/// golden/README.md has what was measured against these.
fn comparisons(prompts: &[Prompt]) -> [Comparison; 3] {
    let record = golden_json("logits/record.json")["difference"]["llama_cpp"].take();
    let margin = record["margin_noise_llama_cpp"].as_f64().expect("record.json has the margin noise") as f32;
    // llama.cpp rounds activations to 8 bits and is that far from the f32 forward; who is as far from it as the f32
    // forward is, is exact.
    let own_noise = mean_by_prompt(&record["kl_to_float32_top64_and_rest_mean_by_prompt"], prompts);
    [
        Comparison { path: "logits/float32.bin", divergence_mean: 0.0..=1e-5, margin: 0.02 },
        Comparison { path: "logits/llama_cpp_f32.bin", divergence_mean: 0.0..=1e-5, margin: 0.02 },
        Comparison {
            path: "logits/llama_cpp.bin",
            divergence_mean: 0.97 * own_noise..=1.03 * own_noise,
            margin: margin + 0.02,
        },
    ]
}

/// The mean over all positions, from the means over each prompt's.
fn mean_by_prompt(means: &Value, prompts: &[Prompt]) -> f64 {
    let mean =
        |prompt: &Prompt| means[&prompt.name].as_f64().expect("record.json has a mean for each prompt");
    let sum: f64 = prompts.iter().map(|prompt| mean(prompt) * prompt.tokens.len() as f64).sum();
    sum / prompts.iter().map(|prompt| prompt.tokens.len() as f64).sum::<f64>()
}

/// How our logits differ from a reference's.
#[derive(Debug, Default)]
struct Difference {
    positions: usize,
    divergence_sum: f64,
    divergence_max: f64,
    /// Positions with another first token.
    first_differs: usize,
    /// The widest margin of the reference at a position with another first token.
    margin_lost: f32,
}

impl Difference {
    fn add(&mut self, reference: &Position, logits: &[f32]) {
        let divergence = reference.divergence(logits);
        assert!(divergence.is_finite(), "the divergence is {divergence}");
        self.positions += 1;
        self.divergence_sum += divergence;
        self.divergence_max = self.divergence_max.max(divergence);
        if first(logits) != reference.first() {
            self.first_differs += 1;
            self.margin_lost = self.margin_lost.max(reference.margin());
        }
    }

    /// What breaks the comparison's terms.
    fn failures(&self, isa: Isa, comparison: &Comparison) -> Vec<String> {
        let Comparison { path, divergence_mean, margin } = comparison;
        let mean = self.divergence_sum / self.positions as f64;
        let Self { positions, divergence_max, first_differs, margin_lost, .. } = self;
        let isa = isa.name();
        println!(
            "{path:25} {isa:7} {positions} positions: KL mean {mean:.2e} max {divergence_max:.2e}, \
             another first token at {first_differs}, margins to {margin_lost:.3}"
        );
        let mut failures = Vec::new();
        if !divergence_mean.contains(&mean) {
            let (least, most) = (divergence_mean.start(), divergence_mean.end());
            failures.push(format!("{path}, {isa}: mean KL {mean:.2e}, allowed {least:.2e} to {most:.2e}"));
        }
        if margin_lost > margin {
            failures.push(format!(
                "{path}, {isa}: another first token at margin {margin_lost}, allowed {margin}"
            ));
        }
        failures
    }
}

/// Activations of 8 bits are as far from the f32 forward as those of llama.cpp are (3.5e-3 on the mean), no further.
fn comparisons_of_eight_bits(prompts: &[Prompt]) -> Vec<Comparison> {
    let record = golden_json("logits/record.json")["difference"]["llama_cpp"].take();
    let margin = record["margin_noise_llama_cpp"].as_f64().expect("record.json has the margin noise") as f32;
    let noise = mean_by_prompt(&record["kl_to_float32_top64_and_rest_mean_by_prompt"], prompts);
    vec![Comparison {
        path: "logits/float32.bin",
        // Not exact: a lower bound shows that the rounding was really asked for.
        divergence_mean: 0.2 * noise..=1.1 * noise,
        margin: margin + 0.1,
    }]
}

/// Activations of 16 bits where there are outliers, and 8 elsewhere, stay within what was asked of a forward pass: 1e-3.
fn comparisons_of_mixed_bits(kv_format: KvFormat) -> Vec<Comparison> {
    let (most, margin) = if kv_format == KvFormat::F16 { (8e-4, 0.2) } else { (1e-3, 0.3) };
    // Not exact: a lower bound shows that the rounding was really asked for.
    vec![Comparison { path: "logits/float32.bin", divergence_mean: 1e-4..=most, margin }]
}

/// Keys and values of 8 bits move logits a tenth as far as activations of 8 bits do.
fn comparisons_of_an_eight_bit_cache() -> Vec<Comparison> {
    // Not exact: a lower bound shows that the rounding was really asked for.
    vec![Comparison { path: "logits/float32.bin", divergence_mean: 5e-5..=3e-4, margin: 0.1 }]
}

fn check(isa: Isa, precision: Precision, kv_format: KvFormat, prompts: &[Prompt]) -> Vec<String> {
    let mut loaded = load_rounding(&smollm(), isa, 2, precision, kv_format);
    let vocab_size = loaded.info.vocab_size;
    let logits: Vec<Vec<f32>> =
        prompts.iter().map(|prompt| all_logits(&mut *loaded.model, &prompt.tokens, 512)).collect();
    let mut failures = Vec::new();
    let comparisons = match (precision, kv_format) {
        (Precision::Sixteen, KvFormat::F16) => Vec::from(comparisons(prompts)),
        (Precision::Sixteen, KvFormat::Q8) => comparisons_of_an_eight_bit_cache(),
        (Precision::Eight, _) => comparisons_of_eight_bits(prompts),
        (Precision::Mixed, _) => comparisons_of_mixed_bits(kv_format),
    };
    for comparison in comparisons {
        let mut difference = Difference::default();
        for (references, logits) in positions(comparison.path, prompts).iter().zip(&logits) {
            for (reference, logits) in references.iter().zip(logits.chunks_exact(vocab_size)) {
                difference.add(reference, logits);
            }
        }
        failures.extend(difference.failures(isa, &comparison));
    }
    failures
}

/// On the vector kernels; the scalar ones would take minutes.
fn check_with_both_caches(precision: Precision) {
    let mut failures = Vec::new();
    for isa in isas().into_iter().filter(|isa| !matches!(isa, Isa::Scalar)) {
        for kv_format in KvFormat::ALL {
            failures.extend(check(isa, precision, kv_format, &prompts()));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn smollm_agrees_with_the_float32_forward_and_with_llama_cpp() {
    let mut failures = Vec::new();
    for isa in isas() {
        let scalar = matches!(isa, Isa::Scalar);
        let fits = |prompt: &Prompt| !scalar || prompt.tokens.len() <= SCALAR_TOKENS_MAX;
        let prompts: Vec<Prompt> = prompts().into_iter().filter(fits).collect();
        assert!(prompts.len() >= 7);
        failures.extend(check(isa, Precision::Sixteen, KvFormat::F16, &prompts));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn smollm_with_activations_of_eight_bits_is_as_near_the_float32_forward_as_llama_cpp() {
    check_with_both_caches(Precision::Eight);
}

#[test]
fn smollm_with_mixed_activations_is_within_a_thousandth_of_the_float32_forward() {
    check_with_both_caches(Precision::Mixed);
}

#[test]
fn smollm_with_a_cache_of_eight_bits_is_near_the_float32_forward() {
    let mut failures = Vec::new();
    for isa in isas().into_iter().filter(|isa| !matches!(isa, Isa::Scalar)) {
        failures.extend(check(isa, Precision::Sixteen, KvFormat::Q8, &prompts()));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The prompts are the ten of 1 to 600 tokens that the figures in the README are about.
#[test]
fn prompts_are_of_one_to_six_hundred_tokens() {
    let lengths: Vec<usize> = prompts().iter().map(|prompt| prompt.tokens.len()).collect();
    assert_eq!((lengths.len(), lengths.iter().min(), lengths.iter().max()), (10, Some(&1), Some(&600)));
}

/// Token ids of the prompts are those of llama.cpp's tokenizer; ours must find the same in the same text.
#[test]
fn smollm_tokenizer_finds_the_prompts_tokens() {
    let loaded = load(&smollm(), Isa::best(), 1);
    for prompt in golden_json("logits/prompts.json").as_array().expect("a list") {
        let text = prompt["text"].as_str().expect("a text");
        let expected: Vec<TokenId> = serde_json::from_value(prompt["tokens"].clone()).expect("a list of ids");
        let parts = [models::tokenizer::Part::Markup(text)];
        let ids = loaded.tokenizer.encode_rendered(&parts).expect("the text has tokens");
        assert_eq!(ids[..expected.len()], expected, "{}", prompt["name"]);
    }
}
