//! Every kernel on every instruction set that this CPU has, against plain f64 arithmetic.
//!
//! `cargo nextest run -p cachalot-kernels --no-capture` prints which sets ran. NaN: a block of activations with an
//! infinity or NaN gives no finite product; conversions, norms and SwiGLU pass NaN on; `argmax` never chooses it. What else
//! there is at the ends of the numbers is in `extremes.rs`.

#![allow(clippy::float_cmp, reason = "some results are exact")]

mod common;

use common::{CodeMatrix, FloatMatrix, WIDTHS, adversarial, bits, check_close, isas, random, with_outliers};
use half::{bf16, f16};
use kernels::{Activations, CodeWidth, Pool, Precision, RowSource, SourceLayout, matmul, matmul_many, ops};

#[test]
fn prints_what_runs_and_what_cannot() {
    for name in kernels::Isa::NAMES {
        match kernels::Isa::by_name(name) {
            Some(isa) => println!("kernels: {name} runs here ({isa:?})"),
            None => println!("kernels: NOT RUN: {name}, which this CPU does not have"),
        }
    }
    assert!(isas().contains(&kernels::Isa::Scalar));
    assert!(isas().contains(&kernels::Isa::best()));
    // A run that is made for some of them must not pass without.
    let needed = std::env::var("CACHALOT_KERNELS_NEEDED").unwrap_or_default();
    for name in needed.split_whitespace() {
        assert!(kernels::Isa::by_name(name).is_some(), "{name} is needed and can't run here");
    }
}

/// Rows and columns that are and aren't whole panels and blocks.
const SHAPES: [(usize, usize); 9] =
    [(1, 1), (16, 32), (17, 33), (15, 64), (48, 31), (33, 100), (5, 256), (130, 576), (64, 1536)];

/// Every integer layout that weight files decode to, and some that they don't.
fn code_layouts() -> Vec<(CodeWidth, usize, u8, bool)> {
    let mut layouts = Vec::new();
    for width in WIDTHS {
        for &group in width.groups() {
            for (zero_point, has_min) in [(0, true), (8, false), (4, false), (0, false)] {
                layouts.push((width, group, zero_point, has_min));
            }
        }
    }
    for zero_point in [128, 255] {
        layouts.push((CodeWidth::Eight, 32, zero_point, false));
        layouts.push((CodeWidth::NonlinearFour, 32, zero_point, false));
    }
    layouts.push((CodeWidth::Five, 32, 16, false));
    layouts.push((CodeWidth::Six, 16, 32, false));
    layouts
}

/// What the kernels compute, from the definition: activations as one or two planes of int8 with a scale per 32 columns,
/// mixed ones with two where a block's largest is over five times the root mean square of the row, then f64.
fn code_reference(matrix: &CodeMatrix, x: &[f32], precision: Precision) -> (Vec<f64>, Vec<f64>) {
    let cols = matrix.cols();
    let (mut sums, mut magnitudes) = (Vec::new(), Vec::new());
    for x in x.chunks(cols) {
        let mut quantised = vec![0.0_f64; cols];
        let square = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / cols as f64;
        for (out, x) in quantised.chunks_mut(32).zip(x.chunks(32)) {
            let largest = x.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            if largest >= 1e-30 {
                let (step, factor) = (largest / 127.0, 127.0 / largest);
                let two_planes = match precision {
                    Precision::Eight => false,
                    Precision::Mixed => f64::from(largest) > 5.0 * square.sqrt(),
                    Precision::Sixteen => true,
                };
                for (out, x) in out.iter_mut().zip(x) {
                    let high = (x * factor).round_ties_even();
                    let low = ((x * factor - high) * 256.0).round_ties_even().min(127.0);
                    let low = if two_planes { low } else { 0.0 };
                    *out = f64::from(256.0 * high + low) * f64::from(step / 256.0);
                }
            }
        }
        for row in 0..matrix.rows() {
            let weights = matrix.row_f64(row);
            let products = weights.iter().zip(&quantised).map(|(w, x)| w * x);
            sums.push(products.clone().sum());
            // The kernels add scaled dot products and minima apart, so errors are relative to their magnitudes.
            magnitudes.push(matrix.row_magnitude(row, &quantised).max(products.map(f64::abs).sum()));
        }
    }
    (sums, magnitudes)
}

