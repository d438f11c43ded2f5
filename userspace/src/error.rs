//! What an access that failed reports.

use std::fmt;
use std::io;

use extable::{Report, Side};

use crate::page;

/// Why memory could not be accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The memory itself is lost: `BUS_MCEERR_AR`, and on arm64 also `BUS_OBJERR`, with which
    /// Linux reports an external abort that no firmware claims. The kernel has taken the page away.
    Poisoned,
    /// Nothing stands behind the mapping: the file was truncated, or its storage failed
    /// (`BUS_ADRERR`). The same access may succeed later.
    TruncatedOrIo,
    /// Some other hardware error at this address (`BUS_OBJERR`, except on arm64).
    Bus,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Poisoned => "poisoned memory",
            Self::TruncatedOrIo => "a page without backing (file truncated, or I/O error)",
            Self::Bus => "a bus error",
        })
    }
}

impl Kind {
    /// From the `si_code` of a SIGBUS.
    pub(crate) fn of(code: i32) -> Self {
        match code {
            libc::BUS_MCEERR_AR => Self::Poisoned,
            libc::BUS_OBJERR if cfg!(target_arch = "aarch64") => Self::Poisoned,
            libc::BUS_ADRERR => Self::TruncatedOrIo,
            _ => Self::Bus,
        }
    }
}

/// The addresses that are lost together, as the kernel reported them (`si_addr_lsb`): a page, or
/// all of a huge page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Address of the first byte.
    pub start: usize,
    /// Number of bytes, a power of two.
    pub length: usize,
}

impl Extent {
    /// The naturally aligned unit of `1 << log2` bytes around `address`; a page where `log2`
    /// says less than that, because nothing smaller is ever taken away.
    pub(crate) fn around(address: usize, log2: u8) -> Self {
        let log2 = log2.max(page::log2());
        let length = 1_usize.checked_shl(log2.into()).unwrap_or(page::size());
        Self {
            start: address & !(length - 1),
            length,
        }
    }
}

/// An access stopped by memory that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryError {
    /// Bytes copied, filled or compared before the failure: exact, from the start of the range.
    /// Nothing beyond them was written.
    pub copied: usize,
    /// Which side failed, where that is known.
    pub side: Option<Side>,
    /// Why.
    pub kind: Kind,
    /// Which addresses are lost, where the failing one is known.
    pub extent: Option<Extent>,
}

impl MemoryError {
    /// `address` is that of the first byte that was not accessed.
    #[cold]
    pub(crate) fn new(report: Report, copied: usize, address: Option<usize>) -> Self {
        Self {
            copied,
            side: report.side(),
            kind: Kind::of(report.code().into()),
            extent: address.map(|address| Extent::around(address, report.log2_extent())),
        }
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "access stopped after {} bytes by {}",
            self.copied, self.kind
        )?;
        match self.side {
            Some(Side::Source) => f.write_str(" in its source")?,
            Some(Side::Destination) => f.write_str(" in its destination")?,
            None => {}
        }
        match self.extent {
            Some(Extent { start, length }) => write!(f, ", {length} bytes at {start:#x}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for MemoryError {}

impl From<MemoryError> for io::Error {
    fn from(error: MemoryError) -> Self {
        Self::other(error)
    }
}

/// Why an access to a [`Region`](crate::Region) or [`SafeMap`](crate::SafeMap) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// The range does not lie inside; nothing was accessed.
    OutOfRange {
        /// Where the access would start, in bytes from the start.
        offset: usize,
        /// How many bytes it would access.
        length: usize,
        /// How many bytes there are.
        available: usize,
    },
    /// A write to what was opened for reading; nothing was accessed.
    ReadOnly,
    /// The memory failed.
    Memory(MemoryError),
}

impl AccessError {
    /// Bytes accessed before the failure.
    #[must_use]
    pub fn copied(&self) -> usize {
        match self {
            Self::Memory(error) => error.copied,
            Self::OutOfRange { .. } | Self::ReadOnly => 0,
        }
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange {
                offset,
                length,
                available,
            } => write!(
                f,
                "{length} bytes at offset {offset} do not lie inside the {available} bytes there are"
            ),
            Self::ReadOnly => f.write_str("cannot write: this memory was opened for reading only"),
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AccessError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Memory(error) => Some(error),
            Self::OutOfRange { .. } | Self::ReadOnly => None,
        }
    }
}

impl From<MemoryError> for AccessError {
    fn from(error: MemoryError) -> Self {
        Self::Memory(error)
    }
}

impl From<AccessError> for io::Error {
    fn from(error: AccessError) -> Self {
        let kind = match error {
            AccessError::OutOfRange { .. } => io::ErrorKind::UnexpectedEof,
            AccessError::ReadOnly => io::ErrorKind::PermissionDenied,
            AccessError::Memory(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
