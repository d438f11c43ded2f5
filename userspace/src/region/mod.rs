//! Memory that fails, accessed safely: by offset, copying, with every failure an error.

mod damage;
mod heal;
mod probe;
pub(crate) mod registry;
mod shared;

use std::fmt;
use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use extable::Side;

use crate::error::{AccessError, Kind, MemoryError};
use crate::memory::Memory;
use crate::plain::Plain;
use shared::{Backing, Shared};

pub use heal::{Heal, HealError};
pub(crate) use probe::is_supported as can_probe;

/// What may be done with a [`Region`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Reads only.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// A range of addresses that no memory can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidRange {
    /// It starts at the null pointer.
    Null,
    /// It runs past the end of the address space, or is longer than `isize::MAX`.
    Overflow,
}

impl fmt::Display for InvalidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "a region cannot start at the null pointer",
            Self::Overflow => "a region cannot run past the end of the address space",
        })
    }
}

impl std::error::Error for InvalidRange {}

/// Tells regions apart, in [`Lost`](crate::Lost).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegionId(u64);

/// Pages that cannot be read at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which bytes, from the start of the region.
    pub range: Range<usize>,
    /// Why.
    pub kind: Kind,
}

/// A range of memory that may fail, accessed by offset and by copying.
///
/// Every operation is safe: a wrong offset is [`AccessError::OutOfRange`], memory that fails is
/// [`AccessError::Memory`], and no reference to the memory ever exists, so other threads and
/// processes may change it meanwhile. Concurrent writes may be seen in part.
///
/// # Poison is remembered
///
/// The first access that meets poison records its extent. From then on accesses stop in front of
/// it without touching it: every touch costs a signal, and on x86 a line in the kernel's log.
/// [`poisoned`](Self::poisoned) lists what is lost, [`heal`](Self::heal) replaces it. The
/// check costs nothing: it is the check of the bounds, of which the end is moved to the first
/// poison.
pub struct Region {
    shared: Arc<Shared>,
}

impl Region {
    /// A region over memory that the caller has mapped.
    ///
    /// # Errors
    ///
    /// [`InvalidRange`] if there can be no such memory.
    ///
    /// # Safety
    ///
    /// Until the region is dropped, `length` bytes from `start` must stay mapped with that permission,
    /// and nothing may rely on what they hold: no Rust reference to them may exist. For
    /// [`heal`](Self::heal), the mapping must be private.
    pub unsafe fn new(
        memory: Memory,
        start: *mut u8,
        length: usize,
        permission: Permission,
    ) -> Result<Self, InvalidRange> {
        if start.is_null() {
            return Err(InvalidRange::Null);
        }
        if isize::try_from(length).is_err() || start.addr().checked_add(length).is_none() {
            return Err(InvalidRange::Overflow);
        }
        Ok(Self::over(memory, start, length, permission, None))
    }

    /// A region over a shared mapping of `file` from `offset` on.
    ///
    /// # Safety
    ///
    /// As for [`new`](Self::new); and the mapping must be shared, of that file, from that offset.
    pub(crate) unsafe fn of_file(
        memory: Memory,
        start: *mut u8,
        length: usize,
        permission: Permission,
        file: File,
        offset: u64,
    ) -> Self {
        let backing = Some(Backing { file, offset });
        Self::over(memory, start, length, permission, backing)
    }

    fn over(
        memory: Memory,
        start: *mut u8,
        length: usize,
        permission: Permission,
        backing: Option<Backing>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // A rescan has only the numbers of pages.
        start.expose_provenance();
        let id = RegionId(NEXT.fetch_add(1, Ordering::Relaxed));
        let shared = Arc::new(Shared::new(id, memory, start, length, permission, backing));
        registry::add(Arc::clone(&shared));
        Self { shared }
    }

    /// What tells this region from others.
    #[must_use]
    pub fn id(&self) -> RegionId {
        self.shared.id
    }