#[test]
fn integer_products_match_f64() {
    let pool = Pool::new(2);
    for (width, group, zero_point, has_min) in code_layouts() {
        for (rows, cols) in SHAPES {
            let matrix = CodeMatrix::random(rows, cols, width, group, zero_point, has_min);
            for (n, precision) in
                [1, 2, 3, 5, 7, 13].into_iter().flat_map(|n| Precision::ALL.map(|it| (n, it)))
            {
                let x = with_outliers(n, cols);
                let (expected, magnitudes) = code_reference(&matrix, &x, precision);
                for isa in isas() {
                    let packed = kernels::PackedMatrix::pack(&matrix, isa, &pool);
                    let mut activations = Activations::with_precision(precision);
                    activations.prepare(isa, &pool, &x, cols, packed.needs());
                    let mut out = vec![f32::NAN; n * rows];
                    matmul(isa, &pool, &packed, &activations, &mut out);
                    let what = format!(
                        "{isa:?} {precision:?} {width:?} {group} {zero_point} {has_min} {rows}x{cols} n {n}"
                    );
                    check_close(&what, &out, &expected, &magnitudes, 2e-6);
                }
            }
        }
    }
}

#[test]
fn integer_products_of_extremes_match_f64() {
    let pool = Pool::new(1);
    for (width, group, zero_point, has_min) in code_layouts() {
        for largest in [false, true] {
            let mut matrix = CodeMatrix::random(20, 96, width, group, zero_point, has_min);
            matrix.fill_codes(largest);
            for ((name, x), precision) in
                adversarial(96).into_iter().flat_map(|x| Precision::ALL.map(|it| (x.clone(), it)))
            {
                let (expected, magnitudes) = code_reference(&matrix, &x, precision);
                for isa in isas() {
                    let packed = kernels::PackedMatrix::pack(&matrix, isa, &pool);
                    let mut activations = Activations::with_precision(precision);
                    // Alone, and in tiles whose planes are and aren't taken together.
                    for n in [1, 2, 12] {
                        activations.quantize(isa, &pool, &x.repeat(n), 96);
                        let mut out = vec![f32::NAN; n * 20];
                        matmul(isa, &pool, &packed, &activations, &mut out);
                        let what = format!(
                            "{isa:?} {precision:?} {width:?} {group} {zero_point} {has_min} largest {largest} {name}"
                        );
                        for out in out.chunks(20) {
                            check_close(&what, out, &expected, &magnitudes, 2e-6);
                        }
                    }
                }
            }
        }
    }
}

/// Scales that f16 has no numbers for: the product is that of the rows which `row_f32` gives.
#[test]
fn products_of_tiny_and_huge_scales_match_their_rows() {
    let (rows, cols, pool) = (20, 96, Pool::new(1));
    for factor in [3e-12_f32, 7e11] {
        let mut matrix = CodeMatrix::random(rows, cols, CodeWidth::Four, 32, 0, true);
        for row in &mut matrix.rows {
            row.scales.iter_mut().chain(&mut row.mins).for_each(|x| *x *= factor);
        }
        let x = random(cols, 1.0);
        for isa in isas() {
            let packed = kernels::PackedMatrix::pack(&matrix, isa, &pool);
            let mut activations = Activations::with_precision(Precision::Sixteen);
            activations.prepare(isa, &pool, &x, cols, packed.needs());
            let mut out = vec![f32::NAN; rows];
            matmul(isa, &pool, &packed, &activations, &mut out);
            let (mut expected, mut magnitudes) = (Vec::new(), Vec::new());
            for row in 0..rows {
                let mut weights = vec![0.0; cols];
                packed.row_f32(row, &mut weights);
                let products = weights.iter().zip(&x).map(|(&w, &x)| f64::from(w) * f64::from(x));
                expected.push(products.clone().sum());
                magnitudes.push(products.map(f64::abs).sum());
            }
            // What quantising the activations costs.
            check_close(&format!("{isa:?} scales of {factor:e}"), &out, &expected, &magnitudes, 1e-4);
        }
    }
}

