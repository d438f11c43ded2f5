//! What all ACPI tables have in common: ACPI 5.2.6, "System Description Table Header".

use core::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The first 36 bytes of a table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct TableHeader {
    /// Which table this is.
    pub signature: [u8; 4],
    /// Length of the whole table in bytes.
    pub length: U32,
    /// Revision of the table's format.
    pub revision: u8,
    /// Makes the sum of all bytes 0.
    pub checksum: u8,
    /// Who made it.
    pub oem: Oem,
}

const _: () = assert!(size_of::<TableHeader>() == 36);

/// Who made a table.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Oem {
    /// Vendor.
    pub id: [u8; 6],
    /// The vendor's name for the table.
    pub table_id: [u8; 8],
    /// The vendor's revision of the table.
    pub revision: U32,
    /// Vendor of the tool that made the table.
    pub creator_id: [u8; 4],
    /// Revision of that tool.
    pub creator_revision: U32,
}

/// Why a table is refused. Offsets and lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableError {
    /// A structure is longer than what holds it.
    Truncated {
        /// Which structure.
        what: &'static str,
        /// Where it starts, from the start of the table.
        offset: usize,
        /// How long it must, or says that it must, be.
        needed: usize,
        /// How much there is from `offset` on.
        available: usize,
    },
    /// This is another table.
    Signature {
        /// The signature looked for.
        expected: [u8; 4],
        /// The signature found.
        found: [u8; 4],
    },
    /// The table states a length that is shorter than its header.
    Length(u32),
    /// The bytes do not add up to 0.
    Checksum {
        /// What they add up to.
        sum: u8,
    },
    /// An error source of a type nobody has defined, so that its length is not known and those
    /// after it cannot be found.
    UnknownSource {
        /// Which source, counted from 0.
        index: u32,
        /// Its type.
        kind: u16,
    },
    /// An error source says that it is shorter than its header.
    SourceLength {
        /// Which source, counted from 0.
        index: u32,
        /// Its length.
        length: u16,
    },
}

/// A table cannot be encoded: the buffer is too small, or the table longer than 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferTooSmall {
    /// How many bytes are needed up to and including the item that did not fit.
    pub needed: usize,
    /// How many the buffer has.
    pub available: usize,
}

/// Sum of all bytes, which is 0 for a table.
pub(crate) fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// Splits a value off the start of what follows the first `offset` bytes of a table.
pub(crate) fn read<T>(table: &[u8], offset: usize, what: &'static str) -> Result<T, TableError>
where
    T: FromBytes,
{
    let rest = table.get(offset..).unwrap_or_default();
    match T::read_from_prefix(rest) {
        Ok((value, _)) => Ok(value),
        Err(_) => Err(TableError::Truncated {
            what,
            offset,
            needed: size_of::<T>(),
            available: rest.len(),
        }),
    }
}

impl TableHeader {
    /// Checks that `bytes` start with a table of this signature, and returns its header and the
    /// whole table, header included. Bytes after the table are ignored.
    ///
    /// # Errors
    ///
    /// [`TableError`].
    pub fn parse(bytes: &[u8], signature: [u8; 4]) -> Result<(Self, &[u8]), TableError> {
        let header: Self = read(bytes, 0, "table header")?;
        if header.signature != signature {
            return Err(TableError::Signature {
                expected: signature,
                found: header.signature,
            });
        }
        let length = header.length.get() as usize;
        if length < size_of::<Self>() {
            return Err(TableError::Length(header.length.get()));
        }
        let table = bytes.get(..length).ok_or(TableError::Truncated {
            what: "table",
            offset: 0,
            needed: length,
            available: bytes.len(),
        })?;
        match sum(table) {
            0 => Ok((header, table)),
            sum => Err(TableError::Checksum { sum }),
        }
    }

    /// Writes a table of any kind to the start of `buffer`, this header and then `body`, and
    /// returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`].
    pub fn encode(
        signature: [u8; 4],
        revision: u8,
        oem: &Oem,
        body: &[u8],
        buffer: &mut [u8],
    ) -> Result<usize, BufferTooSmall> {
        let mut table = TableBuilder::new(buffer, signature, revision, oem)?;
        table.put(body)?;
        table.finish()
    }
}

/// Writes a table into a buffer: header, body, then length and checksum.
#[derive(Debug)]
pub(crate) struct TableBuilder<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> TableBuilder<'a> {
    pub(crate) fn new(
        buffer: &'a mut [u8],
        signature: [u8; 4],
        revision: u8,
        oem: &Oem,
    ) -> Result<Self, BufferTooSmall> {
        let mut builder = Self { buffer, length: 0 };
        builder.put(&TableHeader {
            signature,
            length: 0.into(),
            revision,
            checksum: 0,
            oem: *oem,
        })?;
        Ok(builder)
    }

    pub(crate) fn put(
        &mut self,
        value: &(impl IntoBytes + Immutable + ?Sized),
    ) -> Result<(), BufferTooSmall> {
        put(self.buffer, &mut self.length, value)
    }

    /// Overwrites what was put at `offset`.
    pub(crate) fn replace(
        &mut self,
        mut offset: usize,
        value: &(impl IntoBytes + Immutable),
    ) -> Result<(), BufferTooSmall> {
        put(&mut self.buffer[..self.length], &mut offset, value)
    }

    pub(crate) fn finish(mut self) -> Result<usize, BufferTooSmall> {
        let length = u32::try_from(self.length).map_err(|_| BufferTooSmall {
            needed: self.length,
            available: u32::MAX as usize,
        })?;
        self.replace(
            core::mem::offset_of!(TableHeader, length),
            &U32::new(length),
        )?;
        let checksum = sum(&self.buffer[..self.length]).wrapping_neg();
        self.replace(core::mem::offset_of!(TableHeader, checksum), &checksum)?;
        Ok(self.length)
    }
}

/// Puts a value at `at` and moves `at` behind it.
pub(crate) fn put(
    buffer: &mut [u8],
    at: &mut usize,
    value: &(impl IntoBytes + Immutable + ?Sized),
) -> Result<(), BufferTooSmall> {
    let bytes = value.as_bytes();
    let end = at.saturating_add(bytes.len());
    let available = buffer.len();
    buffer
        .get_mut(*at..end)
        .ok_or(BufferTooSmall {
            needed: end,
            available,
        })?
        .copy_from_slice(bytes);
    *at = end;
    Ok(())
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated {
                what,
                offset,
                needed,
                available,
            } => write!(
                f,
                "{what} at byte {offset} needs {needed} bytes, but there are {available}"
            ),
            Self::Signature { expected, found } => write!(
                f,
                "this is not the table \"{}\" but \"{}\"",
                expected.escape_ascii(),
                found.escape_ascii()
            ),
            Self::Length(length) => {
                write!(
                    f,
                    "table states a length of {length} bytes, its header has 36"
                )
            }
            Self::Checksum { sum } => write!(f, "bytes add up to {sum:#04x}, they must to 0"),
            Self::UnknownSource { index, kind } => write!(
                f,
                "error source {index} has unknown type {kind}; those after it cannot be found"
            ),
            Self::SourceLength { index, length } => write!(
                f,
                "error source {index} states a length of {length} bytes, its header has 4"
            ),
        }
    }
}

impl core::error::Error for TableError {}

impl fmt::Display for BufferTooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} bytes are needed, but there is room for {}",
            self.needed, self.available
        )
    }
}

impl core::error::Error for BufferTooSmall {}
