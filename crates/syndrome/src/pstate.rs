//! The processor state, in the layout in which SPSR saves it.

use core::fmt;

/// PSTATE, laid out as in `SPSR_EL1` and `SPSR_EL2`.
///
/// Arm ARM (DDI 0487), `SPSR_EL1`. The layouts for an exception taken from AArch64 and from
/// AArch32 differ; the masks here are those of AArch64 but for what the two share: N, Z, C, V,
/// DIT, PAN, SS, IL, A, I, F and M.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pstate(pub u64);

/// An exception level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants are the levels")]
pub enum ExceptionLevel {
    El0,
    El1,
    El2,
    El3,
}

/// What `PSTATE.M` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    /// The exception level.
    pub level: ExceptionLevel,
    /// Whether the level is in AArch32 state.
    pub is_aarch32: bool,
    /// Whether an AArch64 level uses its own stack pointer rather than `SP_EL0`: EL1h, not EL1t.
    pub own_stack: bool,
}

impl Pstate {
    /// UINJ: inject an undefined instruction exception (`FEAT_UINJ`).
    pub const UINJ: u64 = 1 << 36;
    /// PACM: PAC modifier (`FEAT_PAuth_LR`).
    pub const PACM: u64 = 1 << 35;
    /// EXLOCK: exception return state is locked (`FEAT_GCS`).
    pub const EXLOCK: u64 = 1 << 34;
    /// PPEND: a PMU profiling exception is pending (`FEAT_SEBEP`).
    pub const PPEND: u64 = 1 << 33;
    /// PM: profiling exceptions are masked (`FEAT_EBEP`, `FEAT_SPE_EXC`, `FEAT_TRBE_EXC`).
    pub const PM: u64 = 1 << 32;
    /// N, Z, C and V: the condition flags.
    pub const NZCV: u64 = 0xf << 28;
    /// TCO: tag checks are overridden (`FEAT_MTE`).
    pub const TCO: u64 = 1 << 25;
    /// DIT: data independent timing (`FEAT_DIT`).
    pub const DIT: u64 = 1 << 24;
    /// UAO: user access override (`FEAT_UAO`).
    pub const UAO: u64 = 1 << 23;
    /// PAN: privileged access never (`FEAT_PAN`).
    pub const PAN: u64 = 1 << 22;
    /// SS: software step.
    pub const SS: u64 = 1 << 21;
    /// IL: illegal execution state.
    pub const IL: u64 = 1 << 20;
    /// ALLINT: all interrupts are masked (`FEAT_NMI`).
    pub const ALLINT: u64 = 1 << 13;
    /// SSBS: speculative store bypass is safe (`FEAT_SSBS`).
    pub const SSBS: u64 = 1 << 12;
    /// BTYPE: the kind of the last indirect branch (`FEAT_BTI`).
    pub const BTYPE: u64 = 0b11 << 10;
    /// D, A, I and F: debug exceptions, SError, IRQ and FIQ are masked.
    pub const DAIF: u64 = 0xf << 6;
    /// M: execution state, exception level and stack pointer.
    pub const MODE: u64 = 0x1f;

    /// The value of M for EL1 on its own stack.
    pub const EL1H: u64 = 0b00101;
    /// The value of M for EL2 on its own stack.
    pub const EL2H: u64 = 0b01001;

    /// Reads M; `None` if it is reserved.
    pub const fn mode(self) -> Option<Mode> {
        use ExceptionLevel as El;
        let (level, is_aarch32, own_stack) = match self.0 & Self::MODE {
            0b00000 => (El::El0, false, false),
            0b00100 => (El::El1, false, false),
            0b00101 => (El::El1, false, true),
            0b01000 => (El::El2, false, false),
            0b01001 => (El::El2, false, true),
            0b01100 => (El::El3, false, false),
            0b01101 => (El::El3, false, true),
            0b10000 => (El::El0, true, false),
            // FIQ, IRQ, Supervisor, Abort, Undefined, System.
            0b10001 | 0b10010 | 0b10011 | 0b10111 | 0b11011 | 0b11111 => (El::El1, true, false),
            0b11010 => (El::El2, true, false),
            0b10110 => (El::El3, true, false),
            _ => return None,
        };
        Some(Mode {
            level,
            is_aarch32,
            own_stack,
        })
    }
}

impl fmt::Debug for Pstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pstate({:#x})", self.0)
    }
}