#[test]
fn float_products_match_f64() {
    let pool = Pool::new(2);
    for layout in [SourceLayout::F32, SourceLayout::F16, SourceLayout::Bf16] {
        for (rows, cols) in SHAPES {
            let matrix = FloatMatrix::random(rows, cols, layout);
            for n in [1, 2, 6, 11, 25] {
                let x = random(n * cols, 1.0);
                let (expected, magnitudes) = matrix.products(&x);
                for isa in isas() {
                    let packed = kernels::PackedMatrix::pack(&matrix, isa, &pool);
                    let mut activations = Activations::new();
                    activations.prepare(isa, &pool, &x, cols, packed.needs());
                    let mut out = vec![f32::NAN; n * rows];
                    matmul(isa, &pool, &packed, &activations, &mut out);
                    check_close(
                        &format!("{isa:?} {layout:?} {rows}x{cols} n {n}"),
                        &out,
                        &expected,
                        &magnitudes,
                        4e-6,
                    );
                }
            }
        }
    }
}

#[test]
fn a_product_with_infinity_or_nan_is_not_finite() {
    let pool = Pool::new(1);
    for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        for at in [0, 15, 16, 33] {
            let mut x = random(2 * 40, 1.0);
            x[40 + at] = bad;
            let integers = CodeMatrix::random(18, 40, CodeWidth::Four, 32, 8, false);
            let floats = FloatMatrix::random(18, 40, SourceLayout::F16);
            for source in [&integers as &dyn RowSource, &floats] {
                for isa in isas() {
                    let packed = kernels::PackedMatrix::pack(source, isa, &pool);
                    let mut activations = Activations::new();
                    activations.quantize(isa, &pool, &x, 40);
                    let mut out = vec![0.0; 2 * 18];
                    matmul(isa, &pool, &packed, &activations, &mut out);
                    assert!(out[..18].iter().all(|x| x.is_finite()), "{isa:?}: other rows must be untouched");
                    assert!(
                        out[18..].iter().all(|x| !x.is_finite()),
                        "{isa:?}: {bad} at {at} was lost: {out:?}"
                    );
                }
            }
        }
    }
}

/// The bits of each row are those that it has alone, on one thread, in a product by itself.
#[test]
fn products_do_not_depend_on_batch_threads_or_company() {
    let sources: Vec<Box<dyn RowSource>> = vec![
        Box::new(CodeMatrix::random(130, 200, CodeWidth::Four, 32, 0, true)),
        Box::new(CodeMatrix::random(130, 200, CodeWidth::Six, 16, 32, false)),
        Box::new(CodeMatrix::random(70, 200, CodeWidth::Five, 32, 16, false)),
        Box::new(CodeMatrix::random(70, 200, CodeWidth::NonlinearFour, 32, 128, false)),
        Box::new(CodeMatrix::random(70, 200, CodeWidth::Eight, 32, 128, false)),
        Box::new(FloatMatrix::random(40, 200, SourceLayout::F32)),
        Box::new(FloatMatrix::random(50, 200, SourceLayout::Bf16)),
    ];
    let x = with_outliers(60, 200);
    for (isa, precision) in isas().into_iter().flat_map(|isa| Precision::ALL.map(|it| (isa, it))) {
        let alone = Pool::new(1);
        let packed: Vec<_> =
            sources.iter().map(|source| kernels::PackedMatrix::pack(&**source, isa, &alone)).collect();
        let mut activations = Activations::with_precision(precision);
        let expected: Vec<Vec<f32>> = packed
            .iter()
            .map(|w| {
                let row = |x: &[f32]| {
                    let mut out = vec![0.0; w.rows()];
                    activations.quantize(isa, &alone, x, 200);
                    matmul(isa, &alone, w, &activations, &mut out);
                    out
                };
                x.chunks(200).flat_map(row).collect()
            })
            .collect();
        for threads in [1, 2, 3] {
            let pool = Pool::new(threads);
            for n in [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 24, 31, 60] {
                activations.quantize(isa, &pool, &x[..n * 200], 200);
                let mut outs: Vec<Vec<f32>> = packed.iter().map(|w| vec![0.0; n * w.rows()]).collect();
                let mut jobs: Vec<_> = packed.iter().zip(outs.iter_mut().map(Vec::as_mut_slice)).collect();
                matmul_many(isa, &pool, &activations, &mut jobs);
                for (out, expected) in outs.iter().zip(&expected) {
                    assert_eq!(
                        bits(out),
                        bits(&expected[..out.len()]),
                        "{isa:?} {precision:?} {threads} threads n {n}"
                    );
                }
            }
        }
    }
}

