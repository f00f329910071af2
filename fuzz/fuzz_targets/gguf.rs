//! Any bytes as a GGUF file: no panic, no allocation beyond the file's size class (scripts/fuzz sets the limits), and
//! what is accepted can be read, tokenised with, loaded and run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use models::batch::{Chunk, KV_BLOCK_TOKENS, Wanted};
use models::formats::dequantize_row;
use models::gguf::Gguf;
use models::tokenizer::{Part, Tokenizer};
use models::{LoadOptions, LoadedModel, load_from};

/// Rows longer than this are not dequantised: the fuzzer's time is better spent on the reader.
const VALUES_MAX: usize = 4_096;
/// Models with a larger cache for one block are loaded and not run. Its size is the file's choice, and the engine's
/// to bound.
const KV_BYTES_MAX: usize = 4 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else { return };
    read(&file);
    if let Ok(tokenizer) = Tokenizer::from_gguf(file.metadata()) {
        tokenise(&tokenizer);
    }
    // The portable instruction set: what vectors do is compared with it elsewhere.
    let options = LoadOptions { threads: 1, isa: kernels::Isa::by_name("scalar"), ..LoadOptions::default() };
    if let Ok(loaded) = load_from(&file, &options) {
        run(loaded);
    }
});

fn read(file: &Gguf) {
    let metadata = file.metadata();
    for (key, value) in metadata.iter() {
        assert!(std::ptr::eq(metadata.get(key).expect("every key is found"), value));
        // Every typed reader, whatever the type: an error at worst.
        let _ =
            (metadata.u32(key), metadata.u64(key), metadata.f32(key), metadata.bool(key), metadata.str(key));
        let _ = (metadata.strings(key), metadata.i32s(key), metadata.u32s(key), metadata.f32s(key));
        let _ = value.to_string();
    }
    for info in file.tensors() {
        let tensor = file.tensor(&info.name).expect("every tensor is found");
        assert_eq!(tensor.data.len() as u64, info.bytes);
        let row_values = info.shape[0] as usize;
        if row_values <= VALUES_MAX {
            let mut row = vec![0.0; row_values];
            dequantize_row(info.format, &tensor.data[..info.format.row_bytes(row_values)], &mut row);
        }
    }
}

fn tokenise(tokenizer: &Tokenizer) {
    let text = "a  é1\n<s></s><|im_end|>";
    let plain = tokenizer.encode_text(text).expect("a short text is tokenised");
    assert!(plain.iter().all(|&id| !tokenizer.is_special(id) || Some(id) == tokenizer.unknown()));
    let rendered =
        tokenizer.encode_rendered(&[Part::Markup(text), Part::User(text)]).expect("and so are two");
    let _ = (tokenizer.decode(&plain), tokenizer.decode(&rendered));
}

fn run(loaded: LoadedModel) {
    let LoadedModel { mut model, info, .. } = loaded;
    if info.kv_bytes_per_token * KV_BLOCK_TOKENS > KV_BYTES_MAX {
        return;
    }
    model.allocate_kv(1).expect("there is memory for one block");
    let tokens = [0; 3];
    let tokens = &tokens[..info.context_length.min(3)];
    let mut logits = Vec::new();
    let chunk = Chunk { tokens, position: 0, blocks: &[0], wanted: Wanted::Last };
    model.forward(&[chunk], &mut logits).expect("the step is within the contract");
    assert_eq!(logits.len(), info.vocab_size);
}
