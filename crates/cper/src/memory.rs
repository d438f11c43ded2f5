//! The memory error section.

use core::fmt;
use core::ops::RangeInclusive;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::text::{Hex, line};
use crate::{Malformed, MemoryErrorType};

/// An error in memory: where it is, and of what kind.
///
/// Every field carries a bit that says whether it is valid, so every accessor returns an
/// `Option`, and every `with_` sets the field and its bit. Bits and bytes that have no accessor
/// are kept.
///
/// ```
/// use cper::{MemoryError, MemoryErrorType};
///
/// let error = MemoryError::new()
///     .with_error_type(MemoryErrorType::MultiBitEcc)
///     .with_physical_address(0x4_2000_1040)
///     .with_physical_address_mask(!63);
/// assert_eq!(error.physical_range(), Some(0x4_2000_1040..=0x4_2000_107f));
/// assert_eq!(error.node(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct MemoryError {
    valid: U64,
    error_status: U64,
    physical_address: U64,
    physical_address_mask: U64,
    node: U16,
    card: U16,
    module: U16,
    bank: U16,
    device: U16,
    row: U16,
    column: U16,
    bit_position: U16,
    requestor_id: U64,
    responder_id: U64,
    target_id: U64,
    error_type: u8,
    extended: u8,
    rank: U16,
    card_handle: U16,
    module_handle: U16,
}

const _: () = assert!(size_of::<MemoryError>() == 80);

/// The section as UEFI 2.1 and 2.2 had it ends after the error type.
const SHORT_SIZE: usize = 73;

// Validation bits: UEFI, appendix N, table "Memory Error Record".
const ERROR_STATUS: u32 = 0;
const PHYSICAL_ADDRESS: u32 = 1;
const PHYSICAL_ADDRESS_MASK: u32 = 2;
const NODE: u32 = 3;
const CARD: u32 = 4;
const MODULE: u32 = 5;
const BANK: u32 = 6;
const DEVICE: u32 = 7;
const ROW: u32 = 8;
const COLUMN: u32 = 9;
const BIT_POSITION: u32 = 10;
const REQUESTOR_ID: u32 = 11;
const RESPONDER_ID: u32 = 12;
const TARGET_ID: u32 = 13;
const ERROR_TYPE: u32 = 14;
const RANK: u32 = 15;
const CARD_HANDLE: u32 = 16;
const MODULE_HANDLE: u32 = 17;
const EXTENDED_ROW: u32 = 18;
const BANK_GROUP: u32 = 19;
const BANK_ADDRESS: u32 = 20;
const CHIP_ID: u32 = 21;

/// Getter and setter of a field that fills its place: name, type, validation bit, documentation.
macro_rules! fields {
    ($($name:ident, $with:ident: $type:ty, $bit:ident, $doc:literal;)*) => {
        impl MemoryError {
            $(
                #[doc = $doc]
                pub const fn $name(&self) -> Option<$type> {
                    if self.is_valid($bit) { Some(self.$name.get()) } else { None }
                }

                #[doc = concat!("Sets [`", stringify!($name), "`](Self::", stringify!($name), ").")]
                #[must_use]
                pub fn $with(mut self, value: $type) -> Self {
                    self.$name.set(value);
                    self.with_valid($bit)
                }
            )*
        }
    };
}

