//! Common Platform Error Records: the form in which errors are stored.
//!
//! Layout: UEFI, appendix N, tables "Error Record Header" and "Section Descriptor".

use core::fmt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::{Reader, Writer};
use crate::{EncodeError, FruText, Guid, Malformed, Section, SectionFlags, Severity, Timestamp};

bitflags::bitflags! {
    /// What a record says of itself. Bits nobody has defined are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RecordFlags: u32 {
        /// The error was recovered from.
        const RECOVERED = 1 << 0;
        /// The error is one of an earlier boot.
        const PREVIOUS = 1 << 1;
        /// Somebody injected the error.
        const SIMULATED = 1 << 2;

        const _ = !0;
    }
}

/// What a record says about all of its sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordInfo {
    /// The worst of the sections.
    pub severity: Severity,
    /// What the record says of itself.
    pub flags: RecordFlags,
    /// Names the record among those of its creator.
    pub record_id: u64,
    /// When it happened.
    pub timestamp: Option<Timestamp>,
    /// Which platform it happened on.
    pub platform_id: Option<Guid>,
    /// Which software domain it happened in.
    pub partition_id: Option<Guid>,
    /// Who wrote the record.
    pub creator_id: Guid,
    /// How the error was reported, for instance [`Guid::NOTIFY_SEA`].
    pub notification_type: Guid,
    /// For whoever keeps the record.
    pub persistence_info: u64,
}

/// What a record says about one section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// How bad this error is.
    pub severity: Severity,
    /// What the section says of itself.
    pub flags: SectionFlags,
    /// The field replaceable unit that failed.
    pub fru_id: Option<Guid>,
    /// The name of the unit that failed.
    pub fru_text: Option<FruText>,
}

/// A record whose lengths were checked: every section lies inside it.
///
/// Printed, it is a line about the record, then every section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What is said about all sections.
    pub info: RecordInfo,
    bytes: &'a [u8],
    descriptors: &'a [DescriptorLayout],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    signature: [u8; 4],
    revision: U16,
    signature_end: U32,
    section_count: U16,
    severity: U32,
    valid: U32,
    record_length: U32,
    timestamp: Timestamp,
    platform_id: Guid,
    partition_id: Guid,
    creator_id: Guid,
    notification_type: Guid,
    record_id: U64,
    flags: U32,
    persistence_info: U64,
    reserved: [u8; 12],
}

const _: () = assert!(size_of::<Header>() == 128);

#[derive(Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct DescriptorLayout {
    offset: U32,
    length: U32,
    revision: U16,
    valid: u8,
    reserved: u8,
    flags: U32,
    section_type: Guid,
    fru_id: Guid,
    severity: U32,
    fru_text: FruText,
}

const _: () = assert!(size_of::<DescriptorLayout>() == 72);

impl Header {
    const SIGNATURE: [u8; 4] = *b"CPER";
    const SIGNATURE_END: u32 = u32::MAX;
    const REVISION: u16 = 0x101;
    const PLATFORM_ID_VALID: u32 = 1 << 0;
    const TIMESTAMP_VALID: u32 = 1 << 1;
    const PARTITION_ID_VALID: u32 = 1 << 2;
}

impl DescriptorLayout {
    const REVISION: u16 = 0x100;
    const FRU_ID_VALID: u8 = 1 << 0;
    const FRU_TEXT_VALID: u8 = 1 << 1;

    fn payload<'a>(&self, record: &'a [u8]) -> Option<&'a [u8]> {
        let offset = self.offset.get() as usize;
        record.get(offset..offset.checked_add(self.length.get() as usize)?)
    }
}

impl RecordInfo {
    /// A record with this severity and identifier, and nothing else said.
    pub const fn new(severity: Severity, record_id: u64) -> Self {
        Self {
            severity,
            flags: RecordFlags::empty(),
            record_id,
            timestamp: None,
            platform_id: None,
            partition_id: None,
            creator_id: Guid::ZERO,
            notification_type: Guid::ZERO,
            persistence_info: 0,
        }
    }
}

impl Descriptor {
    /// A section of this severity, with nothing else said.
    pub const fn new(severity: Severity) -> Self {
        Self {
            severity,
            flags: SectionFlags::empty(),
            fru_id: None,
            fru_text: None,
        }
    }
}

