//! The instruction set as a value: whoever holds an [`Avx512`] has the proof that the CPU executes AVX-512.

/// Proof that this CPU (and its operating system) runs AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// Asks the CPU.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return Some(Self(()));
        }
        None
    }
}

/// Proof that this CPU (and its operating system) runs the int8 dot product of 256-bit vectors, besides AVX2, FMA and
/// F16C: as AVX-VNNI, which CPUs without AVX-512 have, or as AVX-512 VL and VNNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvxVnni(pub(crate) Encoding);

/// Which of its two encodings the dot product of 256-bit vectors has. It does the same in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no such CPU is ever found"))]
pub(crate) enum Encoding {
    /// AVX-VNNI.
    Vex,
    /// AVX-512 VL and VNNI.
    Evex,
}

impl AvxVnni {
    /// Asks the CPU.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Avx2::detect().is_some() && is_x86_feature_detected!("avxvnni") {
            return Some(Self(Encoding::Vex));
        }
        Avx512::detect().map(|_| Self(Encoding::Evex))
    }
}

/// Proof that this CPU (and its operating system) runs AVX-512 F, BW, DQ, VL and VNNI, besides AVX2, FMA and F16C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// Asks the CPU.
    pub fn detect() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if Avx2::detect().is_some()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
        {
            return Some(Self(()));
        }
        None
    }
}

/// Proof that this CPU (and its operating system) runs NEON and its int8 dot product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neon(());

impl Neon {
    /// Asks the CPU.
    pub fn detect() -> Option<Self> {
        // The order of bytes in words of activations is that of little-endian machines.
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        if std::arch::is_aarch64_feature_detected!("neon")
            && std::arch::is_aarch64_feature_detected!("dotprod")
        {
            return Some(Self(()));
        }
        None
    }
}

/// An instruction set that this CPU is known to have.
///
/// For a given value, every kernel gives the same bits whatever the batch, the chunks or the threads. Two
/// instruction sets round differently: expect the last bits to differ between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Portable Rust, compiled for the baseline of the target.
    Scalar,
    /// 256-bit vectors.
    Avx2(Avx2),
    /// 256-bit vectors and the int8 dot product.
    AvxVnni(AvxVnni),
    /// 512-bit vectors and the int8 dot product.
    Avx512(Avx512),
    /// The 128-bit vectors of 64-bit Arm, with the int8 dot product.
    Neon(Neon),
}

impl Isa {
    /// Every name that [`Self::by_name`] knows, those of one kind of CPU slowest first.
    pub const NAMES: [&'static str; 5] = ["scalar", "avx2", "avxvnni", "avx512", "neon"];

    /// The fastest that this CPU has.
    pub fn best() -> Self {
        let vectors = Avx512::detect().map(Self::Avx512);
        let vectors = vectors.or_else(|| AvxVnni::detect().map(Self::AvxVnni));
        let vectors = vectors.or_else(|| Avx2::detect().map(Self::Avx2));
        vectors.or_else(|| Neon::detect().map(Self::Neon)).unwrap_or(Self::Scalar)
    }

    /// All that this CPU has, slowest first.
    pub fn available() -> Vec<Self> {
        Self::NAMES.iter().filter_map(|name| Self::by_name(name)).collect()
    }

    /// The instruction set of that name; `None` if the name is none of [`Self::NAMES`] or this CPU lacks it.
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "scalar" => Some(Self::Scalar),
            "avx2" => Avx2::detect().map(Self::Avx2),
            "avxvnni" => AvxVnni::detect().map(Self::AvxVnni),
            "avx512" => Avx512::detect().map(Self::Avx512),
            "neon" => Neon::detect().map(Self::Neon),
            _ => None,
        }
    }

    /// Its name, one of [`Self::NAMES`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2(_) => "avx2",
            Self::AvxVnni(_) => "avxvnni",
            Self::Avx512(_) => "avx512",
            Self::Neon(_) => "neon",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Isa;

    #[test]
    fn names_and_values_agree() {
        for isa in Isa::available() {
            assert_eq!(Isa::by_name(isa.name()), Some(isa));
        }
        assert!(Isa::available().contains(&Isa::best()));
        assert_eq!(Isa::by_name("sse9"), None);
    }
}