#[test]
fn fused_preparations_equal_their_parts() {
    let (n, cols) = (14, 100);
    let (x, y, weight) = (random(n * cols, 3.0), random(n * cols, 2.0), random(cols, 1.0));
    let matrix = CodeMatrix::random(20, cols, CodeWidth::Four, 16, 4, false);
    for (isa, precision) in isas().into_iter().flat_map(|isa| Precision::ALL.map(|it| (isa, it))) {
        let pool = Pool::new(2);
        let packed = kernels::PackedMatrix::pack(&matrix, isa, &pool);
        let product = |activations: &Activations| {
            let mut out = vec![0.0; n * 20];
            matmul(isa, &pool, &packed, activations, &mut out);
            bits(&out)
        };
        let mut fused = Activations::with_precision(precision);
        let (mut parts, mut row) = (Activations::with_precision(precision), vec![0.0; n * cols]);
        fused.prepare_rms_norm(isa, &pool, &x, &weight, 1e-5, packed.needs());
        ops::rms_norm(isa, &pool, &x, &weight, 1e-5, &mut row);
        parts.prepare(isa, &pool, &row, cols, packed.needs());
        assert_eq!(product(&fused), product(&parts), "{isa:?} {precision:?} rms_norm");
        fused.prepare_silu_mul(isa, &pool, &x, &y, cols, packed.needs());
        ops::silu_mul(isa, &pool, &x, &y, &mut row);
        parts.prepare(isa, &pool, &row, cols, packed.needs());
        assert_eq!(product(&fused), product(&parts), "{isa:?} {precision:?} silu_mul");
    }
}

#[test]
fn shape_errors_are_named() {
    let pool = Pool::new(1);
    let isa = kernels::Isa::Scalar;
    let matrix = FloatMatrix::random(4, 8, SourceLayout::F32);
    let packed = kernels::PackedMatrix::pack(&matrix, isa, &pool);
    let fails = |n: usize, cols: usize, out: usize, quantised_for: kernels::Isa| {
        std::panic::catch_unwind(|| {
            let mut activations = Activations::new();
            activations.quantize(quantised_for, &pool, &vec![0.0; n * cols], cols);
            matmul(isa, &pool, &packed, &activations, &mut vec![0.0; out]);
        })
        .is_err()
    };
    assert!(!fails(2, 8, 8, isa));
    assert!(fails(2, 7, 8, isa), "columns");
    assert!(fails(2, 8, 7, isa), "output");
    if kernels::Isa::best() != isa {
        assert!(fails(2, 8, 8, kernels::Isa::best()), "another instruction set");
    }
}

