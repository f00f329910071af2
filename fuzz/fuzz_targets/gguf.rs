//! Any bytes as a GGUF file: no panic, no allocation beyond the file's size class, and what is accepted can be read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use models::formats::dequantize_row;
use models::gguf::Gguf;

/// Rows longer than this are not dequantised: the fuzzer's time is better spent on the reader.
const VALUES_MAX: usize = 4_096;

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Gguf::from_bytes(bytes.to_vec()) else { return };
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
});
