//! NEON with the int8 dot product (`FEAT_DotProd`): a vector of the vocabulary is four registers of four rows each.
//!
//! `sdot` multiplies signed by signed. Codes of 4, 5 and 6 bits are below 128 and so the same in either reading; 8-bit
//! and nonlinear codes are taken less 128, which [`Simd::EIGHT_BIAS`] tells whoever takes zero points off.
//!
//! The dot product and prefetches have no stable intrinsics yet, so they are assembly of one instruction each.

#![allow(clippy::wildcard_imports, reason = "intrinsics have unmistakable names")]

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Kernel, LANES, Line, NONLINEAR, Simd, word_place, words};
use crate::isa::Neon;
use crate::packed::NONLINEAR_FOUR;

/// Compiles and runs a kernel with the features whose presence the proof shows.
pub(super) fn run<K: Kernel>(proof: Neon, kernel: K) -> K::Output {
    #[target_feature(enable = "neon,dotprod")]
    fn with_features<K: Kernel>(proof: Neon, kernel: K) -> K::Output {
        kernel.run(proof)
    }
    #[expect(unsafe_code, reason = "calls a function with target features")]
    // SAFETY: a Neon is only made when the CPU has these features.
    unsafe {
        with_features(proof, kernel)
    }
}

type F = [float32x4_t; 4];
type I = [int32x4_t; 4];

