//! AVX-512 with VNNI: a vector of the vocabulary is one register.

#![allow(clippy::wildcard_imports, reason = "intrinsics have unmistakable names")]

use std::arch::x86_64::*;

use super::{BLOCK, Kernel, LANES, Line, NONLINEAR, Simd, word_place, words};
use crate::isa::Avx512;
use crate::packed::NONLINEAR_FOUR;

/// Compiles and runs a kernel with the features whose presence the proof shows.
pub(super) fn run<K: Kernel>(proof: Avx512, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn with_features<K: Kernel>(proof: Avx512, kernel: K) -> K::Output {
        kernel.run(proof)
    }
    #[expect(unsafe_code, reason = "calls a function with target features")]
    // SAFETY: an Avx512 is only made when the CPU has these features.
    unsafe {
        with_features(proof, kernel)
    }
}

/// The codes of word `word` of a group's lines, a byte each: byte `4 r + i` is that of row r and column `4 word + i`.
#[expect(unsafe_code, reason = "intrinsics, and loads of whole lines")]
#[inline(always)]
fn codes<const WIDTH: usize>(_proof: Avx512, lines: &[Line], word: usize) -> __m512i {
    // SAFETY: the proof shows AVX-512, and each load is of one line or of the 16 bytes of the book.
    unsafe {
        let load = |line: usize| _mm512_load_si512(lines[line].0.as_ptr().cast());
        if WIDTH == 8 {
            return load(word);
        }
        let (line, line_above, bit) = word_place::<WIDTH>(word);
        let nibble = _mm512_set1_epi8(15);
        let low = match word % 2 {
            0 => _mm512_and_si512(load(line), nibble),
            _ => _mm512_and_si512(_mm512_srli_epi16::<4>(load(line)), nibble),
        };
        if WIDTH == 4 {
            return low;
        }
        if WIDTH == NONLINEAR {
            let book = _mm_loadu_si128(NONLINEAR_FOUR.as_ptr().cast());
            return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(book), low);
        }
        let above = load(line_above);
        // To bit 4 of each byte; what comes from the neighbouring byte is masked out.
        let above = match bit {
            0 => _mm512_slli_epi16::<4>(above),
            1 => _mm512_slli_epi16::<3>(above),
            2 => _mm512_slli_epi16::<2>(above),
            3 => _mm512_slli_epi16::<1>(above),
            4 => above,
            5 => _mm512_srli_epi16::<1>(above),
            6 => _mm512_srli_epi16::<2>(above),
            _ => _mm512_srli_epi16::<3>(above),
        };
        // low | above & mask
        _mm512_ternarylogic_epi32::<0xf8>(low, above, _mm512_set1_epi8(if WIDTH == 5 { 16 } else { 48 }))
    }
}

