//! Generic addresses: ACPI 5.2.3.2, "Generic Address Structure".

use core::fmt;

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{Register, Width};

/// Where a register is, as ACPI tables say it: 12 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct GenericAddress {
    /// What kind of address this is.
    pub space: AddressSpace,
    /// Width of the register in bits.
    pub bit_width: u8,
    /// Where in the access the register starts.
    pub bit_offset: u8,
    /// Width of the access: 1 to 4 for 8 to 64 bits, 0 if not stated.
    pub access_size: u8,
    /// The address.
    pub address: U64,
}

const _: () = assert!(size_of::<GenericAddress>() == 12);

/// Kind of an address; an open enumeration.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct AddressSpace(pub u8);

/// Why a [`GenericAddress`] names no register that could be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRegister {
    /// The address or the width is 0.
    Null,
    /// The access size is none of those defined.
    AccessSize(u8),
    /// The register reaches beyond the access.
    Width {
        /// Width of the register in bits.
        bit_width: u8,
        /// Where in the access it starts.
        bit_offset: u8,
        /// Width of the access in bits; 64 if not stated.
        access_bits: u32,
    },
    /// The address is no multiple of the width of the access.
    Misaligned {
        /// The address.
        address: u64,
        /// Width of the access in bytes.
        alignment: usize,
    },
    /// The register ends where the address space does. No machine has one there, and whoever
    /// adds its width to its address would get 0.
    AtTheEnd {
        /// The address.
        address: u64,
    },
}

impl AddressSpace {
    /// Physical memory.
    pub const MEMORY: Self = Self(0);
    /// I/O ports.
    pub const IO: Self = Self(1);
}

impl GenericAddress {
    /// No address.
    pub fn null() -> Self {
        Self::new_zeroed()
    }

    /// A register in physical memory, as wide as its access.
    pub fn memory(address: u64, width: Width) -> Self {
        Self {
            space: AddressSpace::MEMORY,
            bit_width: width.bits() as u8,
            bit_offset: 0,
            access_size: width as u8 + 1,
            address: address.into(),
        }
    }

    /// The access that reads or writes this register.
    ///
    /// Two common faults of firmware are put up with. An access size that is not stated follows
    /// from offset and width. A register at offset 0 that fills 16, 32 or 64 bits, but states a
    /// smaller access, is accessed whole.
    ///
    /// # Errors
    ///
    /// [`BadRegister`].
    pub fn register(&self) -> Result<Register, BadRegister> {
        let address = self.address.get();
        if address == 0 || self.bit_width == 0 {
            return Err(BadRegister::Null);
        }
        let bits = u32::from(self.bit_width) + u32::from(self.bit_offset);
        let stated = match self.access_size {
            0 => Width::at_least(bits),
            1 => Some(Width::Bits8),
            2 => Some(Width::Bits16),
            3 => Some(Width::Bits32),
            4 => Some(Width::Bits64),
            other => return Err(BadRegister::AccessSize(other)),
        };
        let whole = match (self.bit_offset, self.bit_width) {
            (0, 16 | 32 | 64) => Width::at_least(bits),
            _ => None,
        };
        let fits = |width: &Width| bits <= width.bits();
        let width = stated
            .filter(fits)
            .or(whole)
            .ok_or_else(|| BadRegister::Width {
                bit_width: self.bit_width,
                bit_offset: self.bit_offset,
                access_bits: stated.map_or(64, Width::bits),
            })?;
        if !address.is_multiple_of(width.bytes() as u64) {
            return Err(BadRegister::Misaligned {
                address,
                alignment: width.bytes(),
            });
        }
        if address.checked_add(width.bytes() as u64).is_none() {
            return Err(BadRegister::AtTheEnd { address });
        }
        Ok(Register {
            space: self.space,
            address,
            width,
        })
    }
}

impl fmt::Display for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MEMORY => f.write_str("memory"),
            Self::IO => f.write_str("I/O space"),
            Self(other) => write!(f, "address space {other:#04x}"),
        }
    }
}

impl fmt::Display for BadRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Null => f.write_str("no register: its address or its width is 0"),
            Self::AccessSize(size) => write!(f, "unknown access size {size}"),
            Self::Width {
                bit_width,
                bit_offset,
                access_bits,
            } => write!(
                f,
                "{bit_width} bits from bit {bit_offset} on do not fit an access of {access_bits}"
            ),
            Self::Misaligned { address, alignment } => {
                write!(f, "address {address:#x} is no multiple of {alignment}")
            }
            Self::AtTheEnd { address } => {
                write!(
                    f,
                    "register at {address:#x} touches the end of the address space"
                )
            }
        }
    }
}

impl core::error::Error for BadRegister {}