impl<'a> Record<'a> {
    /// Checks a record at the start of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if this is no record, or if it or a section in it is longer than what holds
    /// it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let header: &Header = Reader::new(bytes).read("record header")?;
        if header.signature != Header::SIGNATURE
            || header.signature_end.get() != Header::SIGNATURE_END
        {
            return Err(Malformed::Signature);
        }
        let bytes = Reader::new(bytes).take("record", header.record_length.get() as usize)?;
        let mut reader = Reader::new(bytes);
        reader.take("record header", size_of::<Header>())?;
        let (offset, what) = (reader.offset(), "section descriptors");
        let needed = usize::from(header.section_count.get()) * size_of::<DescriptorLayout>();
        let table = reader.take(what, needed)?;
        let descriptors =
            <[DescriptorLayout]>::ref_from_bytes(table).map_err(|_| Malformed::Truncated {
                what,
                offset,
                needed,
                available: table.len(),
            })?;
        for descriptor in descriptors {
            let offset = descriptor.offset.get() as usize;
            descriptor.payload(bytes).ok_or(Malformed::Truncated {
                what: "section",
                offset,
                needed: descriptor.length.get() as usize,
                available: bytes.len().saturating_sub(offset),
            })?;
        }
        let valid = |bit| header.valid.get() & bit != 0;
        let info = RecordInfo {
            severity: Severity::from_code(header.severity.get()),
            flags: RecordFlags::from_bits_retain(header.flags.get()),
            record_id: header.record_id.get(),
            timestamp: valid(Header::TIMESTAMP_VALID).then_some(header.timestamp),
            platform_id: valid(Header::PLATFORM_ID_VALID).then_some(header.platform_id),
            partition_id: valid(Header::PARTITION_ID_VALID).then_some(header.partition_id),
            creator_id: header.creator_id,
            notification_type: header.notification_type,
            persistence_info: header.persistence_info.get(),
        };
        Ok(Self {
            info,
            bytes,
            descriptors,
        })
    }

    /// The sections, in the order of their descriptors. A section that does not decode is an
    /// error of its own.
    pub fn sections(
        &self,
    ) -> impl ExactSizeIterator<Item = (Descriptor, Result<Section<'a>, Malformed>)> + use<'a> {
        let bytes = self.bytes;
        self.descriptors.iter().map(move |layout| {
            let valid = |bit| layout.valid & bit != 0;
            let descriptor = Descriptor {
                severity: Severity::from_code(layout.severity.get()),
                flags: SectionFlags::from_bits_retain(layout.flags.get()),
                fru_id: valid(DescriptorLayout::FRU_ID_VALID).then_some(layout.fru_id),
                fru_text: valid(DescriptorLayout::FRU_TEXT_VALID).then_some(layout.fru_text),
            };
            // `parse` has found every payload inside the record.
            let payload = layout.payload(bytes).unwrap_or_default();
            (descriptor, Section::parse(layout.section_type, payload))
        })
    }

    /// Writes a record to the start of `buffer` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError`].
    pub fn encode(
        info: &RecordInfo,
        sections: &[(Descriptor, Section<'_>)],
        buffer: &mut [u8],
    ) -> Result<usize, EncodeError> {
        let too_large = |what, limit| EncodeError::TooLarge { what, limit };
        let section_count = u16::try_from(sections.len())
            .map_err(|_| too_large("the number of sections", u16::MAX.into()))?;
        let length = |bytes: usize| {
            u32::try_from(bytes)
                .map(U32::new)
                .map_err(|_| too_large("a record's length", u32::MAX as usize))
        };
        let mut writer = Writer::new(buffer);
        writer.pad(size_of::<Header>() + sections.len() * size_of::<DescriptorLayout>())?;
        for (index, (descriptor, section)) in sections.iter().enumerate() {
            let offset = writer.length();
            section.write(&mut writer)?;
            let valid_if = |present, bit| if present { bit } else { 0 };
            let layout = DescriptorLayout {
                offset: length(offset)?,
                length: length(writer.length() - offset)?,
                revision: DescriptorLayout::REVISION.into(),
                valid: valid_if(descriptor.fru_id.is_some(), DescriptorLayout::FRU_ID_VALID)
                    | valid_if(
                        descriptor.fru_text.is_some(),
                        DescriptorLayout::FRU_TEXT_VALID,
                    ),
                reserved: 0,
                flags: descriptor.flags.bits().into(),
                section_type: section.section_type(),
                fru_id: descriptor.fru_id.unwrap_or(Guid::ZERO),
                severity: descriptor.severity.code().into(),
                fru_text: descriptor.fru_text.unwrap_or(FruText::new_zeroed()),
            };
            let at = size_of::<Header>() + index * size_of::<DescriptorLayout>();
            writer.put_at(at, &layout)?;
        }
        let valid_if = |present, bit| if present { bit } else { 0 };
        let header = Header {
            signature: Header::SIGNATURE,
            revision: Header::REVISION.into(),
            signature_end: Header::SIGNATURE_END.into(),
            section_count: section_count.into(),
            severity: info.severity.code().into(),
            valid: (valid_if(info.platform_id.is_some(), Header::PLATFORM_ID_VALID)
                | valid_if(info.timestamp.is_some(), Header::TIMESTAMP_VALID)
                | valid_if(info.partition_id.is_some(), Header::PARTITION_ID_VALID))
            .into(),
            record_length: length(writer.length())?,
            timestamp: info.timestamp.unwrap_or(Timestamp::new_zeroed()),
            platform_id: info.platform_id.unwrap_or(Guid::ZERO),
            partition_id: info.partition_id.unwrap_or(Guid::ZERO),
            creator_id: info.creator_id,
            notification_type: info.notification_type,
            record_id: info.record_id.into(),
            flags: info.flags.bits().into(),
            persistence_info: info.persistence_info.into(),
            reserved: [0; 12],
        };
        writer.put_at(0, &header)?;
        Ok(writer.length())
    }
}

impl fmt::Display for RecordFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::flags(f, self.bits(), &["recovered", "previous boot", "simulated"])
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = &self.info;
        write!(
            f,
            "record {:#x}: {} hardware error",
            info.record_id, info.severity
        )?;
        if !info.flags.is_empty() {
            write!(f, ", {}", info.flags)?;
        }
        if let Some(timestamp) = info.timestamp {
            write!(f, ", at {timestamp}")?;
        }
        for (index, (descriptor, section)) in self.sections().enumerate() {
            write!(f, "\n{}: {}: ", index + 1, descriptor.severity)?;
            match section {
                Ok(section) => write!(f, "{section}")?,
                Err(error) => write!(f, "{error}")?,
            }
        }
        Ok(())
    }
}
