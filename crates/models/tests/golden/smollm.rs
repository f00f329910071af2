//! SmolLM2-135M-Instruct `Q4_1` against llama.cpp and against an f32 forward of the dequantised weights.

use base::TokenId;
use kernels::Isa;

use crate::reference::{Position, golden_json, positions, prompts, smollm};
use crate::runner::{all_logits, first, isas, load};

/// Allowed mean of KL(reference || ours), in nats.
const DIVERGENCE_MEAN_MAX: f64 = 1e-3;
/// Longer prompts are left to the vector kernels.
const SCALAR_TOKENS_MAX: usize = 110;

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

    fn divergence_mean(&self) -> f64 {
        self.divergence_sum / self.positions as f64
    }
}

/// The margin beyond which the two references always have the same first token: `record.json` measures it.
fn margin_noise(key: &str) -> f32 {
    golden_json("logits/record.json")["difference"][key].as_f64().expect("record.json has the margin noise")
        as f32
}

/// Compares with the reference in `path`; the margins of `noise` are not asked to agree.
fn check(path: &str, noise: &str) {
    let prompts = prompts();
    let references = positions(path, &prompts);
    let noise = margin_noise(noise);
    let model = smollm();
    let mut failures = Vec::new();
    for isa in isas() {
        let mut loaded = load(&model, isa, 2);
        let vocab_size = loaded.info.vocab_size;
        let mut difference = Difference::default();
        for (prompt, reference) in prompts.iter().zip(&references) {
            if matches!(isa, Isa::Scalar) && prompt.tokens.len() > SCALAR_TOKENS_MAX {
                continue;
            }
            let logits = all_logits(&mut *loaded.model, &prompt.tokens, 512);
            for (reference, logits) in reference.iter().zip(logits.chunks_exact(vocab_size)) {
                difference.add(reference, logits);
            }
        }
        let mean = difference.divergence_mean();
        println!(
            "{path} {:7} {} positions: KL mean {mean:.2e} max {:.2e}; another first token at {}, margins to {:.3}",
            isa.name(),
            difference.positions,
            difference.divergence_max,
            difference.first_differs,
            difference.margin_lost,
        );
        if difference.margin_lost > noise {
            failures.push(format!(
                "{}: first tokens differ at margin {}",
                isa.name(),
                difference.margin_lost
            ));
        }
        if mean >= DIVERGENCE_MEAN_MAX {
            failures.push(format!("{}: mean KL {mean:.2e}", isa.name()));
        }
    }
    assert!(
        failures.is_empty(),
        "against {path} (first tokens must agree beyond margin {noise}, mean KL be under {DIVERGENCE_MEAN_MAX:.0e}): \
         {failures:#?}"
    );
}

#[test]
fn smollm_agrees_with_the_float32_forward() {
    check("logits/float32.bin", "margin_noise");
}

#[test]
fn smollm_agrees_with_llama_cpp() {
    check("logits/llama_cpp.bin", "margin_noise_llama_cpp");
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
