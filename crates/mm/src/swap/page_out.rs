//! Private pages that leave memory: frozen, so that nobody can store to them, written to a slot,
//! and then unmapped. If they cannot be written, or not be read, they are mapped as before.

use super::{Contents, SwapSlot};
use crate::mlock::is_locked_at;
use crate::{Entry, Machine, Memory, Protection, StoreError, UserFrame};

impl<M: Machine> Memory<M> {
    /// Whether a private page can leave now.
    pub(crate) fn may_swap(&self) -> bool {
        let swap = self.swap.lock();
        !swap.closing && !swap.slots.is_empty()
    }

    /// Puts a page that is marked as migrating, of which the caller holds a reference, into swap,
    /// and unmaps it. What is locked, or held by others, stays as it is.
    ///
    /// # Errors
    ///
    /// The page could not be written, or not be read; it stays as it is.
    pub(crate) fn swap_out(&self, page: &UserFrame) -> Result<(), StoreError> {
        if self.is_locked(page) {
            return Ok(());
        }
        let in_swap = self.frames.lock(page).slot.is_some();
        let slot = if in_swap { None } else { self.free_slot() };
        if slot.is_none() && !in_swap {
            return Ok(());
        }
        self.freeze(page);
        let written = slot.map_or(Ok(()), |slot| self.write_to_slot(page, slot));
        self.for_each_mapper(
            page,
            |_, inner, mapper| {
                // It may have been locked since.
                let slot = match is_locked_at(inner, mapper.page()) {
                    true => None,
                    false => self.count_entry(page),
                };
                match slot {
                    Some(slot) => {
                        let old = inner.table.swap_out(&self.machine, mapper.page(), slot);
                        if let Some(old) = old {
                            self.end_mapping(mapper, old);
                        }
                    }
                    None => {
                        let area = inner.vmas.find(mapper.page());
                        debug_assert!(area.is_some(), "a page is mapped outside all areas");
                        let protection = area.map_or(Protection::NONE, |area| area.protection);
                        self.thaw_one(inner, mapper, page, page, protection.read_only());
                    }
                }
            },
            |_, _| {},
        );
        {
            let mut frame = self.frames.lock(page);
            if frame.mappers.is_empty() {
                self.evict_from_swap(&mut frame);
            }
        }
        written
    }

    /// Puts a frozen page into the swap cache, unless somebody holds it.
    fn write_to_slot(&self, page: &UserFrame, slot: SwapSlot) -> Result<(), StoreError> {
        let alone = {
            let frame = self.frames.lock(page);
            frame.references == frame.mappers.len() as u32 + 1
        };
        let written = match alone {
            true => self.machine.swap_write(slot, page),
            false => Ok(()),
        };
        if !alone || written.is_err() {
            self.swap.lock().release(&self.machine, slot);
            return written;
        }
        let mut frame = self.frames.lock(page);
        self.swap.lock().slot(slot).contents = Contents::Cached(page.pfn());
        frame.slot = Some(slot);
        frame.references += 1;
        Ok(())
    }

    /// A slot that nobody uses.
    fn free_slot(&self) -> Option<SwapSlot> {
        loop {
            let needless = {
                let mut swap = self.swap.lock();
                if let Some(slot) = swap.allocate() {
                    return Some(slot);
                }
                swap.next_needless()
            };
            let (slot, pfn) = needless?;
            self.free_needless(slot, pfn, true);
        }
    }

    /// Counts an entry for the slot of a page, if the page is in swap.
    fn count_entry(&self, page: &UserFrame) -> Option<SwapSlot> {
        let frame = self.frames.lock(page);
        let slot = frame.slot?;
        self.swap.lock().add_entry(slot);
        Some(slot)
    }

    /// Unmaps a page in the swap cache whose memory failed, and takes it out: it will be read
    /// again, and nobody lost anything.
    pub(crate) fn unmap_to_slot(&self, page: &UserFrame) {
        self.for_each_mapper(
            page,
            |_, inner, mapper| {
                if let Some(slot) = self.count_entry(page) {
                    self.unmap_one(inner, mapper, Entry::Swap(slot));
                }
            },
            |_, _| {},
        );
        self.evict_from_swap(&mut self.frames.lock(page));
    }
}
