//! Translation tables: four levels of 4 KiB tables in frames of the kernel's.
//!
//! Every change that a CPU may not have noticed yields a token. [`Unmapped`] holds the frame
//! until the translation caches are clean, so a frame cannot be freed too early; [`Stale`] is the
//! debt of a changed protection. Both end in [`Machine::invalidate`] and nowhere else.
//!
//! Empty tables are kept until the address space ends.

use crate::entry::{decode_table, encode_table};
use crate::frame::Frames;
use crate::{
    Entry, Errno, KernelFrame, Machine, PAGES_END, PageRange, Protection, SpaceId, UserFrame,
    VirtualPage,
};

const LAST: u32 = 3;

/// The first page number that the tables of a machine cannot map.
pub(crate) const fn pages_end<M: Machine>() -> VirtualPage {
    let bits = M::INDEX_BITS * (LAST + 1);
    assert!(
        1 << bits <= PAGES_END,
        "a page number has more bits than an address"
    );
    VirtualPage(1 << bits)
}

/// The tables of one address space. Its lock is the address space's.
#[derive(Debug)]
pub(crate) struct PageTable {
    root: KernelFrame,
    space: SpaceId,
}

/// A page whose entry is gone but which CPUs may still reach: the frame comes back with
/// [`flush`](Self::flush), or with a whole batch in a [`Gather`](crate::unmap::Gather).
#[derive(Debug)]
#[must_use = "the frame is lost if it is not flushed"]
pub(crate) struct Unmapped {
    page: VirtualPage,
    frame: UserFrame,
    space: SpaceId,
}

impl Unmapped {
    pub(crate) fn page(&self) -> VirtualPage {
        self.page
    }

    /// Removes the translation from all CPUs.
    pub(crate) fn flush<M: Machine>(self, machine: &M) -> UserFrame {
        machine.invalidate(self.space, PageRange::single(self.page));
        self.frame
    }

    /// The frame, of a page that lies in a range that has been invalidated since.
    pub(crate) fn flushed_with(self, flushed: PageRange) -> (VirtualPage, UserFrame) {
        debug_assert!(flushed.contains(self.page));
        (self.page, self.frame)
    }
}

/// Pages whose protection changed but which CPUs may still use as before.
#[derive(Debug)]
#[must_use = "CPUs keep the old protection until it is flushed"]
pub(crate) struct Stale {
    space: SpaceId,
    pages: PageRange,
}

impl Stale {
    /// One debt for both.
    pub(crate) fn and(self, other: Option<Self>) -> Self {
        match other {
            Some(other) => Self {
                pages: self.pages.hull(other.pages),
                ..self
            },
            None => self,
        }
    }

    /// Removes the translations from all CPUs.
    pub(crate) fn flush<M: Machine>(self, machine: &M) {
        machine.invalidate(self.space, self.pages);
    }
}

fn index<M: Machine>(page: VirtualPage, level: u32) -> usize {
    (page.0 >> (M::INDEX_BITS * (LAST - level))) as usize & ((1 << M::INDEX_BITS) - 1)
}

impl PageTable {
    /// Empty tables.
    pub(crate) fn new<M: Machine>(
        machine: &M,
        frames: &Frames,
        space: SpaceId,
    ) -> Result<Self, Errno> {
        let root = frames.allocate_kernel(machine)?;
        machine.zero_table(&root);
        Ok(Self { root, space })
    }

    pub(crate) fn root(&self) -> &KernelFrame {
        &self.root
    }

    /// The last-level table for `page`, or the level at which there is none.
    fn leaf<M: Machine>(&self, machine: &M, page: VirtualPage) -> Result<KernelFrame, u32> {
        let mut table = KernelFrame::of_descriptor(self.root.pfn());
        for level in 0..LAST {
            let descriptor = machine.load_entry(&table, index::<M>(page, level));
            table = KernelFrame::of_descriptor(decode_table(descriptor).ok_or(level)?);
        }
        Ok(table)
    }

    /// The entry for `page`.
    pub(crate) fn get<M: Machine>(&self, machine: &M, page: VirtualPage) -> Entry {
        match self.leaf(machine, page) {
            Ok(table) => Entry::decode(machine.load_entry(&table, index::<M>(page, LAST))),
            Err(_) => Entry::Empty,
        }
    }

    /// The first entry in `pages` that is not empty. Holes are skipped a table at a time.
    pub(crate) fn next<M: Machine>(
        &self,
        machine: &M,
        pages: PageRange,
    ) -> Option<(VirtualPage, Entry)> {
        let mut page = pages.start();
        while page < pages.end() {
            match self.leaf(machine, page) {
                Ok(table) => {
                    for slot in index::<M>(page, LAST)..1 << M::INDEX_BITS {
                        let entry = Entry::decode(machine.load_entry(&table, slot));
                        if entry != Entry::Empty {
                            return (page < pages.end()).then_some((page, entry));
                        }
                        page = page.next();
                    }
                }
                Err(level) => {
                    let span = 1 << (M::INDEX_BITS * (LAST - level));
                    page = VirtualPage((page.0 / span + 1) * span);
                }
            }
        }
        None
    }

