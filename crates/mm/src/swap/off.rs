//! Bringing everything back from swap, so that its store can go away.

use alloc::sync::Arc;

use super::{Contents, Swap, SwapSlot};
use crate::lock::relax;
use crate::memory::Space;
use crate::{Entry, Errno, Machine, Memory, PageRange, Pfn, SpaceId, VirtualPage};

impl<M: Machine> Memory<M> {
    /// Stops using the swap store: every page in it comes back into memory. A page that cannot
    /// be read is lost, and its processes are told when they touch it.
    ///
    /// # Errors
    ///
    /// `EINVAL`: there is none in use. `ENOMEM`: not all of it has room in memory; then it stays
    /// in use.
    pub fn swap_off(&self) -> Result<(), Errno> {
        {
            let mut swap = self.swap.lock();
            if swap.slots.is_empty() || swap.closing {
                return Err(Errno::EINVAL);
            }
            swap.closing = true;
        }
        loop {
            if let Err(error) = self.empty_spaces() {
                self.swap.lock().closing = false;
                return Err(error);
            }
            self.empty_cache();
            let mut swap = self.swap.lock();
            if swap.free.len() == swap.slots.len() {
                *swap = Swap::new();
                return Ok(());
            }
            drop(swap);
            // A page is being read, or a child got entries from its parent.
            relax();
        }
    }

    /// Frees the slots that only the cache needs.
    fn empty_cache(&self) {
        loop {
            let needless = self.swap.lock().first_needless();
            let Some((slot, pfn)) = needless else {
                return;
            };
            self.free_needless(slot, pfn, true);
        }
    }

    fn empty_spaces(&self) -> Result<(), Errno> {
        let mut id = SpaceId(0);
        loop {
            let next = self
                .spaces
                .lock()
                .ceiling(id)
                .map(|(_, space)| Arc::clone(space));
            let Some(space) = next else {
                return Ok(());
            };
            self.with_reclaim(|| {
                self.bring_in(&space, PageRange::ALL, |page, slot| {
                    self.give_up(&space, page, slot);
                    Ok(())
                })
            })?;
            id = SpaceId(space.id.0 + 1);
        }
    }

    /// A page cannot be read from its slot: nobody gets anything else in its place.
    fn give_up(&self, space: &Space, page: VirtualPage, slot: SwapSlot) {
        let inner = space.inner.lock();
        if inner.table.get(&self.machine, page) == Entry::Swap(slot) {
            // It never had a frame that failed.
            let lost = Entry::HwPoison(Pfn(0));
            let none = inner.table.unmap(&self.machine, page, lost);
            debug_assert!(none.is_none(), "a page in swap has no frame");
            self.drop_swap_entry(slot);
        }
    }
}

impl Swap {
    /// A slot that is in use only because its page is in memory.
    fn first_needless(&self) -> Option<(SwapSlot, Pfn)> {
        (1u32..)
            .filter_map(SwapSlot::new)
            .zip(&self.slots)
            .find_map(|(slot, of)| match of.contents {
                Contents::Cached(pfn) if of.entries == 0 => Some((slot, pfn)),
                _ => None,
            })
    }
}