#[expect(unsafe_code, reason = "intrinsics, and loads and stores through pointers to whole arrays")]
// SAFETY (of every block here): `self` proves that the CPU has the features of each intrinsic, and each load or
// store stays within the array it is given: 16 f32, 16 u16, 16 i8 or 64 bytes.
impl Simd for Avx512 {
    type F = __m512;
    type I = __m512i;
    const TILE: usize = 12;
    const TILE_OF_PLANES: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, x: __m512, out: &mut [f32; LANES]) {
        // SAFETY: see the impl.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), x) }
    }
    #[inline(always)]
    fn load_f16(self, x: &[u16; LANES]) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())) }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[u16; LANES]) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        }
    }
    #[inline(always)]
    fn store_f16(self, x: __m512, out: &mut [u16; LANES]) {
        // SAFETY: see the impl.
        unsafe {
            let half = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x);
            _mm256_storeu_si256(out.as_mut_ptr().cast(), half);
        }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn first(self, count: usize, a: __m512, b: __m512) -> __m512 {
        let mask = if count >= LANES { u16::MAX } else { (1_u16 << count) - 1 };
        // SAFETY: see the impl.
        unsafe { _mm512_mask_blend_ps(mask, b, a) }
    }
    #[inline(always)]
    fn swap_pairs(self, a: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_permute_ps::<0b10_11_00_01>(a) }
    }
    #[inline(always)]
    fn exchange<const D: usize>(self, a: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            match D {
                1 => _mm512_permute_ps::<0b10_11_00_01>(a),
                2 => _mm512_permute_ps::<0b01_00_11_10>(a),
                4 => _mm512_shuffle_f32x4::<0b10_11_00_01>(a, a),
                _ => _mm512_shuffle_f32x4::<0b01_00_11_10>(a, a),
            }
        }
    }
    #[inline(always)]
    fn round(self, x: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x) }
    }
    #[inline(always)]
    fn scale_2n(self, p: __m512, n: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            let alive = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(n, _mm512_set1_ps(-127.0));
            _mm512_maskz_scalef_ps(alive, p, n)
        }
    }
    #[inline(always)]
    fn sum(self, x: __m512) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let x = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let x = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_add_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)))
        }
    }
    #[inline(always)]
    fn largest(self, x: __m512) -> f32 {
        // SAFETY: see the impl.
        unsafe {
            let x = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x));
            let x = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let x = _mm_max_ps(x, _mm_movehl_ps(x, x));
            _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)))
        }
    }

    #[inline(always)]
    fn zero_i(self) -> __m512i {
        // SAFETY: see the impl.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    fn splat_i(self, x: i32) -> __m512i {
        // SAFETY: see the impl.
        unsafe { _mm512_set1_epi32(x) }
    }
    #[inline(always)]
    fn add_i(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the impl.
        unsafe { _mm512_add_epi32(a, b) }
    }
    #[inline(always)]
    fn to_f32(self, x: __m512i) -> __m512 {
        // SAFETY: see the impl.
        unsafe { _mm512_cvtepi32_ps(x) }
    }
    #[inline(always)]
    fn join_planes(self, high: __m512i, low: __m512i) -> __m512i {
        // SAFETY: see the impl.
        unsafe { _mm512_add_epi32(_mm512_slli_epi32::<8>(high), low) }
    }
    #[inline(always)]
    fn largest_magnitude(self, a: __m512, b: __m512) -> u32 {
        // SAFETY: see the impl.
        unsafe {
            let magnitude = _mm512_set1_epi32(0x7fff_ffff);
            let a = _mm512_and_si512(_mm512_castps_si512(a), magnitude);
            let b = _mm512_and_si512(_mm512_castps_si512(b), magnitude);
            _mm512_reduce_max_epi32(_mm512_max_epi32(a, b)) as u32
        }
    }
    #[inline(always)]
    fn larger_magnitude(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the impl.
        unsafe {
            let magnitude = _mm512_set1_epi32(0x7fff_ffff);
            let a = _mm512_and_si512(_mm512_castps_si512(a), magnitude);
            let b = _mm512_and_si512(_mm512_castps_si512(b), magnitude);
            _mm512_castsi512_ps(_mm512_max_epi32(a, b))
        }
    }
    #[inline(always)]
    fn cut(self, x: __m512, factor: __m512, high: &mut [i8; LANES], low: &mut [i8; LANES]) -> __m512i {
        // SAFETY: see the impl.
        unsafe {
            let whole = _mm512_cvtps_epi32(_mm512_mul_ps(x, factor));
            let above = _mm512_srai_epi32::<8>(_mm512_add_epi32(whole, _mm512_set1_epi32(128)));
            // Narrowing keeps the low eight bits.
            _mm_storeu_si128(high.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(above));
            _mm_storeu_si128(low.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(whole));
            whole
        }
    }
    #[inline(always)]
    fn quantize(self, x: __m512, factor: __m512, out: &mut [i8; LANES]) -> i32 {
        // SAFETY: see the impl.
        unsafe {
            let codes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(_mm512_mul_ps(x, factor)));
            _mm_storeu_si128(out.as_mut_ptr().cast(), codes);
            // Flipping the sign bit adds 128 to each, which the sum of bytes takes as unsigned.
            let sums = _mm_sad_epu8(_mm_xor_si128(codes, _mm_set1_epi8(-128)), _mm_setzero_si128());
            _mm_cvtsi128_si32(sums) + _mm_extract_epi32::<2>(sums) - 16 * 128
        }
    }

    #[inline(always)]
    fn quantize_block(self, x: [__m512; 2], words: &mut [i32; 8]) -> [i32; 2] {
        // SAFETY: see the impl.
        unsafe {
            let [low, high] = x.map(|x| _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
            let codes = _mm256_set_m128i(high, low);
            _mm256_storeu_si256(words.as_mut_ptr().cast(), codes);
            // As in `quantize`.
            let sums =
                _mm256_sad_epu8(_mm256_xor_si256(codes, _mm256_set1_epi8(-128)), _mm256_setzero_si256());
            let sums = _mm256_add_epi64(sums, _mm256_unpackhi_epi64(sums, sums));
            let high = _mm256_extracti128_si256::<1>(sums);
            [_mm256_castsi256_si128(sums), high].map(|sum| _mm_cvtsi128_si32(sum) - 16 * 128)
        }
    }

    #[inline(always)]
    fn dots<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: &[[i32; 8]; C],
        first_word: usize,
        dots: &mut [__m512i; C],
    ) {
        for word in 0..words::<WIDTH>(lines.len()) {
            let codes = codes::<WIDTH>(self, lines, word);
            for c in 0..C {
                // SAFETY: see the impl.
                unsafe {
                    let x = _mm512_set1_epi32(x[c][first_word + word]);
                    dots[c] = _mm512_dpbusd_epi32(dots[c], codes, x);
                }
            }
        }
    }

    #[inline(always)]
    fn dots_of_planes<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: [&[[i32; 8]; C]; 2],
        first_word: usize,
        dots: [&mut [__m512i; C]; 2],
    ) {
        let [high, low] = dots;
        for word in 0..words::<WIDTH>(lines.len()) {
            let codes = codes::<WIDTH>(self, lines, word);
            for c in 0..C {
                // SAFETY: see the impl.
                unsafe {
                    let x_high = _mm512_set1_epi32(x[0][c][first_word + word]);
                    high[c] = _mm512_dpbusd_epi32(high[c], codes, x_high);
                    let x_low = _mm512_set1_epi32(x[1][c][first_word + word]);
                    low[c] = _mm512_dpbusd_epi32(low[c], codes, x_low);
                }
            }
        }
    }

    #[inline(always)]
    fn decode<'a, const WIDTH: usize>(
        self,
        lines: &'a [Line],
        space: &'a mut [Line; BLOCK / 4],
    ) -> Option<&'a [Line]> {
        if WIDTH == 8 {
            return Some(lines);
        }
        let space = &mut space[..words::<WIDTH>(lines.len())];
        for (word, line) in space.iter_mut().enumerate() {
            // SAFETY: see the impl.
            unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), codes::<WIDTH>(self, lines, word)) };
        }
        Some(space)
    }

    #[inline(always)]
    fn prefetch<T>(self, from: &T, bytes: usize) {
        let address = std::ptr::from_ref(from).cast::<i8>().wrapping_add(bytes);
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address) }
    }
}