    /// Makes sure that an entry for `page` can be stored. On `ENOMEM` no entry has changed;
    /// tables that were added stay.
    pub(crate) fn prepare<M: Machine>(
        &self,
        machine: &M,
        frames: &Frames,
        page: VirtualPage,
    ) -> Result<(), Errno> {
        debug_assert!(page < pages_end::<M>());
        let mut table = KernelFrame::of_descriptor(self.root.pfn());
        for level in 0..LAST {
            let slot = index::<M>(page, level);
            let next = match decode_table(machine.load_entry(&table, slot)) {
                Some(pfn) => pfn,
                None => {
                    let fresh = frames.allocate_kernel(machine)?;
                    machine.zero_table(&fresh);
                    machine.store_entry(&table, slot, encode_table(fresh.pfn()));
                    fresh.pfn()
                }
            };
            table = KernelFrame::of_descriptor(next);
        }
        Ok(())
    }

    fn set<M: Machine>(&self, machine: &M, page: VirtualPage, entry: Entry) {
        let table = self.leaf(machine, page);
        debug_assert!(table.is_ok(), "the table was not prepared");
        if let Ok(table) = table {
            machine.store_entry(&table, index::<M>(page, LAST), entry.encode());
        }
    }

    /// Maps a page that has a prepared entry that is not valid.
    pub(crate) fn map<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        frame: UserFrame,
        protection: Protection,
    ) {
        debug_assert_eq!(self.get(machine, page), Entry::Empty);
        self.set(machine, page, Entry::Page(frame.into_entry(), protection));
    }

    /// Removes a page, and leaves `left` in its place, which must not hold a reference.
    pub(crate) fn unmap<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        left: Entry,
    ) -> Option<Unmapped> {
        debug_assert!(matches!(left, Entry::Empty | Entry::HwPoison(_)));
        match self.get(machine, page) {
            Entry::Page(pfn, _) | Entry::Migration(pfn) => {
                self.set(machine, page, left);
                Some(Unmapped {
                    page,
                    frame: UserFrame::of_entry(pfn),
                    space: self.space,
                })
            }
            Entry::HwPoison(_) => {
                self.set(machine, page, left);
                None
            }
            Entry::Empty => None,
        }
    }

    /// Stores an entry where there is a prepared, empty one. The caller counted the reference
    /// that it holds, if any.
    pub(crate) fn mark<M: Machine>(&self, machine: &M, page: VirtualPage, entry: Entry) {
        debug_assert_eq!(self.get(machine, page), Entry::Empty);
        self.set(machine, page, entry);
    }

    /// Changes the protection of a page that is mapped.
    pub(crate) fn protect<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        protection: Protection,
    ) -> Option<Stale> {
        let Entry::Page(pfn, now) = self.get(machine, page) else {
            return None;
        };
        if now == protection {
            return None;
        }
        self.set(machine, page, Entry::Page(pfn, protection));
        Some(Stale {
            space: self.space,
            pages: PageRange::single(page),
        })
    }

    /// Makes a mapped page inaccessible while it moves.
    pub(crate) fn freeze<M: Machine>(&self, machine: &M, page: VirtualPage) -> Option<Stale> {
        let Entry::Page(pfn, _) = self.get(machine, page) else {
            return None;
        };
        self.set(machine, page, Entry::Migration(pfn));
        Some(Stale {
            space: self.space,
            pages: PageRange::single(page),
        })
    }

    /// Replaces the frame of a frozen page. No CPU has a translation of it, so nothing is stale.
    pub(crate) fn thaw<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        frame: UserFrame,
        protection: Protection,
    ) -> UserFrame {
        let Entry::Migration(old) = self.get(machine, page) else {
            debug_assert!(false, "the page is not frozen");
            return frame;
        };
        self.set(machine, page, Entry::Page(frame.into_entry(), protection));
        UserFrame::of_entry(old)
    }

    /// Frees the tables of an address space in which nothing is mapped any more.
    pub(crate) fn free<M: Machine>(&self, machine: &M, frames: &Frames) {
        machine.invalidate(self.space, PageRange::ALL);
        self.free_below(machine, frames, &self.root, 0);
        frames.free_kernel(KernelFrame::of_descriptor(self.root.pfn()));
    }

    fn free_below<M: Machine>(
        &self,
        machine: &M,
        frames: &Frames,
        table: &KernelFrame,
        level: u32,
    ) {
        for slot in 0..1 << M::INDEX_BITS {
            let Some(pfn) = decode_table(machine.load_entry(table, slot)) else {
                continue;
            };
            let next = KernelFrame::of_descriptor(pfn);
            if level + 1 < LAST {
                self.free_below(machine, frames, &next, level + 1);
            }
            frames.free_kernel(next);
        }
    }
}
