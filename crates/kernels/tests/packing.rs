//! Packing keeps every weight: `row_f32` gives back what the source held.

mod common;

use common::{CodeMatrix, FloatMatrix, WIDTHS, bits, isas};
use kernels::{CodeLayout, CodeRow, CodeWidth, Image, Isa, PackedMatrix, Pool, RowSource, SourceLayout};
use proptest::prelude::*;

fn unpack(source: &dyn RowSource) -> Vec<Vec<f32>> {
    let packed = PackedMatrix::pack(source, Isa::best(), &Pool::new(2));
    assert_eq!((packed.rows(), packed.cols()), (source.rows(), source.cols()));
    let row = |row| {
        let mut out = vec![f32::NAN; packed.cols()];
        packed.row_f32(row, &mut out);
        out
    };
    let rows: Vec<Vec<f32>> = (0..packed.rows()).map(row).collect();
    let backwards: Vec<u32> = (0..packed.rows() as u32).rev().collect();
    let mut out = vec![f32::NAN; packed.rows() * packed.cols()];
    packed.rows_f32(&Pool::new(2), &backwards, &mut out);
    for (row, out) in rows.iter().rev().zip(out.chunks(packed.cols())) {
        assert_eq!(bits(row), bits(out));
    }
    rows
}

/// A source's row in f32, as weight formats define it: one product and one sum.
fn code_row(layout: CodeLayout, row: &CodeRow) -> Vec<f32> {
    let value = |(col, &code): (usize, &u8)| {
        let group = col / layout.group;
        let scaled = row.scales[group] * (i32::from(code) - i32::from(layout.zero_point)) as f32;
        if layout.has_min { scaled + row.mins[group] } else { scaled }
    };
    row.codes.iter().enumerate().map(value).collect()
}

fn cubed(x: f32) -> f32 {
    x * x * x
}

fn narrow_bits(bits: u16) -> f32 {
    half::f16::from_bits(bits & !(1 << 14)).to_f32()
}

/// f16 numbers of any exponent, denormals and zeros included, infinities and NaN not.
fn half_number() -> impl Strategy<Value = f32> + Clone + 'static {
    prop::num::u16::ANY.prop_map(narrow_bits as fn(u16) -> f32)
}

