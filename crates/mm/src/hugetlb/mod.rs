//! hugetlb: a pool of huge pages, for mappings that have nothing else (`MAP_HUGETLB`) and for files
//! whose pages come from it.
//!
//! What a mapping will need is reserved when it is made. A reservation lies where its page will
//! come: as an entry of the owner's table, or in a slot of the file's cache; the page takes its
//! place. So whoever unmaps, truncates or exits gives it back on the way.
//!
//! A page of the pool is a huge page like others, but nobody splits it, and it goes back to the
//! pool. Only an error in it does split it: then the pool has one page less, and its users keep all
//! of it but 4 KiB.

mod map;
mod pool;

pub use self::pool::HugetlbStatistics;
pub(crate) use self::pool::Pool;

use crate::{Entry, Errno, Machine, Memory, Pfn, Poisoned, SpaceId, UserFrame};

impl<M: Machine> Memory<M> {
    /// Sets the size of the pool (`vm.nr_hugepages`), and returns how near it came: memory may be
    /// too scattered, and pages in use stay until their users let go.
    pub fn set_hugetlb_pages(&self, pages: u64) -> u64 {
        loop {
            {
                let mut pool = self.frames.pool();
                let surplus = pool.counts.surplus;
                // What is there above the size counts first.
                let counted = pages.saturating_sub(pool.persistent()).min(surplus);
                pool.counts.surplus -= counted;
                if pool.persistent() == pages {
                    return pages;
                }
                if pool.persistent() > pages && pool.available() == 0 {
                    // The rest goes when it is not needed any more.
                    pool.counts.surplus += pool.persistent() - pages;
                    return pages;
                }
            }
            let grows = self.frames.pool().persistent() < pages;
            if grows && self.grow_pool(false).is_err() {
                return self.frames.pool().persistent();
            }
            if !grows {
                self.frames.shrink_pool();
            }
        }
    }

    /// Sets how many huge pages the pool may have above its size while they are in use
    /// (`vm.nr_overcommit_hugepages`).
    pub fn set_hugetlb_overcommit(&self, pages: u64) {
        self.frames.pool().overcommit = pages;
    }

    /// The pool's counts.
    pub fn hugetlb_statistics(&self) -> HugetlbStatistics {
        self.frames.pool().counts
    }

    /// Moves a huge page from the allocator to the pool. No lock is held.
    fn grow_pool(&self, surplus: bool) -> Result<(), Errno> {
        let order = M::INDEX_BITS as usize;
        loop {
            match self.frames.add_to_pool(&self.machine, surplus) {
                // There may be enough memory, but not in one piece, or not free.
                Err(Errno::ENOMEM) if !self.frames.has_free_block(order) => {
                    let pieces = self.frames.pieces() as usize;
                    if self.compact(order).is_err() && self.reclaim(pieces) == 0 {
                        return Err(Errno::ENOMEM);
                    }
                }
                result => return result,
            }
        }
    }

    /// Gets the pool a huge page that is not reserved, above its size. No lock is held.
    ///
    /// # Errors
    ///
    /// `ENOSPC`.
    pub(crate) fn add_surplus(&self) -> Result<(), Errno> {
        if !self.frames.pool().may_overcommit() {
            return Err(Errno::ENOSPC);
        }
        self.grow_pool(true).map_err(|_| Errno::ENOSPC)
    }

    /// Takes a huge page away from those who share it with its owner, who may then store to it.
    /// They get `SIGBUS`. If it is being moved or split, nothing happens.
    pub(crate) fn take_from_others(&self, pfn: Pfn, owner: SpaceId) {
        let _one = self.failures.lock();
        let Some(page) = self.frames.get_piece(pfn) else {
            return;
        };
        // From here on it gains no mapper.
        let moves = core::mem::replace(&mut self.frames.lock(&page).migrating, true);
        if !moves {
            self.for_each_mapper(
                &page,
                |space, inner, mapper| {
                    if space.id != owner {
                        self.unmap_one(inner, mapper, Entry::Taken);
                    }
                },
                |_, _| {},
            );
            self.frames.lock(&page).migrating = false;
        }
        self.frames.put(page);
    }

    /// Copies a huge page, piece by piece.
    pub(crate) fn copy_pieces(&self, to: &UserFrame, from: &UserFrame) -> Result<(), Poisoned> {
        (0..self.frames.pieces()).try_for_each(|piece| {
            to.with_piece(piece, |to| {
                from.with_piece(piece, |from| self.machine.copy_page(to, from))
            })
        })
    }
}
