//! The boot error record table: ACPI 18.3.1.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::table::{self, TableBuilder};
use crate::{BufferTooSmall, Oem, TableError, TableHeader};

/// The boot error record table (BERT): where firmware keeps what went wrong in an earlier boot.
///
/// The region holds a status block ([`cper::StatusBlock`]), pending or not.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Bert {
    /// Length of the region in bytes.
    pub region_length: U32,
    /// Physical address of the region.
    pub region_address: U64,
}

const SIGNATURE: [u8; 4] = *b"BERT";
const REVISION: u8 = 1;

impl Bert {
    /// Length of the table in bytes.
    pub const TABLE_LENGTH: usize = size_of::<TableHeader>() + size_of::<Self>();

    /// Decodes the table.
    ///
    /// # Errors
    ///
    /// [`TableError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TableError> {
        let (header, table) = TableHeader::parse(bytes, SIGNATURE)?;
        table::read(table, size_of_val(&header), "boot error region")
    }

    /// Writes the table to the start of `buffer` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`].
    pub fn encode(&self, oem: &Oem, buffer: &mut [u8]) -> Result<usize, BufferTooSmall> {
        let mut table = TableBuilder::new(buffer, SIGNATURE, REVISION, oem)?;
        table.put(self)?;
        table.finish()
    }
}
