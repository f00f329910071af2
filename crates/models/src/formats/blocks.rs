//! One block of each format. All fields are little-endian; `d`, `m` and `dmin` are f16.
//!
//! ```text
//! Q4_0    d, qs[16]                            value j: low nibble of qs[j]; j+16: high nibble;  d*(q-8)
//! Q4_1    d, m, qs[16]                         the same nibbles;  d*q + m
//! Q5_0    d, qh[4], qs[16]                     bit j of qh is the fifth bit;  d*(q-16)
//! Q5_1    d, m, qh[4], qs[16]                  d*q + m
//! Q8_0    d, qs[32] signed                     d*q
//! Q2_K    scales[16], qs[64], d, dmin          per 16: (d*(s&15))*q - dmin*(s>>4)
//! Q3_K    hmask[32], qs[64], scales[12], d     per 16: d*(s-32), s of 6 bits;  scale*(q-4)
//! Q4_K    d, dmin, scales[12], qs[128]         per 32: (d*s)*q - dmin*m, s and m of 6 bits
//! Q5_K    d, dmin, scales[12], qh[32], qs[128] as Q4_K with a fifth bit
//! Q6_K    ql[128], qh[64], scales[16] i8, d    per 16: (d*s)*(q-32)
//! IQ4_NL  d, qs[16]                            nibbles index a table;  d*table[q]
//! IQ4_XS  d, scales_h[2], scales_l[4], qs[128] per 32: (d*(s-32))*table[q], s of 6 bits
//! ```

use half::{bf16, f16};
use kernels::NONLINEAR_FOUR;

use super::{Codes, Format};

/// Where a decoded block goes.
pub(super) struct View<'a> {
    /// `[block_len]`.
    pub(super) codes: &'a mut [u8],
    /// `[block_len / group]`.
    pub(super) scales: &'a mut [f32],
    /// `[block_len / group]`, or empty when the format has no minimum.
    pub(super) mins: &'a mut [f32],
}

/// Room for one decoded block of any format.
pub(super) struct Block {
    codes: [u8; 256],
    scales: [f32; 16],
    mins: [f32; 16],
}

impl Default for Block {
    fn default() -> Self {
        Self { codes: [0; 256], scales: [0.0; 16], mins: [0.0; 16] }
    }
}

impl Block {
    pub(super) fn view(&mut self, block_len: usize, codes: Codes) -> View<'_> {
        let groups = block_len / codes.group;
        View {
            codes: &mut self.codes[..block_len],
            scales: &mut self.scales[..groups],
            mins: &mut self.mins[..if codes.has_min { groups } else { 0 }],
        }
    }

    /// The values of the decoded block: a product, then at most one sum, each rounded once, as ggml's scalar code.
    pub(super) fn values(&self, codes: Codes, out: &mut [f32]) {
        let zero_point = f32::from(codes.zero_point);
        for (group, out) in out.chunks_exact_mut(codes.group).enumerate() {
            let scale = self.scales[group];
            for (value, code) in out.iter_mut().zip(&self.codes[group * codes.group..]) {
                *value = scale * (f32::from(*code) - zero_point);
                if codes.has_min {
                    *value += self.mins[group];
                }
            }
        }
    }
}

/// The value of a "block" of F32, F16 or BF16.
pub(super) fn float(format: Format, block: &[u8]) -> f32 {
    match format {
        Format::F16 => half_at(block, 0),
        Format::BF16 => bf16::from_le_bytes([block[0], block[1]]).to_f32(),
        _ => f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
    }
}

