//! A mapped file without undefined behaviour: no slice, no reference, no crash.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Bound, Deref, Range, RangeBounds};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use crate::install::{InstallError, installed};
use crate::memory::Memory;
use crate::page;
use crate::region::{Permission, Region};

/// Why a file cannot be mapped.
#[derive(Debug)]
#[non_exhaustive]
pub enum MapError {
    /// The range ends before it starts, or no address space can hold it.
    InvalidRange {
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
    /// The range ends behind the end of the file.
    BeyondEnd {
        /// Byte after the last of the range.
        end: u64,
        /// Length of the file.
        file_length: u64,
    },
    /// The file is a device, which has no length: give the end of the range.
    NoLength,
    /// The handler for SIGBUS could not be installed.
    Install(InstallError),
    /// The kernel refused. To write, the file must be open for reading and writing.
    Io(io::Error),
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRange { start, end } => {
                write!(
                    f,
                    "bytes {start} to {end} are not a range that can be mapped"
                )
            }
            Self::BeyondEnd { end, file_length } => write!(
                f,
                "the range ends at byte {end}, but the file has {file_length}: \
                 leave the end open, or extend the file first"
            ),
            Self::NoLength => f.write_str("this file has no length: give the end of the range"),
            Self::Install(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the file cannot be mapped: {error}"),
        }
    }
}

impl std::error::Error for MapError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Install(error) => Some(error),
            Self::Io(error) => Some(error),
            Self::InvalidRange { .. } | Self::BeyondEnd { .. } | Self::NoLength => None,
        }
    }
}

/// A shared mapping of a file: a [`Region`], with all its operations, that owns its memory.
///
/// Whatever happens to the file, an access gives bytes or an error: if it is truncated, its disk
/// fails, or its pages are poisoned; other processes may write to it at any time. This is
/// what makes mapping a file safe, where a slice of it would not be.
///
/// ```
/// use std::io::Write;
/// use seaworthy::{Kind, AccessError, SafeMap};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = std::env::temp_dir().join(format!("seaworthy-doc-{}", std::process::id()));
/// # let mut options = std::fs::File::options();
/// # options.read(true).write(true).create(true).truncate(true);
/// let mut file = options.open(&path)?;
/// file.write_all(&[7; 10_000])?;
/// let map = SafeMap::read_only(file.try_clone()?, ..)?;
///
/// let mut bytes = [0; 4];
/// map.read_at(9_996, &mut bytes)?;
/// assert_eq!(bytes, [7; 4]);
///
/// file.set_len(0)?;
/// let Err(AccessError::Memory(error)) = map.read_at(9_996, &mut bytes) else {
///     panic!("read what is not there");
/// };
/// assert_eq!(error.kind, Kind::TruncatedOrIo);
/// # std::fs::remove_file(path)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SafeMap {
    // Dropped before the mapping: until then a rescan may use it.
    region: Region,
    mapping: Mapping,
    start: u64,
    /// Where the range asked for ends; `None`: with the file.
    end: Option<u64>,
    permission: Permission,
}

impl SafeMap {
    /// Maps the bytes of `range` for reading; `..` is the whole file. Offsets need not be aligned.
    ///
    /// # Errors
    ///
    /// [`MapError`].
    pub fn read_only(file: File, range: impl RangeBounds<u64>) -> Result<Self, MapError> {
        Self::new(file, &range, Permission::Read)
    }

    /// Maps the bytes of `range` for reading and writing; the file must be open for both.
    ///
    /// # Errors
    ///
    /// [`MapError`].
    pub fn read_write(file: File, range: impl RangeBounds<u64>) -> Result<Self, MapError> {
        Self::new(file, &range, Permission::ReadWrite)
    }

    fn new(
        file: File,
        range: &impl RangeBounds<u64>,
        permission: Permission,
    ) -> Result<Self, MapError> {
        let invalid = MapError::InvalidRange {
            start: u64::MAX,
            end: u64::MAX,
        };
        let start = match range.start_bound() {
            Bound::Unbounded => Some(0),
            Bound::Included(&start) => Some(start),
            Bound::Excluded(&before) => before.checked_add(1),
        };
        let end = match range.end_bound() {
            Bound::Unbounded => Some(None),
            Bound::Included(&last) => last.checked_add(1).map(Some),
            Bound::Excluded(&end) => Some(Some(end)),
        };
        let (Some(start), Some(end)) = (start, end) else {
            return Err(invalid);
        };
        let memory = installed().map_err(MapError::Install)?;
        let range = resolve(start, end, length_of(&file)?)?;
        Self::map(memory, file, range, end, permission)
    }

