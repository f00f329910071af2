//! Inputs at the ends of what numbers can be, on every instruction set that this CPU has, against plain f64 arithmetic:
//! zeros, huge, tiny and denormal numbers, infinities and NaN.
//!
//! What NaN and infinities become is part of each kernel's contract: see its documentation, and the names below.

#![allow(clippy::float_cmp, reason = "some results are exact")]

mod common;

use common::{FloatMatrix, adversarial, bits, check_close, isas, random};
use half::{bf16, f16};
use kernels::{Activations, PackedMatrix, Pool, SourceLayout, matmul, ops};

#[test]
fn float_products_of_extremes_match_f64() {
    let pool = Pool::new(1);
    for layout in [SourceLayout::F32, SourceLayout::F16, SourceLayout::Bf16] {
        for (rows, cols) in [(20, 96), (3, 37)] {
            let mut weights = adversarial(rows * cols);
            // Denormal as f16.
            weights.push(("half denormal", random(rows * cols, 3e-6)));
            for (weights_name, values) in weights {
                let matrix = FloatMatrix::of(rows, cols, layout, &values);
                for (name, x) in adversarial(cols) {
                    // A row alone, and a tile in which every row is another multiple of it.
                    let tile: Vec<f32> =
                        [1.0, -0.5, 0.25, 2.0].iter().flat_map(|f| x.iter().map(move |x| f * x)).collect();
                    for x in [x, tile] {
                        let (expected, magnitudes) = matrix.products(&x);
                        for isa in isas() {
                            let packed = PackedMatrix::pack(&matrix, isa, &pool);
                            let mut activations = Activations::new();
                            activations.prepare(isa, &pool, &x, cols, packed.needs());
                            let mut out = vec![f32::NAN; expected.len()];
                            matmul(isa, &pool, &packed, &activations, &mut out);
                            let what = format!("{isa:?} {layout:?} {weights_name} times {name}");
                            check_close(&what, &out, &expected, &magnitudes, 4e-6);
                        }
                    }
                }
            }
        }
    }
}

/// The row of a NaN is NaN; beside an infinity, or squares beyond f32, numbers become 0, and it itself NaN.
#[test]
fn norms_do_not_hide_nan_and_infinities() {
    let pool = Pool::new(1);
    for cols in [1, 15, 16, 70] {
        let weight = random(cols, 1.0);
        for at in [0, cols / 2, cols - 1] {
            for isa in isas() {
                let clean = random(2 * cols, 1.0);
                let of = |bad: f32| {
                    let mut x = clean.clone();
                    x[cols + at] = bad;
                    let mut out = vec![0.0; 2 * cols];
                    ops::rms_norm(isa, &pool, &x, &weight, 1e-5, &mut out);
                    let mut in_place = x;
                    ops::rms_norm_in_place(isa, &pool, &mut in_place, &weight, 1e-5);
                    let same = in_place.iter().zip(&out).all(|(a, b)| a == b || a.is_nan() && b.is_nan());
                    assert!(same, "{isa:?} {cols} {bad}: in place");
                    (bits(&out[..cols]), out[cols..].to_vec())
                };
                let (first, _) = of(0.5);
                let (other, row) = of(f32::NAN);
                assert!(other == first && row.iter().all(|x| x.is_nan()), "{isa:?} {cols} NaN: {row:?}");
                for bad in [f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
                    let (other, row) = of(bad);
                    assert!(other == first, "{isa:?} {cols}: the other row");
                    for (col, x) in row.iter().enumerate() {
                        let right = if col == at && bad.is_infinite() { x.is_nan() } else { *x == 0.0 };
                        assert!(right, "{isa:?} {cols} {bad}: [{col}] is {x}");
                    }
                }
            }
        }
    }
}

/// A row with +infinity, or with nothing above -infinity, has no softmax: there is NaN in it.
#[test]
fn softmax_of_infinities_is_nan_where_it_is_not_defined() {
    for len in [1, 15, 16, 17, 40] {
        for isa in isas() {
            let mut masked = vec![f32::NEG_INFINITY; len];
            ops::softmax(isa, &mut masked);
            assert!(masked.iter().all(|x| x.is_nan()), "{isa:?} {len}: {masked:?}");
            assert_eq!(ops::argmax(isa, &vec![f32::NEG_INFINITY; len]), 0);
            for at in [0, len - 1] {
                let mut x = random(len, 1.0);
                x[at] = f32::INFINITY;
                assert_eq!(ops::argmax(isa, &x), at, "{isa:?} {len}");
                ops::softmax(isa, &mut x);
                assert!(x[at].is_nan(), "{isa:?} {len}: {x:?}");
                let mut x = random(len, 1.0);
                x[at] = f32::NAN;
                ops::softmax(isa, &mut x);
                assert!(x.iter().all(|x| x.is_nan()), "{isa:?} {len}: {x:?}");
            }
        }
    }
}

