//! Why bytes do not decode, and why a value does not encode.

use core::fmt;

/// Why bytes are refused. Offsets and lengths are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A structure is longer than what holds it.
    Truncated {
        /// Which structure.
        what: &'static str,
        /// Where it starts, from the start of the block, record or section.
        offset: usize,
        /// How long it must, or says that it must, be.
        needed: usize,
        /// How much there is from `offset` on.
        available: usize,
    },
    /// A structure says that it is shorter than its own fixed part, or of a length that its
    /// version cannot have.
    Length {
        /// Which structure.
        what: &'static str,
        /// Where it starts, from the start of the block, record or section.
        offset: usize,
        /// The length it states.
        length: usize,
    },
    /// Raw data start before the data entries end.
    RawDataOverlap {
        /// Where the raw data start.
        offset: usize,
        /// Where the data entries end.
        entries_end: usize,
    },
    /// A record does not carry its signature.
    Signature,
}

impl fmt::Display for Malformed {
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
            Self::Length {
                what,
                offset,
                length,
            } => write!(
                f,
                "{what} at byte {offset} states an impossible length of {length} bytes"
            ),
            Self::RawDataOverlap {
                offset,
                entries_end,
            } => write!(
                f,
                "raw data start at byte {offset}, before the entries end at byte {entries_end}"
            ),
            Self::Signature => f.write_str("not an error record: its signature is missing"),
        }
    }
}

impl core::error::Error for Malformed {}

/// Why a value cannot be encoded. The buffer may then hold a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// The buffer is too small.
    BufferTooSmall {
        /// How many bytes the buffer would need up to and including the item that did not fit.
        needed: usize,
        /// How many it has.
        available: usize,
    },
    /// A count or length does not fit its field in the format.
    TooLarge {
        /// Which field.
        what: &'static str,
        /// The largest value it can hold.
        limit: usize,
    },
    /// A data entry with a timestamp needs revision `0x300` or later.
    TimestampNeedsRevision3,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BufferTooSmall { needed, available } => write!(
                f,
                "{needed} bytes are needed, but the buffer has {available}"
            ),
            Self::TooLarge { what, limit } => write!(f, "{what} exceeds its limit of {limit}"),
            Self::TimestampNeedsRevision3 => {
                f.write_str("an entry with a timestamp needs revision 0x300 or later")
            }
        }
    }
}

impl core::error::Error for EncodeError {}
