use proptest::prelude::*;

use super::testing::GgufWriter;
use super::{Array, Gguf, GgufError, Metadata, Place, Value};
use crate::formats::Format;

/// A file with every value type, nested arrays and three tensors.
fn sample(version: u32) -> GgufWriter {
    GgufWriter::new()
        .version(version)
        .key("general.architecture", "llama")
        .key("a.u8", 200_u8)
        .key("a.i8", -7_i8)
        .key("a.u16", 60_000_u16)
        .key("a.i16", -30_000_i16)
        .key("a.u32", 4_000_000_000_u32)
        .key("a.i32", -5_i32)
        .key("a.f32", 1.5_f32)
        .key("a.bool", true)
        .key("a.u64", u64::MAX)
        .key("a.i64", i64::MIN)
        .key("a.f64", 0.1_f64)
        .key("a.empty", "")
        .key("tokenizer.ggml.tokens", vec!["<s>", "", "é", "▁the"])
        .key("tokenizer.ggml.token_type", vec![3_i32, 1, 1, 1])
        .key("tokenizer.ggml.scores", vec![0.0_f32, -1.0, -2.0, -3.0])
        .key("flags", vec![true, false])
        .key("nested", Value::Array(Array::Array(vec![Array::U8(vec![1, 2]), Array::F64(vec![0.5])])))
        .tensor("token_embd.weight", &[32, 4], Format::Q4_1, &[7; 80])
        .f32_tensor("norm.weight", &[3], &[1.0, 2.0, 3.0])
        .tensor("blk.0.x", &[256, 2, 1, 2], Format::Q6K, &[1; 840])
}

fn refused(bytes: Vec<u8>) -> GgufError {
    Gguf::from_bytes(bytes).expect_err("the file is malformed")
}

#[test]
fn everything_written_is_read_back() {
    for version in [2, 3] {
        let bytes = sample(version).finish();
        let file = Gguf::from_bytes(bytes.clone()).unwrap();
        assert_eq!(file.version(), version);
        assert_eq!(file.alignment(), 32);
        assert_eq!(file.file_bytes(), bytes.len() as u64);
        let metadata = file.metadata();
        assert_eq!(metadata.len(), 18);
        assert_eq!(metadata.iter().next(), Some(("general.architecture", &Value::from("llama"))));
        assert_eq!(metadata.get("a.i8"), Some(&Value::I8(-7)));
        assert_eq!(metadata.u32("a.u8").unwrap(), Some(200));
        assert_eq!(metadata.u32("a.u16").unwrap(), Some(60_000));
        assert_eq!(metadata.u32("a.u32").unwrap(), Some(4_000_000_000));
        assert_eq!(metadata.u64("a.u64").unwrap(), Some(u64::MAX));
        assert_eq!(metadata.f32("a.f32").unwrap(), Some(1.5));
        assert_eq!(metadata.f32("a.f64").unwrap(), Some(0.1));
        assert_eq!(metadata.bool("a.bool").unwrap(), Some(true));
        assert_eq!(metadata.str("a.empty").unwrap(), Some(""));
        assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap(), ["<s>", "", "é", "▁the"]);
        assert_eq!(metadata.required_i32s("tokenizer.ggml.token_type").unwrap(), [3, 1, 1, 1]);
        assert_eq!(metadata.required_u32s("tokenizer.ggml.token_type").unwrap(), [3, 1, 1, 1]);
        assert_eq!(metadata.required_f32s("tokenizer.ggml.scores").unwrap(), [0.0, -1.0, -2.0, -3.0]);
        let nested = Value::Array(Array::Array(vec![Array::U8(vec![1, 2]), Array::F64(vec![0.5])]));
        assert_eq!(metadata.get("nested"), Some(&nested));
        let names: Vec<&str> = file.tensors().map(|info| info.name.as_str()).collect();
        assert_eq!(names, ["token_embd.weight", "norm.weight", "blk.0.x"]);
        let norm = file.tensor("norm.weight").unwrap();
        assert_eq!(norm.data, [1.0_f32, 2.0, 3.0].map(f32::to_le_bytes).concat());
        let last = file.tensor("blk.0.x").unwrap();
        assert_eq!((last.info.elements(), last.data), (1024, &[1_u8; 840][..]));
        assert!(file.tensor("blk.1.x").is_none());
    }
}