#[inline(always)]
fn map(a: F, b: F, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> F {
    [f(a[0], b[0]), f(a[1], b[1]), f(a[2], b[2]), f(a[3], b[3])]
}

/// The low eight bits of 16 integers.
#[expect(unsafe_code, reason = "intrinsics")]
#[inline(always)]
fn low_bytes(_proof: Neon, x: I) -> int8x16_t {
    // SAFETY: the proof shows NEON.
    unsafe {
        let first = vcombine_s16(vmovn_s32(x[0]), vmovn_s32(x[1]));
        let second = vcombine_s16(vmovn_s32(x[2]), vmovn_s32(x[3]));
        vcombine_s8(vmovn_s16(first), vmovn_s16(second))
    }
}

/// `sums[r] + sum_i codes[4 r + i] * x[4 LANE + i]`, for x as 16 int8.
#[expect(unsafe_code, reason = "an instruction without a stable intrinsic")]
#[inline(always)]
fn sdot<const LANE: usize>(_proof: Neon, mut sums: int32x4_t, codes: int8x16_t, x: int32x4_t) -> int32x4_t {
    // SAFETY: the proof shows the instruction; it reads and writes these registers and nothing else.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {codes:v}.16b, {x:v}.4b[{lane}]",
            sums = inout(vreg) sums,
            codes = in(vreg) codes,
            x = in(vreg) x,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// The codes of word `word` of rows `4 quarter..4 quarter + 4`, a byte each; 8-bit and nonlinear ones less 128.
#[expect(unsafe_code, reason = "intrinsics, and loads of quarters of lines")]
#[inline(always)]
fn codes<const WIDTH: usize>(_proof: Neon, lines: &[Line], quarter: usize, word: usize) -> int8x16_t {
    // SAFETY: the proof shows NEON, and each load is of a quarter of a line or of the 16 bytes of the book.
    unsafe {
        let load = |line: usize| vld1q_u8(lines[line].0.as_ptr().add(16 * quarter));
        if WIDTH == 8 {
            return vreinterpretq_s8_u8(veorq_u8(load(word), vdupq_n_u8(128)));
        }
        let (line, line_above, bit) = word_place::<WIDTH>(word);
        let low = match word % 2 {
            0 => vandq_u8(load(line), vdupq_n_u8(15)),
            _ => vshrq_n_u8::<4>(load(line)),
        };
        if WIDTH == 4 {
            return vreinterpretq_s8_u8(low);
        }
        if WIDTH == NONLINEAR {
            let book = veorq_u8(vld1q_u8(NONLINEAR_FOUR.as_ptr()), vdupq_n_u8(128));
            return vreinterpretq_s8_u8(vqtbl1q_u8(book, low));
        }
        let above = load(line_above);
        // To bit 4 of each byte.
        let above = match bit {
            0 => vshlq_n_u8::<4>(above),
            1 => vshlq_n_u8::<3>(above),
            2 => vshlq_n_u8::<2>(above),
            3 => vshlq_n_u8::<1>(above),
            4 => above,
            5 => vshrq_n_u8::<1>(above),
            6 => vshrq_n_u8::<2>(above),
            _ => vshrq_n_u8::<3>(above),
        };
        let above = vandq_u8(above, vdupq_n_u8(if WIDTH == 5 { 16 } else { 48 }));
        vreinterpretq_s8_u8(vorrq_u8(low, above))
    }
}

/// Dot products of word WORD of some lines with C activation rows in P planes.
#[expect(unsafe_code, reason = "intrinsics, and loads of whole arrays")]
#[inline(always)]
fn dots_of_word<const WIDTH: usize, const WORD: usize, const C: usize, const P: usize>(
    proof: Neon,
    lines: &[Line],
    x: [&[[i32; 8]; C]; P],
    first_word: usize,
    dots: &mut [&mut [I; C]; P],
) {
    for quarter in 0..4 {
        let codes = codes::<WIDTH>(proof, lines, quarter, WORD);
        for plane in 0..P {
            for c in 0..C {
                let words = &x[plane][c].as_chunks::<4>().0[(first_word + WORD) / 4];
                // SAFETY: the proof shows NEON, and the load is of four words.
                let words = unsafe { vld1q_s32(words.as_ptr()) };
                let sums = &mut dots[plane][c][quarter];
                *sums = match WORD % 4 {
                    0 => sdot::<0>(proof, *sums, codes, words),
                    1 => sdot::<1>(proof, *sums, codes, words),
                    2 => sdot::<2>(proof, *sums, codes, words),
                    _ => sdot::<3>(proof, *sums, codes, words),
                };
            }
        }
    }
}

/// Dot products of the four or eight words of some lines. Written out, as an instruction names the lane of its word.
#[inline(always)]
fn dots_of_words<const WIDTH: usize, const C: usize, const P: usize>(
    proof: Neon,
    lines: &[Line],
    x: [&[[i32; 8]; C]; P],
    first_word: usize,
    mut dots: [&mut [I; C]; P],
) {
    let words = words::<WIDTH>(lines.len());
    assert!((words == 4 || words == 8) && first_word.is_multiple_of(4) && first_word + words <= 8);
    dots_of_word::<WIDTH, 0, C, P>(proof, lines, x, first_word, &mut dots);
    dots_of_word::<WIDTH, 1, C, P>(proof, lines, x, first_word, &mut dots);
    dots_of_word::<WIDTH, 2, C, P>(proof, lines, x, first_word, &mut dots);
    dots_of_word::<WIDTH, 3, C, P>(proof, lines, x, first_word, &mut dots);
    if words == 8 {
        dots_of_word::<WIDTH, 4, C, P>(proof, lines, x, first_word, &mut dots);
        dots_of_word::<WIDTH, 5, C, P>(proof, lines, x, first_word, &mut dots);
        dots_of_word::<WIDTH, 6, C, P>(proof, lines, x, first_word, &mut dots);
        dots_of_word::<WIDTH, 7, C, P>(proof, lines, x, first_word, &mut dots);
    }
}

#[expect(unsafe_code, reason = "intrinsics, and loads and stores through pointers to whole arrays")]
// SAFETY (of every block here): `self` proves that the CPU has the features of each intrinsic, and each load or
// store stays within the array it is given: 16 f32, 16 u16 or 16 i8.
impl Simd for Neon {
    type F = F;
    type I = I;
    const TILE: usize = 4;
    const TILE_OF_PLANES: usize = 2;
    const EIGHT_BIAS: i32 = 128;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        // SAFETY: see the impl.
        unsafe { [vdupq_n_f32(x); 4] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> F {
        let load = |quarter: usize| {
            // SAFETY: see the impl.
            unsafe { vld1q_f32(x.as_ptr().add(4 * quarter)) }
        };
        [load(0), load(1), load(2), load(3)]
    }
    #[inline(always)]
    fn store(self, x: F, out: &mut [f32; LANES]) {
        for quarter in 0..4 {
            // SAFETY: see the impl.
            unsafe { vst1q_f32(out.as_mut_ptr().add(4 * quarter), x[quarter]) };
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> F {
        let load = |quarter: usize| {
            // SAFETY: see the impl.
            unsafe { vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(x.as_ptr().add(4 * quarter)))) }
        };
        [load(0), load(1), load(2), load(3)]
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; LANES]) -> F {
        let load = |quarter: usize| {
            // SAFETY: see the impl.
            unsafe {
                let wide = vmovl_u16(vld1_u16(x.as_ptr().add(4 * quarter)));
                vreinterpretq_f32_u32(vshlq_n_u32::<16>(wide))
            }
        };
        [load(0), load(1), load(2), load(3)]
    }
    #[inline(always)]
    fn store_f16(self, x: F, out: &mut [u16; LANES]) {
        for quarter in 0..4 {
            // SAFETY: see the impl.
            unsafe {
                let half = vreinterpret_u16_f16(vcvt_f16_f32(x[quarter]));
                vst1_u16(out.as_mut_ptr().add(4 * quarter), half);
            }
        }
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        map(a, b, |a, b| unsafe { vaddq_f32(a, b) })
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        map(a, b, |a, b| unsafe { vsubq_f32(a, b) })
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        map(a, b, |a, b| unsafe { vmulq_f32(a, b) })
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        map(a, b, |a, b| unsafe { vdivq_f32(a, b) })
    }
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        // SAFETY: see the impl.
        let fma = |quarter: usize| unsafe { vfmaq_f32(c[quarter], a[quarter], b[quarter]) };
        [fma(0), fma(1), fma(2), fma(3)]
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        // The set's own maximum is NaN if either is.
        // SAFETY: see the impl.
        map(a, b, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        map(a, b, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }
    #[inline(always)]
    fn first(self, count: usize, a: F, b: F) -> F {
        const INDICES: [u32; LANES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let mut out = b;
        for quarter in 0..4 {
            // SAFETY: see the impl.
            unsafe {
                let indices = vld1q_u32(INDICES.as_ptr().add(4 * quarter));
                let chosen = vcltq_u32(indices, vdupq_n_u32(count.min(LANES) as u32));
                out[quarter] = vbslq_f32(chosen, a[quarter], b[quarter]);
            }
        }
        out
    }
    #[inline(always)]
    fn swap_pairs(self, a: F) -> F {
        // SAFETY: see the impl.
        a.map(|a| unsafe { vrev64q_f32(a) })
    }
    #[inline(always)]
    fn exchange<const D: usize>(self, a: F) -> F {
        match D {
            // SAFETY: see the impl.
            1 => a.map(|a| unsafe { vrev64q_f32(a) }),
            // SAFETY: see the impl.
            2 => a.map(|a| unsafe { vextq_f32::<2>(a, a) }),
            4 => [a[1], a[0], a[3], a[2]],
            _ => [a[2], a[3], a[0], a[1]],
        }
    }
    #[inline(always)]
    fn round(self, x: F) -> F {
        // SAFETY: see the impl.
        x.map(|x| unsafe { vrndnq_f32(x) })
    }
    #[inline(always)]
    fn scale_2n(self, p: F, n: F) -> F {
        map(p, n, |p, n| {
            // 2^128 is reached in two factors; n = -127 is flushed to zero.
            // SAFETY: see the impl.
            unsafe {
                let bias = vdupq_n_s32(127);
                let whole = vcvtnq_s32_f32(n);
                let first = vshrq_n_s32::<1>(whole);
                let second = vsubq_s32(whole, first);
                let first = vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(first, bias)));
                let second = vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(second, bias)));
                let scaled = vreinterpretq_u32_f32(vmulq_f32(vmulq_f32(p, first), second));
                vreinterpretq_f32_u32(vbicq_u32(scaled, vcleq_f32(n, vdupq_n_f32(-127.0))))
            }
        })
    }
    #[inline(always)]
    fn sum(self, x: F) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let x = vaddq_f32(vaddq_f32(x[0], x[2]), vaddq_f32(x[1], x[3]));
            let x = vadd_f32(vget_low_f32(x), vget_high_f32(x));
            vget_lane_f32::<0>(x) + vget_lane_f32::<1>(x)
        }
    }
    #[inline(always)]
    fn largest(self, x: F) -> f32 {
        // SAFETY: see the impl.
        unsafe { vmaxvq_f32(vmaxq_f32(vmaxq_f32(x[0], x[2]), vmaxq_f32(x[1], x[3]))) }
    }

    #[inline(always)]
    fn zero_i(self) -> I {
        // SAFETY: see the impl.
        unsafe { [vdupq_n_s32(0); 4] }
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> I {
        // SAFETY: see the impl.
        unsafe { [vdupq_n_s32(x); 4] }
    }
    #[inline(always)]
    fn add_i(self, a: I, b: I) -> I {
        // SAFETY: see the impl.
        let add = |quarter: usize| unsafe { vaddq_s32(a[quarter], b[quarter]) };
        [add(0), add(1), add(2), add(3)]
    }
    #[inline(always)]
    fn to_f32(self, x: I) -> F {
        // SAFETY: see the impl.
        x.map(|x| unsafe { vcvtq_f32_s32(x) })
    }
    #[inline(always)]
    fn join_planes(self, high: I, low: I) -> I {
        // SAFETY: see the impl.
        let join = |quarter: usize| unsafe { vaddq_s32(vshlq_n_s32::<8>(high[quarter]), low[quarter]) };
        [join(0), join(1), join(2), join(3)]
    }
    #[inline(always)]
    fn largest_magnitude(self, a: F, b: F) -> u32 {
        // SAFETY: see the impl.
        unsafe {
            let mut largest = vdupq_n_u32(0);
            for x in [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]] {
                largest = vmaxq_u32(largest, vreinterpretq_u32_f32(vabsq_f32(x)));
            }
            vmaxvq_u32(largest)
        }
    }
    #[inline(always)]
    fn larger_magnitude(self, a: F, b: F) -> F {
        map(a, b, |a, b| {
            // SAFETY: see the impl.
            unsafe {
                let (a, b) = (vreinterpretq_u32_f32(vabsq_f32(a)), vreinterpretq_u32_f32(vabsq_f32(b)));
                vreinterpretq_f32_u32(vmaxq_u32(a, b))
            }
        })
    }
    #[inline(always)]
    fn cut(self, x: F, factor: F, high: &mut [i8; LANES], low: &mut [i8; LANES]) -> I {
        // SAFETY: see the impl.
        let whole = |quarter: usize| unsafe { vcvtnq_s32_f32(vmulq_f32(x[quarter], factor[quarter])) };
        let whole = [whole(0), whole(1), whole(2), whole(3)];
        // SAFETY: see the impl.
        unsafe {
            // (whole + 128) >> 8.
            let above = whole.map(|whole| vrshrq_n_s32::<8>(whole));
            vst1q_s8(high.as_mut_ptr(), low_bytes(self, above));
            vst1q_s8(low.as_mut_ptr(), low_bytes(self, whole));
        }
        whole
    }
    #[inline(always)]
    fn quantize(self, x: F, factor: F, out: &mut [i8; LANES]) -> i32 {
        let halves = |quarter: usize| {
            // SAFETY: see the impl.
            unsafe { vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(x[quarter], factor[quarter]))) }
        };
        // SAFETY: see the impl.
        unsafe {
            let low = vqmovn_s16(vcombine_s16(halves(0), halves(1)));
            let high = vqmovn_s16(vcombine_s16(halves(2), halves(3)));
            let codes = vcombine_s8(low, high);
            vst1q_s8(out.as_mut_ptr(), codes);
            i32::from(vaddlvq_s8(codes))
        }
    }

    #[inline(always)]
    fn dots<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: &[[i32; 8]; C],
        first_word: usize,
        dots: &mut [I; C],
    ) {
        dots_of_words::<WIDTH, C, 1>(self, lines, [x], first_word, [dots]);
    }

    #[inline(always)]
    fn dots_of_planes<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: [&[[i32; 8]; C]; 2],
        first_word: usize,
        dots: [&mut [I; C]; 2],
    ) {
        dots_of_words::<WIDTH, C, 2>(self, lines, x, first_word, dots);
    }

    #[inline(always)]
    fn prefetch<T>(self, from: &T, bytes: usize) {
        let address = std::ptr::from_ref(from).cast::<u8>().wrapping_add(bytes);
        // SAFETY: a prefetch never faults, whatever the address, and changes nothing that a program sees.
        unsafe {
            asm!(
                "prfm pldl1keep, [{address}]",
                address = in(reg) address,
                options(readonly, nostack, preserves_flags),
            );
        }
    }
}
