//! Generic error status blocks: what firmware leaves in memory when it reports an error.
//!
//! Layout: ACPI 18.3.2.7.1, tables "Generic Error Status Block" and "Block Status".

use core::fmt;

use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::{Reader, Writer};
use crate::{EncodeError, Entry, EntryInfo, Malformed, Section, Severity};

/// The first 20 bytes of a block. They say whether there is an error at all, and how long the
/// block is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct StatusHeader {
    block_status: U32,
    raw_data_offset: U32,
    raw_data_length: U32,
    data_length: U32,
    severity: U32,
}

/// A generic error status block whose lengths were checked: every entry lies inside it.
///
/// Printed, it is a line about the block, then every entry with its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusBlock<'a> {
    header: StatusHeader,
    entries: &'a [u8],
    raw_data: &'a [u8],
}

/// Writes a [`StatusBlock`] into a buffer, section by section.
///
/// The block's status bits and its severity follow from its entries, so they cannot disagree.
#[derive(Debug)]
pub struct StatusBlockBuilder<'a> {
    writer: Writer<'a>,
    severity: Severity,
    count: u32,
    corrected: u32,
    uncorrected: u32,
}

impl StatusHeader {
    /// Length in bytes.
    pub const SIZE: usize = size_of::<Self>();

    const UNCORRECTABLE: u32 = 1 << 0;
    const CORRECTABLE: u32 = 1 << 1;
    const MULTIPLE_UNCORRECTABLE: u32 = 1 << 2;
    const MULTIPLE_CORRECTABLE: u32 = 1 << 3;
    const COUNT_SHIFT: u32 = 4;
    const COUNT_MAX: u32 = 0x3ff;

    /// Takes a header from its bytes. All bytes are a header, if not a sensible one.
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        zerocopy::transmute!(bytes)
    }

    /// Whether the block holds an error. If not, nothing else in it means anything.
    pub const fn is_pending(&self) -> bool {
        self.block_status.get() != 0
    }

    /// The word at the start of the block, which reports and then releases it.
    pub const fn block_status(&self) -> u32 {
        self.block_status.get()
    }

    /// Whether the block says that it holds an uncorrected error.
    pub const fn has_uncorrected(&self) -> bool {
        self.block_status.get() & (Self::UNCORRECTABLE | Self::MULTIPLE_UNCORRECTABLE) != 0
    }

    /// Whether the block says that it holds a corrected error.
    pub const fn has_corrected(&self) -> bool {
        self.block_status.get() & (Self::CORRECTABLE | Self::MULTIPLE_CORRECTABLE) != 0
    }

    /// How many entries the block says it has. Firmware is known to miscount; what counts is
    /// [`StatusBlock::entries`].
    pub const fn stated_entries(&self) -> u32 {
        (self.block_status.get() >> Self::COUNT_SHIFT) & Self::COUNT_MAX
    }

    /// Severity of the block.
    pub const fn severity(&self) -> Severity {
        Severity::from_code(self.severity.get())
    }

    /// How long the whole block is, in bytes: header, entries and raw data.
    ///
    /// # Errors
    ///
    /// [`Malformed::RawDataOverlap`]; also [`Malformed::Length`] where a length does not fit in
    /// a `usize`.
    pub fn block_length(&self) -> Result<usize, Malformed> {
        let too_long = |what, offset, length: U32| Malformed::Length {
            what,
            offset,
            length: length.get() as usize,
        };
        let entries_end = Self::SIZE
            .checked_add(self.data_length.get() as usize)
            .ok_or(too_long("data entries", Self::SIZE, self.data_length))?;
        if self.raw_data_length.get() == 0 {
            return Ok(entries_end);
        }
        let offset = self.raw_data_offset.get() as usize;
        if offset < entries_end {
            return Err(Malformed::RawDataOverlap {
                offset,
                entries_end,
            });
        }
        offset
            .checked_add(self.raw_data_length.get() as usize)
            .ok_or(too_long("raw data", offset, self.raw_data_length))
    }
}

