//! Faults of mappings that have huge pages of the pool.
//!
//! Where an error has split such a page, its pieces are small pages like others, and a store to a
//! shared one copies only that.

use super::{Fault, Need, Stop};
use crate::rmap::Mapper;
use crate::vma::Sharing;
use crate::{Access, Entry, FrameState, Machine, PageRange, Pfn, UserFrame};

impl<M: Machine> Fault<'_, M> {
    fn block(&self) -> PageRange {
        PageRange::block(self.page, M::INDEX_BITS)
    }

    /// A block that was never touched, but may have a reservation.
    pub(super) fn pooled_page(&self, reserved: bool) -> Result<(), Stop> {
        let Some((file, index)) = self.vma.file_page(self.page) else {
            return self.fresh_block(reserved);
        };
        match self.cached(file, index) {
            Ok(cached) => {
                let result = self.pooled_cached(&cached, reserved);
                self.memory.frames.put(cached);
                result
            }
            // What the file does not have is not brought in for a private mapping.
            Err(Stop::Need(Need::Fetch(..))) if self.vma.sharing == Sharing::Private => {
                self.fresh_block(reserved)
            }
            Err(stop) => Err(stop),
        }
    }

    /// A page that the file has. A private mapping with a reservation copies it at once: the huge
    /// page is there for it, and nobody else may have it.
    fn pooled_cached(&self, cached: &UserFrame, reserved: bool) -> Result<(), Stop> {
        let memory = self.memory;
        let copies =
            self.vma.sharing == Sharing::Private && (reserved || self.access == Access::Store);
        if memory.frames.lock(cached).huge {
            if !copies {
                return self.map_cached(cached);
            }
            let head = memory.frames.get(memory.frames.head_of(cached.pfn()));
            let fresh = self.copy_block(&head, reserved, None);
            memory.frames.put(head);
            return self.map_block(fresh?, reserved);
        }
        if reserved {
            // Only the small pages of the file can be had here.
            self.remove_reservation();
            memory.frames.unreserve(1);
        }
        if copies && self.access == Access::Store {
            self.copy_from_file(cached)
        } else {
            self.map_cached(cached)
        }
    }

    /// A huge page of zeros.
    fn fresh_block(&self, reserved: bool) -> Result<(), Stop> {
        let fresh = self.allocate_block(reserved, None)?;
        for piece in 0..self.memory.frames.pieces() {
            fresh.with_piece(piece, |piece| self.memory.machine.zero(piece));
        }
        self.map_block(fresh, reserved)
    }

    /// A huge page of the pool. If there is none, `shared` can be taken from others.
    fn allocate_block(&self, reserved: bool, shared: Option<Pfn>) -> Result<UserFrame, Stop> {
        let memory = self.memory;
        self.inner
            .table
            .prepare_for(&memory.machine, &memory.frames, self.block())?;
        let owner = shared.map(|pfn| (pfn, self.space.id()));
        memory
            .frames
            .allocate_pooled(FrameState::Anonymous, reserved)
            .ok_or(Stop::Need(Need::HugePage(owner)))
    }

    /// A copy of a huge page, or the need to isolate what of it could not be read.
    fn copy_block(
        &self,
        head: &UserFrame,
        reserved: bool,
        shared: Option<Pfn>,
    ) -> Result<UserFrame, Stop> {
        let fresh = self.allocate_block(reserved, shared)?;
        match self.memory.copy_pieces(&fresh, head) {
            Ok(()) => Ok(fresh),
            Err(poisoned) => {
                self.memory.frames.put(fresh);
                Err(Stop::Need(Need::Isolation(poisoned.pfn)))
            }
        }
    }

    /// Replaces a huge page by a private copy. Until the copy is complete nothing changes.
    pub(super) fn copy_block_on_write(&self, head: Pfn) -> Result<(), Stop> {
        let memory = self.memory;
        let old = memory.frames.get(head);
        let anonymous = memory.frames.lock(&old).state == FrameState::Anonymous;
        let shared = (self.vma.owner && anonymous).then_some(head);
        let fresh = self.copy_block(&old, false, shared);
        memory.frames.put(old);
        let start = self.block().start();
        let fresh = self.adopt_at(fresh?, start)?;
        // Break before make: no CPU may have a translation to each of the two.
        let table = &self.inner.table;
        if let Some(unmapped) = table.unmap(&memory.machine, start, Entry::Empty) {
            let old = unmapped.flush(&memory.machine);
            memory.end_mapping(Mapper::new(self.space.id(), start), old);
        }
        let entry = Entry::Page(fresh.into_entry(), self.vma.protection);
        table.mark(&memory.machine, self.block(), entry);
        Ok(())
    }

    /// Maps a huge page that nobody else has in the place of its reservation, or where there is
    /// nothing.
    fn map_block(&self, fresh: UserFrame, reserved: bool) -> Result<(), Stop> {
        let fresh = self.adopt_at(fresh, self.block().start())?;
        let (machine, table) = (&self.memory.machine, &self.inner.table);
        if reserved {
            self.remove_reservation();
        } else if let Some(empty) = table.detach_empty(machine, self.page) {
            let loose = empty.flush(machine);
            self.memory.frames.free_table(loose.into_table());
        }
        let entry = Entry::Page(fresh.into_entry(), self.vma.protection);
        table.mark(machine, self.block(), entry);
        Ok(())
    }

    fn remove_reservation(&self) {
        let machine = &self.memory.machine;
        let none = self.inner.table.unmap(machine, self.page, Entry::Empty);
        debug_assert!(none.is_none(), "a reservation has no frame");
    }
}
