//! The state of a region: where it is, what of it is lost, and what every access checks.

use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use extable::Side;

use super::damage::Damage;
use super::{Permission, RegionId, Unreadable, probe};
use crate::error::{AccessError, Extent, Kind, MemoryError};
use crate::memory::Memory;
use crate::page;

/// What a rescan, on another thread, shares with the region.
pub(super) struct Shared {
    pub(super) id: RegionId,
    pub(super) memory: Memory,
    pub(super) start: *mut u8,
    pub(super) length: usize,
    pub(super) permission: Permission,
    pub(super) backing: Option<Backing>,
    /// Bytes from the start that may be read and written without a look at `damage`: all, or
    /// those before the first poison; for writes 0 if none are permitted.
    pub(super) readable: AtomicUsize,
    pub(super) writable: AtomicUsize,
    damage: Mutex<Damage>,
}

/// The file behind a region that is a shared mapping.
pub(super) struct Backing {
    pub(super) file: File,
    /// Where in the file the region starts, in bytes.
    pub(super) offset: u64,
}

// SAFETY: the pointer is only an address to the routines of `Memory`, and whoever made the region
// promised that the memory is mapped while it lives; concurrent accesses are made by assembly,
// which no assumption of the compiler reaches.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn new(
        id: RegionId,
        memory: Memory,
        start: *mut u8,
        length: usize,
        permission: Permission,
        backing: Option<Backing>,
    ) -> Self {
        Self {
            id,
            memory,
            start,
            length,
            permission,
            backing,
            readable: AtomicUsize::new(length),
            writable: AtomicUsize::new(match permission {
                Permission::Read => 0,
                Permission::ReadWrite => length,
            }),
            damage: Mutex::default(),
        }
    }

    pub(super) fn addresses(&self) -> Range<usize> {
        self.start.addr()..self.start.addr() + self.length
    }

    pub(super) fn damage(&self) -> MutexGuard<'_, Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a range lies, if it ends within `limit`.
    #[inline]
    pub(super) fn place(
        &self,
        offset: usize,
        length: usize,
        limit: &AtomicUsize,
    ) -> Option<*mut u8> {
        let end = offset.checked_add(length)?;
        (end <= limit.load(Ordering::Relaxed)).then(|| self.start.wrapping_add(offset))
    }

    pub(super) fn check(&self, offset: usize, length: usize) -> Result<(), AccessError> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(()),
            _ => Err(AccessError::OutOfRange {
                offset,
                length,
                available: self.length,
            }),
        }
    }

    /// An access that may be out of range, or behind or on known poison.
    #[cold]
    pub(super) fn before_poison<T>(
        &self,
        offset: usize,
        length: usize,
        side: Side,
        work: impl FnOnce(*mut u8, usize) -> Result<Option<T>, MemoryError>,
    ) -> Result<Option<T>, AccessError> {
        self.check(offset, length)?;
        let lost = self
            .damage()
            .within(&(offset..offset + length))
            .next()
            .cloned();
        let good = lost
            .as_ref()
            .map_or(length, |lost| lost.start.saturating_sub(offset));
        let found =
            work(self.start.wrapping_add(offset), good).map_err(|error| self.failed(error))?;
        match (found, lost) {
            (None, Some(lost)) => Err(AccessError::Memory(MemoryError {
                copied: good,
                side: Some(side),
                kind: Kind::Poisoned,
                extent: Some(Extent {
                    start: self.start.addr() + lost.start,
                    length: lost.len(),
                }),
            })),
            (found, _) => Ok(found),
        }
    }

    /// Takes note of what an access met.
    #[cold]
    pub(super) fn failed(&self, mut error: MemoryError) -> AccessError {
        // The other side of a copy may be what failed: the caller's own memory.
        if let Some(range) = error
            .extent
            .map(|extent| self.offsets(extent.start..extent.start + extent.length))
            && !range.is_empty()
        {
            if error.kind == Kind::TruncatedOrIo && self.is_poisoned(&range) {
                error.kind = Kind::Poisoned;
            }
            if error.kind == Kind::Poisoned {
                self.record(range);
            }
        }
        AccessError::Memory(error)
    }

    /// Some kernels report poison as they report a missing page, but know the difference: for a
    /// DAX page that another process met first, and for `UFFDIO_POISON` without memory failure
    /// handling.
    pub(super) fn is_poisoned(&self, range: &Range<usize>) -> bool {
        let mut poisoned = false;
        if probe::is_supported() {
            probe::pages(self.memory, self.pages(range), &mut |_, kind| {
                poisoned |= kind == Kind::Poisoned;
            });
        }
        poisoned
    }

    /// Remembers poison; says whether it was new.
    pub(super) fn record(&self, range: Range<usize>) -> bool {
        let mut damage = self.damage();
        let new = damage.add(range);
        self.limit(&damage);
        new
    }

    /// This extent was replaced.
    pub(super) fn forget(&self, extent: &Range<usize>) {
        let mut damage = self.damage();
        damage.remove(extent);
        self.limit(&damage);
    }

    /// Moves the ends of the quick checks to the first poison.
    pub(super) fn limit(&self, damage: &Damage) {
        let end = damage.start().unwrap_or(self.length);
        self.readable.store(end, Ordering::Relaxed);
        if self.permission == Permission::ReadWrite {
            self.writable.store(end, Ordering::Relaxed);
        }
    }

    /// The pages that hold a range of offsets, as addresses.
    pub(super) fn pages(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.start.addr();
        page::around(start + range.start..start + range.end)
    }

    /// The part of a range of addresses that is in this region, as offsets.
    pub(super) fn offsets(&self, addresses: Range<usize>) -> Range<usize> {
        let own = self.addresses();
        let start = addresses.start.clamp(own.start, own.end);
        let end = addresses.end.clamp(own.start, own.end);
        start - own.start..end - own.start
    }

    pub(super) fn probe(&self, range: &Range<usize>) -> Vec<Unreadable> {
        let mut unreadable = Vec::new();
        for range in self.undamaged(range) {
            probe::pages(self.memory, self.pages(&range), &mut |pages, kind| {
                let range = self.offsets(pages);
                unreadable.push(Unreadable { range, kind });
            });
        }
        for found in &unreadable {
            if found.kind == Kind::Poisoned {
                self.record(found.range.clone());
            }
        }
        let known = self.damage().within(range).cloned().collect::<Vec<_>>();
        unreadable.retain(|found| found.kind != Kind::Poisoned);
        unreadable.extend(known.into_iter().map(|range| Unreadable {
            range,
            kind: Kind::Poisoned,
        }));
        unreadable.sort_by_key(|found| found.range.start);
        unreadable
    }

    /// New poison in what is resident.
    pub(super) fn rescan(&self) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for range in self.undamaged(&(0..self.length)) {
            probe::resident_pages(self.memory, self.pages(&range), &mut |pages, kind| {
                if kind == Kind::Poisoned {
                    found.push(self.offsets(pages));
                }
            });
        }
        found.retain(|range| self.record(range.clone()));
        found
    }

    /// What is between the known poison.
    pub(super) fn undamaged(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let mut start = range.start;
        let mut between = Vec::new();
        for lost in self.damage().within(range) {
            between.push(start..lost.start);
            start = lost.end;
        }
        between.push(start..range.end);
        between.retain(|range| !range.is_empty());
        between
    }
}
