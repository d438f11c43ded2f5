//! The registers of a processor at the time of an error.
//!
//! Layout: UEFI, appendix N, tables "ARM Processor Error Context Information Header Structure"
//! and those of the register arrays. Every structure is padded to a multiple of 16 bytes.

use core::fmt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::{Reader, Writer};
use crate::text::HexBytes;
use crate::{EncodeError, Malformed};

/// One array of registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArmContext<'a> {
    /// Which registers these are.
    pub kind: ContextKind,
    /// Version of the structure: 0 so far.
    pub version: u16,
    /// The registers' values, little-endian, without padding.
    pub registers: &'a [u8],
}

/// Register arrays whose lengths were checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmContexts<'a> {
    bytes: &'a [u8],
    count: u16,
}

/// Which registers an [`ArmContext`] holds; an open enumeration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContextKind(pub u16);

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    version: U16,
    kind: U16,
    length: U32,
}

const ALIGNMENT: usize = 16;
const WHAT: &str = "register context";

impl ContextKind {
    /// AArch32 general registers, 32 bits each.
    pub const AARCH32_GENERAL: Self = Self(0);
    /// AArch32 system registers of EL1, 32 bits each.
    pub const AARCH32_EL1: Self = Self(1);
    /// AArch32 system registers of EL2, 32 bits each.
    pub const AARCH32_EL2: Self = Self(2);
    /// AArch32 secure system registers, 32 bits each.
    pub const AARCH32_SECURE: Self = Self(3);
    /// `X0` to `X30` and `SP`.
    pub const AARCH64_GENERAL: Self = Self(4);
    /// AArch64 system registers of EL1.
    pub const AARCH64_EL1: Self = Self(5);
    /// AArch64 system registers of EL2.
    pub const AARCH64_EL2: Self = Self(6);
    /// AArch64 system registers of EL3.
    pub const AARCH64_EL3: Self = Self(7);
    /// Any other system registers: ten bytes each, the encoding and then the value.
    pub const MISCELLANEOUS: Self = Self(8);

    /// The names of the registers, in order, where all of them are 64 bits wide.
    pub const fn register_names(self) -> &'static [&'static str] {
        match self {
            Self::AARCH64_GENERAL => &[
                "X0", "X1", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9", "X10", "X11", "X12",
                "X13", "X14", "X15", "X16", "X17", "X18", "X19", "X20", "X21", "X22", "X23", "X24",
                "X25", "X26", "X27", "X28", "X29", "X30", "SP",
            ],
            Self::AARCH64_EL1 => &[
                "ELR_EL1",
                "ESR_EL1",
                "FAR_EL1",
                "ISR_EL1",
                "MAIR_EL1",
                "MIDR_EL1",
                "MPIDR_EL1",
                "SCTLR_EL1",
                "SP_EL0",
                "SP_EL1",
                "SPSR_EL1",
                "TCR_EL1",
                "TPIDR_EL0",
                "TPIDR_EL1",
                "TPIDRRO_EL0",
                "TTBR0_EL1",
                "TTBR1_EL1",
            ],
            Self::AARCH64_EL2 => &[
                "ELR_EL2",
                "ESR_EL2",
                "FAR_EL2",
                "HACR_EL2",
                "HCR_EL2",
                "HPFAR_EL2",
                "MAIR_EL2",
                "SCTLR_EL2",
                "SP_EL2",
                "SPSR_EL2",
                "TCR_EL2",
                "TPIDR_EL2",
                "TTBR0_EL2",
                "VTCR_EL2",
                "VTTBR_EL2",
            ],
            Self::AARCH64_EL3 => &[
                "ELR_EL3",
                "ESR_EL3",
                "FAR_EL3",
                "MAIR_EL3",
                "SCTLR_EL3",
                "SP_EL3",
                "SPSR_EL3",
                "TCR_EL3",
                "TPIDR_EL3",
                "TTBR0_EL3",
            ],
            _ => &[],
        }
    }

    const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::AARCH32_GENERAL => "AArch32 general registers",
            Self::AARCH32_EL1 => "AArch32 EL1 registers",
            Self::AARCH32_EL2 => "AArch32 EL2 registers",
            Self::AARCH32_SECURE => "AArch32 secure registers",
            Self::AARCH64_GENERAL => "AArch64 general registers",
            Self::AARCH64_EL1 => "AArch64 EL1 registers",
            Self::AARCH64_EL2 => "AArch64 EL2 registers",
            Self::AARCH64_EL3 => "AArch64 EL3 registers",
            Self::MISCELLANEOUS => "miscellaneous registers",
            _ => return None,
        })
    }
}

