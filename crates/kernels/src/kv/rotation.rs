//! The Hadamard rotation of heads: see [`super::eight`] for what it is good for.

use super::clamp;
use crate::simd::{LANES, Simd, load_part};

/// For the bits 1, 2, 4 and 8 of a lane's index: -1 where it is set.
const SIGNS: [[f32; LANES]; 4] = {
    let mut signs = [[1.0; LANES]; 4];
    let mut i = 0;
    while i < 4 * LANES {
        if (i % LANES) & (1 << (i / LANES)) != 0 {
            signs[i / LANES][i % LANES] = -1.0;
        }
        i += 1;
    }
    signs
};

/// Vectors that are mixed with each other: the largest power of two that divides their number.
fn mixed(vectors: usize) -> usize {
    1 << vectors.trailing_zeros()
}

/// Multiplies with the Hadamard matrix: each output is a sum, with signs, of the 16 numbers of each of the vectors that
/// are mixed. Twice is once times how many these are.
#[inline(always)]
pub(super) fn rotate<S: Simd>(s: S, vectors: &mut [[f32; LANES]]) {
    // The common sizes of heads stay in registers.
    if let Ok(vectors) = <&mut [_; 4]>::try_from(&mut *vectors) {
        return rotate_all::<S, 4>(s, vectors);
    }
    if let Ok(vectors) = <&mut [_; 8]>::try_from(&mut *vectors) {
        return rotate_all::<S, 8>(s, vectors);
    }
    let group = mixed(vectors.len());
    let mut distance = 1;
    while distance < group {
        for i in 0..vectors.len() {
            if i & distance == 0 {
                let (a, b) = (s.load(&vectors[i]), s.load(&vectors[i + distance]));
                s.store(s.add(a, b), &mut vectors[i]);
                s.store(s.sub(a, b), &mut vectors[i + distance]);
            }
        }
        distance *= 2;
    }
    for vector in vectors {
        s.store(rotate_vector(s, s.load(vector)), vector);
    }
}

/// The same of N vectors, a power of two.
#[inline(always)]
fn rotate_all<S: Simd, const N: usize>(s: S, vectors: &mut [[f32; LANES]; N]) {
    let mut x = [s.splat(0.0); N];
    for i in 0..N {
        x[i] = s.load(&vectors[i]);
    }
    let mut distance = 1;
    while distance < N {
        for i in 0..N {
            if i & distance == 0 {
                (x[i], x[i + distance]) = (s.add(x[i], x[i + distance]), s.sub(x[i], x[i + distance]));
            }
        }
        distance *= 2;
    }
    for i in 0..N {
        s.store(rotate_vector(s, x[i]), &mut vectors[i]);
    }
}

/// The same within a vector.
#[inline(always)]
fn rotate_vector<S: Simd>(s: S, mut x: S::F) -> S::F {
    x = s.fma(x, s.load(&SIGNS[0]), s.exchange::<1>(x));
    x = s.fma(x, s.load(&SIGNS[1]), s.exchange::<2>(x));
    x = s.fma(x, s.load(&SIGNS[2]), s.exchange::<4>(x));
    s.fma(x, s.load(&SIGNS[3]), s.exchange::<8>(x))
}

/// Rotates a head's key, value or query into `to`, `[padded / 16]`. What is to be stored is brought to f16's range and
/// divided by the numbers mixed, so that rotating it again, or its product with what is rotated too, gives what one would
/// have without. Gives the largest magnitude, or NaN if there is one.
#[inline(always)]
pub(super) fn rotate_into<S: Simd>(s: S, from: &[f32], store: bool, to: &mut [[f32; LANES]]) -> f32 {
    let factor = s.splat(if store { 1.0 / (LANES * mixed(to.len())) as f32 } else { 1.0 });
    for (to, from) in to.iter_mut().zip(from.chunks(LANES)) {
        let x = load_part(s, from);
        s.store(s.mul(if store { clamp(s, x) } else { x }, factor), to);
    }
    rotate(s, to);
    let mut largest = s.splat(0.0);
    for vector in to {
        largest = s.larger_magnitude(s.load(vector), largest);
    }
    f32::from_bits(s.largest_magnitude(largest, largest))
}
