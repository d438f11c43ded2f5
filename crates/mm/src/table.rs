//! Translation tables: four levels of 4 KiB tables in frames of the kernel's.
//!
//! Every change that a CPU may not have noticed yields a token. [`Unmapped`] holds the frame
//! until the translation caches are clean, so a frame cannot be freed too early; [`Stale`] is the
//! debt of a changed protection. Both end in [`Machine::invalidate`] and nowhere else.
//!
//! What the last table of the four spans is also the size of a block: one entry of the table above
//! that maps a huge page. The operations take any page of a block, and act on all of it.
//!
//! Empty tables are kept until the address space ends, but for last-level ones whose whole span is
//! unmapped at once: a huge page may come there next.

#[cfg(test)]
mod tests;

use crate::entry::{decode_table, encode_table};
use crate::frame::Frames;
use crate::{
    Entry, Errno, KernelFrame, Machine, PAGES_END, PageRange, Pfn, Protection, SpaceId, SwapSlot,
    UserFrame, VirtualPage,
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
    /// The tables were freed: nothing is mapped, and they are not to be looked at. Whoever found
    /// the space before it ended may ask still.
    ended: bool,
}

/// A page or a block whose entry is gone but which CPUs may still reach: the frame comes back
/// with [`flush`](Self::flush), or with a whole batch in a [`Gather`](crate::unmap::Gather).
#[derive(Debug)]
#[must_use = "the frame is lost if it is not flushed"]
pub(crate) struct Unmapped {
    pages: PageRange,
    frame: UserFrame,
    space: SpaceId,
}

impl Unmapped {
    pub(crate) fn pages(&self) -> PageRange {
        self.pages
    }

    /// Removes the translation from all CPUs.
    pub(crate) fn flush<M: Machine>(self, machine: &M) -> UserFrame {
        machine.invalidate(self.space, self.pages);
        self.frame
    }

    /// The frame, of pages that lie in a range that has been invalidated since; and the first of
    /// those pages.
    pub(crate) fn flushed_with(self, flushed: PageRange) -> (VirtualPage, UserFrame) {
        debug_assert!(flushed.covers(self.pages));
        (self.pages.start(), self.frame)
    }
}

/// A last-level table that is not linked any more but that walkers may still be in.
#[derive(Debug)]
#[must_use = "the table is lost if it is not flushed"]
pub(crate) struct Detached {
    pages: PageRange,
    table: KernelFrame,
    space: SpaceId,
}

impl Detached {
    pub(crate) fn pages(&self) -> PageRange {
        self.pages
    }

    /// Removes all translations that came from it, and the walks that go through it, from all
    /// CPUs.
    pub(crate) fn flush<M: Machine>(self, machine: &M) -> Loose {
        machine.invalidate(self.space, self.pages);
        Loose(self)
    }

    /// The table, of pages that lie in a range that has been invalidated since.
    pub(crate) fn flushed_with(self, flushed: PageRange) -> KernelFrame {
        debug_assert!(flushed.covers(self.pages));
        self.table
    }
}

/// A last-level table that no CPU can reach. Its entries hold the references that they held.
#[derive(Debug)]
#[must_use = "the table is lost if it is not freed or attached"]
pub(crate) struct Loose(Detached);

impl Loose {
    /// The entry of one of its pages.
    pub(crate) fn entry<M: Machine>(&self, machine: &M, index: u64) -> Entry {
        Entry::decode(machine.load_entry(&self.0.table, index as usize))
    }

