//! From the tensors of a weight file to what the layers compute with.

use std::cell::RefCell;
use std::collections::BTreeSet;

use kernels::{Arena, CodeLayout, CodeRow, CodeWidth, Isa, PackedMatrix, Pool, RowSource, SourceLayout};

use crate::formats::{Format, decode_codes, dequantize_row};
use crate::gguf::{Gguf, Tensor};
use crate::packs::Pack;

/// Why the weights of a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// A tensor that the architecture needs is absent.
    #[error("tensor {name} is missing")]
    Missing {
        /// Its name.
        name: String,
    },
    /// A tensor's shape doesn't fit the metadata.
    #[error(
        "tensor {name} has shape {given:?} (contiguous dimension first); the metadata asks for {allowed:?}"
    )]
    Shape {
        /// Its name.
        name: String,
        /// Dimensions that the metadata asks for.
        allowed: Vec<u64>,
        /// Dimensions in the file.
        given: Vec<u64>,
    },
    /// A vector is stored in a format that only matrices have.
    #[error("tensor {name} is stored as {given}; a vector may be F32, F16 or BF16")]
    VectorFormat {
        /// Its name.
        name: String,
        /// The format in the file.
        given: &'static str,
    },
    /// A number in a vector is infinite or not a number.
    #[error("tensor {name} holds a value that is not finite at index {index}")]
    NotFinite {
        /// Its name.
        name: String,
        /// Where.
        index: usize,
    },
    /// Tensors that this architecture has no use for: running without them would give other answers.
    #[error("the file has tensors that the architecture {architecture} does not use: {}", names.join(", "))]
    Unused {
        /// The architecture that was loaded.
        architecture: &'static str,
        /// Some of their names.
        names: Vec<String>,
    },
}

/// The tensors of a file, handed out once each, so that what no layer asked for can be refused.
pub(crate) struct Weights<'a> {
    file: &'a Gguf,
    isa: Isa,
    pool: &'a Pool,
    arena: Arena,
    /// Where matrices lie that were packed before.
    pack: Option<Pack>,
    used: RefCell<BTreeSet<String>>,
    packed: RefCell<Packed>,
}

/// The matrices that were handed out, and whether the pack lacked any.
#[derive(Debug, Default)]
struct Packed {
    matrices: Vec<(String, PackedMatrix)>,
    is_new: bool,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(file: &'a Gguf, isa: Isa, pool: &'a Pool, pack: Option<Pack>) -> Self {
        let (used, packed) = (RefCell::default(), RefCell::default());
        Self { file, isa, pool, arena: Arena::new(), pack, used, packed }
    }

    /// Every matrix that was handed out, by its tensor's name, if any was not in the pack.
    pub(crate) fn newly_packed(self) -> Option<Vec<(String, PackedMatrix)>> {
        let Packed { matrices, is_new } = self.packed.into_inner();
        is_new.then_some(matrices)
    }

    /// Rows of a matrix, as the file has them: for the vocabulary, whose size is the embedding's.
    pub(crate) fn rows_of(&self, name: &str) -> Result<usize, WeightsError> {
        let tensor = self.file.tensor(name).ok_or_else(|| WeightsError::Missing { name: name.to_owned() })?;
        Ok(tensor.info.shape.get(1).map_or(1, |&rows| rows as usize))
    }

    /// Weights in the file.
    pub(crate) fn parameters(&self) -> u64 {
        self.file.tensors().map(|info| info.shape.iter().product::<u64>()).sum()
    }

