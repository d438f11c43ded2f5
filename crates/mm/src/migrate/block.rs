//! Moving a huge page as a whole, if there is a free one: nobody has to split it, and one of the
//! pool must not be split.

use super::Stays;
use crate::frame::HugeSort;
use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::{
    Entry, Errno, FileId, FrameState, Machine, Memory, Pfn, Protection, SpaceId, UserFrame,
    VirtualPage,
};

impl<M: Machine> Memory<M> {
    /// Moves the huge page that the caller holds a piece of. On an error it is mapped as before.
    /// Otherwise the caller has the last reference.
    pub(crate) fn migrate_block(&self, page: &UserFrame) -> Result<(), Stays> {
        let (state, sort, mappers) = {
            let mut head = self.frames.lock(page);
            if head.migrating || head.has_failed() || !head.huge {
                return Err(Stays::Error(Errno::EBUSY));
            }
            // From here on it gains no mapper.
            head.migrating = true;
            (head.state, head.sort, head.mappers.len())
        };
        let moved = self
            .block_for(state, sort, mappers)
            .map_err(Stays::Error)
            .and_then(|fresh| {
                let moved = self.move_block(page, state, &fresh);
                self.frames.lock(&fresh).migrating = false;
                self.frames.put(fresh);
                moved
            });
        self.frames.lock(page).migrating = false;
        moved
    }

    /// A huge page to move to, with room for so many mappers.
    fn block_for(
        &self,
        state: FrameState,
        sort: HugeSort,
        mappers: usize,
    ) -> Result<UserFrame, Errno> {
        let waiting = match sort {
            HugeSort::Pooled => self.frames.allocate_pooled(state, false),
            _ => None,
        };
        let fresh = match waiting {
            Some(fresh) => fresh,
            None => {
                let fresh = self.frames.allocate_huge(&self.machine, state)?;
                if sort == HugeSort::Pooled {
                    self.frames.join_pool(&fresh);
                }
                fresh
            }
        };
        let room = self
            .frames
            .lock(&fresh)
            .mappers
            .reserve(self.permit(), mappers);
        match room {
            Ok(()) => Ok(fresh),
            Err(error) => {
                self.frames.put(fresh);
                Err(error)
            }
        }
    }

    fn move_block(
        &self,
        page: &UserFrame,
        state: FrameState,
        fresh: &UserFrame,
    ) -> Result<(), Stays> {
        let head = self.frames.get(self.frames.head_of(page.pfn()));
        self.freeze(&head);
        let copied = match state {
            FrameState::File { file, index } => self.copy_cached_block(file, index, &head, fresh),
            _ => self.copy_block_if_alone(&head, fresh, 0),
        };
        self.thaw_block(&head, if copied.is_ok() { fresh } else { &head });
        self.frames.put(head);
        copied
    }

    /// Copies a huge page of a file and puts the copy into the cache, which is locked meanwhile.
    fn copy_cached_block(
        &self,
        file: FileId,
        index: u32,
        head: &UserFrame,
        fresh: &UserFrame,
    ) -> Result<(), Stays> {
        let busy = Stays::Error(Errno::EBUSY);
        let Some(file) = self.find_file(file) else {
            return Err(busy);
        };
        let pieces = self.frames.pieces();
        let Some(mut slots) = file.slots_of_block(index, head.pfn(), pieces) else {
            return Err(busy);
        };
        self.copy_block_if_alone(head, fresh, pieces as u32)?;
        let dirty = self.frames.lock(head).dirty;
        self.frames.lock(fresh).dirty = dirty;
        for piece in 0..pieces {
            let copy = self.frames.get(Pfn(fresh.pfn().0 + piece));
            let old = slots.replace(piece as u32, copy);
            self.frames.put(old);
        }
        Ok(())
    }

    /// Copies a frozen huge page, unless someone other than its mappers, the `cached` references
    /// of the page cache and this operation, which has two, holds it.
    fn copy_block_if_alone(
        &self,
        head: &UserFrame,
        fresh: &UserFrame,
        cached: u32,
    ) -> Result<(), Stays> {
        {
            let frame = self.frames.lock(head);
            if frame.writeback || frame.references != frame.mappers.len() as u32 + cached + 2 {
                return Err(Stays::Error(Errno::EBUSY));
            }
        }
        self.copy_pieces(fresh, head).map_err(Stays::Poisoned)
    }

    /// Maps `target` wherever the huge page `head` is frozen. Stores come back by a fault. Whoever
    /// unmapped it meanwhile, or ended, only emptied the entry: those mappers end here.
    fn thaw_block(&self, head: &UserFrame, target: &UserFrame) {
        let mut from = Mapper::new(SpaceId(0), VirtualPage(0));
        loop {
            let mapper = self.frames.lock(head).mappers.from(from);
            let Some(mapper) = mapper else {
                return;
            };
            from = mapper.following();
            if !self.thaw_mapper(mapper, head, target) {
                self.end_mapping(mapper, UserFrame::of_entry(head.pfn()));
            }
        }
    }

    /// Whether the huge page is still frozen there, and so could be mapped again.
    fn thaw_mapper(&self, mapper: Mapper, head: &UserFrame, target: &UserFrame) -> bool {
        let Some(space) = self.find_space(mapper.space()) else {
            return false;
        };
        let inner = space.inner.lock();
        let (_, entry) = inner.table.lookup(&self.machine, mapper.page());
        match inner.vmas.find(mapper.page()) {
            Some(area) if entry == Entry::Migration(head.pfn()) => {
                let protection = area.protection.read_only();
                self.thaw_one(&inner, mapper, head, target, protection);
                true
            }
            _ => false,
        }
    }

    /// Maps `target` where `page` is frozen, a page or a huge page.
    pub(crate) fn thaw_one(
        &self,
        inner: &Inner,
        mapper: Mapper,
        page: &UserFrame,
        target: &UserFrame,
        protection: Protection,
    ) {
        let reference = self.frames.get(target.pfn());
        if target.pfn() != page.pfn() {
            self.frames.lock(page).mappers.remove(mapper);
            self.frames.lock(target).mappers.insert_reserved(mapper);
        }
        let old = inner
            .table
            .thaw(&self.machine, mapper.page(), reference, protection);
        self.frames.put(old);
    }
}
