//! The error injection table: ACPI 18.6.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::table::{put, read};
use crate::{
    AddressSpace, BufferTooSmall, Instruction, InstructionEntry, InstructionSet, Oem, Program,
    TableError, action_table,
};

/// The error injection table (EINJ): how to make the platform produce an error.
#[derive(Clone, Copy, Debug)]
pub struct Einj<'a> {
    /// Reserved.
    pub flags: u8,
    /// How to perform the actions of [`EinjAction`].
    pub program: Program<'a>,
}

/// The actions of an EINJ, by number: ACPI 18.6.1, table "Error Injection Actions".
#[derive(Clone, Copy, Debug)]
pub struct EinjAction;

#[expect(missing_docs, reason = "the names are ACPI's")]
impl EinjAction {
    pub const BEGIN_INJECTION_OPERATION: u8 = 0x00;
    pub const GET_TRIGGER_ERROR_ACTION_TABLE: u8 = 0x01;
    pub const SET_ERROR_TYPE: u8 = 0x02;
    pub const GET_ERROR_TYPE: u8 = 0x03;
    pub const END_OPERATION: u8 = 0x04;
    pub const EXECUTE_OPERATION: u8 = action_table::COMMAND[0];
    pub const CHECK_BUSY_STATUS: u8 = action_table::COMMAND[1];
    pub const GET_COMMAND_STATUS: u8 = action_table::COMMAND[2];
    pub const SET_ERROR_TYPE_WITH_ADDRESS: u8 = 0x08;
    pub const GET_EXECUTE_OPERATION_TIMINGS: u8 = 0x09;
    pub const EINJV2_SET_ERROR_TYPE: u8 = 0x10;
    pub const EINJV2_GET_ERROR_TYPE: u8 = 0x11;
    pub const TRIGGER_ERROR: u8 = 0xff;
}

bitflags::bitflags! {
    /// Kinds of error that can be injected: ACPI 18.6.4, table "Error Type Definition". Bits
    /// nobody has defined are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ErrorTypes: u32 {
        /// Processor: corrected.
        const PROCESSOR_CORRECTABLE = 1 << 0;
        /// Processor: uncorrected, not fatal.
        const PROCESSOR_UNCORRECTABLE = 1 << 1;
        /// Processor: uncorrected, fatal.
        const PROCESSOR_FATAL = 1 << 2;
        /// Memory: corrected.
        const MEMORY_CORRECTABLE = 1 << 3;
        /// Memory: uncorrected, not fatal.
        const MEMORY_UNCORRECTABLE = 1 << 4;
        /// Memory: uncorrected, fatal.
        const MEMORY_FATAL = 1 << 5;
        /// PCI Express: corrected.
        const PCIE_CORRECTABLE = 1 << 6;
        /// PCI Express: uncorrected, not fatal.
        const PCIE_UNCORRECTABLE = 1 << 7;
        /// PCI Express: uncorrected, fatal.
        const PCIE_FATAL = 1 << 8;
        /// The platform: corrected.
        const PLATFORM_CORRECTABLE = 1 << 9;
        /// The platform: uncorrected, not fatal.
        const PLATFORM_UNCORRECTABLE = 1 << 10;
        /// The platform: uncorrected, fatal.
        const PLATFORM_FATAL = 1 << 11;
        /// CXL.cache: corrected.
        const CXL_CACHE_CORRECTABLE = 1 << 12;
        /// CXL.cache: uncorrected, not fatal.
        const CXL_CACHE_UNCORRECTABLE = 1 << 13;
        /// CXL.cache: uncorrected, fatal.
        const CXL_CACHE_FATAL = 1 << 14;
        /// CXL.mem: corrected.
        const CXL_MEMORY_CORRECTABLE = 1 << 15;
        /// CXL.mem: uncorrected, not fatal.
        const CXL_MEMORY_UNCORRECTABLE = 1 << 16;
        /// CXL.mem: uncorrected, fatal.
        const CXL_MEMORY_FATAL = 1 << 17;
        /// The platform knows EINJv2 as well.
        const EINJV2 = 1 << 30;
        /// The vendor's own, which a structure of the vendor's describes.
        const VENDOR = 1 << 31;

        const _ = !0;
    }
}

bitflags::bitflags! {
    /// Which fields of a [`SetErrorTypeWithAddress`] count. Bits nobody has defined are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct TargetFlags: u32 {
        /// The processor.
        const PROCESSOR = 1 << 0;
        /// The memory address and its mask.
        const MEMORY = 1 << 1;
        /// The PCI Express device.
        const PCIE = 1 << 2;
        /// The structure of EINJv2, which follows this one.
        const EINJV2 = 1 << 3;

        const _ = !0;
    }
}

