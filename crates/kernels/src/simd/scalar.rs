//! The portable twin: what the vector kernels are compared with, and what other CPUs run.

use half::{bf16, f16};

use super::{LANES, Line, NONLINEAR, Simd, word_place, words};
use crate::packed::NONLINEAR_FOUR;

/// Needs no proof, and no features: its longer methods are functions of their own. With these within each of its kernels
/// they were as much code as those of three vector sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scalar;

type F = [f32; LANES];
type I = [i32; LANES];

#[inline(always)]
fn map(a: F, b: F, f: impl Fn(f32, f32) -> f32) -> F {
    let mut out = [0.0; LANES];
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        *out = f(a, b);
    }
    out
}

/// Halves the lanes until one is left, as the vector sets do.
#[inline(always)]
fn reduce(mut x: F, f: impl Fn(f32, f32) -> f32) -> f32 {
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            x[lane] = f(x[lane], x[lane + width]);
        }
    }
    x[0]
}

impl Simd for Scalar {
    type F = F;
    type I = I;
    const TILE: usize = 4;
    const TILE_OF_PLANES: usize = 0;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        [x; LANES]
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> F {
        *x
    }
    #[inline(always)]
    fn store(self, x: F, out: &mut [f32; LANES]) {
        *out = x;
    }
    #[inline(never)]
    fn load_f16(self, x: &[u16; LANES]) -> F {
        x.map(|bits| f16::from_bits(bits).to_f32())
    }
    #[inline(never)]
    fn load_bf16(self, x: &[u16; LANES]) -> F {
        x.map(|bits| bf16::from_bits(bits).to_f32())
    }
    #[inline(never)]
    fn store_f16(self, x: F, out: &mut [u16; LANES]) {
        *out = x.map(|x| f16::from_f32(x).to_bits());
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        map(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        map(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        map(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        map(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        // Two roundings: without the instruction, one rounding costs a call into the C library.
        map(map(a, b, |a, b| a * b), c, |ab, c| ab + c)
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        map(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        map(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn first(self, count: usize, a: F, b: F) -> F {
        let mut out = b;
        for (lane, out) in out.iter_mut().enumerate() {
            if lane < count {
                *out = a[lane];
            }
        }
        out
    }
    #[inline(always)]
    fn swap_pairs(self, mut a: F) -> F {
        for pair in a.as_chunks_mut::<2>().0 {
            pair.swap(0, 1);
        }
        a
    }
    #[inline(always)]
    fn exchange<const D: usize>(self, a: F) -> F {
        std::array::from_fn(|lane| a[lane ^ D])
    }
    #[inline(always)]
    fn round(self, x: F) -> F {
        // Adding 1.5 * 2^23 leaves no fraction bits.
        const MAGIC: f32 = 12_582_912.0;
        x.map(|x| (x + MAGIC) - MAGIC)
    }
    #[inline(never)]
    fn scale_2n(self, p: F, n: F) -> F {
        map(p, n, |p, n| {
            // 2^128 is reached in two factors.
            let half = ((n as i32) >> 1).clamp(-64, 64);
            let rest = (n as i32 - half).clamp(-64, 64);
            let power = |n: i32| f32::from_bits(((n + 127) as u32) << 23);
            if n <= -127.0 { 0.0 } else { p * power(half) * power(rest) }
        })
    }
    #[inline(always)]
    fn sum(self, x: F) -> f32 {
        reduce(x, |a, b| a + b)
    }
    #[inline(always)]
    fn largest(self, x: F) -> f32 {
        reduce(x, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn zero_i(self) -> I {
        [0; LANES]
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> I {
        [x; LANES]
    }
    #[inline(always)]
    fn add_i(self, a: I, b: I) -> I {
        std::array::from_fn(|lane| a[lane].wrapping_add(b[lane]))
    }
    #[inline(always)]
    fn to_f32(self, x: I) -> F {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    fn join_planes(self, high: I, low: I) -> I {
        std::array::from_fn(|lane| high[lane].wrapping_mul(256).wrapping_add(low[lane]))
    }
    #[inline(always)]
    fn largest_magnitude(self, a: F, b: F) -> u32 {
        a.iter().chain(&b).fold(0, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff))
    }
    #[inline(always)]
    fn larger_magnitude(self, a: F, b: F) -> F {
        map(a, b, |a, b| f32::from_bits((a.to_bits() & 0x7fff_ffff).max(b.to_bits() & 0x7fff_ffff)))
    }
    #[inline(always)]
    fn cut(self, x: F, factor: F, high: &mut [i8; LANES], low: &mut [i8; LANES]) -> I {
        let whole = self.round(self.mul(x, factor)).map(|x| x as i32);
        *high = whole.map(|whole| (whole.wrapping_add(128) >> 8) as i8);
        *low = whole.map(|whole| whole as i8);
        whole
    }
    #[inline(always)]
    fn quantize(self, x: F, factor: F, out: &mut [i8; LANES]) -> i32 {
        let rounded = self.round(self.mul(x, factor));
        let mut sum = 0;
        for (out, x) in out.iter_mut().zip(rounded) {
            *out = x as i8;
            sum += i32::from(*out);
        }
        sum
    }

    #[inline(never)]
    fn dots<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: &[[i32; 8]; C],
        first_word: usize,
        dots: &mut [I; C],
    ) {
        for word in 0..words::<WIDTH>(lines.len()) {
            let (line, line_above, bit) = word_place::<WIDTH>(word);
            let line = &lines[if WIDTH == 8 { word } else { line }].0;
            let above = &lines[line_above].0;
            for (dots, x) in dots.iter_mut().zip(x) {
                let x = x[first_word + word].to_le_bytes();
                for (r, dot) in dots.iter_mut().enumerate() {
                    for i in 0..4 {
                        let (stored, above) = (i32::from(line[4 * r + i]), i32::from(above[4 * r + i]));
                        let nibble = stored >> (4 * (word % 2)) & 15;
                        let code = match WIDTH {
                            4 => nibble,
                            NONLINEAR => i32::from(NONLINEAR_FOUR[nibble as usize]),
                            5 => nibble | (above >> bit & 1) << 4,
                            6 => nibble | (above >> bit & 3) << 4,
                            _ => stored,
                        };
                        *dot += code * i32::from(x[i] as i8);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, _from: &T, _bytes: usize) {}
}
