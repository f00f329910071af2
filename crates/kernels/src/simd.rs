//! One vector vocabulary over five instruction sets: 16 floats, 16 ints, and the int8 dot products of a panel.
//!
//! A kernel is written once, as a [`Kernel`] generic over [`Simd`]; [`Isa::run`] compiles it under each set of
//! target features. Everything between `run` and the intrinsics is `#[inline(always)]`, so that it ends up in the
//! one function that has the features. An implementor of [`Simd`] is a proof token: its methods are safe because
//! the value exists.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use crate::isa::Isa;
pub(crate) use scalar::Scalar;

/// 64 bytes of weights: one column group of a panel.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

/// Columns of a block: what one activation scale covers.
pub(crate) const BLOCK: usize = 32;
/// Rows of a panel, and lanes of a vector.
pub(crate) const LANES: usize = 16;

/// The `WIDTH` of codes of four bits that stand for the bytes of [`crate::packed::NONLINEAR_FOUR`].
pub(crate) const NONLINEAR: usize = 16 + 4;

/// Lines of a block of 32 columns: the number of bits that are stored of a code.
#[inline(always)]
pub(crate) const fn block_lines<const WIDTH: usize>() -> usize {
    if WIDTH == NONLINEAR { 4 } else { WIDTH }
}

/// Words of four columns that `lines` lines of codes of `WIDTH` bits hold.
#[inline(always)]
pub(crate) const fn words<const WIDTH: usize>(lines: usize) -> usize {
    lines * 8 / block_lines::<WIDTH>()
}

/// Where the parts of the codes of word `word` stand: the line of its low four bits, and the line and first bit of
/// those above for 5 and 6 bits. Of codes of 8 bits a line is a word. An even word's low four bits are low nibbles, an odd one's high ones.
#[inline(always)]
pub(crate) const fn word_place<const WIDTH: usize>(word: usize) -> (usize, usize, usize) {
    match WIDTH {
        5 => (word / 8 * 5 + word % 8 / 2, word / 8 * 5 + 4, word % 8),
        6 => (word / 4 * 3 + word % 4 / 2, word / 4 * 3 + 2, word % 4 * 2),
        _ => (word / 2, 0, 0),
    }
}

/// A computation that is generic over the vectors it uses.
pub(crate) trait Kernel {
    type Output;
    /// Must be `#[inline(always)]`, and so must everything hot that it calls; no closures in hot code.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// Runs a kernel compiled for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Scalar => kernel.run(Scalar),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(proof) => avx2::run(proof, kernel),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(proof) => avx2::run_vnni(proof, kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(proof) => avx512::run(proof, kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(proof) => neon::run(proof, kernel),
            // No value of the tokens exists elsewhere.
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2(_) | Self::AvxVnni(_) | Self::Avx512(_) => kernel.run(Scalar),
            #[cfg(not(target_arch = "aarch64"))]
            Self::Neon(_) => kernel.run(Scalar),
        }
    }
}