    /// Whether the file has a tensor of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.file.tensor(name).is_some()
    }

    /// A matrix that maps `cols` inputs to `rows` outputs, packed for the kernels.
    pub(crate) fn matrix(&self, name: &str, rows: usize, cols: usize) -> Result<PackedMatrix, WeightsError> {
        let tensor = self.tensor(name, &[cols as u64, rows as u64])?;
        let source = TensorRows { file: self.file, tensor, rows, cols };
        let found = self.pack.as_ref().and_then(|pack| pack.matrix(name, source.layout(), rows, cols));
        let mut packed = self.packed.borrow_mut();
        let matrix = found.unwrap_or_else(|| {
            packed.is_new = true;
            let matrix = PackedMatrix::pack_in(&self.arena, &source, self.isa, self.pool);
            self.file.release(&tensor, 0..tensor.data.len());
            matrix
        });
        packed.matrices.push((name.to_owned(), matrix.clone()));
        Ok(matrix)
    }

    /// A vector of `len` numbers.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, WeightsError> {
        let tensor = self.tensor(name, &[len as u64])?;
        let format = tensor.info.format;
        if !matches!(format, Format::F32 | Format::F16 | Format::BF16) {
            return Err(WeightsError::VectorFormat { name: name.to_owned(), given: format.name() });
        }
        let mut values = vec![0.0; len];
        dequantize_row(format, tensor.data, &mut values);
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(index) => Err(WeightsError::NotFinite { name: name.to_owned(), index }),
        }
    }

    /// The vector of that name, if the file has one.
    pub(crate) fn optional_vector(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, WeightsError> {
        if self.has(name) { self.vector(name, len).map(Some) } else { Ok(None) }
    }

    /// Refuses a file that has tensors which nobody asked for.
    pub(crate) fn refuse_unused(&self, architecture: &'static str) -> Result<(), WeightsError> {
        let used = self.used.borrow();
        let unused = self.file.tensors().map(|info| &info.name).filter(|name| !used.contains(*name));
        let names: Vec<String> = unused.take(8).cloned().collect();
        if names.is_empty() { Ok(()) } else { Err(WeightsError::Unused { architecture, names }) }
    }

    fn tensor(&self, name: &str, shape: &[u64]) -> Result<Tensor<'a>, WeightsError> {
        let tensor = self.file.tensor(name).ok_or_else(|| WeightsError::Missing { name: name.to_owned() })?;
        // Trailing dimensions of 1 say nothing.
        let significant = tensor.info.shape.iter().rposition(|&size| size != 1).map_or(1, |last| last + 1);
        let wanted = shape.iter().rposition(|&size| size != 1).map_or(1, |last| last + 1);
        if tensor.info.shape.get(..significant) != Some(&shape[..wanted]) {
            let given = tensor.info.shape.clone();
            return Err(WeightsError::Shape { name: name.to_owned(), allowed: shape.to_vec(), given });
        }
        self.used.borrow_mut().insert(name.to_owned());
        Ok(tensor)
    }
}

/// A tensor of the file as the packer reads it: row after row.
struct TensorRows<'a> {
    file: &'a Gguf,
    tensor: Tensor<'a>,
    rows: usize,
    cols: usize,
}

impl TensorRows<'_> {
    /// A row's bytes. Lets go of what lies well before it, so that file and packed form never stand in memory together.
    fn row(&self, row: usize) -> &[u8] {
        const PIECE: usize = 4 << 20;
        let bytes = self.tensor.info.format.row_bytes(self.cols);
        let (start, end) = (row * bytes, (row + 1) * bytes);
        // Other threads are near: of two whole pieces the one further back is done with. If not, it is read again.
        if let Some(done) = (end / PIECE).checked_sub(2).filter(|_| start / PIECE < end / PIECE) {
            self.file.release(&self.tensor, done * PIECE..(done + 1) * PIECE);
        }
        &self.tensor.data[start..end]
    }
}

impl RowSource for TensorRows<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn layout(&self) -> SourceLayout {
        code_layout(self.tensor.info.format)
    }

    fn codes(&self, row: usize, out: &mut CodeRow) {
        decode_codes(self.tensor.info.format, self.row(row), out);
    }

    fn floats(&self, row: usize, out: &mut [f32]) {
        dequantize_row(self.tensor.info.format, self.row(row), out);
    }
}