    /// The table, for someone who took care of its entries.
    pub(crate) fn into_table(self) -> KernelFrame {
        self.0.table
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

/// Where an entry is, and the pages it stands for: one, or a block.
struct Slot {
    table: KernelFrame,
    index: usize,
    pages: PageRange,
}

impl Slot {
    fn is_block(&self) -> bool {
        self.pages.pages() > 1
    }

    fn load<M: Machine>(&self, machine: &M) -> Entry {
        Entry::decode(machine.load_entry(&self.table, self.index))
    }

    fn holds_table<M: Machine>(&self, machine: &M) -> bool {
        decode_table(machine.load_entry(&self.table, self.index)).is_some()
    }

    fn store<M: Machine>(&self, machine: &M, entry: Entry) {
        let descriptor = if self.is_block() {
            entry.encode_block()
        } else {
            entry.encode()
        };
        machine.store_entry(&self.table, self.index, descriptor);
    }
}

/// A descriptor that is zero, so that nothing is below it.
struct Hole {
    table: KernelFrame,
    level: u32,
}

impl PageTable {
    /// Empty tables.
    pub(crate) fn new<M: Machine>(
        machine: &M,
        frames: &Frames,
        space: SpaceId,
    ) -> Result<Self, Errno> {
        let root = frames.allocate_table(machine)?;
        machine.zero_table(&root);
        Ok(Self {
            root,
            space,
            ended: false,
        })
    }

    pub(crate) fn root(&self) -> &KernelFrame {
        &self.root
    }

    /// The slot for the entry of `page`, or where there is nothing.
    fn slot<M: Machine>(&self, machine: &M, page: VirtualPage) -> Result<Slot, Hole> {
        let mut table = KernelFrame::of_descriptor(self.root.pfn());
        if self.ended {
            return Err(Hole { table, level: 0 });
        }
        for level in 0..LAST {
            let index = index::<M>(page, level);
            let descriptor = machine.load_entry(&table, index);
            match decode_table(descriptor) {
                Some(next) => table = KernelFrame::of_descriptor(next),
                None if descriptor == 0 => return Err(Hole { table, level }),
                None => {
                    // But where a descriptor of another level is lost, it stands for more.
                    debug_assert!(
                        level == LAST - 1
                            || matches!(Entry::decode(descriptor), Entry::HwPoison(_)),
                        "blocks are of one size"
                    );
                    let pages = PageRange::block(page, M::INDEX_BITS);
                    return Ok(Slot {
                        table,
                        index,
                        pages,
                    });
                }
            }
        }
        Ok(Slot {
            table,
            index: index::<M>(page, LAST),
            pages: PageRange::single(page),
        })
    }

    /// Where the hole in a table ends that holds `page`; or, if it reaches `end`, a page not before
    /// that.
    fn beyond<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        end: VirtualPage,
        hole: &Hole,
    ) -> VirtualPage {
        if self.ended {
            return end;
        }
        let span = 1 << (M::INDEX_BITS * (LAST - hole.level));
        let end = end
            .0
            .min((page.0 / (span << M::INDEX_BITS) + 1) * (span << M::INDEX_BITS));
        let mut next = (page.0 / span + 1) * span;
        while next < end {
            let index = index::<M>(VirtualPage(next), hole.level);
            if machine.load_entry(&hole.table, index) != 0 {
                break;
            }
            next += span;
        }
        VirtualPage(next)
    }

    /// The entry for `page`, as if there were no blocks.
    pub(crate) fn get<M: Machine>(&self, machine: &M, page: VirtualPage) -> Entry {
        match self.lookup(machine, page) {
            (pages, Entry::Page(head, protection)) => {
                Entry::Page(Pfn(head.0 + (page.0 - pages.start().0)), protection)
            }
            (_, entry) => entry,
        }
    }

    /// The entry for `page`, and the pages it stands for: one, or a block.
    pub(crate) fn lookup<M: Machine>(&self, machine: &M, page: VirtualPage) -> (PageRange, Entry) {
        match self.slot(machine, page) {
            Ok(slot) => (slot.pages, slot.load(machine)),
            Err(_) => (PageRange::single(page), Entry::Empty),
        }
    }

    /// Whether nothing, not even a table, is where a block with `page` would be.
    pub(crate) fn has_room_for_block<M: Machine>(&self, machine: &M, page: VirtualPage) -> bool {
        self.slot(machine, page).is_err()
    }

    /// The block that holds both `page` and the page before.
    pub(crate) fn block_across<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
    ) -> Option<(PageRange, Entry)> {
        if page >= pages_end::<M>() {
            return None;
        }
        let (pages, entry) = self.lookup(machine, page);
        (pages.start() < page).then_some((pages, entry))
    }

