//! Writes the seeds of the fuzz targets: `cargo run --manifest-path fuzz/Cargo.toml --bin seeds` from the repository's
//! root fills `fuzz/corpus/gguf`.

use std::path::Path;

use models::LoadOptions;
use models::formats::Format;
use models::gguf::testing::GgufWriter;
use models::gguf::{Array, Gguf, Value};

/// Every value type, arrays of all of them, and nested arrays.
fn every_value() -> GgufWriter {
    GgufWriter::new()
        .key("u8", 1_u8)
        .key("i8", -1_i8)
        .key("u16", 1_u16)
        .key("i16", -1_i16)
        .key("u32", 1_u32)
        .key("i32", -1_i32)
        .key("f32", 1.0_f32)
        .key("bool", true)
        .key("string", "text")
        .key("u64", 1_u64)
        .key("i64", -1_i64)
        .key("f64", 1.0_f64)
        .key("u8s", vec![1_u8, 2])
        .key("i8s", vec![1_i8, 2])
        .key("u16s", vec![1_u16, 2])
        .key("i16s", vec![1_i16, 2])
        .key("u32s", vec![1_u32, 2])
        .key("i32s", vec![1_i32, 2])
        .key("f32s", vec![1.0_f32, 2.0])
        .key("bools", vec![true, false])
        .key("strings", vec!["a", "", "é"])
        .key("u64s", vec![1_u64, 2])
        .key("i64s", vec![1_i64, 2])
        .key("f64s", vec![1.0_f64, 2.0])
        .key("nested", Value::Array(Array::Array(vec![Array::Array(vec![Array::U8(vec![1])])])))
}

/// One tensor of every format.
fn every_format() -> GgufWriter {
    Format::ALL.into_iter().fold(GgufWriter::new(), |writer, format| {
        let data = vec![0x11; format.row_bytes(256) * 2];
        writer.tensor(&format!("blk.0.{}", format.name()), &[256, 2], format, &data)
    })
}

/// What a real file looks like, small.
fn small_model() -> GgufWriter {
    GgufWriter::new()
        .version(2)
        .alignment(64)
        .key("general.architecture", "llama")
        .key("llama.block_count", 1_u32)
        .key("tokenizer.ggml.tokens", vec!["<s>", "</s>", "a"])
        .key("tokenizer.ggml.token_type", vec![3_i32, 3, 1])
        .f32_tensor("output_norm.weight", &[4], &[1.0; 4])
        .f32_tensor("token_embd.weight", &[4, 3], &[0.5; 12])
}

const HIDDEN: usize = 32;
const HEAD_DIM: usize = 16;
const FFN: usize = 48;

/// A complete model that loads and runs: one block, two heads, one head of keys and values.
fn complete_model(architecture: &str, tokenizer: GgufWriter, tokens: usize) -> GgufWriter {
    let key = |name: &str| format!("{architecture}.{name}");
    let writer = tokenizer
        .key("general.architecture", architecture)
        .key(&key("block_count"), 1_u32)
        .key(&key("context_length"), 64_u32)
        .key(&key("embedding_length"), HIDDEN as u32)
        .key(&key("feed_forward_length"), FFN as u32)
        .key(&key("attention.head_count"), 2_u32)
        .key(&key("attention.head_count_kv"), 1_u32)
        .key(&key("attention.layer_norm_rms_epsilon"), 1e-5_f32);
    let (q, kv) = (2 * HEAD_DIM, HEAD_DIM);
    let matrix = |writer: GgufWriter, name: &str, cols: usize, rows: usize, format: Format| {
        let data = vec![0x11; format.row_bytes(cols) * rows];
        writer.tensor(&format!("{name}.weight"), &[cols as u64, rows as u64], format, &data)
    };
    let vector = |writer: GgufWriter, name: &str, length: usize| {
        writer.f32_tensor(name, &[length as u64], &vec![0.5; length])
    };
    let mut writer = matrix(writer, "token_embd", HIDDEN, tokens, Format::Q8_0);
    for (name, cols, rows, format) in [
        ("attn_q", HIDDEN, q, Format::Q4_0),
        ("attn_k", HIDDEN, kv, Format::Q4_1),
        ("attn_v", HIDDEN, kv, Format::Q5_0),
        ("attn_output", q, HIDDEN, Format::Q5_1),
        ("ffn_gate", HIDDEN, FFN, Format::Iq4Nl),
        ("ffn_up", HIDDEN, FFN, Format::BF16),
        ("ffn_down", FFN, HIDDEN, Format::F16),
    ] {
        writer = matrix(writer, &format!("blk.0.{name}"), cols, rows, format);
    }
    for (name, length) in [("blk.0.attn_norm", HIDDEN), ("blk.0.ffn_norm", HIDDEN), ("output_norm", HIDDEN)] {
        writer = vector(writer, &format!("{name}.weight"), length);
    }
    if architecture == "qwen2" {
        for (name, length) in [("attn_q", q), ("attn_k", kv), ("attn_v", kv)] {
            writer = vector(writer, &format!("blk.0.{name}.bias"), length);
        }
    }
    if architecture == "qwen3" {
        for name in ["attn_q_norm", "attn_k_norm"] {
            writer = vector(writer, &format!("blk.0.{name}.weight"), HEAD_DIM);
        }
    }
    writer
}

