//! What a program has in its registers.

/// The general registers of a program in user mode, as the entry code saves them at the top of
/// the thread's kernel stack.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// X0 to X30.
    pub x: [u64; 31],
    /// SP_EL0.
    pub sp: u64,
    /// Where it goes on.
    pub pc: u64,
    /// Condition flags and the like, in the format of SPSR_EL1.
    pub pstate: u64,
}

/// The SIMD and floating-point registers.
#[repr(C)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FpRegisters {
    /// V0 to V31.
    pub v: [u128; 32],
    /// FPSR.
    pub status: u32,
    /// FPCR.
    pub control: u32,
}

/// The bits of `pstate` that a program may choose: N, Z, C and V, and those of features that
/// EL0 controls (DIT, SSBS, TCO). The rest of a frame that a program wrote is ignored.
/// Arm ARM DDI 0487, C5.2.18 (SPSR_EL1).
pub const PSTATE_USER: u64 = 0xf << 28 | 1 << 25 | 1 << 24 | 1 << 12;
