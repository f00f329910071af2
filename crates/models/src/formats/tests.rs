use std::path::{Path, PathBuf};

use kernels::CodeRow;
use proptest::prelude::*;

use super::{Format, decode_codes, dequantize_row};

fn golden(format: Format, ending: &str) -> Vec<u8> {
    let name = format!("{}.{ending}", format.name());
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden/formats").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn dequantized(format: Format, row: &[u8]) -> Vec<f32> {
    let mut values = vec![f32::NAN; row.len() / format.block_bytes() * format.block_len()];
    dequantize_row(format, row, &mut values);
    values
}

/// The same bits, but for the sign of a zero: the order of a product may flip it.
fn same(a: f32, b: f32) -> bool {
    (a + 0.0).to_bits() == (b + 0.0).to_bits()
}

/// Group, zero point and whether there are minima: the contract with the kernels, spelled out a second time.
fn contract(format: Format) -> Option<(usize, f32, bool)> {
    match format {
        Format::F32 | Format::F16 | Format::BF16 => None,
        Format::Q4_0 => Some((32, 8.0, false)),
        Format::Q4_1 | Format::Q4K | Format::Q5_1 | Format::Q5K => Some((32, 0.0, true)),
        Format::Q5_0 => Some((32, 16.0, false)),
        Format::Q8_0 | Format::Iq4Nl | Format::Iq4Xs => Some((32, 128.0, false)),
        Format::Q2K => Some((16, 0.0, true)),
        Format::Q3K => Some((16, 4.0, false)),
        Format::Q6K => Some((16, 32.0, false)),
    }
}

#[test]
fn values_equal_the_reference_bit_for_bit() {
    for format in Format::ALL {
        let expected: Vec<f32> =
            golden(format, "f32").as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let values = dequantized(format, &golden(format, "blocks"));
        assert_eq!(values.len(), expected.len(), "{}", format.name());
        for (index, (value, expected)) in values.iter().zip(&expected).enumerate() {
            assert!(
                same(*value, *expected),
                "{} value {index}: {value:e}, reference {expected:e}",
                format.name()
            );
        }
    }
}

#[test]
fn codes_reproduce_the_values() {
    for format in Format::ALL {
        let Some((group, zero_point, has_min)) = contract(format) else { continue };
        let row = golden(format, "blocks");
        let values = dequantized(format, &row);
        // Left-overs of another row must not shine through.
        let mut out = CodeRow { codes: vec![9; 7], scales: vec![9.0; 5000], mins: vec![9.0; 3] };
        decode_codes(format, &row, &mut out);
        assert_eq!(out.codes.len(), values.len());
        assert_eq!(out.scales.len(), values.len() / group);
        assert_eq!(out.mins.len(), if has_min { values.len() / group } else { 0 });
        for (column, value) in values.iter().enumerate() {
            let min = if has_min { out.mins[column / group] } else { 0.0 };
            let product = out.scales[column / group] * (f32::from(out.codes[column]) - zero_point);
            assert!(same(product + min, *value), "{} {column}", format.name());
        }
    }
}

#[test]
fn four_bit_formats_have_four_bit_codes() {
    for format in [Format::Q4_0, Format::Q4_1, Format::Q4K, Format::Q2K, Format::Q3K] {
        let mut out = CodeRow { codes: Vec::new(), scales: Vec::new(), mins: Vec::new() };
        decode_codes(format, &golden(format, "blocks"), &mut out);
        assert!(out.codes.iter().all(|code| *code < 16), "{}", format.name());
    }
}

#[test]
fn numbers_and_names_go_round() {
    for format in Format::ALL {
        assert_eq!(Format::from_ggml(format.ggml_number()), Some(format));
        assert_eq!(format.row_bytes(format.block_len() * 3), format.block_bytes() * 3);
    }
    assert_eq!(Format::from_ggml(16), None);
    assert_eq!(Format::ggml_name(16), "16 (IQ2_XXS)");
    assert_eq!(Format::ggml_name(12), "12 (Q4_K)");
    assert_eq!(Format::ggml_name(777), "777");
}

proptest! {
    /// Any bytes decode without a panic, and the codes rebuild the values wherever those are finite.
    #[test]
    fn any_block_decodes(format in 3..15_usize, bytes in proptest::collection::vec(any::<u8>(), 210)) {
        let format = Format::ALL[format];
        let row = &bytes[..format.block_bytes()];
        let values = dequantized(format, row);
        let mut out = CodeRow { codes: Vec::new(), scales: Vec::new(), mins: Vec::new() };
        decode_codes(format, row, &mut out);
        let (group, zero_point, has_min) = contract(format).expect("an integer format");
        for (column, value) in values.iter().enumerate().filter(|(_, value)| value.is_finite()) {
            let min = if has_min { out.mins[column / group] } else { 0.0 };
            let rebuilt = out.scales[column / group] * (f32::from(out.codes[column]) - zero_point) + min;
            prop_assert!(same(rebuilt, *value), "{} {}", rebuilt, value);
        }
    }
}
