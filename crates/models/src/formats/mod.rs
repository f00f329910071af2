//! The storage formats of GGUF tensors: block layouts, exact dequantisation, and the canonical integer form that the
//! kernels compute with.
//!
//! A row of `n` values is `n / block_len` blocks of `block_bytes` bytes. Layouts after ggml's `ggml-common.h`
//! <https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h>; the golden vectors in `golden/formats` come
//! from the `gguf` Python package.

mod blocks;
#[cfg(test)]
mod tests;

use kernels::CodeRow;

/// How the elements of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are ggml's formats, described in `blocks`")]
pub enum Format {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
}

/// Facts about a format, one line each in [`Format::facts`].
struct Facts {
    name: &'static str,
    ggml_number: u32,
    /// Values per block.
    block_len: usize,
    /// Bytes per block.
    block_bytes: usize,
    codes: Option<Codes>,
}

/// The canonical integer form: `value = scale[g] * (code - zero_point) + min[g]`, `g = column / group`.
#[derive(Clone, Copy)]
struct Codes {
    group: usize,
    zero_point: u8,
    has_min: bool,
}

/// Formats of ggml that this program does not read, for messages.
const OTHER_GGML_NAMES: [(u32, &str); 19] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (4, "Q4_2 (withdrawn)"),
    (5, "Q4_3 (withdrawn)"),
];

impl Format {
    /// Every format, in ggml's order of size and age.
    pub const ALL: [Self; 15] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
    ];

    const fn facts(self) -> Facts {
        const fn float(name: &'static str, ggml_number: u32, block_bytes: usize) -> Facts {
            Facts { name, ggml_number, block_len: 1, block_bytes, codes: None }
        }
        const fn integer(
            name: &'static str,
            ggml_number: u32,
            (block_len, block_bytes): (usize, usize),
            (group, zero_point, has_min): (usize, u8, bool),
        ) -> Facts {
            let codes = Some(Codes { group, zero_point, has_min });
            Facts { name, ggml_number, block_len, block_bytes, codes }
        }
        match self {
            Self::F32 => float("F32", 0, 4),
            Self::F16 => float("F16", 1, 2),
            Self::BF16 => float("BF16", 30, 2),
            Self::Q4_0 => integer("Q4_0", 2, (32, 18), (32, 8, false)),
            Self::Q4_1 => integer("Q4_1", 3, (32, 20), (32, 0, true)),
            Self::Q5_0 => integer("Q5_0", 6, (32, 22), (32, 16, false)),
            Self::Q5_1 => integer("Q5_1", 7, (32, 24), (32, 0, true)),
            Self::Q8_0 => integer("Q8_0", 8, (32, 34), (32, 128, false)),
            Self::Q2K => integer("Q2_K", 10, (256, 84), (16, 0, true)),
            Self::Q3K => integer("Q3_K", 11, (256, 110), (16, 4, false)),
            Self::Q4K => integer("Q4_K", 12, (256, 144), (32, 0, true)),
            Self::Q5K => integer("Q5_K", 13, (256, 176), (32, 0, true)),
            Self::Q6K => integer("Q6_K", 14, (256, 210), (16, 32, false)),
            Self::Iq4Nl => integer("IQ4_NL", 20, (32, 18), (32, 128, false)),
            Self::Iq4Xs => integer("IQ4_XS", 23, (256, 136), (32, 128, false)),
        }
    }

    /// The format with this number in GGUF files, if it is one that this program reads.
    pub fn from_ggml(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.ggml_number() == number)
    }

    /// The format's number in GGUF files.
    pub const fn ggml_number(self) -> u32 {
        self.facts().ggml_number
    }

    /// ggml's name, such as `Q4_K`.
    pub const fn name(self) -> &'static str {
        self.facts().name
    }

    /// Values per block; a row's length is a multiple of it.
    pub const fn block_len(self) -> usize {
        self.facts().block_len
    }

    /// Bytes per block.
    pub const fn block_bytes(self) -> usize {
        self.facts().block_bytes
    }

    /// Bytes of a row of `cols` values (a multiple of [`Format::block_len`]).
    pub const fn row_bytes(self, cols: usize) -> usize {
        cols / self.block_len() * self.block_bytes()
    }

    /// ggml's name for a format number, whether or not this program reads it.
    pub(crate) fn ggml_name(number: u32) -> String {
        let known = Self::from_ggml(number).map(Self::name);
        let other = || OTHER_GGML_NAMES.iter().find(|(other, _)| *other == number).map(|(_, name)| *name);
        known.or_else(other).map_or_else(|| number.to_string(), |name| format!("{number} ({name})"))
    }

    /// The names of the formats that this program reads.
    pub(crate) fn all_names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// Dequantises one row. Exact: every value is computed with the same f32 operations, in the same order, as ggml's
/// scalar reference.
///
/// `row` is `[blocks * block_bytes]` bytes, `out` is `[blocks * block_len]` values.
///
/// # Panics
/// When `row` and `out` are not of the same number of whole blocks.
pub fn dequantize_row(format: Format, row: &[u8], out: &mut [f32]) {
    let Facts { name, block_len, block_bytes, codes, .. } = format.facts();
    assert!(
        row.len().is_multiple_of(block_bytes) && row.len() / block_bytes * block_len == out.len(),
        "{} bytes of {name} do not hold {} values",
        row.len(),
        out.len()
    );
    let blocks = row.chunks_exact(block_bytes).zip(out.chunks_exact_mut(block_len));
    match codes {
        None => blocks.for_each(|(block, out)| out[0] = blocks::float(format, block)),
        Some(codes) => {
            let mut scratch = blocks::Block::default();
            for (block, out) in blocks {
                blocks::decode(format, block, &mut scratch.view(block_len, codes));
                scratch.values(codes, out);
            }
        }
    }
}

/// Decodes one row of an integer format to the canonical integer form: for `Q4_K`, `codes` in 0..16, `scales` and
/// `mins` per 32 values. The sizes in `out` are set: `codes` `[cols]`, `scales` `[cols / group]`, `mins` the same or
/// empty.
///
/// # Panics
/// When the format is F32, F16 or BF16, or `row` is not a whole number of blocks.
pub fn decode_codes(format: Format, row: &[u8], out: &mut CodeRow) {
    let Facts { name, block_len, block_bytes, codes, .. } = format.facts();
    let Some(codes) = codes else { panic!("{name} has no integer codes") };
    assert!(row.len().is_multiple_of(block_bytes), "{} bytes are not whole blocks of {name}", row.len());
    let cols = row.len() / block_bytes * block_len;
    let groups = cols / codes.group;
    out.codes.resize(cols, 0);
    out.scales.resize(groups, 0.0);
    out.mins.resize(if codes.has_min { groups } else { 0 }, 0.0);
    let block_groups = block_len / codes.group;
    for (index, block) in row.chunks_exact(block_bytes).enumerate() {
        let groups = index * block_groups..(index + 1) * block_groups;
        let mut view = blocks::View {
            codes: &mut out.codes[index * block_len..(index + 1) * block_len],
            scales: &mut out.scales[groups.clone()],
            mins: if codes.has_min { &mut out.mins[groups] } else { &mut [] },
        };
        blocks::decode(format, block, &mut view);
    }
}
