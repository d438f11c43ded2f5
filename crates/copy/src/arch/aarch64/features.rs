//! What the CPU has and the caller allows.

use core::arch::asm;

/// A set of CPU features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// Nothing beyond Armv8.0 and its general registers.
    pub const NONE: Self = Self(0);
    /// The vector registers may be used.
    pub const VECTORS: Self = Self(0b1);
    /// Memory copy instructions (FEAT_MOPS).
    pub const MOPS: Self = Self(0b10);
    /// Memory tags that are stored (FEAT_MTE2).
    pub const TAGS: Self = Self(0b100);

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// What this CPU has and its operating system shows.
    ///
    /// Reads identification registers: directly at EL1, and at EL0 through the operating system,
    /// which must emulate the access as Linux has since 4.11.
    #[must_use]
    pub fn detect() -> Self {
        // Arm ARM D24.2: where a field lies, and the least value that means the feature.
        let vectors = (field(id_aa64pfr0(), 20) != 0xf).then_some(Self::VECTORS);
        let mops = (field(id_aa64isar2(), 16) >= 1).then_some(Self::MOPS);
        let tags = (field(id_aa64pfr1(), 8) >= 2).then_some(Self::TAGS);
        Self(
            [vectors, mops, tags]
                .into_iter()
                .flatten()
                .fold(0, |all, feature| all | feature.0),
        )
    }

    /// The same without vector registers, which a kernel may not use.
    #[must_use]
    pub const fn without_vectors(self) -> Self {
        Self(self.0 & !Self::VECTORS.0)
    }
}

const fn field(register: u64, shift: u32) -> u64 {
    (register >> shift) & 0xf
}

macro_rules! identification {
    ($name:ident, $register:literal) => {
        fn $name() -> u64 {
            let value;
            // SAFETY: reads a register that exists on every AArch64 CPU, as 0 before its time.
            unsafe {
                asm!(
                    concat!("mrs {}, ", $register),
                    out(reg) value,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
            value
        }
    };
}

identification!(id_aa64pfr0, "id_aa64pfr0_el1");
identification!(id_aa64pfr1, "id_aa64pfr1_el1");
identification!(id_aa64isar2, "id_aa64isar2_el1");
