//! What the CPU has and the caller allows.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// A set of CPU features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// General registers only, and no string instructions: for CPUs on which a machine check in
    /// `rep movsb` cannot be recovered from.
    pub const NONE: Self = Self(0);
    /// `rep movsb` is fast (ERMS) and recovers.
    pub const FAST_STRINGS: Self = Self(0b1);
    /// The 16-byte registers may be used.
    pub const SSE2: Self = Self(0b10);
    /// The 32-byte registers may be used too.
    pub const AVX: Self = Self(0b110);
    /// The 64-byte registers may be used too (AVX-512 F and VL).
    pub const AVX512: Self = Self(0b1110);

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What this CPU has and its operating system has enabled.
    #[must_use]
    pub fn detect() -> Self {
        // Intel SDM vol. 2, CPUID leaves 1 and 7; XCR0: vol. 1, 13.3.
        const OSXSAVE: u32 = 1 << 27;
        const AVX: u32 = 1 << 28;
        const ERMS: u32 = 1 << 9;
        const AVX512F_VL: u32 = 1 << 16 | 1 << 31;
        const YMM_STATE: u64 = 0b110;
        const ZMM_STATE: u64 = 0b1110_0110;

        if __cpuid(0).eax < 7 {
            return Self::SSE2;
        }
        let (one, seven) = (__cpuid(1), __cpuid_count(7, 0));
        let strings = if seven.ebx & ERMS == 0 {
            Self::NONE
        } else {
            Self::FAST_STRINGS
        };
        let enabled = if one.ecx & OSXSAVE == 0 {
            0
        } else {
            // SAFETY: OSXSAVE says that the instruction is enabled.
            unsafe { xcr0() }
        };
        let vectors = if one.ecx & AVX == 0 || enabled & YMM_STATE != YMM_STATE {
            Self::SSE2
        } else if seven.ebx & AVX512F_VL != AVX512F_VL || enabled & ZMM_STATE != ZMM_STATE {
            Self::AVX
        } else {
            Self::AVX512
        };
        Self(strings.0 | vectors.0)
    }

    /// The same without vector registers, which a kernel may not use.
    #[must_use]
    pub const fn without_vectors(self) -> Self {
        Self(self.0 & Self::FAST_STRINGS.0)
    }
}

#[target_feature(enable = "xsave")]
fn xcr0() -> u64 {
    // SAFETY: the caller has checked OSXSAVE, and register 0 always exists.
    unsafe { _xgetbv(0) }
}
