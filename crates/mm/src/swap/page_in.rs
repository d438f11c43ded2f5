//! Pages that come back from swap: first into the swap cache, then to who faulted.

use super::{Contents, Reading, SwapSlot};
use crate::fault::{Need, Stop};
use crate::lock::relax;
use crate::memory::{Inner, Space};
use crate::rmap::Mapper;
use crate::table::pages_end;
use crate::{
    Entry, Errno, FrameState, Machine, Memory, Outcome, PageRange, Pfn, SpaceId, UserFrame,
    VirtualPage,
};

impl<M: Machine> Memory<M> {
    /// Maps the page of a slot where `page` names it, for loads, and returns its frame. If it is
    /// not in memory, that is needed first.
    pub(crate) fn map_swapped(
        &self,
        space: SpaceId,
        inner: &Inner,
        page: VirtualPage,
        slot: SwapSlot,
    ) -> Result<Pfn, Stop> {
        let Contents::Cached(pfn) = self.swap.lock().slot(slot).contents else {
            return Err(Stop::Need(Need::SwapIn(slot)));
        };
        let Some(area) = inner.vmas.find(page) else {
            return Err(Stop::Outcome(Outcome::Retry));
        };
        let permit = self.permit();
        {
            let mut frame = self.frames.lock_known(pfn);
            if frame.slot != Some(slot) || frame.has_failed() || frame.migrating {
                return Err(Stop::Outcome(Outcome::Retry));
            }
            frame.mappers.insert(permit, Mapper::new(space, page))?;
            frame.references += 1;
            frame.touched = true;
        }
        let frame = UserFrame::of_entry(pfn);
        let protection = area.protection.read_only();
        inner.table.swap_in(&self.machine, page, frame, protection);
        self.drop_swap_entry(slot);
        Ok(pfn)
    }

    /// Brings the pages of a range into memory that are in swap, and maps them. `unreadable` says
    /// what to do about one that the store cannot give back, if it leaves no such entry.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, and what `unreadable` says.
    pub(crate) fn bring_in(
        &self,
        space: &Space,
        pages: PageRange,
        unreadable: impl Fn(VirtualPage, SwapSlot) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        // The tables have no entries beyond.
        let end = pages.end().min(pages_end::<M>());
        let mut rest = PageRange::new(pages.start(), end);
        while let Some(range) = rest {
            let inner = space.inner.lock();
            let Some((page, slot)) = self.next_swapped(&inner, range) else {
                break;
            };
            rest = PageRange::new(page, end);
            let mapped = self.map_swapped(space.id, &inner, page, slot);
            drop(inner);
            match mapped {
                Ok(_) => {}
                Err(Stop::Need(Need::SwapIn(slot))) => match self.swap_in(slot) {
                    Ok(()) => {}
                    Err(Errno::EBUSY) => relax(),
                    Err(Errno::ENOMEM) => return Err(Errno::ENOMEM),
                    Err(_) => unreadable(page, slot)?,
                },
                Err(Stop::Outcome(Outcome::Oom)) => return Err(Errno::ENOMEM),
                Err(_) => relax(),
            }
        }
        Ok(())
    }

    /// The first page of a range that is in swap.
    fn next_swapped(&self, inner: &Inner, pages: PageRange) -> Option<(VirtualPage, SwapSlot)> {
        let mut rest = Some(pages);
        loop {
            let (found, entry) = inner.table.next(&self.machine, rest?)?;
            if let Entry::Swap(slot) = entry {
                return Some((found.start(), slot));
            }
            rest = PageRange::new(found.end(), pages.end());
        }
    }

    /// How many pages of a range are in swap.
    pub(crate) fn swapped_pages(&self, inner: &Inner, pages: PageRange) -> u64 {
        let mut rest = Some(pages);
        let mut count = 0;
        while let Some((page, _)) = rest.and_then(|range| self.next_swapped(inner, range)) {
            count += 1;
            rest = PageRange::new(page.next(), pages.end());
        }
        count
    }

    /// Brings the page of a slot into memory, whoever wants it. No lock is held while the store
    /// is read: the slot may have become another page's meanwhile, which does not mind.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EIO` if the store failed; `EBUSY` if another CPU is at it.
    pub(crate) fn swap_in(&self, slot: SwapSlot) -> Result<(), Errno> {
        match self.swap.lock().begin_reading(slot) {
            Reading::Begins => {}
            Reading::Busy => return Err(Errno::EBUSY),
            Reading::Needless => return Ok(()),
        }
        let read = self.read_slot(slot).and_then(|page| {
            let mut frame = self.frames.lock(&page);
            let mut swap = self.swap.lock();
            if swap.slot(slot).entries > 0 && !frame.has_failed() && !frame.migrating {
                swap.slot(slot).contents = Contents::Cached(page.pfn());
                frame.slot = Some(slot);
                // The reference is the cache's from here on.
                page.into_entry();
                return Ok(());
            }
            drop((swap, frame));
            self.frames.put(page);
            Err(Errno::EBUSY)
        });
        if read.is_err() {
            self.swap.lock().only_stored(&self.machine, slot);
        }
        read
    }

    fn read_slot(&self, slot: SwapSlot) -> Result<UserFrame, Errno> {
        let page = self
            .frames
            .allocate_user(&self.machine, FrameState::Anonymous)?;
        if let Err(error) = self.machine.swap_read(slot, &page) {
            self.frames.put(page);
            return Err(error);
        }
        Ok(page)
    }
}
