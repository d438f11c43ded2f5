//! Instructions that are exceptions by design or by trap: calls and system registers.

use core::fmt;

use crate::Esr;

/// The syndrome of SVC, HVC or SMC in AArch64 state: EC `0x15`, `0x16` or `0x17`.
///
/// ELR points after an instruction that was executed, and *at* one that was trapped: a monitor
/// that emulates a trapped SMC adds 4.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Call(pub(crate) Esr);

/// The syndrome of a trapped MSR, MRS or system instruction: EC `0x18`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SystemRegisterTrap(pub(crate) Esr);

/// The encoding of a system register or system instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the fields have the Arm ARM's names")]
pub struct SystemRegister {
    pub op0: u8,
    pub op1: u8,
    pub crn: u8,
    pub crm: u8,
    pub op2: u8,
}

impl Call {
    /// The register value.
    pub const fn esr(self) -> Esr {
        self.0
    }

    /// The immediate of the instruction.
    pub const fn immediate(self) -> u16 {
        self.0.iss() as u16
    }
}

// Layout: Arm ARM (DDI 0487), ESR_EL1, "ISS encoding for an exception from MSR, MRS, or System
// instruction execution in AArch64 state".
impl SystemRegisterTrap {
    /// The register value.
    pub const fn esr(self) -> Esr {
        self.0
    }

    /// Which register or instruction.
    pub const fn target(self) -> SystemRegister {
        SystemRegister {
            op0: self.0.small(21, 20),
            op1: self.0.small(16, 14),
            crn: self.0.small(13, 10),
            crm: self.0.small(4, 1),
            op2: self.0.small(19, 17),
        }
    }

    /// Rt: the general-purpose register transferred, 0 to 31; 31 is the zero register.
    pub const fn register(self) -> u8 {
        self.0.small(9, 5)
    }

    /// Direction: whether the instruction reads the system register (MRS).
    pub const fn is_read(self) -> bool {
        self.0.bit(0)
    }
}

/// As assemblers write it: `S3_0_C1_C0_1`.
impl fmt::Display for SystemRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            op0,
            op1,
            crn,
            crm,
            op2,
        } = self;
        write!(f, "S{op0}_{op1}_C{crn}_C{crm}_{op2}")
    }
}

impl fmt::Display for SystemRegisterTrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.is_read() { "read" } else { "write" };
        write!(f, "{way} of {}, x{}", self.target(), self.register())
    }
}

impl fmt::Debug for SystemRegisterTrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemRegisterTrap({})", self.0)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "immediate {:#06x}", self.immediate())
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Call({})", self.0)
    }
}