/// Decodes a block of an integer format; `block` is `block_bytes` long and `out` as the format's layout says.
pub(super) fn decode(format: Format, block: &[u8], out: &mut View<'_>) {
    match format {
        Format::Q4_0 => scale_nibbles(block, out),
        Format::Q4_1 => {
            nibbles(&block[4..20], out.codes);
            scale_and_min(block, out);
        }
        Format::Q5_0 => {
            nibbles(&block[6..22], out.codes);
            fifth_bits(&block[2..6], out.codes);
            out.scales[0] = half_at(block, 0);
        }
        Format::Q5_1 => {
            nibbles(&block[8..24], out.codes);
            fifth_bits(&block[4..8], out.codes);
            scale_and_min(block, out);
        }
        Format::Q8_0 => {
            out.scales[0] = half_at(block, 0);
            // Two's complement plus 128 is the sign bit flipped.
            out.codes.iter_mut().zip(&block[2..34]).for_each(|(code, q)| *code = q ^ 0x80);
        }
        Format::Q2K => q2_k(block, out),
        Format::Q3K => q3_k(block, out),
        Format::Q4K => {
            k_scales(block, out);
            nibbles_by_64(&block[16..144], out.codes);
        }
        Format::Q5K => {
            k_scales(block, out);
            nibbles_by_64(&block[48..176], out.codes);
            for (half, codes) in out.codes.chunks_exact_mut(32).enumerate() {
                codes.iter_mut().zip(&block[16..48]).for_each(|(code, qh)| *code |= (qh >> half & 1) << 4);
            }
        }
        Format::Q6K => q6_k(block, out),
        Format::Iq4Nl => {
            scale_nibbles(block, out);
            out.codes.iter_mut().for_each(iq4_code);
        }
        Format::Iq4Xs => iq4_xs(block, out),
        Format::F32 | Format::F16 | Format::BF16 => unreachable!("{} has no integer codes", format.name()),
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// `d, qs[16]`.
fn scale_nibbles(block: &[u8], out: &mut View<'_>) {
    out.scales[0] = half_at(block, 0);
    nibbles(&block[2..18], out.codes);
}

/// `d, m` at the front.
fn scale_and_min(block: &[u8], out: &mut View<'_>) {
    out.scales[0] = half_at(block, 0);
    out.mins[0] = half_at(block, 2);
}

/// `n` bytes to `2n` codes: the low nibbles, then the high ones.
fn nibbles(packed: &[u8], codes: &mut [u8]) {
    let (low, high) = codes.split_at_mut(packed.len());
    for ((low, high), byte) in low.iter_mut().zip(high).zip(packed) {
        *low = byte & 0x0f;
        *high = byte >> 4;
    }
}

/// 128 bytes to 256 codes; each 32 bytes hold 32 low nibbles, then 32 high ones.
fn nibbles_by_64(packed: &[u8], codes: &mut [u8]) {
    packed
        .chunks_exact(32)
        .zip(codes.chunks_exact_mut(64))
        .for_each(|(packed, codes)| nibbles(packed, codes));
}

/// Bit `j` of a 32-bit field onto code `j`.
fn fifth_bits(field: &[u8], codes: &mut [u8]) {
    for (index, code) in codes.iter_mut().enumerate() {
        *code |= (field[index / 8] >> (index % 8) & 1) << 4;
    }
}

fn iq4_code(code: &mut u8) {
    *code = NONLINEAR_FOUR[usize::from(*code & 0x0f)];
}

/// Scales and minima of `Q4_K` and `Q5_K`: `d, dmin`, then eight pairs of 6-bit numbers in 12 bytes.
fn k_scales(block: &[u8], out: &mut View<'_>) {
    let (d, dmin, packed) = (half_at(block, 0), half_at(block, 2), &block[4..16]);
    for group in 0..8 {
        let (scale, min) = if group < 4 {
            (packed[group] & 63, packed[group + 4] & 63)
        } else {
            let (low, high) = (packed[group + 4], (packed[group - 4] >> 6, packed[group] >> 6));
            (low & 15 | high.0 << 4, low >> 4 | high.1 << 4)
        };
        out.scales[group] = d * f32::from(scale);
        out.mins[group] = -(dmin * f32::from(min));
    }
}

/// 64 bytes to 256 two-bit codes: each 32 bytes hold four planes of 32.
fn two_bits(packed: &[u8], codes: &mut [u8]) {
    for (packed, codes) in packed.chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        for (plane, codes) in codes.chunks_exact_mut(32).enumerate() {
            codes.iter_mut().zip(packed).for_each(|(code, byte)| *code = byte >> (2 * plane) & 3);
        }
    }
}

fn q2_k(block: &[u8], out: &mut View<'_>) {
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    for (group, pair) in block[..16].iter().enumerate() {
        out.scales[group] = d * f32::from(pair & 15);
        out.mins[group] = -(dmin * f32::from(pair >> 4));
    }
    two_bits(&block[16..80], out.codes);
}

fn q3_k(block: &[u8], out: &mut View<'_>) {
    let (hmask, scales, d) = (&block[..32], &block[96..108], half_at(block, 108));
    for group in 0..16 {
        let low = scales[group % 8] >> (4 * (group / 8)) & 15;
        let high = scales[8 + group % 4] >> (2 * (group / 4)) & 3;
        out.scales[group] = d * (f32::from(low | high << 4) - 32.0);
    }
    two_bits(&block[32..96], out.codes);
    // A set bit of the mask means that 4 is not subtracted.
    for (plane, codes) in out.codes.chunks_exact_mut(32).enumerate() {
        codes.iter_mut().zip(hmask).for_each(|(code, mask)| *code |= (mask >> plane & 1) << 2);
    }
}

fn q6_k(block: &[u8], out: &mut View<'_>) {
    let (low, high, d) = (&block[..128], &block[128..192], half_at(block, 208));
    for (group, scale) in block[192..208].iter().enumerate() {
        out.scales[group] = d * f32::from(*scale as i8);
    }
    // Each half of 128 values: 64 bytes of low nibbles, 32 bytes of two high bits in four planes.
    let halves = low.chunks_exact(64).zip(high.chunks_exact(32)).zip(out.codes.chunks_exact_mut(128));
    for ((low, high), codes) in halves {
        nibbles(low, codes);
        for (plane, codes) in codes.chunks_exact_mut(32).enumerate() {
            codes.iter_mut().zip(high).for_each(|(code, bits)| *code |= (bits >> (2 * plane) & 3) << 4);
        }
    }
}

fn iq4_xs(block: &[u8], out: &mut View<'_>) {
    let (d, high, low) = (half_at(block, 0), u16::from_le_bytes([block[2], block[3]]), &block[4..8]);
    for group in 0..8 {
        let scale = low[group / 2] >> (4 * (group % 2)) & 15 | ((high >> (2 * group) & 3) as u8) << 4;
        out.scales[group] = d * (f32::from(scale) - 32.0);
    }
    for (packed, codes) in block[8..136].chunks_exact(16).zip(out.codes.chunks_exact_mut(32)) {
        nibbles(packed, codes);
    }
    out.codes.iter_mut().for_each(iq4_code);
}
