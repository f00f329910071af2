//! AVX2 with FMA and F16C, without and with the int8 dot product: a vector of the vocabulary is two registers, rows 0 to 7
//! and rows 8 to 15.

#![allow(clippy::wildcard_imports, reason = "intrinsics have unmistakable names")]

use std::arch::x86_64::*;

use super::{Kernel, LANES, Line, NONLINEAR, Simd, word_place, words};
use crate::isa::{Avx2, AvxVnni, Encoding};
use crate::packed::NONLINEAR_FOUR;

/// Compiles and runs a kernel with the features whose presence the proof shows.
pub(super) fn run<K: Kernel>(proof: Avx2, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn with_features<K: Kernel>(proof: Avx2, kernel: K) -> K::Output {
        kernel.run(Vectors(proof))
    }
    #[expect(unsafe_code, reason = "calls a function with target features")]
    // SAFETY: an Avx2 is only made when the CPU has these features.
    unsafe {
        with_features(proof, kernel)
    }
}

/// The same with the int8 dot product, in the encoding that the CPU has.
pub(super) fn run_vnni<K: Kernel>(proof: AvxVnni, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    fn with_vex<K: Kernel>(proof: AvxVnni, kernel: K) -> K::Output {
        kernel.run(Vectors(Vex(proof)))
    }
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512vl,avx512vnni")]
    fn with_evex<K: Kernel>(proof: AvxVnni, kernel: K) -> K::Output {
        kernel.run(Vectors(Evex(proof)))
    }
    #[expect(unsafe_code, reason = "calls functions with target features")]
    // SAFETY: an AvxVnni is only made when the CPU has the features of its encoding.
    unsafe {
        match proof.0 {
            Encoding::Vex => with_vex(proof, kernel),
            Encoding::Evex => with_evex(proof, kernel),
        }
    }
}

/// The vocabulary of 256-bit vectors, by how dot products are made. A value is a proof that the CPU has their features.
#[derive(Clone, Copy)]
struct Vectors<P>(P);

/// A way to make dot products. A value of it is a proof of the features that it takes, and of those of AVX2, FMA and F16C.
trait Dots: Copy {
    /// The widest tile of activation rows.
    const TILE: usize;
    /// That of both planes.
    const TILE_OF_PLANES: usize;

    /// As [`Simd::dots`].
    fn dots<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: &[[i32; 8]; C],
        first_word: usize,
        dots: &mut [I; C],
    );
}

/// The dot product of AVX-VNNI.
#[derive(Clone, Copy)]
struct Vex(#[expect(dead_code, reason = "the proof")] AvxVnni);

/// That of AVX-512.
#[derive(Clone, Copy)]
struct Evex(#[expect(dead_code, reason = "the proof")] AvxVnni);

/// An instruction that adds to each 32-bit lane the products of four unsigned codes with four signed numbers.
trait DotProduct: Copy {
    fn add(self, sums: __m256i, codes: __m256i, x: __m256i) -> __m256i;
}

#[expect(unsafe_code, reason = "an intrinsic")]
impl DotProduct for Vex {
    #[inline(always)]
    fn add(self, sums: __m256i, codes: __m256i, x: __m256i) -> __m256i {
        // SAFETY: `run_vnni` makes this where it enables AVX-VNNI.
        unsafe { _mm256_dpbusd_avx_epi32(sums, codes, x) }
    }
}

#[expect(unsafe_code, reason = "an intrinsic")]
impl DotProduct for Evex {
    #[inline(always)]
    fn add(self, sums: __m256i, codes: __m256i, x: __m256i) -> __m256i {
        // SAFETY: `run_vnni` makes this where it enables AVX-512 VL and VNNI.
        unsafe { _mm256_dpbusd_epi32(sums, codes, x) }
    }
}

type F = [__m256; 2];
type I = [__m256i; 2];

/// Sums the groups of four products that the 16 signed halves of each register stand for.
#[expect(unsafe_code, reason = "intrinsics")]
#[inline(always)]
fn widen(pairs: __m256i) -> __m256i {
    // SAFETY: only called by what has a proof of AVX2.
    unsafe { _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)) }
}