    /// The first entry in `pages` that is not empty, with the pages it stands for: of a block
    /// all, even those before. Holes are skipped a table at a time.
    pub(crate) fn next<M: Machine>(
        &self,
        machine: &M,
        pages: PageRange,
    ) -> Option<(PageRange, Entry)> {
        let mut page = pages.start();
        while page < pages.end() {
            match self.slot(machine, page) {
                Ok(slot) if slot.is_block() => return Some((slot.pages, slot.load(machine))),
                Ok(slot) => {
                    let left = (pages.end().0 - page.0).min(1 << M::INDEX_BITS) as usize;
                    for index in slot.index..(slot.index + left).min(1 << M::INDEX_BITS) {
                        let descriptor = machine.load_entry(&slot.table, index);
                        if descriptor != 0 {
                            return Some((PageRange::single(page), Entry::decode(descriptor)));
                        }
                        page = page.next();
                    }
                }
                Err(hole) => page = self.beyond(machine, page, pages.end(), &hole),
            }
        }
        None
    }

    /// The first block with a page in `pages`. It costs as much as there are tables.
    pub(crate) fn next_block<M: Machine>(
        &self,
        machine: &M,
        pages: PageRange,
    ) -> Option<PageRange> {
        let mut page = pages.start();
        while page < pages.end() {
            match self.slot(machine, page) {
                Ok(slot) if slot.is_block() => return Some(slot.pages),
                Ok(_) => page = PageRange::block(page, M::INDEX_BITS).end(),
                Err(hole) => page = self.beyond(machine, page, pages.end(), &hole),
            }
        }
        None
    }

    /// Makes sure that there are tables down to the level `levels`.
    fn prepare_to<M: Machine>(
        &self,
        machine: &M,
        frames: &Frames,
        page: VirtualPage,
        levels: u32,
    ) -> Result<(), Errno> {
        debug_assert!(page < pages_end::<M>());
        let mut table = KernelFrame::of_descriptor(self.root.pfn());
        for level in 0..levels {
            let slot = index::<M>(page, level);
            let descriptor = machine.load_entry(&table, slot);
            let next = match decode_table(descriptor) {
                Some(pfn) => pfn,
                // A block is an entry already.
                None if descriptor != 0 => return Ok(()),
                None => {
                    let fresh = frames.allocate_table(machine)?;
                    machine.zero_table(&fresh);
                    machine.store_entry(&table, slot, encode_table(fresh.pfn()));
                    fresh.pfn()
                }
            };
            table = KernelFrame::of_descriptor(next);
        }
        Ok(())
    }

    /// Makes sure that an entry for `page` can be stored. On `ENOMEM` no entry has changed;
    /// tables that were added stay.
    pub(crate) fn prepare<M: Machine>(
        &self,
        machine: &M,
        frames: &Frames,
        page: VirtualPage,
    ) -> Result<(), Errno> {
        self.prepare_to(machine, frames, page, LAST)
    }

    /// Makes sure that an entry for the pages of another table's entry can be stored, where
    /// there is none yet. On `ENOMEM` no entry has changed; tables that were added stay.
    pub(crate) fn prepare_for<M: Machine>(
        &self,
        machine: &M,
        frames: &Frames,
        pages: PageRange,
    ) -> Result<(), Errno> {
        let levels = if pages.pages() > 1 { LAST - 1 } else { LAST };
        self.prepare_to(machine, frames, pages.start(), levels)
    }

