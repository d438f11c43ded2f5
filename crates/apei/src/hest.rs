//! The hardware error source table: ACPI 18.3.2.

use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32};

use crate::table::{self, TableBuilder};
use crate::{BufferTooSmall, GenericSource, GenericSourceV2, Oem, TableError, TableHeader};

/// The hardware error source table (HEST): who reports errors, and where.
#[derive(Clone, Copy, Debug)]
pub struct Hest<'a> {
    table: &'a [u8],
    count: u32,
}

/// One error source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// A generic source.
    Generic(&'a GenericSource),
    /// A generic source that is acknowledged.
    GenericV2(&'a GenericSourceV2),
    /// Any other source: kept as it is.
    Other {
        /// Its type.
        source_type: u16,
        /// All of its bytes, the type included.
        bytes: &'a [u8],
    },
}

/// Writes a [`Hest`] into a buffer, source by source.
#[derive(Debug)]
pub struct HestBuilder<'a> {
    table: TableBuilder<'a>,
    count: u32,
}

const SIGNATURE: [u8; 4] = *b"HEST";
const REVISION: u8 = 1;
const FIRST_SOURCE: usize = size_of::<TableHeader>() + size_of::<U32>();
const WHAT: &str = "error source";

impl<'a> Hest<'a> {
    /// Checks the table as a whole. [`sources`](Self::sources) checks every source.
    ///
    /// # Errors
    ///
    /// [`TableError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let (_, table) = TableHeader::parse(bytes, SIGNATURE)?;
        let count: U32 = table::read(table, size_of::<TableHeader>(), "error source count")?;
        Ok(Self {
            table,
            count: count.get(),
        })
    }

    /// How many sources the table says it has.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The sources, in order. The first error ends them: what comes after cannot be found.
    pub fn sources(&self) -> impl Iterator<Item = Result<Source<'a>, TableError>> + use<'a> {
        let (table, count) = (self.table, self.count);
        let (mut index, mut offset) = (0, FIRST_SOURCE);
        core::iter::from_fn(move || {
            if index == count {
                return None;
            }
            let source = source_at(table, offset, index);
            match &source {
                Ok(source) => {
                    index += 1;
                    offset += source.as_bytes().len();
                }
                Err(_) => index = count,
            }
            Some(source)
        })
    }
}

fn source_at(table: &[u8], offset: usize, index: u32) -> Result<Source<'_>, TableError> {
    let source_type = table::read::<U16>(table, offset, WHAT)?.get();
    let length = length(table, offset, index, source_type)?;
    let rest = &table[offset..];
    let truncated = TableError::Truncated {
        what: WHAT,
        offset,
        needed: length,
        available: rest.len(),
    };
    let bytes = rest.get(..length).ok_or(truncated)?;
    Ok(match source_type {
        GenericSource::TYPE => {
            Source::Generic(FromBytes::ref_from_bytes(bytes).map_err(|_| truncated)?)
        }
        GenericSourceV2::TYPE => {
            Source::GenericV2(FromBytes::ref_from_bytes(bytes).map_err(|_| truncated)?)
        }
        _ => Source::Other { source_type, bytes },
    })
}

/// Length of the source at `offset`: that of its type; ACPI 18.3.2.1 to 18.3.2.11.
fn length(table: &[u8], offset: usize, index: u32, source_type: u16) -> Result<usize, TableError> {
    /// x86 machine check sources end with one such structure per bank.
    const BANK: usize = 28;
    let banks = |at| table::read::<u8>(table, offset + at, WHAT).map(usize::from);
    Ok(match source_type {
        // x86 machine check exception.
        0 => 40 + BANK * banks(32)?,
        // x86 corrected and deferred machine check.
        1 | 11 => 48 + BANK * banks(44)?,
        // x86 non-maskable interrupt.
        2 => 20,
        // PCI Express root port, device and bridge.
        6 => 48,
        7 => 44,
        8 => 56,
        GenericSource::TYPE => size_of::<GenericSource>(),
        GenericSourceV2::TYPE => size_of::<GenericSourceV2>(),
        // From here on, sources state their length after their type.
        12.. => {
            let length = table::read::<U16>(table, offset + size_of::<U16>(), WHAT)?.get();
            if usize::from(length) < 2 * size_of::<U16>() {
                return Err(TableError::SourceLength { index, length });
            }
            length.into()
        }
        kind => return Err(TableError::UnknownSource { index, kind }),
    })
}

impl<'a> Source<'a> {
    /// All of its bytes, the type included.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Generic(source) => zerocopy::IntoBytes::as_bytes(*source),
            Self::GenericV2(source) => zerocopy::IntoBytes::as_bytes(*source),
            Self::Other { bytes, .. } => bytes,
        }
    }

    /// The generic source in it, acknowledged or not.
    pub const fn generic(&self) -> Option<&'a GenericSource> {
        match self {
            Self::Generic(source) => Some(source),
            Self::GenericV2(source) => Some(&source.source),
            Self::Other { .. } => None,
        }
    }
}

impl<'a> HestBuilder<'a> {
    /// Starts a table in `buffer`.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`].
    pub fn new(buffer: &'a mut [u8], oem: &Oem) -> Result<Self, BufferTooSmall> {
        let mut table = TableBuilder::new(buffer, SIGNATURE, REVISION, oem)?;
        table.put(&U32::ZERO)?;
        Ok(Self { table, count: 0 })
    }

    /// Adds a source.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`].
    pub fn add(&mut self, source: &Source<'_>) -> Result<(), BufferTooSmall> {
        self.table.put(source.as_bytes())?;
        self.count += 1;
        Ok(())
    }

    /// Ends the table and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`] if the table is longer than its length field can say.
    pub fn finish(mut self) -> Result<usize, BufferTooSmall> {
        let count = U32::new(self.count);
        self.table.replace(size_of::<TableHeader>(), &count)?;
        self.table.finish()
    }
}
