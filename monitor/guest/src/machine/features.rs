//! What this CPU has.

use super::registers;

/// An extension that an access needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Every CPU has it.
    Base,
    /// `FEAT_LSE`: atomic instructions.
    Atomics,
    /// `FEAT_LRCPC`: LDAPR.
    Rcpc,
    /// `FEAT_MOPS`: memory copy and set.
    Mops,
    /// `FEAT_SVE`.
    Sve,
    /// `FEAT_MTE2`: allocation tags in memory.
    Mte,
    /// `FEAT_RAS`.
    Ras,
    /// `FEAT_DPB`: DC CVAP.
    PersistentCache,
    /// `FEAT_HAFDBS`: hardware sets the access flag.
    AccessFlag,
}

impl Feature {
    /// All of them but the base.
    pub(crate) const ALL: &[Self] = &[
        Self::Atomics,
        Self::Rcpc,
        Self::Mops,
        Self::Sve,
        Self::Mte,
        Self::Ras,
        Self::PersistentCache,
        Self::AccessFlag,
    ];

    /// Whether this CPU has it: the Arm ARM's `ID_AA64*` fields.
    pub(crate) fn is_present(self) -> bool {
        let field = |register: u64, at: u32| register >> at & 0xf;
        match self {
            Self::Base => true,
            Self::Atomics => field(registers::read!("id_aa64isar0_el1"), 20) >= 2,
            Self::Rcpc => field(registers::read!("id_aa64isar1_el1"), 20) >= 1,
            Self::Mops => field(registers::read!("id_aa64isar2_el1"), 16) >= 1,
            Self::Sve => field(registers::read!("id_aa64pfr0_el1"), 32) >= 1,
            Self::Mte => field(registers::read!("id_aa64pfr1_el1"), 8) >= 2,
            Self::Ras => field(registers::read!("id_aa64pfr0_el1"), 28) >= 1,
            Self::PersistentCache => field(registers::read!("id_aa64isar1_el1"), 0) >= 1,
            Self::AccessFlag => field(registers::read!("id_aa64mmfr1_el1"), 0) >= 1,
        }
    }

    /// Its name, in the Arm ARM.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Base => "the base architecture",
            Self::Atomics => "FEAT_LSE",
            Self::Rcpc => "FEAT_LRCPC",
            Self::Mops => "FEAT_MOPS",
            Self::Sve => "FEAT_SVE",
            Self::Mte => "FEAT_MTE2",
            Self::Ras => "FEAT_RAS",
            Self::PersistentCache => "FEAT_DPB",
            Self::AccessFlag => "FEAT_HAFDBS",
        }
    }
}