    fn map(
        memory: Memory,
        file: File,
        range: Range<u64>,
        end: Option<u64>,
        permission: Permission,
    ) -> Result<Self, MapError> {
        let start = range.start;
        let length = (range.end - start) as usize;
        // The kernel maps whole pages.
        let lead = (start % page::size() as u64) as usize;
        let mapping = Mapping::new(&file, start - lead as u64, lead, length, permission)?;
        let first = mapping.start.as_ptr().wrapping_add(lead);
        // SAFETY: the mapping covers `length` bytes from `first`, shared, of this file from this
        // offset, with this permission; nobody else has its address; it outlives the region.
        let region = unsafe { Region::of_file(memory, first, length, permission, file, start) };
        Ok(Self {
            region,
            mapping,
            start,
            end,
            permission,
        })
    }

    /// Adapts the mapping to the present length of the file, and returns its new length in bytes.
    ///
    /// If the end was left open, it moves to that of the file. If it was given, and the file has
    /// become shorter, it ends with the file until that grows again. What is known to be poisoned
    /// stays known. On an error nothing changes.
    ///
    /// # Errors
    ///
    /// [`MapError`].
    pub fn refresh(&mut self) -> Result<usize, MapError> {
        let memory = installed().map_err(MapError::Install)?;
        let Some(file) = self.region.file() else {
            return Ok(self.region.len());
        };
        let present = length_of(file)?;
        let end = match (self.end, present) {
            (Some(end), Some(length)) => Some(end.min(length)),
            (end, length) => end.or(length),
        };
        let start = self.start.min(end.unwrap_or(self.start));
        let range = resolve(start, end, present)?;
        if range.end - range.start != self.region.len() as u64 {
            let file = file.try_clone().map_err(MapError::Io)?;
            let mut new = Self::map(memory, file, range, self.end, self.permission)?;
            new.region.inherit(self.region.poisoned());
            new.start = self.start;
            *self = new;
        }
        Ok(self.region.len())
    }

    /// Writes what was changed to the storage of the file, and waits for it.
    ///
    /// # Errors
    ///
    /// Those of `msync(2)`: also when a changed page was lost before it was written.
    pub fn flush(&self) -> io::Result<()> {
        let Mapping { start, length } = self.mapping;
        if length == 0 {
            return Ok(());
        }
        // SAFETY: the mapping is ours; its contents are only read.
        match unsafe { libc::msync(start.as_ptr().cast(), length, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Deref for SafeMap {
    type Target = Region;

    fn deref(&self) -> &Region {
        &self.region
    }
}

/// `None` for a device.
fn length_of(file: &File) -> Result<Option<u64>, MapError> {
    let metadata = file.metadata().map_err(MapError::Io)?;
    Ok(metadata.is_file().then_some(metadata.len()))
}

/// The bytes to map of a file with this length.
fn resolve(start: u64, end: Option<u64>, file_length: Option<u64>) -> Result<Range<u64>, MapError> {
    let end = end.or(file_length).ok_or(MapError::NoLength)?;
    if let Some(file_length) = file_length
        && end.max(start) > file_length
    {
        let end = end.max(start);
        return Err(MapError::BeyondEnd { end, file_length });
    }
    let length = end
        .checked_sub(start)
        .and_then(|length| isize::try_from(length).ok());
    match length {
        Some(_) if i64::try_from(end).is_ok() => Ok(start..end),
        _ => Err(MapError::InvalidRange { start, end }),
    }
}

/// Pages of a file; none if it is empty.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: only an address; whoever owns it may unmap it from any thread.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared reference gives nothing but the address.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `lead + length` bytes from `offset`, which is that of a page.
    fn new(
        file: &File,
        offset: u64,
        lead: usize,
        length: usize,
        permission: Permission,
    ) -> Result<Self, MapError> {
        if length == 0 {
            let start = NonNull::dangling();
            return Ok(Self { start, length });
        }
        let length = lead + length;
        let protection = match permission {
            Permission::Read => libc::PROT_READ,
            Permission::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a new mapping wherever the kernel likes touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                offset as i64,
            )
        };
        match NonNull::new(start.cast()) {
            Some(address) if start != libc::MAP_FAILED => Ok(Self {
                start: address,
                length,
            }),
            _ => Err(MapError::Io(io::Error::last_os_error())),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length != 0 {
            // SAFETY: the mapping is ours, and the region over it is gone: nobody accesses it.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        }
    }
}