/// What error to inject, and where: 36 bytes, ACPI 18.6.4, table "SET_ERROR_TYPE_WITH_ADDRESS
/// Data Structure".
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct SetErrorTypeWithAddress {
    /// One bit of [`ErrorTypes`].
    pub error_type: U32,
    /// Where the vendor's structure is, from the start of this one; 0 for none.
    pub vendor_extension_offset: U32,
    /// [`TargetFlags`].
    pub flags: U32,
    /// The processor: on x86 its APIC identifier, on Arm its ACPI processor identifier.
    pub processor_id: U32,
    /// A physical address in the memory that shall fail.
    pub memory_address: U64,
    /// Which bits of that address count: all from bit 12 on for a page, from bit 6 on for a line.
    pub memory_mask: U64,
    /// The PCI Express device: segment, bus, device and function in bits 31 to 8.
    pub pcie_device: U32,
}

const _: () = assert!(size_of::<SetErrorTypeWithAddress>() == 36);

/// The instructions that make a consumer meet an error that was injected: ACPI 18.6.5.
///
/// Firmware makes the table anew for every injection.
#[derive(Clone, Copy, Debug)]
pub struct TriggerTable<'a> {
    /// Revision of its format.
    pub revision: u32,
    /// How to perform [`EinjAction::TRIGGER_ERROR`]. Without entries there is nothing to do.
    pub program: Program<'a>,
}

/// The first 16 bytes of a trigger table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub(crate) struct TriggerHeader {
    header_length: U32,
    revision: U32,
    pub(crate) table_length: U32,
    entry_count: U32,
}

const SIGNATURE: [u8; 4] = *b"EINJ";

impl<'a> Einj<'a> {
    /// Decodes the table.
    ///
    /// # Errors
    ///
    /// [`TableError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let (flags, program) = action_table::parse(bytes, SIGNATURE, InstructionSet::Injection)?;
        Ok(Self { flags, program })
    }

    /// Writes a table to the start of `buffer` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`].
    pub fn encode(
        oem: &Oem,
        entries: &[InstructionEntry],
        buffer: &mut [u8],
    ) -> Result<usize, BufferTooSmall> {
        action_table::encode(SIGNATURE, oem, 0, entries, buffer)
    }

    /// Where in physical memory firmware wants the [`SetErrorTypeWithAddress`]: at the register
    /// that the action of that name writes.
    pub fn parameter_address(&self) -> Option<u64> {
        self.program
            .action(EinjAction::SET_ERROR_TYPE_WITH_ADDRESS)
            .find(|entry| {
                entry.instruction == Instruction::WRITE_REGISTER
                    && entry.register.space == AddressSpace::MEMORY
                    && entry.register.address != U64::ZERO
            })
            .map(|entry| entry.register.address.get())
    }
}

impl SetErrorTypeWithAddress {
    /// An error of this kind, with nothing said about where.
    pub fn new(error_type: ErrorTypes) -> Self {
        Self {
            error_type: error_type.bits().into(),
            ..Self::new_zeroed()
        }
    }

    /// An error of this kind in memory. Bits of `address` that `mask` leaves out do not count.
    pub fn in_memory(error_type: ErrorTypes, address: u64, mask: u64) -> Self {
        Self {
            flags: TargetFlags::MEMORY.bits().into(),
            memory_address: address.into(),
            memory_mask: mask.into(),
            ..Self::new(error_type)
        }
    }

    /// What kind of error.
    pub const fn error_type(&self) -> ErrorTypes {
        ErrorTypes::from_bits_retain(self.error_type.get())
    }

    /// Which fields count.
    pub const fn flags(&self) -> TargetFlags {
        TargetFlags::from_bits_retain(self.flags.get())
    }

    /// The memory address and its mask, if they count.
    pub const fn memory(&self) -> Option<(u64, u64)> {
        if self.flags().contains(TargetFlags::MEMORY) {
            Some((self.memory_address.get(), self.memory_mask.get()))
        } else {
            None
        }
    }
}

impl<'a> TriggerTable<'a> {
    /// Decodes a trigger table at the start of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    ///
    /// [`TableError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let header: TriggerHeader = read(bytes, 0, "trigger table header")?;
        let length = header.table_length.get() as usize;
        let table = bytes.get(..length).ok_or(TableError::Truncated {
            what: "trigger table",
            offset: 0,
            needed: length,
            available: bytes.len(),
        })?;
        let offset = size_of::<TriggerHeader>();
        let entries = InstructionEntry::slice(table, offset, header.entry_count)?;
        Ok(Self {
            revision: header.revision.get(),
            program: Program::new(entries, InstructionSet::Injection),
        })
    }

    /// Writes a trigger table to the start of `buffer` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`].
    pub fn encode(
        entries: &[InstructionEntry],
        buffer: &mut [u8],
    ) -> Result<usize, BufferTooSmall> {
        let header_length = size_of::<TriggerHeader>();
        let table_length = header_length.saturating_add(size_of_val(entries));
        let too_long = BufferTooSmall {
            needed: table_length,
            available: u32::MAX as usize,
        };
        let table_length = u32::try_from(table_length).map_err(|_| too_long)?;
        let mut length = 0;
        let header = TriggerHeader {
            header_length: (header_length as u32).into(),
            revision: 1.into(),
            table_length: table_length.into(),
            entry_count: (entries.len() as u32).into(),
        };
        put(buffer, &mut length, &header)?;
        put(buffer, &mut length, entries)?;
        Ok(length)
    }
}
