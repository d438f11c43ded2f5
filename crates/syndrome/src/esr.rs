//! The syndrome register itself, and what it decodes to.

use core::fmt;

use crate::bits::{bit, field, with_field};
use crate::{
    Breakpoint, BreakpointInstruction, Call, DataAbort, ExceptionClass, InstructionAbort,
    MemoryOperation, SError, SoftwareStep, SystemRegisterTrap, Watchpoint,
};

/// An exception syndrome: the value of `ESR_EL1` or `ESR_EL2`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Esr(u64);

/// A syndrome whose exception class is known, as a typed view of the register.
///
/// The views keep all 64 bits, so `Esr::from(esr.decode()) == esr` for every value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Syndrome {
    /// A load, a store, or cache maintenance failed.
    DataAbort(DataAbort),
    /// An instruction fetch failed.
    InstructionAbort(InstructionAbort),
    /// An asynchronous error arrived.
    SError(SError),
    /// A memory copy or set was resumed on a PE that encodes its registers differently.
    MemoryOperation(MemoryOperation),
    /// A hardware breakpoint matched.
    Breakpoint(Breakpoint),
    /// A single step is complete.
    SoftwareStep(SoftwareStep),
    /// A watchpoint matched.
    Watchpoint(Watchpoint),
    /// BRK was executed in AArch64 state.
    BreakpointInstruction(BreakpointInstruction),
    /// SVC was executed in AArch64 state.
    Svc(Call),
    /// HVC was executed in AArch64 state.
    Hvc(Call),
    /// SMC was executed, or trapped, in AArch64 state.
    Smc(Call),
    /// MSR, MRS or a system instruction was trapped in AArch64 state.
    SystemRegister(SystemRegisterTrap),
    /// Anything else; [`Esr::class`] and [`Esr::iss`] say what is known.
    Other(Esr),
}

// Layout: Arm ARM (DDI 0487), ESR_EL1: ISS2 <55:32>, EC <31:26>, IL <25>, ISS <24:0>.
impl Esr {
    /// Wraps a register value.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// A syndrome of `class` with IL set and everything else clear.
    ///
    /// IL is 1 for every syndrome this crate builds: it can be 0 only for an exception that
    /// reports the 16-bit T32 instruction which caused it, and of the aborts only a data abort
    /// with ISV set does so.
    pub(crate) const fn of_class(class: ExceptionClass) -> Self {
        Self((class.code() as u64) << 26 | 1 << 25)
    }

    /// The register value.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// EC, the exception class.
    pub const fn class(self) -> ExceptionClass {
        ExceptionClass::new(field(self.0, 31, 26) as u8)
    }

    /// IL: whether the instruction was 32 bits long. Also true where length has no meaning, as
    /// for SError and for aborts without an instruction syndrome.
    pub const fn is_32bit_instruction(self) -> bool {
        bit(self.0, 25)
    }

    /// ISS, the 25 bits whose meaning depends on the class.
    pub const fn iss(self) -> u32 {
        field(self.0, 24, 0) as u32
    }

    /// ISS2, the 24 further bits that some classes define.
    pub const fn iss2(self) -> u32 {
        field(self.0, 55, 32) as u32
    }

    /// Reads the syndrome by its class.
    pub const fn decode(self) -> Syndrome {
        use ExceptionClass as Ec;
        match self.class() {
            Ec::DATA_ABORT_LOWER | Ec::DATA_ABORT_SAME => Syndrome::DataAbort(DataAbort(self)),
            Ec::INSTRUCTION_ABORT_LOWER | Ec::INSTRUCTION_ABORT_SAME => {
                Syndrome::InstructionAbort(InstructionAbort(self))
            }
            Ec::SERROR => Syndrome::SError(SError(self)),
            Ec::MEMORY_OPERATION => Syndrome::MemoryOperation(MemoryOperation(self)),
            Ec::BREAKPOINT_LOWER | Ec::BREAKPOINT_SAME => Syndrome::Breakpoint(Breakpoint(self)),
            Ec::SOFTWARE_STEP_LOWER | Ec::SOFTWARE_STEP_SAME => {
                Syndrome::SoftwareStep(SoftwareStep(self))
            }
            Ec::WATCHPOINT_LOWER | Ec::WATCHPOINT_SAME => Syndrome::Watchpoint(Watchpoint(self)),
            Ec::BRK => Syndrome::BreakpointInstruction(BreakpointInstruction(self)),
            Ec::SVC64 => Syndrome::Svc(Call(self)),
            Ec::HVC64 => Syndrome::Hvc(Call(self)),
            Ec::SMC64 => Syndrome::Smc(Call(self)),
            Ec::SYSTEM_REGISTER => Syndrome::SystemRegister(SystemRegisterTrap(self)),
            _ => Syndrome::Other(self),
        }
    }

    pub(crate) const fn bit(self, at: u32) -> bool {
        bit(self.0, at)
    }

    /// Reads `<high:low>`, a field of at most eight bits.
    pub(crate) const fn small(self, high: u32, low: u32) -> u8 {
        field(self.0, high, low) as u8
    }

    pub(crate) const fn with_bit(self, at: u32, on: bool) -> Self {
        self.with(at, at, on as u64)
    }

    pub(crate) const fn with(self, high: u32, low: u32, new: u64) -> Self {
        Self(with_field(self.0, high, low, new))
    }
}

impl Syndrome {
    /// The register value this came from, or encodes to.
    pub const fn esr(self) -> Esr {
        match self {
            Self::DataAbort(view) => view.esr(),
            Self::InstructionAbort(view) => view.esr(),
            Self::SError(view) => view.esr(),
            Self::MemoryOperation(view) => view.esr(),
            Self::Breakpoint(view) => view.esr(),
            Self::SoftwareStep(view) => view.esr(),
            Self::Watchpoint(view) => view.esr(),
            Self::BreakpointInstruction(view) => view.esr(),
            Self::Svc(view) | Self::Hvc(view) | Self::Smc(view) => view.esr(),
            Self::SystemRegister(view) => view.esr(),
            Self::Other(esr) => esr,
        }
    }
}

impl From<Syndrome> for Esr {
    fn from(syndrome: Syndrome) -> Self {
        syndrome.esr()
    }
}

/// One line: the value, the class, and what the syndrome says.
impl fmt::Display for Esr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}: {}: {}", self.0, self.class(), self.decode())
    }
}

impl fmt::Debug for Esr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Esr({self})")
    }
}

/// What the syndrome says beyond its class, in one line.
impl fmt::Display for Syndrome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataAbort(view) => view.fmt(f),
            Self::InstructionAbort(view) => view.fmt(f),
            Self::SError(view) => view.fmt(f),
            Self::MemoryOperation(view) => view.fmt(f),
            Self::Breakpoint(view) => view.fmt(f),
            Self::SoftwareStep(view) => view.fmt(f),
            Self::Watchpoint(view) => view.fmt(f),
            Self::BreakpointInstruction(view) => view.fmt(f),
            Self::Svc(view) | Self::Hvc(view) | Self::Smc(view) => view.fmt(f),
            Self::SystemRegister(view) => view.fmt(f),
            Self::Other(esr) => {
                write!(f, "ISS {:#09x}, ISS2 {:#08x}", esr.iss(), esr.iss2())
            }
        }
    }
}