fields! {
    error_status, with_error_status: u64, ERROR_STATUS,
        "What the hardware said: UEFI, appendix N, table \"Error Status\".";
    physical_address, with_physical_address: u64, PHYSICAL_ADDRESS,
        "A physical address in what failed. [`physical_range`](Self::physical_range) says how much that is.";
    physical_address_mask, with_physical_address_mask: u64, PHYSICAL_ADDRESS_MASK,
        "Which bits of the physical address are known.";
    node, with_node: u16, NODE, "Which node, in a system of several.";
    card, with_card: u16, CARD, "Which memory card.";
    module, with_module: u16, MODULE, "Which module, or which rank.";
    device, with_device: u16, DEVICE, "Which device of the module.";
    column, with_column: u16, COLUMN, "Which column.";
    bit_position, with_bit_position: u16, BIT_POSITION, "Which bit of the word.";
    requestor_id, with_requestor_id: u64, REQUESTOR_ID, "Who asked for the access.";
    responder_id, with_responder_id: u64, RESPONDER_ID, "Who answered it.";
    target_id, with_target_id: u64, TARGET_ID, "Whom it was meant for.";
    rank, with_rank: u16, RANK, "Which rank.";
    card_handle, with_card_handle: u16, CARD_HANDLE, "SMBIOS handle of the card (type 16).";
    module_handle, with_module_handle: u16, MODULE_HANDLE, "SMBIOS handle of the module (type 17).";
}

impl MemoryError {
    /// Length in bytes.
    pub const SIZE: usize = size_of::<Self>();

    /// A section in which nothing is valid.
    pub fn new() -> Self {
        Self::new_zeroed()
    }

    /// Decodes a section. One without the fields that UEFI 2.3 added (73 bytes) is accepted;
    /// bytes after the 80 that are known are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed::Truncated`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() < SHORT_SIZE {
            return Err(Malformed::Truncated {
                what: "memory section",
                offset: 0,
                needed: SHORT_SIZE,
                available: bytes.len(),
            });
        }
        let length = if bytes.len() < Self::SIZE {
            SHORT_SIZE
        } else {
            Self::SIZE
        };
        let mut section = Self::new_zeroed();
        section.as_mut_bytes()[..length].copy_from_slice(&bytes[..length]);
        if length == SHORT_SIZE {
            // What the short form has no room for cannot be valid in it.
            let known = (1 << (ERROR_TYPE + 1)) - 1;
            section.valid.set(section.valid.get() & known);
        }
        Ok(section)
    }

    /// What kind of error.
    pub const fn error_type(&self) -> Option<MemoryErrorType> {
        if self.is_valid(ERROR_TYPE) {
            Some(MemoryErrorType::from_code(self.error_type))
        } else {
            None
        }
    }

    /// Sets [`error_type`](Self::error_type).
    #[must_use]
    pub fn with_error_type(mut self, value: MemoryErrorType) -> Self {
        self.error_type = value.code();
        self.with_valid(ERROR_TYPE)
    }

    /// Which row: 16 bits, or 18 where the section has the two further ones.
    pub const fn row(&self) -> Option<u32> {
        let low = self.row.get() as u32;
        if self.is_valid(EXTENDED_ROW) {
            Some((self.extended as u32 & 0b11) << 16 | low)
        } else if self.is_valid(ROW) {
            Some(low)
        } else {
            None
        }
    }

    /// Sets [`row`](Self::row); bits above the eighteenth are dropped.
    #[must_use]
    pub fn with_row(mut self, value: u32) -> Self {
        let high = (value >> 16) as u8 & 0b11;
        self.row.set(value as u16);
        self.extended = self.extended & !0b11 | high;
        let extended = match high {
            0 => self.without_valid(EXTENDED_ROW),
            _ => self.with_valid(EXTENDED_ROW),
        };
        extended.with_valid(ROW)
    }

    /// Which bank, as one number.
    pub const fn bank(&self) -> Option<u16> {
        if self.is_valid(BANK) {
            Some(self.bank.get())
        } else {
            None
        }
    }

    /// Sets [`bank`](Self::bank). Bank group and address, which share its place, become invalid.
    #[must_use]
    pub fn with_bank(mut self, value: u16) -> Self {
        self.bank.set(value);
        self.without_valid(BANK_GROUP)
            .without_valid(BANK_ADDRESS)
            .with_valid(BANK)
    }

    /// Which bank group, where the section tells group and address apart.
    pub const fn bank_group(&self) -> Option<u8> {
        if self.is_valid(BANK_GROUP) {
            Some((self.bank.get() >> 8) as u8)
        } else {
            None
        }
    }

    /// Which bank of its group, where the section tells group and address apart.
    pub const fn bank_address(&self) -> Option<u8> {
        if self.is_valid(BANK_ADDRESS) {
            Some(self.bank.get() as u8)
        } else {
            None
        }
    }

    /// Sets [`bank_group`](Self::bank_group) and [`bank_address`](Self::bank_address). The
    /// bank as one number, which shares their place, becomes invalid.
    #[must_use]
    pub fn with_bank_group_and_address(mut self, group: u8, address: u8) -> Self {
        self.bank.set(u16::from_be_bytes([group, address]));
        self.without_valid(BANK)
            .with_valid(BANK_GROUP)
            .with_valid(BANK_ADDRESS)
    }

    /// Which chip of a stack, 0 to 7.
    pub const fn chip_id(&self) -> Option<u8> {
        if self.is_valid(CHIP_ID) {
            Some(self.extended >> 5)
        } else {
            None
        }
    }

    /// Sets [`chip_id`](Self::chip_id); only the low three bits count.
    #[must_use]
    pub fn with_chip_id(mut self, value: u8) -> Self {
        self.extended = self.extended & 0x1f | value << 5;
        self.with_valid(CHIP_ID)
    }

    /// The physical addresses that may have failed: the smallest aligned power of two that the
    /// mask allows, or the one address if there is no mask. `None` without an address.
    ///
    /// A mask of 0 says nothing, and is taken for none.
    pub fn physical_range(&self) -> Option<RangeInclusive<u64>> {
        let address = self.physical_address()?;
        let unknown = match self.physical_address_mask() {
            None | Some(0) => 0,
            Some(mask) => (1 << mask.trailing_zeros()) - 1,
        };
        Some(address & !unknown..=address | unknown)
    }

    const fn is_valid(&self, bit: u32) -> bool {
        self.valid.get() & 1 << bit != 0
    }

    fn with_valid(mut self, bit: u32) -> Self {
        self.valid.set(self.valid.get() | 1 << bit);
        self
    }

    fn without_valid(mut self, bit: u32) -> Self {
        self.valid.set(self.valid.get() & !(1 << bit));
        self
    }
}

