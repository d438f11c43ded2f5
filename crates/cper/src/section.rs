//! Sections: what an error was, in the terms of the part that failed.

use core::fmt;

use crate::bytes::Writer;
use crate::text::HexBytes;
use crate::{ArmProcessor, EncodeError, Guid, Malformed, MemoryError};

/// A section of a record or of a status block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section<'a> {
    /// An error in memory.
    Memory(MemoryError),
    /// An error that an Arm processor met.
    ArmProcessor(ArmProcessor<'a>),
    /// Any other kind, the vendor's own included: kept as it is.
    Other {
        /// What kind.
        section_type: Guid,
        /// Its bytes.
        bytes: &'a [u8],
    },
}

impl<'a> Section<'a> {
    /// Decodes the bytes of a section of this type.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; offsets count from the start of the section.
    pub fn parse(section_type: Guid, bytes: &'a [u8]) -> Result<Self, Malformed> {
        Ok(match section_type {
            Guid::MEMORY => Self::Memory(MemoryError::parse(bytes)?),
            Guid::ARM_PROCESSOR => Self::ArmProcessor(ArmProcessor::parse(bytes)?),
            _ => Self::Other {
                section_type,
                bytes,
            },
        })
    }

    /// What kind of section this is.
    pub const fn section_type(&self) -> Guid {
        match self {
            Self::Memory(_) => Guid::MEMORY,
            Self::ArmProcessor(_) => Guid::ARM_PROCESSOR,
            Self::Other { section_type, .. } => *section_type,
        }
    }

    /// How many bytes [`encode`](Self::encode) writes.
    pub fn encoded_length(&self) -> usize {
        match self {
            Self::Memory(_) => MemoryError::SIZE,
            Self::ArmProcessor(section) => section.encoded_length(),
            Self::Other { bytes, .. } => bytes.len(),
        }
    }

    /// Writes the section to the start of `buffer` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(&self, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let mut writer = Writer::new(buffer);
        self.write(&mut writer)?;
        Ok(writer.length())
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Memory(section) => writer.put(section),
            Self::ArmProcessor(section) => section.write(writer),
            Self::Other { bytes, .. } => writer.put(*bytes),
        }
    }
}

impl fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(section) => write!(f, "{section}"),
            Self::ArmProcessor(section) => write!(f, "{section}"),
            Self::Other {
                section_type,
                bytes,
            } => {
                match section_type.section_name() {
                    Some(name) => f.write_str(name)?,
                    None => write!(f, "section of type {section_type}")?,
                }
                write!(f, "\n  {}", HexBytes(bytes))
            }
        }
    }
}