    /// Number of bytes, those that cannot be read included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.length
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.length == 0
    }

    /// Address of the first byte, to compare with an [`Extent`](crate::Extent).
    #[must_use]
    pub fn address(&self) -> usize {
        self.shared.start.addr()
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.shared.backing.as_ref().map(|backing| &backing.file)
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; of [`copied`](AccessError::copied) bytes the buffer holds what was read.
    #[inline]
    pub fn read_at(&self, offset: usize, buffer: &mut [u8]) -> Result<(), AccessError> {
        self.read(offset, buffer.len(), |memory, source, length| {
            // SAFETY: `source` is mapped for `length` bytes, which are at most the buffer's.
            unsafe { memory.copy(buffer.as_mut_ptr(), source, length) }.map(|()| None::<()>)
        })
        .map(drop)
    }

    /// The value at `offset`, which need not be aligned.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; there is no value then.
    #[inline]
    pub fn load_at<T: Plain>(&self, offset: usize) -> Result<T, AccessError> {
        let mut value = MaybeUninit::<T>::uninit();
        self.read(offset, size_of::<T>(), |memory, source, length| {
            if length == size_of::<T>() {
                // SAFETY: `source` is mapped for as many bytes as a `T` has.
                value.write(unsafe { memory.load(source.cast()) }?);
            }
            Ok(None::<()>)
        })?;
        // SAFETY: without an error the closure ran with the full length, and wrote the value.
        Ok(unsafe { value.assume_init() })
    }

    /// Offset within `bytes` of the first byte that differs from what is at `offset`; `None` if
    /// all are equal.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if memory fails before a difference.
    #[inline]
    pub fn compare_at(&self, offset: usize, bytes: &[u8]) -> Result<Option<usize>, AccessError> {
        self.read(offset, bytes.len(), |memory, source, length| {
            // SAFETY: `source` is mapped for `length` bytes, which are at most those of `bytes`.
            unsafe { memory.compare(source, bytes.as_ptr(), length) }
        })
    }

    /// Whether `length` bytes from `offset` on are all zero.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if memory fails before a byte that is not zero.
    #[inline]
    pub fn is_zero_at(&self, offset: usize, length: usize) -> Result<bool, AccessError> {
        let other = self.read(offset, length, |memory, source, length| {
            // SAFETY: `source` is mapped for `length` bytes.
            unsafe { memory.is_zero(source, length) }.map(|zero| (!zero).then_some(()))
        })?;
        Ok(other.is_none())
    }

    /// Offset of the first byte equal to `byte` among `length` bytes from `offset` on, from the
    /// start of the region; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if memory fails before such a byte.
    #[inline]
    pub fn find_byte_at(
        &self,
        offset: usize,
        byte: u8,
        length: usize,
    ) -> Result<Option<usize>, AccessError> {
        let found = self.read(offset, length, |memory, source, length| {
            // SAFETY: `source` is mapped for `length` bytes.
            unsafe { memory.find_byte(source, byte, length) }
        })?;
        Ok(found.map(|place| offset + place))
    }

    /// The checksum ([`Memory::checksum`]) of `length` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; there is no checksum then.
    #[inline]
    pub fn checksum_at(&self, offset: usize, length: usize) -> Result<u64, AccessError> {
        let mut sum = 0;
        self.read(offset, length, |memory, source, length| {
            // SAFETY: `source` is mapped for `length` bytes.
            sum = unsafe { memory.checksum(source, length) }?;
            Ok(None::<()>)
        })?;
        Ok(sum)
    }

    /// Writes `bytes` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; [`copied`](AccessError::copied) bytes were written.
    #[inline]
    pub fn write_at(&self, offset: usize, bytes: &[u8]) -> Result<(), AccessError> {
        self.write(offset, bytes.len(), |memory, destination, length| {
            // SAFETY: `destination` is mapped for writes of `length` bytes, at most the slice's.
            unsafe { memory.copy(destination, bytes.as_ptr(), length) }
        })
    }

    /// Writes a value at `offset`, which need not be aligned.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; nothing was written then if the value has 1, 2, 4 or 8 bytes.
    #[inline]
    pub fn store_at<T: Plain>(&self, offset: usize, value: T) -> Result<(), AccessError> {
        self.write(offset, size_of::<T>(), |memory, destination, length| {
            if length == size_of::<T>() {
                // SAFETY: `destination` is mapped for writes of as many bytes as a `T` has.
                unsafe { memory.store(destination.cast(), value) }
            } else {
                Ok(())
            }
        })
    }

    /// Sets `length` bytes from `offset` on to `value`.
    ///
    /// # Errors
    ///
    /// [`AccessError`]; [`copied`](AccessError::copied) bytes were set.
    #[inline]
    pub fn fill_at(&self, offset: usize, value: u8, length: usize) -> Result<(), AccessError> {
        self.write(offset, length, |memory, destination, length| {
            // SAFETY: `destination` is mapped for writes of `length` bytes.
            unsafe { memory.fill(destination, value, length) }
        })
    }

    /// Looks for pages of `range` that cannot be read, without touching them. Remembers those that
    /// are poisoned. Brings the others into memory, as reading them would.
    ///
    /// Costs about 0.1 µs per page that is in memory. Before Linux 5.14 pages are touched.
    ///
    /// # Errors
    ///
    /// [`AccessError::OutOfRange`].
    pub fn probe(&self, range: Range<usize>) -> Result<Vec<Unreadable>, AccessError> {
        let length = range.end.saturating_sub(range.start);
        self.shared.check(range.start, length)?;
        Ok(self.shared.probe(&(range.start..range.start + length)))
    }

    /// What is known to be poisoned, in bytes from the start of the region, in order. Each range
    /// is one extent that the kernel took away.
    #[must_use]
    pub fn poisoned(&self) -> Vec<Range<usize>> {
        self.shared.damage().all().to_vec()
    }

    /// Remembers poison that another view of the same memory met.
    pub(crate) fn inherit(&self, poisoned: Vec<Range<usize>>) {
        for range in poisoned {
            self.shared.record(range.start..range.end.min(self.len()));
        }
    }

    /// Runs `work` on a range that is read. `work` gets fewer bytes than asked for if poison is
    /// known among them; the error comes after it, unless it finds something before.
    #[inline]
    pub(crate) fn read<T>(
        &self,
        offset: usize,
        length: usize,
        work: impl FnOnce(Memory, *const u8, usize) -> Result<Option<T>, MemoryError>,
    ) -> Result<Option<T>, AccessError> {
        let shared = &*self.shared;
        match shared.place(offset, length, &shared.readable) {
            Some(start) => work(shared.memory, start, length).map_err(|error| shared.failed(error)),
            None => shared.before_poison(offset, length, Side::Source, |start, length| {
                work(shared.memory, start, length)
            }),
        }
    }

    /// The same for a range that is written.
    #[inline]
    fn write(
        &self,
        offset: usize,
        length: usize,
        work: impl FnOnce(Memory, *mut u8, usize) -> Result<(), MemoryError>,
    ) -> Result<(), AccessError> {
        let shared = &*self.shared;
        match shared.place(offset, length, &shared.writable) {
            Some(start) => work(shared.memory, start, length).map_err(|error| shared.failed(error)),
            None if shared.permission == Permission::Read => Err(AccessError::ReadOnly),
            None => shared
                .before_poison(offset, length, Side::Destination, |start, length| {
                    work(shared.memory, start, length).map(|()| None::<()>)
                })
                .map(drop),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        registry::remove(&self.shared);
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region")
            .field("id", &self.shared.id)
            .field("addresses", &self.shared.addresses())
            .field("permission", &self.shared.permission)
            .field("poisoned", &self.poisoned())
            .finish()
    }
}