#[test]
fn a_mapped_file_reads_like_a_file_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.gguf");
    std::fs::write(&path, sample(3).finish()).unwrap();
    let file = Gguf::open(&path).unwrap();
    assert_eq!(file.tensor("token_embd.weight").unwrap().data, [7; 80]);
    std::fs::write(&path, "").unwrap();
    assert!(matches!(Gguf::open(&path), Err(GgufError::Magic { .. })));
    assert!(matches!(Gguf::open(directory.path()), Err(GgufError::Open { .. })));
    let missing = Gguf::open(&directory.path().join("none.gguf")).unwrap_err();
    assert!(missing.to_string().contains("none.gguf"), "{missing}");
}

#[test]
fn alignment_of_the_file_is_used() {
    let bytes =
        GgufWriter::new().alignment(64).f32_tensor("a", &[1], &[1.0]).f32_tensor("b", &[1], &[2.0]).finish();
    let file = Gguf::from_bytes(bytes).unwrap();
    assert_eq!(file.tensor("b").unwrap().info.offset, 64);
    assert_eq!(file.tensor("b").unwrap().data, 2.0_f32.to_le_bytes());
    for alignment in [0_u32, 1, 4, 24, 3_000_000_000] {
        let bytes = GgufWriter::new().key("general.alignment", alignment).finish();
        let error = refused(bytes).to_string();
        assert!(error.contains("general.alignment") && error.contains(&alignment.to_string()), "{error}");
    }
}

#[test]
fn typed_readers_name_key_and_types() {
    let entries = vec![
        ("text".to_owned(), Value::from("x")),
        ("negative".to_owned(), Value::I32(-1)),
        ("mixed".to_owned(), Value::from(vec![1_i64, 5_000_000_000])),
    ];
    let metadata = Metadata::from_entries(entries).unwrap();
    let error = metadata.u32("text").unwrap_err().to_string();
    assert_eq!(error, "key \"text\": string given, allowed: integer from 0 to 4294967295");
    let error = metadata.u32("negative").unwrap_err().to_string();
    assert_eq!(error, "key \"negative\": i32 -1 given, allowed: integer from 0 to 4294967295");
    let error = metadata.u32s("mixed").unwrap_err().to_string();
    assert_eq!(
        error,
        "key \"mixed\": array of i64 with 2 elements given, allowed: array of integers that fit u32"
    );
    assert_eq!(metadata.u32("absent").unwrap(), None);
    let error = metadata.required_f32("absent").unwrap_err().to_string();
    assert_eq!(error, "key \"absent\" is missing (wanted: f32 or f64)");
}

#[test]
fn magic_and_version_are_checked() {
    assert!(matches!(refused(Vec::new()), GgufError::Magic { given } if given.is_empty()));
    assert!(matches!(refused(b"PK\x03\x04 and more".to_vec()), GgufError::Magic { .. }));
    let mut bytes = sample(3).finish();
    bytes[4..8].copy_from_slice(&1_u32.to_le_bytes());
    assert!(matches!(refused(bytes.clone()), GgufError::Version { given: 1, big_endian: false }));
    bytes[4..8].copy_from_slice(&3_u32.to_be_bytes());
    assert!(matches!(refused(bytes), GgufError::Version { big_endian: true, .. }));
}

/// A header with these counts and then `rest`.
fn header(tensors: u64, entries: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(entries.to_le_bytes());
    bytes.extend(rest);
    bytes
}