#[test]
fn norms_match_f64() {
    let pool = Pool::new(2);
    for cols in [1, 15, 16, 64, 65, 127, 576] {
        for (name, x) in adversarial(3 * cols) {
            let weight = random(cols, 1.0);
            let eps = 1e-5_f32;
            let mut expected = Vec::new();
            for row in x.chunks(cols) {
                let mean = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / cols as f64;
                let inverse = 1.0 / (mean + f64::from(eps)).sqrt();
                expected
                    .extend(row.iter().zip(&weight).map(|(&x, &w)| f64::from(x) * inverse * f64::from(w)));
            }
            let magnitudes: Vec<f64> = expected.iter().map(|x| x.abs()).collect();
            for isa in isas() {
                let what = format!("{isa:?} rms_norm {cols} {name}");
                let mut out = vec![0.0; x.len()];
                ops::rms_norm(isa, &pool, &x, &weight, eps, &mut out);
                check_close(&what, &out, &expected, &magnitudes, 1e-6);
                let mut in_place = x.clone();
                ops::rms_norm_in_place(isa, &pool, &mut in_place, &weight, eps);
                assert_eq!(bits(&in_place), bits(&out), "{what} in place");
            }
        }
    }
}

#[test]
fn silu_add_and_bias_match_f64() {
    let pool = Pool::new(2);
    for len in [0, 1, 16, 31, 40_000] {
        let mut gate = random(len, 20.0);
        let extremes = [0.0, -0.0, 1e-40, -87.0, -89.0, -200.0, 89.0, 300.0, f32::MAX, f32::MIN];
        for (gate, extreme) in gate.iter_mut().zip(extremes) {
            *gate = extreme;
        }
        let up = random(len, 1.0);
        let expected: Vec<f64> = gate
            .iter()
            .zip(&up)
            .map(|(&g, &u)| f64::from(g) / (1.0 + (-f64::from(g)).exp()) * f64::from(u))
            .collect();
        // Results so small that e^-gate overflows f32 may be flushed to zero.
        let magnitudes: Vec<f64> = expected.iter().map(|x| x.abs() + 1e-30).collect();
        for isa in isas() {
            let mut out = vec![f32::NAN; len];
            ops::silu_mul(isa, &pool, &gate, &up, &mut out);
            check_close(&format!("{isa:?} silu_mul {len}"), &out, &expected, &magnitudes, 1e-6);
            let mut sum = gate.clone();
            ops::add(isa, &pool, &mut sum, &up);
            assert!(sum.iter().zip(gate.iter().zip(&up)).all(|(sum, (g, u))| *sum == g + u));
            if len > 0 {
                let mut rows = [gate.clone(), up.clone()].concat();
                ops::add_bias(isa, &pool, &mut rows, &up);
                assert!(rows[len..].iter().zip(&up).all(|(sum, u)| *sum == u + u));
                assert!(rows[..len].iter().zip(&sum).all(|(row, sum)| row == sum));
            }
            let mut nan = vec![f32::NAN, 1.0];
            ops::silu_mul(isa, &pool, &[f32::NAN, 1.0], &[1.0, f32::NAN], &mut nan);
            assert!(nan.iter().all(|x| x.is_nan()), "{isa:?}");
        }
    }
}

#[test]
fn softmax_and_argmax_match_f64() {
    for len in [1, 15, 16, 33, 1000] {
        for (name, x) in adversarial(len) {
            let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f64> = x.iter().map(|&x| (f64::from(x) - f64::from(largest)).exp()).collect();
            let sum: f64 = powers.iter().sum();
            let expected: Vec<f64> = powers.iter().map(|power| power / sum).collect();
            let magnitudes: Vec<f64> = expected.iter().map(|x| x.max(1e-30)).collect();
            for isa in isas() {
                let what = format!("{isa:?} {len} {name}");
                let mut out = x.clone();
                ops::softmax(isa, &mut out);
                check_close(&what, &out, &expected, &magnitudes, 2e-6);
                let first = x.iter().position(|&x| x == largest).unwrap();
                assert_eq!(ops::argmax(isa, &x), first, "{what}");
            }
        }
    }
    for isa in isas() {
        assert_eq!(ops::argmax(isa, &[]), 0);
        assert_eq!(ops::argmax(isa, &[f32::NAN; 70]), 0);
        assert_eq!(ops::argmax(isa, &[f32::NAN, 1.0, 3.0, 3.0, f32::NAN]), 2);
        assert_eq!(ops::argmax(isa, &[f32::NEG_INFINITY, f32::INFINITY]), 1);
        let mut with_nan = [1.0, f32::NAN, 2.0];
        ops::softmax(isa, &mut with_nan);
        assert!(with_nan.iter().all(|x| x.is_nan()), "{isa:?}");
        let mut masked = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY];
        ops::softmax(isa, &mut masked);
        assert_eq!(masked, [0.0, 1.0, 0.0], "{isa:?}");
    }
}