/// 16 integers as int8, saturating.
#[expect(unsafe_code, reason = "intrinsics")]
#[inline(always)]
fn narrow(x: I) -> __m128i {
    // SAFETY: only called by what has a proof of AVX2.
    unsafe {
        // Packing works within 128-bit halves: the middle quarters come out exchanged.
        let halves = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(x[0], x[1]));
        _mm_packs_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256::<1>(halves))
    }
}

/// The low four bits of the bytes of [`NONLINEAR_FOUR`], and those above.
const BOOK_PARTS: [[u8; 16]; 2] = {
    let mut parts = [[0; 16]; 2];
    let mut i = 0;
    while i < 16 {
        parts[0][i] = NONLINEAR_FOUR[i] & 15;
        parts[1][i] = NONLINEAR_FOUR[i] >> 4;
        i += 1;
    }
    parts
};

/// Of a book of 16 bytes those that the nibbles of word `word` of half a panel's rows stand for.
#[expect(unsafe_code, reason = "intrinsics, and a load of a whole array")]
#[inline(always)]
fn look_up(book: &[u8; 16], lines: &[Line], half: usize, word: usize) -> __m256i {
    // SAFETY: only called by what has a proof of AVX2, and the load is of the book.
    unsafe {
        let book = _mm256_broadcastsi128_si256(_mm_loadu_si128(book.as_ptr().cast()));
        _mm256_shuffle_epi8(book, part::<4>(lines, half, word, false))
    }
}

/// One part of the codes of word `word` of half a panel's rows, a byte each: the low four bits, or those above.
#[expect(unsafe_code, reason = "intrinsics, and loads of half lines")]
#[inline(always)]
fn part<const WIDTH: usize>(lines: &[Line], half: usize, word: usize, above: bool) -> __m256i {
    if WIDTH == NONLINEAR {
        return look_up(&BOOK_PARTS[usize::from(above)], lines, half, word);
    }
    // SAFETY: only called by what has a proof of AVX2, and each load is of half a line.
    unsafe {
        let load = |line: usize| _mm256_load_si256(lines[line].0.as_ptr().add(32 * half).cast());
        let nibble = _mm256_set1_epi8(15);
        let (line, line_above, bit) = word_place::<WIDTH>(word);
        if above && WIDTH < 8 {
            let bits = load(line_above);
            // To bit 0 of each byte; what comes from the neighbouring byte is masked out.
            let bits = match bit {
                0 => bits,
                1 => _mm256_srli_epi16::<1>(bits),
                2 => _mm256_srli_epi16::<2>(bits),
                3 => _mm256_srli_epi16::<3>(bits),
                4 => _mm256_srli_epi16::<4>(bits),
                5 => _mm256_srli_epi16::<5>(bits),
                6 => _mm256_srli_epi16::<6>(bits),
                _ => _mm256_srli_epi16::<7>(bits),
            };
            return _mm256_and_si256(bits, _mm256_set1_epi8(if WIDTH == 5 { 1 } else { 3 }));
        }
        let line = if WIDTH == 8 { word } else { line };
        if above || WIDTH < 8 && word % 2 == 1 {
            _mm256_and_si256(_mm256_srli_epi16::<4>(load(line)), nibble)
        } else {
            _mm256_and_si256(load(line), nibble)
        }
    }
}

/// The codes of word `word` of half a panel's rows, a byte each.
#[expect(unsafe_code, reason = "intrinsics, and loads of half lines")]
#[inline(always)]
fn codes<const WIDTH: usize>(lines: &[Line], half: usize, word: usize) -> __m256i {
    if WIDTH == NONLINEAR {
        return look_up(&NONLINEAR_FOUR, lines, half, word);
    }
    // SAFETY: only called by what has a proof of AVX2, and the load is of half a line.
    unsafe {
        if WIDTH == 8 {
            return _mm256_load_si256(lines[word].0.as_ptr().add(32 * half).cast());
        }
        let low = part::<WIDTH>(lines, half, word, false);
        if WIDTH == 4 {
            return low;
        }
        // Bits 0 and 1 of each byte to bits 4 and 5.
        let above = _mm256_slli_epi16::<4>(part::<WIDTH>(lines, half, word, true));
        _mm256_or_si256(low, above)
    }
}

