//! The committed vectors of `golden/`.

use std::fs;
use std::path::{Path, PathBuf};

use base::TokenId;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Tokens kept of each position.
const KEPT: usize = 64;
const RECORD_BYTES: usize = 4 + KEPT * (2 + 4);

/// A path under `golden/`.
pub(crate) fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(path)
}

/// A file under `golden/` as JSON.
pub(crate) fn golden_json(path: &str) -> Value {
    let text = fs::read_to_string(golden(path)).unwrap_or_else(|error| panic!("golden/{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("golden/{path}: {error}"))
}

/// Little-endian f32s of a file under `golden/`.
pub(crate) fn golden_floats(path: &str) -> Vec<f32> {
    let bytes = fs::read(golden(path)).unwrap_or_else(|error| panic!("golden/{path}: {error}"));
    floats(&bytes)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect()
}

/// One of the ten prompts.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Prompt {
    pub(crate) name: String,
    pub(crate) tokens: Vec<TokenId>,
}

/// The ten prompts.
pub(crate) fn prompts() -> Vec<Prompt> {
    serde_json::from_value(golden_json("logits/prompts.json")).expect("prompts.json is a list of prompts")
}

/// What another program says about one position.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    /// Over the whole vocabulary.
    log_sum_exp: f64,
    /// The 64 likeliest tokens, likeliest first.
    ids: Vec<usize>,
    /// Their logits.
    logits: Vec<f32>,
}

impl Position {
    /// The likeliest token.
    pub(crate) fn first(&self) -> usize {
        self.ids[0]
    }

    /// The largest logit less the second.
    pub(crate) fn margin(&self) -> f32 {
        self.logits[0] - self.logits[1]
    }

    /// KL(this || `logits`) in nats over the 64 tokens and one bucket for the rest: a little below the divergence
    /// over the whole vocabulary.
    pub(crate) fn divergence(&self, logits: &[f32]) -> f64 {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit - top).exp()).sum();
        let log_sum_exp = f64::from(top) + sum.ln();
        let (mut divergence, mut p_rest, mut q_rest) = (0.0, 1.0, 1.0);
        for (&id, &logit) in self.ids.iter().zip(&self.logits) {
            let log_p = f64::from(logit) - self.log_sum_exp;
            let log_q = f64::from(logits[id]) - log_sum_exp;
            divergence += log_p.exp() * (log_p - log_q);
            p_rest -= log_p.exp();
            q_rest -= log_q.exp();
        }
        // Below this the rest is rounding of the sums.
        let (p_rest, q_rest) = (p_rest.max(1e-12), q_rest.max(1e-12));
        divergence + p_rest * (p_rest / q_rest).ln()
    }
}

/// What one program says about the positions of `wanted`, prompts of [`prompts`]; outer list by prompt.
pub(crate) fn positions(path: &str, wanted: &[Prompt]) -> Vec<Vec<Position>> {
    let bytes = fs::read(golden(path)).unwrap_or_else(|error| panic!("golden/{path}: {error}"));
    let all = prompts();
    let total: usize = all.iter().map(|prompt| prompt.tokens.len()).sum();
    assert_eq!(bytes.len(), total * RECORD_BYTES, "golden/{path}: a record for each token of the prompts");
    let mut records = bytes.chunks_exact(RECORD_BYTES);
    let by_prompt =
        all.iter().map(|prompt| (prompt, records.by_ref().take(prompt.tokens.len()).collect::<Vec<_>>()));
    by_prompt
        .filter(|(prompt, _)| wanted.iter().any(|wanted| wanted.name == prompt.name))
        .map(|(_, records)| records.into_iter().map(position).collect())
        .collect()
}

fn position(record: &[u8]) -> Position {
    let (sum, rest) = record.split_at(4);
    let (ids, logits) = rest.split_at(2 * KEPT);
    Position {
        log_sum_exp: f64::from(floats(sum)[0]),
        ids: ids.as_chunks().0.iter().map(|&id| usize::from(u16::from_le_bytes(id))).collect(),
        logits: floats(logits),
    }
}

/// The file of SmolLM2-135M-Instruct `Q4_1` that the vectors were made from.
pub(crate) fn smollm() -> PathBuf {
    let Some(path) = std::env::var_os("CACHALOT_TEST_MODEL") else {
        panic!(
            "CACHALOT_TEST_MODEL must be the path of SmolLM2-135M-Instruct.Q4_1.gguf. `make rust-test` fetches it \
             and sets it; by hand: cargo run --release -p cachalot -- pull smollm2-135m && \
             export CACHALOT_TEST_MODEL=$(cargo run --release -p cachalot -- show smollm2-135m --path)"
        );
    };
    let path = PathBuf::from(path);
    let bytes =
        fs::read(&path).unwrap_or_else(|error| panic!("CACHALOT_TEST_MODEL, {}: {error}", path.display()));
    let given: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let allowed = golden_json("logits/record.json");
    let allowed = allowed["model_sha256"].as_str().expect("record.json names the model's sum");
    assert_eq!(
        given,
        allowed,
        "CACHALOT_TEST_MODEL, {}, is not the file that the vectors were made from",
        path.display()
    );
    path
}