impl Default for MemoryError {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory error")?;
        if let Some(error_type) = self.error_type() {
            write!(f, ": {error_type}")?;
        }
        line(f, "physical address", self.physical_address().map(Hex))?;
        line(
            f,
            "known address bits",
            self.physical_address_mask().map(Hex),
        )?;
        line(f, "status", self.error_status().map(Hex))?;
        let mut separator = "\n  at ";
        for (name, value) in [
            ("node", self.node().map(u32::from)),
            ("card", self.card().map(u32::from)),
            ("module", self.module().map(u32::from)),
            ("rank", self.rank().map(u32::from)),
            ("bank", self.bank().map(u32::from)),
            ("bank group", self.bank_group().map(u32::from)),
            ("bank address", self.bank_address().map(u32::from)),
            ("device", self.device().map(u32::from)),
            ("chip", self.chip_id().map(u32::from)),
            ("row", self.row()),
            ("column", self.column().map(u32::from)),
            ("bit", self.bit_position().map(u32::from)),
        ] {
            if let Some(value) = value {
                write!(f, "{separator}{name} {value}")?;
                separator = ", ";
            }
        }
        line(f, "requestor", self.requestor_id().map(Hex))?;
        line(f, "responder", self.responder_id().map(Hex))?;
        line(f, "target", self.target_id().map(Hex))?;
        line(f, "card's SMBIOS handle", self.card_handle())?;
        line(f, "module's SMBIOS handle", self.module_handle())
    }
}

impl fmt::Debug for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryError({:#x}: {self})", self.valid)
    }
}