#[test]
fn rotations_match_f64() {
    let pool = Pool::new(2);
    for (head_dim, rotary) in [(2, 2), (8, 6), (16, 16), (64, 64), (80, 80), (128, 64), (128, 128)] {
        let (heads, length) = (3, 50);
        let half = rotary / 2;
        let angles = random(length * half, 3.0);
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|x| (x.cos(), x.sin())).unzip();
        let positions = [0, 49, 7, 7];
        let x = random(positions.len() * heads * head_dim, 1.0);
        for style in [ops::RopeStyle::Interleaved, ops::RopeStyle::HalfSplit] {
            let mut expected: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            for (token, &position) in positions.iter().enumerate() {
                for head in 0..heads {
                    for i in 0..half {
                        let at = (token * heads + head) * head_dim;
                        let (a, b) = match style {
                            ops::RopeStyle::Interleaved => (at + 2 * i, at + 2 * i + 1),
                            ops::RopeStyle::HalfSplit => (at + i, at + i + half),
                        };
                        let (c, s) =
                            (f64::from(cos[position * half + i]), f64::from(sin[position * half + i]));
                        let (p, q) = (f64::from(x[a]), f64::from(x[b]));
                        (expected[a], expected[b]) = (p * c - q * s, q * c + p * s);
                    }
                }
            }
            let magnitudes = vec![1.0; expected.len()];
            for isa in isas() {
                let mut out = x.clone();
                let table = ops::RopeTable { cos: &cos, sin: &sin, rotary };
                ops::rope(isa, &pool, style, &mut out, head_dim, table, &positions);
                check_close(
                    &format!("{isa:?} {style:?} {head_dim}/{rotary}"),
                    &out,
                    &expected,
                    &magnitudes,
                    3e-7,
                );
            }
        }
    }
}

#[test]
fn conversions_are_exact_for_every_half_float() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for isa in isas() {
        let mut wide = vec![0.0; all.len()];
        ops::f16_to_f32(isa, &all, &mut wide);
        for (&half, wide) in all.iter().zip(&wide) {
            let expected = f16::from_bits(half).to_f32();
            assert!(
                expected.to_bits() == wide.to_bits() || expected.is_nan() && wide.is_nan(),
                "{isa:?} {half:04x}"
            );
        }
        let mut back = vec![0; all.len()];
        ops::f32_to_f16(isa, &wide, &mut back);
        for ((&half, back), wide) in all.iter().zip(&back).zip(&wide) {
            assert!(half == *back || wide.is_nan() && f16::from_bits(*back).is_nan(), "{isa:?} {half:04x}");
        }
        ops::bf16_to_f32(isa, &all, &mut wide);
        for (&half, wide) in all.iter().zip(&wide) {
            let expected = bf16::from_bits(half).to_f32();
            assert!(
                expected.to_bits() == wide.to_bits() || expected.is_nan() && wide.is_nan(),
                "{isa:?} {half:04x}"
            );
        }
        for len in [0, 1, 17, 1003] {
            let x = random(len, 70_000.0);
            let mut out = vec![0; len];
            ops::f32_to_f16(isa, &x, &mut out);
            assert!(x.iter().zip(&out).all(|(&x, &out)| f16::from_f32(x).to_bits() == out), "{isa:?} {len}");
        }
    }
}
