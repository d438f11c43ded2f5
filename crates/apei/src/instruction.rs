//! Instruction entries: ACPI 18.5.1.2 and 18.6.2, which share one layout.

use core::fmt;

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{GenericAddress, TableError};

/// One instruction of one action: 32 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct InstructionEntry {
    /// The action that it is part of. An action's instructions run in the order of the table.
    pub action: u8,
    /// What to do.
    pub instruction: Instruction,
    /// [`InstructionEntry::PRESERVE_REGISTER`], or 0.
    pub flags: u8,
    /// Reserved.
    pub reserved: u8,
    /// The register that it reads or writes.
    pub register: GenericAddress,
    /// A constant; its meaning depends on the instruction.
    pub value: U64,
    /// Which bits of the register take part, counted from its offset.
    pub mask: U64,
}

const _: () = assert!(size_of::<InstructionEntry>() == 32);

/// What an instruction does; an open enumeration.
///
/// `register` is what the entry's register holds, moved down by its offset and masked; a write
/// does the same the other way round. `value` and `mask` are the entry's. `result` is what was
/// last read, or before that, what the action was started with.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct Instruction(pub u8);

// Numbers: ACPI tables "Serialization Instructions" (18.5.1.2) and "Injection Instructions"
// (18.6.3). The latter has the first five only.
impl Instruction {
    /// `result = register`
    pub const READ_REGISTER: Self = Self(0x00);
    /// `result = (register == value)`
    pub const READ_REGISTER_VALUE: Self = Self(0x01);
    /// `register = result`
    pub const WRITE_REGISTER: Self = Self(0x02);
    /// `register = value`
    pub const WRITE_REGISTER_VALUE: Self = Self(0x03);
    /// Nothing.
    pub const NOOP: Self = Self(0x04);
    /// `var1 = register`
    pub const LOAD_VAR1: Self = Self(0x05);
    /// `var2 = register`
    pub const LOAD_VAR2: Self = Self(0x06);
    /// `register = var1`
    pub const STORE_VAR1: Self = Self(0x07);
    /// `var1 = var1 + var2`
    pub const ADD: Self = Self(0x08);
    /// `var1 = var2 - var1`
    pub const SUBTRACT: Self = Self(0x09);
    /// `register = register + value`
    pub const ADD_VALUE: Self = Self(0x0a);
    /// `register = register - value`
    pub const SUBTRACT_VALUE: Self = Self(0x0b);
    /// Waits for `value` microseconds.
    pub const STALL: Self = Self(0x0c);
    /// Waits for `var1` microseconds, again and again while `register == value`.
    pub const STALL_WHILE_TRUE: Self = Self(0x0d);
    /// If `register == value`, leaves out the next instruction of the action.
    pub const SKIP_NEXT_INSTRUCTION_IF_TRUE: Self = Self(0x0e);
    /// Goes on with instruction `value` of the action, counted from 0.
    pub const GOTO: Self = Self(0x0f);
    /// `source = register`
    pub const SET_SRC_ADDRESS_BASE: Self = Self(0x10);
    /// `destination = register`
    pub const SET_DST_ADDRESS_BASE: Self = Self(0x11);
    /// Copies `var2` bytes from `source + register` to `destination + register`.
    pub const MOVE_DATA: Self = Self(0x12);
}

impl InstructionEntry {
    /// Flag: a write keeps the bits of the register that the mask leaves out.
    pub const PRESERVE_REGISTER: u8 = 1 << 0;

    /// An instruction that needs no register.
    pub fn new(action: u8, instruction: Instruction) -> Self {
        Self {
            action,
            instruction,
            ..Self::new_zeroed()
        }
    }

    /// An instruction on a register in memory, in whole and at its offset 0.
    pub fn on(action: u8, instruction: Instruction, register: GenericAddress) -> Self {
        Self {
            register,
            mask: u64::MAX.into(),
            ..Self::new(action, instruction)
        }
    }

    /// The same with a constant.
    #[must_use]
    pub fn with_value(mut self, value: u64) -> Self {
        self.value = value.into();
        self
    }

    /// The same with a mask.
    #[must_use]
    pub fn with_mask(mut self, mask: u64) -> Self {
        self.mask = mask.into();
        self
    }

    /// The same with bits outside the mask kept.
    #[must_use]
    pub const fn with_register_preserved(mut self) -> Self {
        self.flags |= Self::PRESERVE_REGISTER;
        self
    }

    /// The `count` entries that start at `offset` of a table.
    pub(crate) fn slice(table: &[u8], offset: usize, count: U32) -> Result<&[Self], TableError> {
        let rest = table.get(offset..).unwrap_or_default();
        let count = count.get() as usize;
        let truncated = TableError::Truncated {
            what: "instruction entries",
            offset,
            needed: count.saturating_mul(size_of::<Self>()),
            available: rest.len(),
        };
        match <[Self]>::ref_from_prefix_with_elems(rest, count) {
            Ok((entries, _)) => Ok(entries),
            Err(_) => Err(truncated),
        }
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::READ_REGISTER => "READ_REGISTER",
            Self::READ_REGISTER_VALUE => "READ_REGISTER_VALUE",
            Self::WRITE_REGISTER => "WRITE_REGISTER",
            Self::WRITE_REGISTER_VALUE => "WRITE_REGISTER_VALUE",
            Self::NOOP => "NOOP",
            Self::LOAD_VAR1 => "LOAD_VAR1",
            Self::LOAD_VAR2 => "LOAD_VAR2",
            Self::STORE_VAR1 => "STORE_VAR1",
            Self::ADD => "ADD",
            Self::SUBTRACT => "SUBTRACT",
            Self::ADD_VALUE => "ADD_VALUE",
            Self::SUBTRACT_VALUE => "SUBTRACT_VALUE",
            Self::STALL => "STALL",
            Self::STALL_WHILE_TRUE => "STALL_WHILE_TRUE",
            Self::SKIP_NEXT_INSTRUCTION_IF_TRUE => "SKIP_NEXT_INSTRUCTION_IF_TRUE",
            Self::GOTO => "GOTO",
            Self::SET_SRC_ADDRESS_BASE => "SET_SRC_ADDRESS_BASE",
            Self::SET_DST_ADDRESS_BASE => "SET_DST_ADDRESS_BASE",
            Self::MOVE_DATA => "MOVE_DATA",
            Self(other) => return write!(f, "instruction {other:#04x}"),
        })
    }
}

impl fmt::Debug for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instruction({self})")
    }
}