impl<'a> StatusBlock<'a> {
    /// Checks a block at the start of `bytes`; what follows it is ignored.
    ///
    /// A block without an error ([`StatusHeader::is_pending`]) is not refused for that.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the block, or an entry in it, is longer than what holds it. The contents
    /// of sections are checked by [`Entry::section`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let header: &StatusHeader = reader.read("status block header")?;
        let length = header.block_length()?;
        let mut whole = Reader::new(bytes);
        whole.take("status block", length)?;
        let entries = reader.take("data entries", header.data_length.get() as usize)?;
        let raw_data = match header.raw_data_length.get() {
            0 => &[],
            raw_length => &bytes[length - raw_length as usize..length],
        };
        let mut walk = Reader::starting_at(entries, StatusHeader::SIZE);
        while !walk.is_empty() {
            Entry::read(&mut walk)?;
        }
        Ok(Self {
            header: *header,
            entries,
            raw_data,
        })
    }

    /// The block's header.
    pub const fn header(&self) -> &StatusHeader {
        &self.header
    }

    /// Severity of the block as a whole.
    pub const fn severity(&self) -> Severity {
        self.header.severity()
    }

    /// The entries, in the order in which firmware wrote them.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let mut reader = Reader::starting_at(self.entries, StatusHeader::SIZE);
        // `parse` has read every entry, so the iterator ends only where the entries do.
        core::iter::from_fn(move || Entry::read(&mut reader).ok())
    }

    /// Data in a format of the vendor's, after the entries; often empty.
    pub const fn raw_data(&self) -> &'a [u8] {
        self.raw_data
    }
}

impl<'a> StatusBlockBuilder<'a> {
    /// Starts a block in `buffer`.
    ///
    /// # Errors
    ///
    /// [`EncodeError::BufferTooSmall`].
    pub fn new(buffer: &'a mut [u8]) -> Result<Self, EncodeError> {
        let mut writer = Writer::new(buffer);
        writer.pad(StatusHeader::SIZE)?;
        Ok(Self {
            writer,
            severity: Severity::Informational,
            count: 0,
            corrected: 0,
            uncorrected: 0,
        })
    }

    /// Adds a section.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]; the block is then incomplete and must be thrown away.
    pub fn add(&mut self, info: &EntryInfo, section: &Section<'_>) -> Result<(), EncodeError> {
        if self.count == StatusHeader::COUNT_MAX {
            return Err(EncodeError::TooLarge {
                what: "the number of entries",
                limit: StatusHeader::COUNT_MAX as usize,
            });
        }
        Entry::write(&mut self.writer, info, section)?;
        self.severity = if self.count == 0 {
            info.severity
        } else {
            self.severity.worst(info.severity)
        };
        self.count += 1;
        self.corrected += u32::from(info.severity == Severity::Corrected);
        self.uncorrected += u32::from(info.severity.is_uncorrected());
        Ok(())
    }

    /// Ends the block and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::TooLarge`] if the block is longer than its length fields can say.
    pub fn finish(self) -> Result<usize, EncodeError> {
        self.finish_with_raw_data(&[])
    }

    /// Ends the block with data in a format of the vendor's, and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn finish_with_raw_data(mut self, raw_data: &[u8]) -> Result<usize, EncodeError> {
        let entries_end = self.writer.length();
        self.writer.put(raw_data)?;
        let limit = u32::MAX as usize;
        let end = u32::try_from(self.writer.length()).map_err(|_| EncodeError::TooLarge {
            what: "the block's length",
            limit,
        })?;
        let bit = |condition, bit| if condition { bit } else { 0 };
        let status = bit(self.uncorrected > 0, StatusHeader::UNCORRECTABLE)
            | bit(self.corrected > 0, StatusHeader::CORRECTABLE)
            | bit(self.uncorrected > 1, StatusHeader::MULTIPLE_UNCORRECTABLE)
            | bit(self.corrected > 1, StatusHeader::MULTIPLE_CORRECTABLE)
            | self.count << StatusHeader::COUNT_SHIFT;
        let raw_data_length = raw_data.len() as u32;
        let header = StatusHeader {
            block_status: status.into(),
            raw_data_offset: if raw_data.is_empty() {
                U32::new_zeroed()
            } else {
                (entries_end as u32).into()
            },
            raw_data_length: raw_data_length.into(),
            data_length: (end - raw_data_length - StatusHeader::SIZE as u32).into(),
            severity: self.severity.code().into(),
        };
        self.writer.put_at(0, &header)?;
        Ok(self.writer.length())
    }
}

impl fmt::Display for StatusBlock<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hardware error", self.severity())?;
        for (index, entry) in self.entries().enumerate() {
            write!(f, "\n{}: {entry}", index + 1)?;
        }
        if !self.raw_data.is_empty() {
            write!(f, "\nraw data: {}", crate::text::HexBytes(self.raw_data))?;
        }
        Ok(())
    }
}