#[test]
fn rotations_of_extremes_match_f64_and_nan_stays_in_its_pair() {
    let pool = Pool::new(1);
    for (head_dim, rotary) in [(6, 6), (40, 34), (64, 64)] {
        let (heads, half) = (3, rotary / 2);
        let angles = random(2 * half, 3.0);
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|x| (x.cos(), x.sin())).unzip();
        let table = ops::RopeTable { cos: &cos, sin: &sin, rotary };
        for style in [ops::RopeStyle::Interleaved, ops::RopeStyle::HalfSplit] {
            let pair = |i: usize| match style {
                ops::RopeStyle::Interleaved => (2 * i, 2 * i + 1),
                ops::RopeStyle::HalfSplit => (i, i + half),
            };
            for (name, x) in adversarial(2 * heads * head_dim) {
                let mut expected: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
                let mut magnitudes: Vec<f64> = expected.iter().map(|x| x.abs()).collect();
                for head in 0..2 * heads {
                    for i in 0..half {
                        let (a, b) = pair(i);
                        let (a, b, angle) =
                            (head * head_dim + a, head * head_dim + b, head / heads * half + i);
                        let (c, s) = (f64::from(cos[angle]), f64::from(sin[angle]));
                        let (p, q) = (expected[a], expected[b]);
                        (expected[a], expected[b]) = (p * c - q * s, q * c + p * s);
                        (magnitudes[a], magnitudes[b]) = (p.abs() + q.abs(), p.abs() + q.abs());
                    }
                }
                for isa in isas() {
                    let mut out = x.clone();
                    ops::rope(isa, &pool, style, &mut out, head_dim, table, &[0, 1]);
                    let what = format!("{isa:?} {style:?} {head_dim}/{rotary} {name}");
                    check_close(&what, &out, &expected, &magnitudes, 3e-7);
                }
            }
            for isa in isas() {
                let mut x = random(heads * head_dim, 1.0);
                let (a, b) = pair(half - 1);
                x[head_dim + a] = f32::NAN;
                ops::rope(isa, &pool, style, &mut x, head_dim, table, &[1]);
                for (at, x) in x.iter().enumerate() {
                    assert_eq!(
                        x.is_nan(),
                        at == head_dim + a || at == head_dim + b,
                        "{isa:?} {style:?} {at}"
                    );
                }
            }
        }
    }
}

/// Sums are those of f32, one by one, NaN and infinities included.
#[test]
fn sums_are_exact_whatever_the_numbers() {
    let pool = Pool::new(2);
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 1e-40, -1e-45, 0.0, -0.0];
    for len in [1, 17, 81] {
        let x: Vec<f32> = special.iter().copied().cycle().take(len).collect();
        let y: Vec<f32> = special.iter().rev().chain(&special).copied().cycle().take(len).collect();
        for isa in isas() {
            let (mut sum, mut rows) = (x.clone(), [x.clone(), y.clone()].concat());
            ops::add(isa, &pool, &mut sum, &y);
            ops::add_bias(isa, &pool, &mut rows, &y);
            for at in 0..len {
                for (out, a) in [(sum[at], x[at]), (rows[at], x[at]), (rows[len + at], y[at])] {
                    let expected = a + y[at];
                    let same = out.to_bits() == expected.to_bits() || out.is_nan() && expected.is_nan();
                    assert!(same, "{isa:?}: {a:e} + {:e} is {out:e}", y[at]);
                }
            }
        }
    }
}

/// Halves of a step go to the even neighbour, from 65,520 on f16 is infinite, denormals are kept, NaN stays NaN.
#[test]
fn numbers_between_half_floats_are_rounded_to_the_nearest() {
    let mut x = vec![
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
        // A NaN whose payload f16 has no bits for must not become an infinity.
        f32::from_bits(0x7f80_0001),
        f32::from_bits(0xff80_1000),
        f32::MAX,
        f32::MIN,
        65_504.0,
        65_519.996,
        65_520.0,
        -65_520.0,
        1e-45,
        -1e-45,
        f32::MIN_POSITIVE,
        0.0,
        -0.0,
    ];
    // Around each of some f16 numbers and the middle between it and the next, those above and below in f32.
    for half in (0..0x7bff_u16).step_by(if cfg!(miri) { 4001 } else { 7 }) {
        let (low, high) = (f16::from_bits(half).to_f32(), f16::from_bits(half + 1).to_f32());
        // Exact: neighbours in f16 have a middle in f32.
        let middle = low + (high - low) / 2.0;
        for x_bits in [low.to_bits(), middle.to_bits()] {
            for near in [x_bits.saturating_sub(1), x_bits, x_bits + 1] {
                x.extend([f32::from_bits(near), -f32::from_bits(near)]);
            }
        }
    }
    for isa in isas() {
        let mut out = vec![0; x.len()];
        ops::f32_to_f16(isa, &x, &mut out);
        for (&x, &out) in x.iter().zip(&out) {
            let same = f16::from_f32(x).to_bits() == out || x.is_nan() && f16::from_bits(out).is_nan();
            assert!(same, "{isa:?}: {x:e} ({:08x}) became {out:04x}", x.to_bits());
        }
        let narrow: Vec<u16> = x.iter().map(|&x| bf16::from_f32(x).to_bits()).collect();
        let mut wide = vec![0.0; x.len()];
        ops::bf16_to_f32(isa, &narrow, &mut wide);
        for (narrow, wide) in narrow.iter().zip(&wide) {
            assert_eq!(u32::from(*narrow) << 16, wide.to_bits(), "{isa:?} {narrow:04x}");
        }
    }
}
