//! Replacing what is lost by something that can be read.

use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr;

use super::shared::{Backing, Shared};
use super::{Permission, Region, probe};
use crate::error::{AccessError, Kind, MemoryError};

/// What to put in the place of poison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heal<'a> {
    /// Zeros.
    Zero,
    /// What the file has: a page that was not modified is read again. For a private mapping, what
    /// a fresh one would show: the file's bytes, or zeros if it has no file.
    FromFile,
    /// These bytes, as many as the range has. Only those that were lost are used.
    With(&'a [u8]),
}

/// Why poison could not be replaced. Earlier extents of the same call may have been.
#[derive(Debug)]
#[non_exhaustive]
pub enum HealError {
    /// The range does not lie inside the region.
    OutOfRange(AccessError),
    /// New contents cannot be written to a region that was opened for reading.
    ReadOnly,
    /// The range covers a part of this extent, of which everything is lost: heal all of it.
    Partial(Range<usize>),
    /// As many bytes are needed as the range has.
    Length {
        /// How many bytes the range has.
        needed: usize,
        /// How many were given.
        given: usize,
    },
    /// The kernel refused to let go of the page, or the file system to punch a hole.
    Io(io::Error),
    /// The page is still bad: nothing else than the lost memory holds it (a file in memory, a
    /// modified page). Use new contents.
    StillBad(Range<usize>, Kind),
    /// The new page failed too.
    Memory(MemoryError),
}

impl fmt::Display for HealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange(error) => error.fmt(f),
            Self::ReadOnly => f.write_str("cannot write new contents: the region is read-only"),
            Self::Partial(extent) => write!(
                f,
                "the range covers a part of {extent:?}, which is lost as a whole: heal all of it"
            ),
            Self::Length { needed, given } => {
                write!(f, "{given} bytes given for a range of {needed}")
            }
            Self::Io(error) => write!(f, "the lost page cannot be replaced: {error}"),
            Self::StillBad(range, kind) => write!(
                f,
                "{range:?} is still {kind}: no other copy of it exists; heal it with new contents"
            ),
            Self::Memory(error) => write!(f, "the new page failed: {error}"),
        }
    }
}

impl std::error::Error for HealError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::OutOfRange(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::ReadOnly | Self::Partial(_) | Self::Length { .. } | Self::StillBad(..) => None,
        }
    }
}

impl Region {
    /// Replaces the poison that is known in `range` ([`poisoned`](Self::poisoned)), page by page;
    /// what is not poisoned stays as it is.
    ///
    /// The lost page is dropped: for new contents of a shared file mapping by punching a hole in
    /// the file, so that other mappings of the file see the new page once they drop theirs. Where a page
    /// extends beyond the region, its lost bytes there become zero, or what the file has.
    ///
    /// # Errors
    ///
    /// [`HealError`]; what could not be healed stays known as poisoned.
    pub fn heal(&self, range: Range<usize>, source: Heal<'_>) -> Result<(), HealError> {
        let shared = &*self.shared;
        let length = range.end.saturating_sub(range.start);
        shared
            .check(range.start, length)
            .map_err(HealError::OutOfRange)?;
        match source {
            Heal::With(bytes) if bytes.len() != length => {
                return Err(HealError::Length {
                    needed: length,
                    given: bytes.len(),
                });
            }
            Heal::Zero | Heal::With(_) if shared.permission == Permission::Read => {
                return Err(HealError::ReadOnly);
            }
            _ => {}
        }
        let extents: Vec<_> = shared.damage().within(&range).cloned().collect();
        let partial = |extent: &&Range<usize>| extent.start < range.start || range.end < extent.end;
        if let Some(extent) = extents.iter().find(partial) {
            return Err(HealError::Partial(extent.clone()));
        }
        for extent in extents {
            let source = match source {
                Heal::With(bytes) => {
                    Heal::With(&bytes[extent.start - range.start..extent.end - range.start])
                }
                other => other,
            };
            shared.replace(&extent, source)?;
            shared.forget(&extent);
        }
        Ok(())
    }
}

impl Shared {
    /// Replaces one extent; `source` has its length.
    fn replace(&self, extent: &Range<usize>, source: Heal<'_>) -> Result<(), HealError> {
        let pages = self.pages(extent);
        if let Some(backing) = &self.backing
            && source != Heal::FromFile
        {
            let before = pages.start.wrapping_sub(self.start.addr()).cast_signed();
            punch_hole(backing, before, pages.len())?;
        }
        let start = ptr::without_provenance_mut(pages.start);
        // SAFETY: these pages are the region's, and what they held is lost; all accesses to them
        // are copies that expect any content.
        if unsafe { libc::madvise(start, pages.len(), libc::MADV_DONTNEED) } != 0 {
            return Err(HealError::Io(io::Error::last_os_error()));
        }
        let mut bad = None;
        probe::pages(self.memory, pages, &mut |pages, kind| {
            bad.get_or_insert((self.offsets(pages), kind));
        });
        if let Some((range, kind)) = bad {
            return Err(HealError::StillBad(range, kind));
        }
        let place = self.start.wrapping_add(extent.start);
        match source {
            Heal::FromFile => Ok(()),
            // SAFETY: the extent lies in the region, which may be written.
            Heal::Zero => unsafe { self.memory.fill(place, 0, extent.len()) },
            // SAFETY: as above; the bytes have the extent's length.
            Heal::With(bytes) => unsafe { self.memory.copy(place, bytes.as_ptr(), bytes.len()) },
        }
        .map_err(HealError::Memory)
    }
}

/// Drops `length` bytes of whole pages from the file. `distance` is how far behind the start of
/// the region they start; it is negative where the region starts inside of a page.
fn punch_hole(backing: &Backing, distance: isize, length: usize) -> Result<(), HealError> {
    let offset = backing.offset.wrapping_add_signed(distance as i64);
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let descriptor = backing.file.as_raw_fd();
    // SAFETY: takes no pointer; the descriptor is open for as long as the file lives.
    match unsafe { libc::fallocate(descriptor, mode, offset as i64, length as i64) } {
        0 => Ok(()),
        _ => Err(HealError::Io(io::Error::last_os_error())),
    }
}