    fn set<M: Machine>(&self, machine: &M, page: VirtualPage, entry: Entry) {
        let slot = self.slot(machine, page);
        debug_assert!(slot.is_ok(), "the table was not prepared");
        if let Ok(slot) = slot {
            slot.store(machine, entry);
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

    /// Removes the mapping of a page or a block, and leaves `left` in its place, which must not
    /// hold a reference. The reference of a block that is being split belongs to who splits it, and
    /// the slot of a page in swap is the caller's to give back.
    pub(crate) fn unmap<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        left: Entry,
    ) -> Option<Unmapped> {
        debug_assert!(!matches!(left, Entry::Page(..) | Entry::Migration(_)));
        let slot = self.slot(machine, page).ok()?;
        let pfn = match slot.load(machine) {
            Entry::Page(pfn, _) => Some(pfn),
            Entry::Migration(pfn) if !slot.is_block() => Some(pfn),
            Entry::Migration(_)
            | Entry::HwPoison(_)
            | Entry::Reserved
            | Entry::Taken
            | Entry::Swap(_) => None,
            Entry::Empty => return None,
        };
        slot.store(machine, left);
        pfn.map(|pfn| Unmapped {
            pages: slot.pages,
            frame: UserFrame::of_entry(pfn),
            space: self.space,
        })
    }

    /// Stores an entry for `pages`, a page or a block, where there is a prepared, empty one. The
    /// caller counted the reference that it holds, if any.
    pub(crate) fn mark<M: Machine>(&self, machine: &M, pages: PageRange, entry: Entry) {
        debug_assert_eq!(self.get(machine, pages.start()), Entry::Empty);
        if pages.pages() == 1 {
            return self.set(machine, pages.start(), entry);
        }
        if let Some(slot) = self.block_slot(machine, pages.start()) {
            debug_assert!(!slot.holds_table(machine), "there is a table");
            slot.store(machine, entry);
        }
    }

    /// The slot in the table above the last, if there is such a table.
    fn block_slot<M: Machine>(&self, machine: &M, page: VirtualPage) -> Option<Slot> {
        if self.ended {
            return None;
        }
        let mut table = KernelFrame::of_descriptor(self.root.pfn());
        for level in 0..LAST - 1 {
            let descriptor = machine.load_entry(&table, index::<M>(page, level));
            table = KernelFrame::of_descriptor(decode_table(descriptor)?);
        }
        Some(Slot {
            table,
            index: index::<M>(page, LAST - 1),
            pages: PageRange::block(page, M::INDEX_BITS),
        })
    }

    /// Moves the entry of a page or a block, whatever it is, to where there is a prepared, empty one
    /// of that size. A frame's mapper is the caller's to change.
    pub(crate) fn relocate<M: Machine>(
        &self,
        machine: &M,
        from: VirtualPage,
        to: PageRange,
    ) -> Option<Stale> {
        let (pages, entry) = self.lookup(machine, from);
        debug_assert_eq!(pages.pages(), to.pages());
        self.set(machine, from, Entry::Empty);
        self.mark(machine, to, entry);
        matches!(entry, Entry::Page(..)).then_some(Stale {
            space: self.space,
            pages,
        })
    }

    /// Changes the protection of a page or a block that is mapped.
    pub(crate) fn protect<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        protection: Protection,
    ) -> Option<Stale> {
        let slot = self.slot(machine, page).ok()?;
        let Entry::Page(pfn, now) = slot.load(machine) else {
            return None;
        };
        if now == protection {
            return None;
        }
        slot.store(machine, Entry::Page(pfn, protection));
        Some(Stale {
            space: self.space,
            pages: slot.pages,
        })
    }

