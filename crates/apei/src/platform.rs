//! The machine that the tables describe, as the caller lets this crate reach it.

use core::fmt;

use crate::AddressSpace;

/// Access to registers and physical memory.
///
/// A kernel implements it over mapped memory, a monitor over guest memory, a test over a vector.
/// An address comes from firmware and may be anything: an implementation refuses, with its own
/// error, what it does not want touched. Where [`claim`](crate::GenericSource::claim) runs in a
/// context that may neither lock nor allocate, so do these methods.
pub trait Platform {
    /// Why an access is refused or has failed.
    type Error;

    /// Reads a register in one access of its width; the value is zero-extended.
    ///
    /// # Errors
    ///
    /// The access is refused or has failed.
    fn read(&mut self, register: Register) -> Result<u64, Self::Error>;

    /// Writes a register in one access of its width; `value` fits in it.
    ///
    /// Everything written before is visible to firmware before this is.
    ///
    /// # Errors
    ///
    /// The access is refused or has failed.
    fn write(&mut self, register: Register, value: u64) -> Result<(), Self::Error>;

    /// Reads `bytes.len()` bytes of physical memory. The caller has made sure that the range
    /// does not wrap.
    ///
    /// # Errors
    ///
    /// The access is refused or has failed; `bytes` may then hold anything.
    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Self::Error>;

    /// Writes physical memory. The caller has made sure that the range does not wrap.
    ///
    /// # Errors
    ///
    /// The access is refused or has failed.
    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Waits for this many microseconds.
    fn stall(&mut self, microseconds: u64);
}

/// A register that can be accessed as it stands: non-zero, aligned, of a legal width, and with an
/// end that can be computed without overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Register {
    /// What kind of address it has.
    pub space: AddressSpace,
    /// Its address, a multiple of its width in bytes.
    pub address: u64,
    /// How wide the access must be.
    pub width: Width,
}

/// Width of one access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants say their width")]
pub enum Width {
    Bits8,
    Bits16,
    Bits32,
    Bits64,
}

impl Width {
    /// Number of bits.
    pub const fn bits(self) -> u32 {
        8 << self as u32
    }

    /// Number of bytes.
    pub const fn bytes(self) -> usize {
        1 << self as usize
    }

    /// A value with as many low bits set.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The narrowest width with at least this many bits, if there is one.
    pub(crate) const fn at_least(bits: u32) -> Option<Self> {
        Some(match bits {
            0..=8 => Self::Bits8,
            9..=16 => Self::Bits16,
            17..=32 => Self::Bits32,
            33..=64 => Self::Bits64,
            _ => return None,
        })
    }
}

impl fmt::Display for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}-bit register at {:#x} in {}",
            self.width.bits(),
            self.address,
            self.space
        )
    }
}
