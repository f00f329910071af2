//! Writes the seeds of the fuzz targets: `cargo run --manifest-path fuzz/Cargo.toml --bin seeds` from the repository's
//! root fills `fuzz/corpus/gguf`.

use std::path::Path;

use models::formats::Format;
use models::gguf::testing::GgufWriter;
use models::gguf::{Array, Value};

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

fn main() -> std::io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/gguf");
    std::fs::create_dir_all(&directory)?;
    let seeds = [
        ("empty", GgufWriter::new()),
        ("every-value", every_value()),
        ("every-format", every_format()),
        ("small-model", small_model()),
    ];
    for (name, writer) in seeds {
        std::fs::write(directory.join(format!("{name}.gguf")), writer.finish())?;
    }
    Ok(())
}
