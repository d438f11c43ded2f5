//! What the memory manager needs from the machine under it.

use crate::{Errno, File, KernelFrame, PageRange, Pfn, SpaceId, SwapSlot, UserFrame, Victim};

/// A read met an uncorrectable memory error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the frame must be isolated and the operation undone"]
pub struct Poisoned {
    /// The frame that holds the error: with two sources, this says which.
    pub pfn: Pfn,
    /// How many bytes before the error were processed: exactly those, and none after.
    pub done: usize,
}

/// What an allocation is for: the argument of [`Machine::admit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// A page frame.
    Frame,
    /// A few words of the manager's own bookkeeping, from the heap.
    Heap,
}

/// Why a page could not be written to its store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The device failed.
    Io,
    /// The page could not be read.
    Poisoned(Poisoned),
}

/// Physical memory, the translation caches and backing stores.
///
/// # Memory
///
/// Contents of frames that users own go by [`UserFrame`]; every operation that reads one can
/// fail. There is no way to make a `UserFrame` outside this crate, so an implementor may rely on
/// its frame being one that the [`Memory`](crate::Memory) was given and that is not free.
///
/// Stores do not fail: they neither load a poisoned line nor, as a rule, report one. A store of
/// a whole line may heal it; a store of part of a line must leave it poisoned.
///
/// # Locks
///
/// Operations are called with locks of this crate held, so they must not call back into it.
/// [`store_read`](Self::store_read), [`store_write`](Self::store_write),
/// [`store_truncate`](Self::store_truncate) and [`swap_read`](Self::swap_read) are called without,
/// and may sleep. [`notify`](Self::notify) and [`swap_write`](Self::swap_write) are called with
/// the one that keeps errors one at a time.
pub trait Machine {
    /// How many bits of a page number one level of translation tables resolves; there are four
    /// levels. Hardware has 9. A simulation may have fewer, so that huge pages, which are what a
    /// last-level table spans, are cheap.
    const INDEX_BITS: u32 = 9;

    /// Copies a page with its allocation tags, if it has any. On failure the contents of `to`
    /// are unspecified.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] for the first unreadable line of `from`.
    fn copy_page(&self, to: &UserFrame, from: &UserFrame) -> Result<(), Poisoned>;

    /// Reads into memory of the kernel's from byte `offset`, which with the length must not
    /// exceed the page.
    ///
    /// # Errors
    ///
    /// [`Poisoned`]: `done` bytes were read.
    fn read(&self, from: &UserFrame, offset: usize, into: &mut [u8]) -> Result<(), Poisoned>;

    /// Writes at byte `offset`, which with the length must not exceed the page.
    fn write(&self, to: &UserFrame, offset: usize, bytes: &[u8]);

    /// Fills a page with zeros and clears its tags.
    fn zero(&self, frame: &UserFrame);

    /// Whether two pages have the same contents.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] names the side that could not be read.
    fn compare(&self, left: &UserFrame, right: &UserFrame) -> Result<bool, Poisoned>;

    /// Whether a page holds only zeros.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] if that cannot be said because of an unreadable line.
    fn is_zero(&self, frame: &UserFrame) -> Result<bool, Poisoned>;

    /// A checksum of a page; equal pages have equal ones.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] for the first unreadable line.
    fn checksum(&self, frame: &UserFrame) -> Result<u64, Poisoned>;

    /// Fills a page of the kernel's with zeros. It becomes a translation table.
    fn zero_table(&self, table: &KernelFrame);

    /// Loads a descriptor. The hardware walker reads the same memory, and may set no bits.
    fn load_entry(&self, table: &KernelFrame, index: usize) -> u64;

    /// Stores a descriptor in one piece, and makes it visible to the walkers of all CPUs.
    fn store_entry(&self, table: &KernelFrame, index: usize, descriptor: u64);

    /// Removes the translations of `pages` in `space` from the caches of all CPUs. When it
    /// returns, no CPU can use one that it had, and accesses made through it have completed.
    fn invalidate(&self, space: SpaceId, pages: PageRange);

    /// Fills a fresh frame with page `index` of `file`, from the file's store.
    ///
    /// # Errors
    ///
    /// `EIO` if the store fails.
    fn store_read(&self, file: &File, index: u32, into: &UserFrame) -> Result<(), Errno>;

    /// Writes page `index` of `file` to its store. It must not claim success unless all of the
    /// page was readable. What the page holds beyond the end of the file is zeros.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn store_write(&self, file: &File, index: u32, from: &UserFrame) -> Result<(), StoreError>;

    /// Cuts a file in its store: from byte `size` on it reads as zeros.
    ///
    /// # Errors
    ///
    /// `EIO` if the store fails; then nothing changed.
    fn store_truncate(&self, file: &File, size: u64) -> Result<(), Errno>;

    /// Fills a fresh frame with the page in a slot of the swap store. Only a slot that was written
    /// is read.
    ///
    /// # Errors
    ///
    /// `EIO` if the store fails, as one that does not exist always does.
    fn swap_read(&self, _slot: SwapSlot, _into: &UserFrame) -> Result<(), Errno> {
        Err(Errno::EIO)
    }

    /// Writes a page to a slot of the swap store. It must not claim success unless all of the page
    /// was readable.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn swap_write(&self, _slot: SwapSlot, _from: &UserFrame) -> Result<(), StoreError> {
        Err(StoreError::Io)
    }

    /// Nobody will read a slot again before it is written: the store may forget it.
    fn swap_free(&self, _slot: SwapSlot) {}

    /// Tells a process of memory that it lost, by its policy: the one place where the manager
    /// asks for a signal on behalf of someone who did not call it.
    fn notify(&self, victim: Victim);

    /// Whether an allocation may go ahead. Refusing makes the operation that needs it fail with
    /// `ENOMEM` and change nothing: tests use it to exhaust memory at any single point.
    fn admit(&self, _what: Allocation) -> bool {
        true
    }
}

/// The machine's answer to one heap allocation. Nothing in this crate grows without one, and it
/// fails at the very place where the heap would.
#[derive(Debug)]
pub(crate) struct Permit {
    granted: bool,
}

impl Permit {
    /// Asks for one.
    pub(crate) fn ask<M: Machine>(machine: &M) -> Self {
        Self {
            granted: machine.admit(Allocation::Heap),
        }
    }

    /// Whether the allocation may go ahead.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn redeem(self) -> Result<(), Errno> {
        if self.granted {
            Ok(())
        } else {
            Err(Errno::ENOMEM)
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self { granted: true }
    }
}