/// Dot products of one part of the codes, see [`part`].
#[expect(unsafe_code, reason = "intrinsics")]
#[inline(always)]
fn sums_of_part<const WIDTH: usize, const C: usize>(
    lines: &[Line],
    x: &[[i32; 8]; C],
    first_word: usize,
    above: bool,
) -> [I; C] {
    // SAFETY: only called by what has a proof of AVX2.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 2]; C];
        for word in 0..words::<WIDTH>(lines.len()) {
            for half in 0..2 {
                let codes = part::<WIDTH>(lines, half, word, above);
                for c in 0..C {
                    let pairs = _mm256_maddubs_epi16(codes, _mm256_set1_epi32(x[c][first_word + word]));
                    sums[c][half] = _mm256_add_epi16(sums[c][half], pairs);
                }
            }
        }
        for c in 0..C {
            for half in 0..2 {
                sums[c][half] = widen(sums[c][half]);
            }
        }
        sums
    }
}

#[expect(unsafe_code, reason = "intrinsics")]
// SAFETY (of every block here): `self` proves that the CPU has the features of each intrinsic.
impl Dots for Avx2 {
    const TILE: usize = 4;
    const TILE_OF_PLANES: usize = 0;

    /// `maddubs` adds pairs of products in 16 saturating bits. A nibble times an int8 is at most 15 * 128, and a
    /// block adds at most 2 * 8 of them into one 16-bit lane: 30,720, so that nothing saturates. Wider codes are
    /// taken in two parts, `16 * above + low`, each with sums of its own.
    #[inline(always)]
    fn dots<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: &[[i32; 8]; C],
        first_word: usize,
        dots: &mut [I; C],
    ) {
        let low = sums_of_part::<WIDTH, C>(lines, x, first_word, false);
        for c in 0..C {
            for half in 0..2 {
                // SAFETY: see the impl.
                unsafe { dots[c][half] = _mm256_add_epi32(dots[c][half], low[c][half]) };
            }
        }
        if WIDTH > 4 {
            let above = sums_of_part::<WIDTH, C>(lines, x, first_word, true);
            for c in 0..C {
                for half in 0..2 {
                    // SAFETY: see the impl.
                    unsafe {
                        let sums = _mm256_slli_epi32::<4>(above[c][half]);
                        dots[c][half] = _mm256_add_epi32(dots[c][half], sums);
                    }
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "intrinsics")]
// SAFETY (of every block here): `self` proves that the CPU has the features of each intrinsic.
impl<P: DotProduct> Dots for P {
    /// Of 16 registers the integer sums take 12, and the f32 sums, of which each is looked at once a block, lie in memory:
    /// wider tiles decode a line of weights for more rows.
    const TILE: usize = 6;
    const TILE_OF_PLANES: usize = 3;

    #[inline(always)]
    fn dots<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: &[[i32; 8]; C],
        first_word: usize,
        dots: &mut [I; C],
    ) {
        for word in 0..words::<WIDTH>(lines.len()) {
            let codes = [codes::<WIDTH>(lines, 0, word), codes::<WIDTH>(lines, 1, word)];
            for c in 0..C {
                // SAFETY: see the impl.
                let x = unsafe { _mm256_set1_epi32(x[c][first_word + word]) };
                for half in 0..2 {
                    dots[c][half] = self.add(dots[c][half], codes[half], x);
                }
            }
        }
    }
}

#[expect(unsafe_code, reason = "intrinsics, and loads and stores through pointers to whole arrays")]
// SAFETY (of every block here): `self` proves that the CPU has the features of each intrinsic, and each load or
// store stays within the array it is given: 16 f32, 16 u16, 16 i8 or 64 bytes.
impl<P: Dots> Simd for Vectors<P> {
    type F = F;
    type I = I;
    const TILE: usize = P::TILE;
    const TILE_OF_PLANES: usize = P::TILE_OF_PLANES;

    #[inline(always)]
    fn splat(self, x: f32) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_set1_ps(x); 2] }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))] }
    }
    #[inline(always)]
    fn store(self, x: F, out: &mut [f32; LANES]) {
        // SAFETY: see the impl.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), x[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), x[1]);
        }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> F {
        // SAFETY: see the impl.
        unsafe {
            let low = _mm_loadu_si128(x.as_ptr().cast());
            let high = _mm_loadu_si128(x.as_ptr().add(8).cast());
            [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
        }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; LANES]) -> F {
        // SAFETY: see the impl.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().cast()));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(x.as_ptr().add(8).cast()));
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
            ]
        }
    }
    #[inline(always)]
    fn store_f16(self, x: F, out: &mut [u16; LANES]) {
        // SAFETY: see the impl.
        unsafe {
            let low = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[0]);
            let high = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x[1]);
            _mm_storeu_si128(out.as_mut_ptr().cast(), low);
            _mm_storeu_si128(out.as_mut_ptr().add(8).cast(), high);
        }
    }
    #[inline(always)]
    fn add(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn div(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_min_ps(a[0], b[0]), _mm256_min_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn first(self, count: usize, a: F, b: F) -> F {
        // SAFETY: see the impl.
        unsafe {
            let count = _mm256_set1_epi32(count.min(LANES) as i32);
            let low = _mm256_cmpgt_epi32(count, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
            let high = _mm256_cmpgt_epi32(count, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15));
            [
                _mm256_blendv_ps(b[0], a[0], _mm256_castsi256_ps(low)),
                _mm256_blendv_ps(b[1], a[1], _mm256_castsi256_ps(high)),
            ]
        }
    }
    #[inline(always)]
    fn swap_pairs(self, a: F) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_permute_ps::<0b10_11_00_01>(a[0]), _mm256_permute_ps::<0b10_11_00_01>(a[1])] }
    }
    #[inline(always)]
    fn exchange<const D: usize>(self, a: F) -> F {
        // SAFETY: see the impl.
        unsafe {
            match D {
                1 => [_mm256_permute_ps::<0b10_11_00_01>(a[0]), _mm256_permute_ps::<0b10_11_00_01>(a[1])],
                2 => [_mm256_permute_ps::<0b01_00_11_10>(a[0]), _mm256_permute_ps::<0b01_00_11_10>(a[1])],
                4 => [_mm256_permute2f128_ps::<0b01>(a[0], a[0]), _mm256_permute2f128_ps::<0b01>(a[1], a[1])],
                _ => [a[1], a[0]],
            }
        }
    }
    #[inline(always)]
    fn round(self, x: F) -> F {
        // SAFETY: see the impl.
        unsafe {
            [
                _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x[0]),
                _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x[1]),
            ]
        }
    }
    #[inline(always)]
    fn scale_2n(self, p: F, n: F) -> F {
        let mut out = p;
        for half in 0..2 {
            // 2^128 is reached in two factors; n = -127 is flushed to zero.
            // SAFETY: see the impl.
            unsafe {
                let bias = _mm256_set1_epi32(127);
                let whole = _mm256_cvtps_epi32(n[half]);
                let first = _mm256_srai_epi32::<1>(whole);
                let second = _mm256_sub_epi32(whole, first);
                let first = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(first, bias)));
                let second = _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(second, bias)));
                let scaled = _mm256_mul_ps(_mm256_mul_ps(p[half], first), second);
                let alive = _mm256_cmp_ps::<_CMP_NLE_UQ>(n[half], _mm256_set1_ps(-127.0));
                out[half] = _mm256_and_ps(scaled, alive);
            }
        }
        out
    }
    #[inline(always)]
    fn sum(self, x: F) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let x = _mm256_add_ps(x[0], x[1]);
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        }
    }
    #[inline(always)]
    fn largest(self, x: F) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let x = _mm256_max_ps(x[0], x[1]);
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        }
    }

    #[inline(always)]
    fn zero_i(self) -> I {
        // SAFETY: see the impl.
        unsafe { [_mm256_setzero_si256(); 2] }
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> I {
        // SAFETY: see the impl.
        unsafe { [_mm256_set1_epi32(x); 2] }
    }
    #[inline(always)]
    fn add_i(self, a: I, b: I) -> I {
        // SAFETY: see the impl.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }
    #[inline(always)]
    fn to_f32(self, x: I) -> F {
        // SAFETY: see the impl.
        unsafe { [_mm256_cvtepi32_ps(x[0]), _mm256_cvtepi32_ps(x[1])] }
    }
    #[inline(always)]
    fn join_planes(self, high: I, low: I) -> I {
        let join = |high, low| {
            // SAFETY: see the impl.
            unsafe { _mm256_add_epi32(_mm256_slli_epi32::<8>(high), low) }
        };
        [join(high[0], low[0]), join(high[1], low[1])]
    }
    #[inline(always)]
    fn largest_magnitude(self, a: F, b: F) -> u32 {
        // SAFETY: see the impl.
        unsafe {
            let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
            let mut largest = _mm256_setzero_si256();
            for x in [a[0], a[1], b[0], b[1]] {
                largest = _mm256_max_epi32(largest, _mm256_castps_si256(_mm256_and_ps(x, magnitude)));
            }
            let x = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256::<1>(largest));
            let x = _mm_max_epi32(x, _mm_shuffle_epi32::<0b00_00_11_10>(x));
            let x = _mm_max_epi32(x, _mm_shuffle_epi32::<0b00_00_00_01>(x));
            _mm_cvtsi128_si32(x) as u32
        }
    }
    #[inline(always)]
    fn larger_magnitude(self, a: F, b: F) -> F {
        // SAFETY: see the impl.
        unsafe {
            let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fff_ffff));
            let mut larger = a;
            for half in 0..2 {
                let a = _mm256_castps_si256(_mm256_and_ps(a[half], magnitude));
                let b = _mm256_castps_si256(_mm256_and_ps(b[half], magnitude));
                larger[half] = _mm256_castsi256_ps(_mm256_max_epi32(a, b));
            }
            larger
        }
    }
    #[inline(always)]
    fn cut(self, x: F, factor: F, high: &mut [i8; LANES], low: &mut [i8; LANES]) -> I {
        // SAFETY: see the impl.
        unsafe {
            let mut whole = [_mm256_setzero_si256(); 2];
            let (mut above, mut below) = (whole, whole);
            for half in 0..2 {
                whole[half] = _mm256_cvtps_epi32(_mm256_mul_ps(x[half], factor[half]));
                let rounded = _mm256_add_epi32(whole[half], _mm256_set1_epi32(128));
                above[half] = _mm256_srai_epi32::<8>(rounded);
                // The low eight bits as a signed number.
                below[half] = _mm256_srai_epi32::<24>(_mm256_slli_epi32::<24>(whole[half]));
            }
            _mm_storeu_si128(high.as_mut_ptr().cast(), narrow(above));
            _mm_storeu_si128(low.as_mut_ptr().cast(), narrow(below));
            whole
        }
    }
    #[inline(always)]
    fn quantize(self, x: F, factor: F, out: &mut [i8; LANES]) -> i32 {
        // SAFETY: see the impl.
        unsafe {
            let low = _mm256_cvtps_epi32(_mm256_mul_ps(x[0], factor[0]));
            let high = _mm256_cvtps_epi32(_mm256_mul_ps(x[1], factor[1]));
            let codes = narrow([low, high]);
            _mm_storeu_si128(out.as_mut_ptr().cast(), codes);
            // Flipping the sign bit adds 128 to each, which the sum of bytes takes as unsigned.
            let sums = _mm_sad_epu8(_mm_xor_si128(codes, _mm_set1_epi8(-128)), _mm_setzero_si128());
            _mm_cvtsi128_si32(sums) + _mm_extract_epi32::<2>(sums) - 16 * 128
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
        self.0.dots::<WIDTH, C>(lines, x, first_word, dots);
    }

    #[inline(always)]
    fn prefetch<T>(self, from: &T, bytes: usize) {
        let address = std::ptr::from_ref(from).cast::<i8>().wrapping_add(bytes);
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address) }
    }
}