fn code_matrix(scale: impl Strategy<Value = f32> + Clone + 'static) -> impl Strategy<Value = CodeMatrix> {
    let layout = (0..WIDTHS.len(), any::<bool>(), any::<u8>(), any::<bool>());
    (layout, 1_usize..40, 1_usize..140).prop_flat_map(
        move |((width, first_group, zero_point, has_min), rows, cols)| {
            let width = WIDTHS[width];
            let allowed = width.groups();
            let group = allowed[if first_group { 0 } else { allowed.len() - 1 }];
            // A zero point is no use beside mins.
            let zero_point = if has_min { 0 } else { zero_point };
            let layout = CodeLayout { width, group, zero_point, has_min };
            let groups = cols.div_ceil(layout.group);
            let code = prop::sample::select(width.codes());
            let row = (
                prop::collection::vec(code, cols),
                prop::collection::vec(scale.clone(), groups),
                prop::collection::vec(scale.clone(), if has_min { groups } else { 0 }),
            );
            let row = row.prop_map(|(codes, scales, mins)| CodeRow { codes, scales, mins });
            prop::collection::vec(row, rows).prop_map(move |rows| CodeMatrix { layout, cols, rows })
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn integer_matrices_with_half_scales_come_back_exactly(matrix in code_matrix(half_number())) {
        for (row, out) in matrix.rows.iter().zip(unpack(&matrix)) {
            // Zero may change its sign.
            prop_assert_eq!(code_row(matrix.layout, row), out);
        }
    }

    #[test]
    fn other_scales_are_rounded_to_eleven_bits(
        matrix in code_matrix((-1e-3_f32..1e-3).prop_map(cubed as fn(f32) -> f32)),
        exponent in -60_i32..60,
    ) {
        let mut matrix = matrix;
        let factor = (exponent as f32).exp2();
        for row in &mut matrix.rows {
            row.scales.iter_mut().chain(&mut row.mins).for_each(|x| *x *= factor);
        }
        for (row, out) in matrix.rows.iter().zip(unpack(&matrix)) {
            let largest = row.scales.iter().chain(&row.mins).fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let expected = code_row(matrix.layout, row);
            for (col, (out, expected)) in out.iter().zip(&expected).enumerate() {
                let group = col / matrix.layout.group;
                let scaled = f32::from(row.codes[col]) - f32::from(matrix.layout.zero_point);
                let size = (row.scales[group] * scaled).abs() + row.mins.get(group).map_or(0.0, |x| x.abs());
                // Scales far below the row's largest are denormal f16 numbers: absolute error.
                let allowed = size / 2048.0 * 1.01 + largest * scaled.abs().max(1.0) / (1 << 30) as f32 + 1e-37;
                prop_assert!((out - expected).abs() <= allowed, "{out} is not {expected}, allowed {allowed:e}");
            }
        }
    }

    #[test]
    fn float_matrices_come_back_exactly(rows in 1_usize..40, cols in 1_usize..100, kind in 0..3) {
        let layout = [SourceLayout::F32, SourceLayout::F16, SourceLayout::Bf16][kind as usize];
        let matrix = FloatMatrix::random(rows, cols, layout);
        for (row, out) in unpack(&matrix).iter().enumerate() {
            prop_assert_eq!(bits(out), bits(matrix.row(row)));
        }
    }
}

/// Scales that no finite number could be made of don't panic, and stay in their row.
#[test]
fn infinite_and_nan_scales_stay_in_their_row() {
    let mut matrix = CodeMatrix::random(20, 64, CodeWidth::Four, 32, 0, true);
    matrix.rows[3].scales[1] = f32::INFINITY;
    matrix.rows[4].mins[0] = f32::NAN;
    matrix.rows[5].scales.fill(f32::MAX);
    matrix.rows[6].scales.fill(f32::from_bits(1));
    let rows = unpack(&matrix);
    for (index, row) in rows.iter().enumerate() {
        let finite = row.iter().all(|x| x.is_finite());
        assert_eq!(finite, !matches!(index, 3..=5), "row {index}: {row:?}");
    }
}

#[test]
fn an_empty_matrix_is_no_trouble() {
    for isa in isas() {
        let pool = Pool::new(2);
        let matrix = CodeMatrix::random(0, 64, CodeWidth::Eight, 32, 128, false);
        let packed = PackedMatrix::pack(&matrix, isa, &pool);
        let mut x = kernels::Activations::new();
        x.quantize(isa, &pool, &[1.0; 64], 64);
        kernels::matmul(isa, &pool, &packed, &x, &mut []);
        assert_eq!(packed.bytes(), 0);
    }
}

/// Every layout that there is, with missing rows and columns.
fn every_layout() -> Vec<Box<dyn RowSource>> {
    let mut sources: Vec<Box<dyn RowSource>> = Vec::new();
    for width in WIDTHS {
        for (&group, has_min) in width.groups().iter().flat_map(|group| [(group, false), (group, true)]) {
            sources.push(Box::new(CodeMatrix::random(
                37,
                96,
                width,
                group,
                if has_min { 0 } else { 3 },
                has_min,
            )));
        }
    }
    for layout in [SourceLayout::F32, SourceLayout::F16, SourceLayout::Bf16] {
        sources.push(Box::new(FloatMatrix::random(37, 45, layout)));
    }
    sources
}

#[test]
fn matrices_lie_in_a_file_as_in_memory() {
    let pool = Pool::new(2);
    let sources = every_layout();
    let packed: Vec<PackedMatrix> =
        sources.iter().map(|source| PackedMatrix::pack(&**source, Isa::best(), &pool)).collect();
    let mut file = tempfile::tempfile().unwrap();
    let mut offsets = vec![0];
    for matrix in &packed {
        matrix.write_to(&mut file).unwrap();
        offsets.push(offsets[offsets.len() - 1] + matrix.image_bytes());
        assert_eq!(file.metadata().unwrap().len(), offsets[offsets.len() - 1] as u64);
    }
    let image = Image::open(&file).unwrap();
    assert_eq!(image.bytes().len() as u64, file.metadata().unwrap().len());
    println!("{}", if image.is_mapped() { "mapped" } else { "read: no huge pages for this file" });
    for ((source, packed), &offset) in sources.iter().zip(&packed).zip(&offsets) {
        let (rows, cols, layout) = (source.rows(), source.cols(), source.layout());
        let found = PackedMatrix::of_image(&image, offset, layout, rows, cols).unwrap();
        assert_eq!((found.rows(), found.cols(), found.bytes()), (rows, cols, packed.bytes()));
        let (mut expected, mut given) = (vec![0.0; cols], vec![1.0; cols]);
        for row in 0..rows {
            packed.row_f32(row, &mut expected);
            found.row_f32(row, &mut given);
            assert_eq!(bits(&expected), bits(&given), "{layout:?} row {row}");
        }
        assert!(PackedMatrix::of_image(&image, offset + 4, layout, rows, cols).is_none(), "not on a line");
        assert!(PackedMatrix::of_image(&image, usize::MAX - 63, layout, rows, cols).is_none(), "overflow");
        assert!(
            PackedMatrix::of_image(&image, image.bytes().len(), layout, rows, cols).is_none(),
            "past the end"
        );
    }
    // The image may go: who was taken from it keeps its memory.
    let kept = PackedMatrix::of_image(&image, 0, sources[0].layout(), 37, 96).unwrap();
    drop(image);
    kept.row_f32(0, &mut [0.0; 96]);
}

#[test]
fn an_empty_file_is_no_image() {
    Image::open(&tempfile::tempfile().unwrap()).unwrap_err();
}
