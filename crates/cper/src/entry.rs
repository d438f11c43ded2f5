//! Generic error data entries: one section each, with what firmware says about it.

use core::fmt;

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::{Reader, Writer};
use crate::{EncodeError, Guid, Malformed, Section, Severity, Timestamp};

bitflags::bitflags! {
    /// What a section says of itself: UEFI, appendix N, table "Section Descriptor", field
    /// "Flags". Bits nobody has defined are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SectionFlags: u32 {
        /// The section to look at first.
        const PRIMARY = 1 << 0;
        /// The error may have spread beyond what the section names.
        const CONTAINMENT_WARNING = 1 << 1;
        /// The component was reset and must be set up again.
        const RESET = 1 << 2;
        /// So many errors were corrected that software should act.
        const THRESHOLD_EXCEEDED = 1 << 3;
        /// The component no longer answers.
        const RESOURCE_NOT_ACCESSIBLE = 1 << 4;
        /// Nobody has consumed the error yet; whoever does will meet it again.
        const LATENT = 1 << 5;
        /// The error came from elsewhere.
        const PROPAGATED = 1 << 6;
        /// More errors happened than could be recorded.
        const OVERFLOW = 1 << 7;

        const _ = !0;
    }
}

/// A field replaceable unit's text: up to 20 bytes, padded with NUL.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct FruText([u8; 20]);

/// What an [`Entry`] says about its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryInfo {
    /// How bad this error is; the block as a whole may be worse.
    pub severity: Severity,
    /// What the section says of itself. Only the low eight bits exist in an entry.
    pub flags: SectionFlags,
    /// The field replaceable unit that failed.
    pub fru_id: Option<Guid>,
    /// The name of the unit that failed.
    pub fru_text: Option<FruText>,
    /// When it happened. Only revision `0x300` and later has it.
    pub timestamp: Option<Timestamp>,
    /// The entry's format: `0x201` or [`EntryInfo::REVISION`].
    pub revision: u16,
}

/// One generic error data entry: what is said about a section, and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What is said about the section.
    pub info: EntryInfo,
    /// What kind of section it is.
    pub section_type: Guid,
    /// The bytes of the section.
    pub payload: &'a [u8],
}

/// ACPI 18.3.2.7.1, table "Generic Error Data Entry", up to where its revisions part.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    section_type: Guid,
    severity: U32,
    revision: U16,
    valid: u8,
    flags: u8,
    payload_length: U32,
    fru_id: Guid,
    fru_text: FruText,
}

const _: () = assert!(size_of::<Layout>() == 64);

impl Layout {
    const FRU_ID_VALID: u8 = 1 << 0;
    const FRU_TEXT_VALID: u8 = 1 << 1;
    const TIMESTAMP_VALID: u8 = 1 << 2;
}

const fn has_timestamp(revision: u16) -> bool {
    revision >= 0x300
}

impl FruText {
    /// Makes a text, or `None` if it is longer than 20 bytes.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; 20];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(Self(bytes))
    }

    /// The bytes before the first NUL.
    pub fn as_bytes(&self) -> &[u8] {
        let length = self.0.iter().position(|&byte| byte == 0);
        &self.0[..length.unwrap_or(self.0.len())]
    }
}

impl EntryInfo {
    /// The revision that this crate writes by default: with room for a timestamp.
    pub const REVISION: u16 = 0x300;

    /// An entry of this severity, with nothing else said.
    pub const fn new(severity: Severity) -> Self {
        Self {
            severity,
            flags: SectionFlags::empty(),
            fru_id: None,
            fru_text: None,
            timestamp: None,
            revision: Self::REVISION,
        }
    }
}

impl<'a> Entry<'a> {
    /// Reads the next entry.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let layout: &Layout = reader.read("data entry")?;
        let revision = layout.revision.get();
        let timestamp = if has_timestamp(revision) {
            Some(*reader.read("data entry's timestamp")?)
        } else {
            None
        };
        let valid = |bit| layout.valid & bit != 0;
        let info = EntryInfo {
            severity: Severity::from_code(layout.severity.get()),
            flags: SectionFlags::from_bits_retain(layout.flags.into()),
            fru_id: valid(Layout::FRU_ID_VALID).then_some(layout.fru_id),
            fru_text: valid(Layout::FRU_TEXT_VALID).then_some(layout.fru_text),
            timestamp: timestamp.filter(|_| valid(Layout::TIMESTAMP_VALID)),
            revision,
        };
        Ok(Self {
            info,
            section_type: layout.section_type,
            payload: reader.take("section", layout.payload_length.get() as usize)?,
        })
    }

    /// Writes an entry with `section` in it.
    pub(crate) fn write(
        writer: &mut Writer<'_>,
        info: &EntryInfo,
        section: &Section<'_>,
    ) -> Result<(), EncodeError> {
        if info.timestamp.is_some() && !has_timestamp(info.revision) {
            return Err(EncodeError::TimestampNeedsRevision3);
        }
        let too_large = |what, limit| EncodeError::TooLarge { what, limit };
        let flags = u8::try_from(info.flags.bits())
            .map_err(|_| too_large("an entry's flags", u8::MAX.into()))?;
        let length = u32::try_from(section.encoded_length())
            .map_err(|_| too_large("a section's length", u32::MAX as usize))?;
        let valid_if = |present, bit| if present { bit } else { 0 };
        writer.put(&Layout {
            section_type: section.section_type(),
            severity: info.severity.code().into(),
            revision: info.revision.into(),
            valid: valid_if(info.fru_id.is_some(), Layout::FRU_ID_VALID)
                | valid_if(info.fru_text.is_some(), Layout::FRU_TEXT_VALID)
                | valid_if(info.timestamp.is_some(), Layout::TIMESTAMP_VALID),
            flags,
            payload_length: length.into(),
            fru_id: info.fru_id.unwrap_or(Guid::ZERO),
            fru_text: info.fru_text.unwrap_or(FruText::new_zeroed()),
        })?;
        if has_timestamp(info.revision) {
            writer.put(&info.timestamp.unwrap_or(Timestamp::new_zeroed()))?;
        }
        section.write(writer)
    }

    /// The section, decoded.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the bytes are not of the type they claim to be. The other entries of the
    /// block are not affected.
    pub fn section(&self) -> Result<Section<'a>, Malformed> {
        Section::parse(self.section_type, self.payload)
    }
}

impl fmt::Display for FruText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_bytes().escape_ascii())
    }
}

impl fmt::Debug for FruText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FruText(\"{self}\")")
    }
}

impl fmt::Display for SectionFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::flags(
            f,
            self.bits(),
            &[
                "primary",
                "may have spread",
                "component was reset",
                "threshold exceeded",
                "resource not accessible",
                "latent",
                "propagated",
                "overflow",
            ],
        )
    }
}

impl fmt::Display for EntryInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.severity)?;
        if !self.flags.is_empty() {
            write!(f, ", {}", self.flags)?;
        }
        if let Some(id) = self.fru_id {
            write!(f, ", unit {id}")?;
        }
        if let Some(text) = self.fru_text {
            write!(f, ", unit \"{text}\"")?;
        }
        if let Some(timestamp) = self.timestamp {
            write!(f, ", at {timestamp}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.info)?;
        match self.section() {
            Ok(section) => write!(f, "{section}"),
            Err(error) => write!(f, "section {}: {error}", self.section_type),
        }
    }
}