/// 16-lane vectors of one instruction set.
pub(crate) trait Simd: Copy {
    /// 16 f32.
    type F: Copy;
    /// 16 i32.
    type I: Copy;
    /// The widest tile of activation rows whose accumulators fit the registers.
    const TILE: usize;
    /// The widest tile for which the accumulators of both planes of the activations fit them.
    const TILE_OF_PLANES: usize;
    /// What [`Self::dots`] takes off codes that are whole bytes: 128 where products are of signed int8 only.
    const EIGHT_BIAS: i32 = 0;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; LANES]) -> Self::F;
    fn store(self, x: Self::F, out: &mut [f32; LANES]);
    fn load_f16(self, x: &[u16; LANES]) -> Self::F;
    fn load_bf16(self, x: &[u16; LANES]) -> Self::F;
    /// Rounds to the nearest even.
    fn store_f16(self, x: Self::F, out: &mut [u16; LANES]);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// a * b + c, in one rounding where the set has that.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger; `b` if either is NaN.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller; `b` if either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// Lanes below `count` from `a`, the others from `b`.
    fn first(self, count: usize, a: Self::F, b: Self::F) -> Self::F;
    /// Swaps the two lanes of each pair: 1, 0, 3, 2, ...
    fn swap_pairs(self, a: Self::F) -> Self::F;
    /// Gives each lane that of the index with the bit D, one of 1, 2, 4 and 8, flipped.
    fn exchange<const D: usize>(self, a: Self::F) -> Self::F;
    /// To the nearest integer, ties to even; exact for |x| < 2^22.
    fn round(self, x: Self::F) -> Self::F;
    /// `p * 2^n` for integral n in -127..=128 (-127: zero) and finite p. NaN in n gives NaN if p is NaN.
    fn scale_2n(self, p: Self::F, n: Self::F) -> Self::F;
    /// Sums the lanes in a fixed order.
    fn sum(self, x: Self::F) -> f32;
    /// The largest lane (NaN not specified).
    fn largest(self, x: Self::F) -> f32;

    fn zero_i(self) -> Self::I;
    fn splat_i(self, x: i32) -> Self::I;
    /// Wrapping.
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn to_f32(self, x: Self::I) -> Self::F;
    /// `256 * high + low`, wrapping.
    fn join_planes(self, high: Self::I, low: Self::I) -> Self::I;
    /// The largest bit pattern of |x|: orders NaN above infinity above all numbers.
    fn largest_magnitude(self, a: Self::F, b: Self::F) -> u32;
    /// The larger of |a| and |b| by bit patterns: NaN above infinity above all numbers.
    fn larger_magnitude(self, a: Self::F, b: Self::F) -> Self::F;
    /// Rounds `x * factor` to integers (ties to even) and cuts these into two planes: `256 * high + low`. The products
    /// are at most 127 * 256 in magnitude, or NaN (any value may come out). Gives the integers.
    fn cut(self, x: Self::F, factor: Self::F, high: &mut [i8; LANES], low: &mut [i8; LANES]) -> Self::I;
    /// Rounds `x * factor` to int8 (ties to even, saturating) and gives the sum of the 16. The products are at most
    /// about 127 in magnitude, or NaN (any value may come out).
    fn quantize(self, x: Self::F, factor: Self::F, out: &mut [i8; LANES]) -> i32;
    /// Rounds both halves of a block, of numbers as for [`Self::quantize`], to the words of a plane, column after column,
    /// and gives the sum of each half.
    #[inline(always)]
    fn quantize_block(self, x: [Self::F; 2], words: &mut [i32; 8]) -> [i32; 2] {
        let mut sums = [0; 2];
        for (half, x) in x.into_iter().enumerate() {
            let mut codes = [0_i8; LANES];
            sums[half] = self.quantize(x, self.splat(1.0), &mut codes);
            put_words(words, half, &codes);
        }
        sums
    }

    /// Dot products of a group of columns of a panel with C activation rows.
    ///
    /// Shapes: `lines` holds `WIDTH * columns / 32` lines, as [`crate::packed`] lays out codes of `WIDTH` bits, or nonlinear
    /// ones of four for [`NONLINEAR`]; `x[c]`
    /// the 8 words of four int8 of row c's block, of which those from `first_word`, 0 or 4, on meet these lines. Codes of
    /// 8 bits, and nonlinear ones, are taken less [`Self::EIGHT_BIAS`].
    ///
    /// ```text
    /// for each word w of the columns, row r, activation row c:
    ///     dots[c][r] += sum_i code[r][column 4 w + i] * x[c][word first_word + w][i]
    /// ```
    fn dots<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: &[[i32; 8]; C],
        first_word: usize,
        dots: &mut [Self::I; C],
    );

    /// [`Self::dots`] of the same lines with two planes of the activations, each line being decoded once.
    #[inline(always)]
    fn dots_of_planes<const WIDTH: usize, const C: usize>(
        self,
        lines: &[Line],
        x: [&[[i32; 8]; C]; 2],
        first_word: usize,
        dots: [&mut [Self::I; C]; 2],
    ) {
        for (x, dots) in x.into_iter().zip(dots) {
            self.dots::<WIDTH, C>(lines, x, first_word, dots);
        }
    }

    /// Codes of `WIDTH` bits as lines of 8 bits, of the value or in `space`, where products of one row with these are
    /// faster than with the codes. Not where these have a bias.
    #[inline(always)]
    fn decode<'a, const WIDTH: usize>(
        self,
        _lines: &'a [Line],
        _space: &'a mut [Line; BLOCK / 4],
    ) -> Option<&'a [Line]> {
        None
    }

    /// Asks for the line `bytes` after the given one; any address may be asked for. It comes into the second-level cache,
    /// where the processor can do so: of the loads that a core has under way to its first level there are too few (24 of an
    /// EPYC of family 25, which is 14 GB/s) to keep memory busy.
    fn prefetch<T>(self, from: &T, bytes: usize);
}

/// `scale * 2^x` for x up to 128: relative error below 3e-7; powers below 2^-126 are flushed to zero; NaN stays NaN.
///
/// ```text
/// n = round(x);  f = x - n in [-1/2, 1/2];  2^x = 2^n * p(f),  p of degree 6 with p(0) = 1
/// ```
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::F, scale: f32) -> S::F {
    let x = s.max(s.splat(-127.0), x);
    let n = s.round(x);
    let f = s.sub(x, n);
    // Of known numbers, so that these products are made when this is compiled.
    let mut p = s.splat(1.546_145e-4 * scale);
    p = s.fma(p, f, s.splat(1.340_042_8e-3 * scale));
    p = s.fma(p, f, s.splat(9.618_057e-3 * scale));
    p = s.fma(p, f, s.splat(5.550_327e-2 * scale));
    p = s.fma(p, f, s.splat(0.240_226_5 * scale));
    p = s.fma(p, f, s.splat(std::f32::consts::LN_2 * scale));
    p = s.fma(p, f, s.splat(scale));
    s.scale_2n(p, n)
}