/// Byte-level BPE of seven tokens, with a template.
fn byte_level(pre: &str) -> (GgufWriter, usize) {
    let tokens = vec!["a", "b", "Ġ", "ab", "Ġa", "<|im_start|>", "<|im_end|>"];
    let count = tokens.len();
    let writer = GgufWriter::new()
        .key("tokenizer.ggml.model", "gpt2")
        .key("tokenizer.ggml.pre", pre)
        .key("tokenizer.ggml.tokens", tokens)
        .key("tokenizer.ggml.token_type", vec![1_i32, 1, 1, 1, 1, 3, 3])
        .key("tokenizer.ggml.merges", vec!["a b", "Ġ a"])
        .key("tokenizer.ggml.eos_token_id", 6_u32)
        .key(
            "tokenizer.chat_template",
            "{% for m in messages %}<|im_start|>{{ m.content.split('</think>')[-1] }}<|im_end|>{% endfor %}",
        );
    (writer, count)
}

/// SentencePiece of six tokens.
fn scored() -> (GgufWriter, usize) {
    let tokens = vec!["<unk>", "<s>", "</s>", "a", "▁", "▁a"];
    let count = tokens.len();
    let writer = GgufWriter::new()
        .key("tokenizer.ggml.model", "llama")
        .key("tokenizer.ggml.tokens", tokens)
        .key("tokenizer.ggml.token_type", vec![2_i32, 3, 3, 1, 1, 1])
        .key("tokenizer.ggml.scores", vec![0.0_f32, 0.0, 0.0, -1.0, -2.0, -3.0])
        .key("tokenizer.ggml.bos_token_id", 1_u32)
        .key("tokenizer.ggml.eos_token_id", 2_u32)
        .key("tokenizer.ggml.add_bos_token", true);
    (writer, count)
}

/// Complete models, which must load: a seed that doesn't reaches nothing.
fn complete_models() -> [(&'static str, GgufWriter); 3] {
    let (bpe, bpe_tokens) = byte_level("qwen2");
    let (other_bpe, _) = byte_level("llama-bpe");
    let (scored, scored_tokens) = scored();
    let models = [
        ("complete-llama", complete_model("llama", scored, scored_tokens)),
        ("complete-qwen2", complete_model("qwen2", bpe, bpe_tokens)),
        ("complete-qwen3", complete_model("qwen3", other_bpe, bpe_tokens)),
    ];
    for (name, writer) in &models {
        let file = Gguf::from_bytes(writer.finish()).expect("a seed is well-formed");
        let options = LoadOptions { threads: 1, ..LoadOptions::default() };
        models::load_from(&file, &options).unwrap_or_else(|error| panic!("the seed {name}: {error}"));
    }
    models
}

/// Refused: a token that is found whole and longer than any. Were it not, the automaton for it would take more than
/// the fuzzer may.
fn long_special() -> GgufWriter {
    let long: String =
        (0..48_u32 << 10).map(|at| char::from_u32(0x80 + at * 37 % 0x700).unwrap_or('a')).collect();
    GgufWriter::new()
        .key("tokenizer.ggml.model", "llama")
        .key("tokenizer.ggml.tokens", vec!["<unk>", "a", &long])
        .key("tokenizer.ggml.token_type", vec![2_i32, 1, 4])
        .key("tokenizer.ggml.scores", vec![0.0_f32; 3])
}

fn main() -> std::io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/gguf");
    std::fs::create_dir_all(&directory)?;
    let seeds = [
        ("empty", GgufWriter::new()),
        ("every-value", every_value()),
        ("every-format", every_format()),
        ("small-model", small_model()),
        ("long-special", long_special()),
    ];
    for (name, writer) in seeds.into_iter().chain(complete_models()) {
        std::fs::write(directory.join(format!("{name}.gguf")), writer.finish())?;
    }
    Ok(())
}
