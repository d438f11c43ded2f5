//! Generic hardware error sources: ACPI 18.3.2.7 (GHES) and 18.3.2.8 (GHESv2).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::{GenericAddress, Notification};

/// A generic hardware error source: firmware leaves a status block and calls for attention.
///
/// 64 bytes, and the head of a [`GenericSourceV2`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct GenericSource {
    /// Type of the source: [`GenericSource::TYPE`] or [`GenericSourceV2::TYPE`].
    pub source_type: U16,
    /// Names the source.
    pub source_id: U16,
    /// The source that this one reports for, or [`GenericSource::UNRELATED`].
    pub related_source_id: U16,
    /// Reserved.
    pub flags: u8,
    /// 1 if the source is to be used.
    pub enabled: u8,
    /// How many records to set memory aside for.
    pub records_to_preallocate: U32,
    /// How many sections a block has at most.
    pub max_sections_per_record: U32,
    /// How long a section is at most, in bytes.
    pub max_raw_data_length: U32,
    /// A register that *holds the address of* the status block: 64 bits in memory, as a rule.
    pub error_status_address: GenericAddress,
    /// How it calls for attention.
    pub notification: Notification,
    /// Room for the status block, in bytes.
    pub error_status_block_length: U32,
}

/// A generic hardware error source that waits for software to acknowledge a block before it
/// writes the next: 92 bytes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct GenericSourceV2 {
    /// What it shares with the first version.
    pub source: GenericSource,
    /// How to acknowledge.
    pub read_ack: ReadAck,
}

/// How to acknowledge a block: read the register, keep some bits, set some, write it back.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct ReadAck {
    /// The register.
    pub register: GenericAddress,
    /// The bits to keep, counted from the register's offset.
    pub preserve: U64,
    /// The bits to set, counted from the register's offset.
    pub write: U64,
}

const _: () = assert!(size_of::<GenericSource>() == 64);
const _: () = assert!(size_of::<GenericSourceV2>() == 92);

impl GenericSource {
    /// Its type in a HEST.
    pub const TYPE: u16 = 9;
    /// It reports for no other source.
    pub const UNRELATED: u16 = 0xffff;

    /// A source in use, with blocks of one section and up to `block_length` bytes, whose
    /// addresses are in the register `error_status_address`.
    pub fn new(
        source_id: u16,
        notification: Notification,
        error_status_address: GenericAddress,
        block_length: u32,
    ) -> Self {
        Self {
            source_type: Self::TYPE.into(),
            source_id: source_id.into(),
            related_source_id: Self::UNRELATED.into(),
            flags: 0,
            enabled: 1,
            records_to_preallocate: 1.into(),
            max_sections_per_record: 1.into(),
            max_raw_data_length: block_length.into(),
            error_status_address,
            notification,
            error_status_block_length: block_length.into(),
        }
    }

    /// Whether the source is to be used.
    pub const fn is_enabled(&self) -> bool {
        self.enabled != 0
    }
}

impl GenericSourceV2 {
    /// Its type in a HEST.
    pub const TYPE: u16 = 10;

    /// As `source`, but acknowledged.
    pub fn new(source: GenericSource, read_ack: ReadAck) -> Self {
        Self {
            source: GenericSource {
                source_type: Self::TYPE.into(),
                ..source
            },
            read_ack,
        }
    }
}