/// e^x: relative error below 3e-7 for results from 2^-126 on, smaller ones flushed to zero; NaN stays NaN.
///
/// ```text
/// n = round(x / ln 2);  f = x - n ln 2 (ln 2 in two parts);  e^x = 2^n * p(f),  p of degree 6 with p(0) = 1
/// ```
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.max(s.splat(-88.0), s.min(s.splat(89.0), x));
    let n = s.round(s.mul(x, s.splat(std::f32::consts::LOG2_E)));
    let f = s.fma(n, s.splat(-0.693_359_4), x);
    let f = s.fma(n, s.splat(2.121_944_4e-4), f);
    let mut p = s.splat(1.394_110_8e-3);
    p = s.fma(p, f, s.splat(8.375_126e-3));
    p = s.fma(p, f, s.splat(4.166_635e-2));
    p = s.fma(p, f, s.splat(0.166_664_16));
    p = s.fma(p, f, s.splat(0.5));
    p = s.fma(p, f, s.splat(1.0));
    p = s.fma(p, f, s.splat(1.0));
    s.scale_2n(p, n)
}

/// Up to 16 numbers, the missing ones 0.
#[inline(always)]
pub(crate) fn load_part<S: Simd>(s: S, x: &[f32]) -> S::F {
    if let Ok(whole) = x.try_into() {
        return s.load(whole);
    }
    let mut padded = [0.0; LANES];
    padded[..x.len()].copy_from_slice(x);
    s.load(&padded)
}

/// Writes 16 codes as a half, 0 or 1, of a block's words of four.
#[inline(always)]
pub(crate) fn put_words(words: &mut [i32; 8], half: usize, codes: &[i8; LANES]) {
    for (word, bytes) in words[4 * half..][..4].iter_mut().zip(codes.as_chunks::<4>().0) {
        *word = i32::from_le_bytes(bytes.map(|byte| byte as u8));
    }
}