/// The canonical integer form of each format, see [`kernels::CodeLayout`].
fn code_layout(format: Format) -> SourceLayout {
    let codes = |width, group, zero_point, has_min| {
        SourceLayout::Codes(CodeLayout { width, group, zero_point, has_min })
    };
    match format {
        Format::F32 => SourceLayout::F32,
        Format::F16 => SourceLayout::F16,
        Format::BF16 => SourceLayout::Bf16,
        Format::Q4_0 => codes(CodeWidth::Four, 32, 8, false),
        Format::Q4_1 | Format::Q4K => codes(CodeWidth::Four, 32, 0, true),
        Format::Q5_0 => codes(CodeWidth::Five, 32, 16, false),
        Format::Q5_1 | Format::Q5K => codes(CodeWidth::Five, 32, 0, true),
        Format::Q8_0 => codes(CodeWidth::Eight, 32, 128, false),
        Format::Iq4Nl | Format::Iq4Xs => codes(CodeWidth::NonlinearFour, 32, 128, false),
        Format::Q2K => codes(CodeWidth::Four, 16, 0, true),
        Format::Q3K => codes(CodeWidth::Four, 16, 4, false),
        Format::Q6K => codes(CodeWidth::Six, 16, 32, false),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kernels::Activations;

    use super::*;
    use crate::gguf::testing::GgufWriter;

    /// Rounding of scales to f16.
    const ROUNDING: f64 = 1.0 / 2048.0;

    /// The vectors of a format, `times` over, as a file with one matrix.
    fn file(format: Format, cols: usize, times: usize) -> Gguf {
        let name = format!("../../golden/formats/{}.blocks", format.name());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let blocks = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let data = blocks.repeat(times);
        let rows = data.len() / format.row_bytes(cols);
        let writer = GgufWriter::new().tensor("w.weight", &[cols as u64, rows as u64], format, &data);
        Gguf::from_bytes(writer.finish()).unwrap()
    }

    /// What is added up for each value of a row: the scaled code and the minimum, both without sign.
    fn magnitudes(format: Format, row: &[u8], values: &[f32]) -> Vec<f64> {
        let SourceLayout::Codes(CodeLayout { group, zero_point, .. }) = code_layout(format) else {
            return values.iter().map(|&value| f64::from(value.abs())).collect();
        };
        let mut codes = CodeRow::default();
        decode_codes(format, row, &mut codes);
        let magnitude = |(column, &code): (usize, &u8)| {
            let scaled = f64::from(codes.scales[column / group]) * (f64::from(code) - f64::from(zero_point));
            scaled.abs() + codes.mins.get(column / group).map_or(0.0, |&min| f64::from(min.abs()))
        };
        codes.codes.iter().enumerate().map(magnitude).collect()
    }

    /// Packs a format's vectors and compares rows and a product with the dequantised rows.
    fn check(format: Format, cols: usize, isa: Isa) {
        let (pool, file) = (Pool::new(2), file(format, cols, 7));
        let tensor = file.tensor("w.weight").unwrap();
        let rows = tensor.info.shape[1] as usize;
        let packed = Weights::new(&file, isa, &pool, None).matrix("w.weight", rows, cols).unwrap();
        // Whole numbers of which every block has 127: quantising them loses nothing.
        let x: Vec<f32> =
            (0..cols).map(|i| if i % 32 == 5 { 127.0 } else { ((i * 37) % 255) as f32 - 127.0 }).collect();
        let mut activations = Activations::new();
        activations.prepare(isa, &pool, &x, cols, packed.needs());
        let mut product = vec![f32::NAN; rows];
        kernels::matmul(isa, &pool, &packed, &activations, &mut product);
        for (row, bytes) in tensor.data.chunks_exact(format.row_bytes(cols)).enumerate() {
            let what = format!("{} {} row {row} of {cols}", format.name(), isa.name());
            let (mut expected, mut given) = (vec![f32::NAN; cols], vec![f32::NAN; cols]);
            dequantize_row(format, bytes, &mut expected);
            packed.row_f32(row, &mut given);
            let magnitudes = magnitudes(format, bytes, &expected);
            // A scale so far below the row's largest that f16 can't hold both.
            let lost = magnitudes.iter().copied().fold(0.0, f64::max) / f64::from(1_u32 << 30);
            for (column, magnitude) in magnitudes.iter().enumerate() {
                let error = (f64::from(given[column]) - f64::from(expected[column])).abs();
                let allowed = ROUNDING * magnitude + lost;
                assert!(
                    error <= allowed,
                    "{what}, column {column}: {} not {}",
                    given[column],
                    expected[column]
                );
            }
            let sum: f64 = expected.iter().zip(&x).map(|(&w, &x)| f64::from(w) * f64::from(x)).sum();
            let bound: f64 = magnitudes.iter().zip(&x).map(|(m, &x)| (m + lost) * f64::from(x.abs())).sum();
            let error = (f64::from(product[row]) - sum).abs();
            assert!(error <= ROUNDING * bound, "{what}: the product is {} not {sum}", product[row]);
        }
    }

    #[test]
    fn every_format_of_a_file_goes_through_the_kernels() {
        for format in Format::ALL {
            for isa in Isa::available() {
                for blocks in [1, 3] {
                    // Floats have blocks of one value and 64 vectors.
                    check(
                        format,
                        if format.block_len() == 1 { 32 } else { blocks * format.block_len() },
                        isa,
                    );
                }
            }
        }
    }
}
