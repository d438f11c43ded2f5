//! Memory copy and memory set exceptions (`FEAT_MOPS`).

use core::fmt;

use crate::{Esr, ExceptionClass, Syndrome};

/// The syndrome of a memory operation exception: EC `0x27`.
///
/// It is raised when a CPY or SET sequence resumes, after migration, on a PE that keeps its
/// progress in the registers in the other way. An abort *during* a copy is an ordinary
/// [`DataAbort`](crate::DataAbort).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemoryOperation(pub(crate) Esr);

/// What a memory operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MopsInstruction {
    /// CPY* or CPYF*: copy.
    Copy,
    /// SET*: fill.
    Set,
    /// SETG*: fill and tag.
    SetTags,
}

/// How the registers of a memory operation encode its progress.
///
/// Arm ARM (DDI 0487), "Memory Copy and Memory Set instructions".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MopsOption {
    /// PSTATE.C is 0 after the prologue; a forward count is negative.
    A,
    /// PSTATE.C is 1 after the prologue; the pointers move.
    B,
}

/// The three registers a memory operation names, each 0 to 31.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MopsRegisters {
    /// The destination address.
    pub destination: u8,
    /// The source address, or the byte to fill with.
    pub source: u8,
    /// The number of bytes.
    pub size: u8,
}

// Layout: Arm ARM (DDI 0487), ESR_EL1, "ISS encoding for an exception from the Memory Copy and
// Memory Set instructions".
impl MemoryOperation {
    /// A syndrome for `instruction` on `registers` whose values are in the format `option`; it
    /// comes from a main instruction and has no options. Only the low five bits of a register
    /// number count.
    pub const fn new(
        instruction: MopsInstruction,
        registers: MopsRegisters,
        option: MopsOption,
    ) -> Self {
        let esr = Esr::of_class(ExceptionClass::MEMORY_OPERATION)
            .with(14, 10, registers.destination as u64)
            .with(9, 5, registers.source as u64)
            .with(4, 0, registers.size as u64);
        let (is_set, is_setg) = match instruction {
            MopsInstruction::Copy => (false, false),
            MopsInstruction::Set => (true, false),
            MopsInstruction::SetTags => (true, true),
        };
        Self(
            esr.with_bit(24, is_set)
                .with_bit(23, is_setg)
                .with_bit(16, matches!(option, MopsOption::A)),
        )
    }

    /// Sets or clears FromEpilogue.
    pub const fn with_from_epilogue(self, on: bool) -> Self {
        Self(self.0.with_bit(18, on))
    }

    /// Sets the Options field; only the low four bits count.
    pub const fn with_options(self, options: u8) -> Self {
        Self(self.0.with(22, 19, options as u64))
    }

    /// Sets or clears WrongOption and keeps the format: OptionA turns with it.
    pub const fn with_wrong_option(self, on: bool) -> Self {
        let option_a = matches!(self.option(), MopsOption::A) != on;
        Self(self.0.with_bit(17, on).with_bit(16, option_a))
    }

    /// The register value.
    pub const fn esr(self) -> Esr {
        self.0
    }

    /// MemInst and isSETG: what the instruction does. isSETG means nothing for a copy.
    pub const fn instruction(self) -> MopsInstruction {
        match (self.0.bit(24), self.0.bit(23)) {
            (false, _) => MopsInstruction::Copy,
            (true, false) => MopsInstruction::Set,
            (true, true) => MopsInstruction::SetTags,
        }
    }

    /// Options: bits 15 to 12 of a copy instruction, or 13 to 12 of a set instruction.
    pub const fn options(self) -> u8 {
        self.0.small(22, 19)
    }

    /// FromEpilogue: whether the E instruction of P, M, E failed, rather than M.
    pub const fn from_epilogue(self) -> bool {
        self.0.bit(18)
    }

    /// WrongOption, bit 17: the registers are in a format this PE does not use.
    pub const fn wrong_option(self) -> bool {
        self.0.bit(17)
    }

    /// OptionA, bit 16: this PE uses option A.
    pub const fn option_a(self) -> bool {
        self.0.bit(16)
    }

    /// The format the registers are in: OptionA, or its opposite if WrongOption is set. Newer
    /// issues of the Arm ARM call the two bits together FormatOption.
    pub const fn option(self) -> MopsOption {
        if self.option_a() == self.wrong_option() {
            MopsOption::B
        } else {
            MopsOption::A
        }
    }

    /// The registers of the instruction.
    pub const fn registers(self) -> MopsRegisters {
        MopsRegisters {
            destination: self.0.small(14, 10),
            source: self.0.small(9, 5),
            size: self.0.small(4, 0),
        }
    }
}

impl fmt::Display for MemoryOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.instruction() {
            MopsInstruction::Copy => "CPY",
            MopsInstruction::Set => "SET",
            MopsInstruction::SetTags => "SETG",
        };
        let part = if self.from_epilogue() { 'E' } else { 'M' };
        let registers = self.registers();
        write!(
            f,
            "{name}{part} x{}, x{}, x{}, registers in option {:?} format",
            registers.destination,
            registers.source,
            registers.size,
            self.option()
        )?;
        if self.wrong_option() {
            f.write_str(", wrong for this PE")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryOperation({})", self.0)
    }
}

impl From<MemoryOperation> for Syndrome {
    fn from(view: MemoryOperation) -> Self {
        Self::MemoryOperation(view)
    }
}