/// The bytes of an array value: element type, count, elements.
fn array_entry(element_type: u32, count: u64, rest: &[u8]) -> Vec<u8> {
    let mut bytes = 1_u64.to_le_bytes().to_vec();
    bytes.extend(b"k");
    bytes.extend(9_u32.to_le_bytes());
    bytes.extend(element_type.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(rest);
    bytes
}

#[test]
fn counts_beyond_the_file_are_refused_before_anything_is_reserved() {
    for count in [10, 1 << 40, u64::MAX] {
        let error = refused(header(0, count, &[0; 20]));
        assert!(matches!(&error, GgufError::Bounds { what: "number of metadata entries", .. }), "{error}");
        let error = refused(header(count, 0, &[0; 20]));
        assert!(matches!(&error, GgufError::Bounds { what: "number of tensors", .. }), "{error}");
        for element_type in 0..13 {
            let error = refused(header(0, 1, &array_entry(element_type, count, &[0; 9])));
            let GgufError::Bounds { place: Place::Key(key), what, .. } = &error else { panic!("{error}") };
            assert_eq!((key.as_str(), *what), ("k", "number of array elements"));
        }
        let mut long_key = count.to_le_bytes().to_vec();
        long_key.extend([b'k'; 9]);
        assert!(matches!(
            refused(header(0, 1, &long_key)),
            GgufError::Truncated { .. } | GgufError::Bounds { .. }
        ));
    }
}

/// What takes more memory than it takes bytes has a cap of its own, however large the file.
#[test]
fn counts_are_capped_in_large_files_also() {
    let error = refused(header(0, 16_385, &vec![0; 16_385 * 14])).to_string();
    assert!(error.contains("number of metadata entries is 16385, allowed: 0 to 16384 "), "{error}");
    let error = refused(header(0, 1, &array_entry(9, 65_537, &vec![0; 65_537 * 12]))).to_string();
    assert!(error.contains("number of array elements is 65537, allowed: 0 to 65536 "), "{error}");
    // Exactly as many empty arrays of u8 as are allowed.
    let empty = [0; 12];
    let good = header(0, 1, &array_entry(9, 65_536, &empty.repeat(65_536)));
    assert_eq!(Gguf::from_bytes(good).unwrap().metadata().len(), 1);
}

#[test]
fn arrays_nest_only_so_deep() {
    // Each level: element type 9, count 1.
    let level = [9_u32.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat();
    let error = refused(header(0, 1, &array_entry(9, 1, &level.repeat(10_000))));
    assert!(matches!(&error, GgufError::Bounds { what: "depth of arrays in arrays", .. }), "{error}");
}

#[test]
fn bad_values_are_refused_by_name() {
    let unknown = [&1_u64.to_le_bytes()[..], b"k", &13_u32.to_le_bytes(), &[0; 16]].concat();
    let error = refused(header(0, 1, &unknown)).to_string();
    assert!(error.starts_with("key \"k\": type is 13, allowed: 0 u8, 1 i8"), "{error}");
    let truth = [&1_u64.to_le_bytes()[..], b"k", &7_u32.to_le_bytes(), &[2]].concat();
    assert_eq!(refused(header(0, 1, &truth)).to_string(), "key \"k\": truth value is 2, allowed: 0 and 1");
    let text =
        [&1_u64.to_le_bytes()[..], b"k", &8_u32.to_le_bytes(), &3_u64.to_le_bytes(), b"a\xffb"].concat();
    assert!(matches!(refused(header(0, 1, &text)), GgufError::NotUtf8 { at: 1, length: 3, .. }));
    let twice = GgufWriter::new().key("k", 1_u32).key("other", 1_u32).key("k", 2_u32).finish();
    assert!(matches!(refused(twice), GgufError::DuplicateKey { key } if key == "k"));
}

#[test]
fn bad_tensors_are_refused_by_name() {
    let check = |writer: GgufWriter, expected: &str| {
        let error = refused(writer.finish()).to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    let new = GgufWriter::new;
    check(new().f32_tensor("w", &[], &[1.0; 9]), "tensor \"w\": number of dimensions is 0, allowed: 1 to 4");
    check(new().f32_tensor("w", &[1; 5], &[1.0]), "tensor \"w\": number of dimensions is 5, allowed: 1 to 4");
    check(new().f32_tensor("w", &[2, 0], &[1.0; 9]), "tensor \"w\": shape is [2, 0]");
    check(
        new().f32_tensor("w", &[1 << 33, 1 << 33], &[1.0]),
        "tensor \"w\": shape is [8589934592, 8589934592]",
    );
    check(new().f32_tensor("w", &[1 << 62], &[1.0]), "63 bits");
    check(new().f32_tensor("w", &[100], &[1.0]), "tensor \"w\": range of bytes is 400 bytes from offset 0");
    check(
        new().tensor("w", &[33, 2], Format::Q4_0, &[0; 99]),
        "tensor \"w\": first extent is 33, allowed: multiples of 32, the block of Q4_0",
    );
    check(new().f32_tensor("w", &[1], &[1.0]).f32_tensor("w", &[1], &[1.0]), "tensor \"w\" appears twice");
    check(
        new().f32_tensor(&"n".repeat(65), &[1], &[1.0]),
        "name of tensor 0: length is 65, allowed: 1 to 64",
    );
    // The second tensor begins at byte 32, inside the first, whose shape says more than its data.
    check(
        new().f32_tensor("a", &[10], &[1.0; 8]).f32_tensor("b", &[8], &[1.0; 8]),
        "tensor \"b\" starts at byte 32 of the data, inside \"a\" which ends at 40",
    );
}

/// The last tensor's type and offset are the last 12 bytes of the descriptions.
#[test]
fn unknown_formats_and_unaligned_offsets_are_refused() {
    let bytes = GgufWriter::new().f32_tensor("w", &[8], &[1.0; 8]).finish();
    let end = 24 + 8 + 1 + 4 + 8 + 4 + 8;
    let mut unknown = bytes.clone();
    unknown[end - 12..end - 8].copy_from_slice(&16_u32.to_le_bytes());
    let error = refused(unknown).to_string();
    assert!(error.contains("tensor \"w\": format is 16 (IQ2_XXS), allowed: F32, F16, BF16"), "{error}");
    for offset in [8, 33, u64::MAX] {
        let mut unaligned = bytes.clone();
        unaligned[end - 8..end].copy_from_slice(&offset.to_le_bytes());
        let error = refused(unaligned).to_string();
        assert!(error.contains("allowed: multiples of the alignment, 32"), "{error}");
    }
    let mut beyond = bytes;
    beyond[end - 8..end].copy_from_slice(&(u64::MAX - 31).to_le_bytes());
    assert!(matches!(refused(beyond), GgufError::Bounds { what: "range of bytes", .. }));
}

#[test]
fn a_file_cut_anywhere_in_its_index_is_refused() {
    let bytes = sample(3).finish();
    // Padding after the last tensor is not written, so every cut loses something.
    for length in 0..bytes.len() {
        let cut = Gguf::from_bytes(bytes[..length].to_vec());
        assert!(cut.is_err(), "cut to {length} of {} bytes", bytes.len());
    }
}

/// Touches everything that a reader of the file could touch.
fn walk(file: &Gguf) -> usize {
    let tensors: usize = file.tensors().map(|info| file.tensor(&info.name).map_or(0, |t| t.data.len())).sum();
    let keys: usize = file.metadata().iter().map(|(key, value)| format!("{key} {value}").len()).sum();
    tensors + keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn mutated_files_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample(3).finish();
        for (place, value) in changes {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(file) = Gguf::from_bytes(bytes) {
            walk(&file);
        }
    }

    /// Whole 32- and 64-bit fields replaced by values at the edges.
    #[test]
    fn edge_fields_never_panic(
        place in any::<prop::sample::Index>(),
        value in prop::sample::select(vec![0, 1, 31, 32, u64::MAX, u64::MAX - 31, 1 << 63, 1 << 32, i64::MAX as u64]),
        wide in any::<bool>(),
    ) {
        let mut bytes = sample(2).finish();
        let width = if wide { 8 } else { 4 };
        let at = place.index(bytes.len() - width);
        bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        if let Ok(file) = Gguf::from_bytes(bytes) {
            walk(&file);
        }
    }

    #[test]
    fn random_bytes_after_the_magic_never_panic(
        tensors in 0..4_u64,
        entries in 0..4_u64,
        rest in proptest::collection::vec(prop_oneof![Just(0_u8), 0..16_u8, any::<u8>()], 0..400),
    ) {
        if let Ok(file) = Gguf::from_bytes(header(tensors, entries, &rest)) {
            walk(&file);
        }
    }
}