impl<'a> ArmContext<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let header: &Header = reader.read(WHAT)?;
        let length = header.length.get() as usize;
        let registers = reader.take(WHAT, length)?;
        reader.take("padding of a register context", Self::padding(length))?;
        Ok(Self {
            kind: ContextKind(header.kind.get()),
            version: header.version.get(),
            registers,
        })
    }

    fn padding(length: usize) -> usize {
        (size_of::<Header>() + length % ALIGNMENT).next_multiple_of(ALIGNMENT)
            - size_of::<Header>()
            - length % ALIGNMENT
    }

    /// Writes the context to the start of `buffer` and returns its length in bytes, padding
    /// included. Several in a row make an [`ArmContexts`].
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let length = u32::try_from(self.registers.len()).map_err(|_| EncodeError::TooLarge {
            what: "a register context's length",
            limit: u32::MAX as usize,
        })?;
        let mut writer = Writer::new(buffer);
        writer.put(&Header {
            version: self.version.into(),
            kind: self.kind.0.into(),
            length: length.into(),
        })?;
        writer.put(self.registers)?;
        writer.pad(Self::padding(self.registers.len()))?;
        Ok(writer.length())
    }

    /// The registers whose names and widths are known, in order.
    pub fn named_registers(&self) -> impl Iterator<Item = (&'static str, u64)> + use<'a> {
        let values = self.registers.chunks_exact(size_of::<U64>());
        let names = self.kind.register_names().iter().copied();
        names.zip(values.map(|value| U64::read_from_bytes(value).map_or(0, U64::get)))
    }
}

impl<'a> ArmContexts<'a> {
    /// Checks `bytes`, which must hold encoded contexts and nothing else.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; offsets count from the start of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut count: u16 = 0;
        while !reader.is_empty() {
            ArmContext::read(&mut reader)?;
            count = count.checked_add(1).ok_or(Malformed::Length {
                what: "register contexts",
                offset: 0,
                length: bytes.len(),
            })?;
        }
        Ok(Self { bytes, count })
    }

    pub(crate) fn read(reader: &mut Reader<'a>, count: u16) -> Result<Self, Malformed> {
        let rest = reader.rest();
        for _ in 0..count {
            ArmContext::read(reader)?;
        }
        let bytes = &rest[..rest.len() - reader.rest().len()];
        Ok(Self { bytes, count })
    }

    /// How many there are.
    pub const fn count(&self) -> u16 {
        self.count
    }

    /// The encoded form.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = ArmContext<'a>> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // All of them were read when `self` was made, so this ends only where they do.
        core::iter::from_fn(move || ArmContext::read(&mut reader).ok())
    }
}

impl fmt::Display for ContextKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "registers of unknown kind {}", self.0),
        }
    }
}

impl fmt::Debug for ContextKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContextKind({}: {self})", self.0)
    }
}

impl fmt::Display for ArmContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind)?;
        let mut printed = 0;
        for (name, value) in self.named_registers() {
            let separator = if printed % 4 == 0 { "\n   " } else { "" };
            write!(f, "{separator} {name}={value:#x}")?;
            printed += 1;
        }
        let rest = &self.registers[printed * size_of::<U64>()..];
        if !rest.is_empty() {
            write!(f, " {}", HexBytes(rest))?;
        }
        Ok(())
    }
}