/// The first `out.len()`, at most 16, lanes.
#[inline(always)]
pub(crate) fn store_part<S: Simd>(s: S, x: S::F, out: &mut [f32]) {
    if let Ok(whole) = (&mut *out).try_into() {
        return s.store(x, whole);
    }
    let mut padded = [0.0; LANES];
    s.store(x, &mut padded);
    out.copy_from_slice(&padded[..out.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the two exponentials of 16 numbers.
    struct Powers<'a>(&'a mut [f32; LANES], bool);

    impl Kernel for Powers<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let x = s.load(self.0);
            s.store(if self.1 { exp2(s, x, 1.0) } else { exp(s, x) }, self.0);
        }
    }

    fn check(isa: Isa, base2: bool, x: f32) -> f64 {
        let mut lanes = [x; LANES];
        isa.run(Powers(&mut lanes, base2));
        assert!(lanes.iter().all(|lane| lane.to_bits() == lanes[0].to_bits()));
        let expected = if base2 { f64::from(x).exp2() } else { f64::from(x).exp() };
        let got = f64::from(lanes[0]);
        if expected < f64::from(f32::MIN_POSITIVE) {
            assert!(
                got <= 1.2 * f64::from(f32::MIN_POSITIVE),
                "{isa:?} {x}: {got:e} instead of {expected:e}"
            );
            return 0.0;
        }
        if expected > f64::from(f32::MAX) * 0.999_999 {
            assert!(got > f64::from(f32::MAX) * 0.999, "{isa:?} {x}: {got:e} instead of {expected:e}");
            return 0.0;
        }
        (got - expected).abs() / expected
    }

    #[test]
    fn exponentials_are_as_exact_as_they_say() {
        let step = if cfg!(miri) { 12.345 } else { 0.001_234_5 };
        for isa in Isa::available() {
            for base2 in [true, false] {
                let mut worst = (0.0, 0.0);
                let mut x = -160.0_f32;
                // Of powers of 2 no more is asked.
                while x < if base2 { 128.0 } else { 140.0 } {
                    let error = check(isa, base2, x);
                    worst = if error > worst.0 { (error, x) } else { worst };
                    x += step;
                }
                assert!(worst.0 < 3e-7, "{isa:?} base 2 {base2}: {worst:?}");
                let large = if base2 { [128.0; 2] } else { [f32::MAX, f32::INFINITY] };
                for x in [0.0, -0.0, 1e-40, -1e-40, 1.0, -1.0, f32::MIN].into_iter().chain(large) {
                    assert!(check(isa, base2, x) < 3e-7, "{isa:?} {x}");
                }
                let mut lanes = [f32::NEG_INFINITY; LANES];
                lanes[1] = f32::NAN;
                lanes[2] = 0.0;
                isa.run(Powers(&mut lanes, base2));
                assert!(
                    lanes[0].to_bits() == 0 && lanes[1].is_nan() && lanes[2].to_bits() == 1.0_f32.to_bits()
                );
            }
        }
    }

    /// The integers and both planes of 16 numbers.
    struct Cut<'a>(&'a [f32; LANES], f32);

    impl Kernel for Cut<'_> {
        type Output = ([f32; LANES], [i8; LANES], [i8; LANES]);
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let (mut wholes, mut high, mut low) = ([0.0; LANES], [0; LANES], [0; LANES]);
            let whole = s.cut(s.load(self.0), s.splat(self.1), &mut high, &mut low);
            // Added to a number and taken off again, for these two as well.
            let whole = s.add_i(s.add_i(whole, s.splat_i(1 << 20)), s.splat_i(-1 << 20));
            s.store(s.to_f32(whole), &mut wholes);
            (wholes, high, low)
        }
    }

    #[test]
    fn integers_are_rounded_to_even_and_cut_into_planes() {
        // Halves of all integers within the range, and so all ties.
        let numbers: Vec<f32> = (-65_024..=65_024).map(|i| i as f32).collect();
        let numbers = numbers.chunks(LANES).step_by(if cfg!(miri) { 997 } else { 1 });
        for (isa, numbers) in
            Isa::available().into_iter().flat_map(|isa| numbers.clone().map(move |x| (isa, x)))
        {
            let mut x = [65_024.0; LANES];
            x[..numbers.len()].copy_from_slice(numbers);
            let (wholes, high, low) = isa.run(Cut(&x, 0.5));
            for (lane, x) in x.into_iter().enumerate() {
                let expected = (f64::from(x) / 2.0).round_ties_even();
                let planes = 256 * i32::from(high[lane]) + i32::from(low[lane]);
                let whole = f64::from(wholes[lane]);
                assert!(
                    whole.to_bits() == (expected + 0.0).to_bits() && planes == expected as i32,
                    "{isa:?} {x} / 2: {whole}, in planes {planes}"
                );
            }
        }
    }

    /// Exchanges of 16 lanes, by 1, 2, 4 and 8.
    struct Exchanges<'a>(&'a [f32; LANES]);

    impl Kernel for Exchanges<'_> {
        type Output = [[f32; LANES]; 4];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let (x, mut out) = (s.load(self.0), [[0.0; LANES]; 4]);
            s.store(s.exchange::<1>(x), &mut out[0]);
            s.store(s.exchange::<2>(x), &mut out[1]);
            s.store(s.exchange::<4>(x), &mut out[2]);
            s.store(s.exchange::<8>(x), &mut out[3]);
            out
        }
    }

    /// The larger magnitudes of two vectors.
    struct Larger<'a>(&'a [f32; LANES], &'a [f32; LANES]);

    impl Kernel for Larger<'_> {
        type Output = [f32; LANES];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Self::Output {
            let mut out = [0.0; LANES];
            s.store(s.larger_magnitude(s.load(self.0), s.load(self.1)), &mut out);
            out
        }
    }

    #[test]
    fn lanes_are_exchanged_and_magnitudes_compared_by_their_bits() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        let extremes = [
            0.0,
            -0.0,
            1e-40,
            -1e-40,
            1.0,
            -1.5,
            2.0,
            -3.0,
            f32::MAX,
            f32::MIN,
            inf,
            -inf,
            nan,
            -nan,
            5.0,
            -7.0,
        ];
        for isa in Isa::available() {
            let lanes = std::array::from_fn(|lane| lane as f32);
            for (power, exchanged) in isa.run(Exchanges(&lanes)).into_iter().enumerate() {
                let expected: [f32; LANES] = std::array::from_fn(|lane| (lane ^ 1 << power) as f32);
                assert!(
                    exchanged.map(f32::to_bits) == expected.map(f32::to_bits),
                    "{isa:?} by {}: {exchanged:?}",
                    1 << power
                );
            }
            for turns in 0..LANES {
                let mut other = extremes;
                other.rotate_left(turns);
                let larger = isa.run(Larger(&extremes, &other));
                for ((larger, a), b) in larger.into_iter().zip(extremes).zip(other) {
                    let expected = a.abs().to_bits().max(b.abs().to_bits());
                    assert!(larger.to_bits() == expected, "{isa:?} {a} {b}: {larger}");
                }
            }
        }
    }
}