    /// Makes a mapped page or block inaccessible while it moves or is split.
    pub(crate) fn freeze<M: Machine>(&self, machine: &M, page: VirtualPage) -> Option<Stale> {
        let slot = self.slot(machine, page).ok()?;
        let Entry::Page(pfn, _) = slot.load(machine) else {
            return None;
        };
        slot.store(machine, Entry::Migration(pfn));
        Some(Stale {
            space: self.space,
            pages: slot.pages,
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

    /// Replaces a frozen page by a slot of swap, of which the caller counted the entry. No CPU has
    /// a translation of the page, so nothing is stale.
    pub(crate) fn swap_out<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        slot: SwapSlot,
    ) -> Option<UserFrame> {
        let Entry::Migration(old) = self.get(machine, page) else {
            debug_assert!(false, "the page is not frozen");
            return None;
        };
        self.set(machine, page, Entry::Swap(slot));
        Some(UserFrame::of_entry(old))
    }

    /// Maps a page whose entry names its slot of swap, which is the caller's to give back.
    pub(crate) fn swap_in<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        frame: UserFrame,
        protection: Protection,
    ) {
        debug_assert!(matches!(self.get(machine, page), Entry::Swap(_)));
        self.set(machine, page, Entry::Page(frame.into_entry(), protection));
    }

    /// Replaces a block that has no translation by a table of entries for its pages. Gives the
    /// table back if the block's entry is not `block`.
    pub(crate) fn divide<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
        block: Entry,
        table: KernelFrame,
        part: impl Fn(u64) -> Entry,
    ) -> Result<(), KernelFrame> {
        let slot = match self.slot(machine, page) {
            Ok(slot) if slot.is_block() && slot.load(machine) == block => slot,
            _ => return Err(table),
        };
        machine.zero_table(&table);
        for index in 0..slot.pages.pages() {
            machine.store_entry(&table, index as usize, part(index).encode());
        }
        machine.store_entry(&slot.table, slot.index, encode_table(table.pfn()));
        Ok(())
    }

    /// The pages of the first last-level table whose whole span is in `pages`.
    pub(crate) fn next_table<M: Machine>(
        &self,
        machine: &M,
        pages: PageRange,
    ) -> Option<PageRange> {
        let span = 1 << M::INDEX_BITS;
        let end = pages.end().min(pages_end::<M>()).0;
        let mut page = pages.start().0.next_multiple_of(span);
        while page + span <= end {
            match self.slot(machine, VirtualPage(page)) {
                Ok(slot) if slot.is_block() => page += span,
                Ok(_) => return Some(PageRange::block(VirtualPage(page), M::INDEX_BITS)),
                Err(hole) => {
                    let last = VirtualPage(end);
                    page = self.beyond(machine, VirtualPage(page), last, &hole).0;
                }
            }
        }
        None
    }

    /// Takes the last-level table for `page` out, if there is one and it is empty.
    pub(crate) fn detach_empty<M: Machine>(
        &self,
        machine: &M,
        page: VirtualPage,
    ) -> Option<Detached> {
        let slot = self.block_slot(machine, page)?;
        let table = decode_table(machine.load_entry(&slot.table, slot.index))?;
        let table = KernelFrame::of_descriptor(table);
        if (0..1 << M::INDEX_BITS).any(|index| machine.load_entry(&table, index) != 0) {
            return None;
        }
        self.detach(machine, page)
    }

    /// Takes the last-level table for `page` out, with its entries.
    pub(crate) fn detach<M: Machine>(&self, machine: &M, page: VirtualPage) -> Option<Detached> {
        let slot = self.block_slot(machine, page)?;
        let table = decode_table(machine.load_entry(&slot.table, slot.index))?;
        slot.store(machine, Entry::Empty);
        Some(Detached {
            pages: slot.pages,
            table: KernelFrame::of_descriptor(table),
            space: self.space,
        })
    }

    /// Puts a table back where it was taken out.
    pub(crate) fn attach<M: Machine>(&self, machine: &M, loose: Loose) {
        let Loose(Detached { pages, table, .. }) = loose;
        if let Some(slot) = self.block_slot(machine, pages.start()) {
            machine.store_entry(&slot.table, slot.index, encode_table(table.pfn()));
        }
    }

    /// Frees the tables of an address space in which nothing is mapped any more.
    pub(crate) fn free<M: Machine>(&mut self, machine: &M, frames: &Frames) {
        self.ended = true;
        machine.invalidate(self.space, PageRange::ALL);
        self.free_below(machine, frames, &self.root, 0);
        frames.free_table(KernelFrame::of_descriptor(self.root.pfn()));
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
            frames.free_table(next);
        }
    }
}
