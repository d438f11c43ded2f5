//! Files whose pages come from the pool of huge pages.
//!
//! The slots of a block are filled together. Until then the first of them may hold a reservation.

use alloc::sync::Arc;

use super::{Cache, File, Slot};
use crate::{Errno, FrameState, Machine, Memory, Pfn};

impl File {
    /// How many of the blocks of `2^order` pages from `first` on are neither there nor reserved.
    pub(crate) fn absent_blocks(&self, first: u32, blocks: u32, order: u32) -> u64 {
        self.cache.lock().absent_blocks(first, blocks, order)
    }
}

impl Cache {
    fn absent_blocks(&self, first: u32, blocks: u32, order: u32) -> u64 {
        let is_absent = |block: &u32| self.slots.get(first + (block << order)).is_none();
        (0..blocks).filter(is_absent).count() as u64
    }

    /// A number that no slot has yet.
    fn next_fill(&mut self) -> u64 {
        self.fills += 1;
        self.fills - 1
    }

    /// Applies `change` to those slots, `step` apart, that this filling has. It may remove them.
    fn each_of_fill(
        &mut self,
        slots: impl Iterator<Item = u32>,
        fill: u64,
        mut change: impl FnMut(u32) -> Option<Slot>,
    ) {
        for index in slots {
            let Some(slot) = self.slots.get_mut(index) else {
                continue;
            };
            if !matches!(slot, Slot::Filling(of) if *of == fill) {
                continue;
            }
            match change(index) {
                Some(filled) => *slot = filled,
                None => drop(self.slots.remove(index)),
            }
        }
    }
}

impl<M: Machine> Memory<M> {
    /// Marks the empty ones of some slots as being filled. On `ENOMEM` they are empty again.
    fn begin_fill(
        &self,
        cache: &mut Cache,
        slots: impl Iterator<Item = u32> + Clone,
    ) -> Result<u64, Errno> {
        let fill = cache.next_fill();
        for index in slots.clone() {
            if cache.slots.get(index).is_some() {
                continue;
            }
            if let Err(error) = cache
                .slots
                .insert(self.permit(), index, Slot::Filling(fill))
            {
                cache.each_of_fill(slots, fill, |_| None);
                return Err(error);
            }
        }
        Ok(fill)
    }

    /// Reserves those of a file's blocks that are neither there nor reserved.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing is reserved.
    pub(crate) fn reserve_slots(&self, file: &File, first: u32, blocks: u32) -> Result<(), Errno> {
        let mut cache = file.cache.lock();
        let absent = cache.absent_blocks(first, blocks, M::INDEX_BITS);
        let slots = (0..blocks).map(|block| first + (block << M::INDEX_BITS));
        let fill = self.begin_fill(&mut cache, slots.clone())?;
        let reserved = self.frames.pool().reserve(absent);
        cache.each_of_fill(slots, fill, |_| reserved.then_some(Slot::Reserved));
        reserved.then_some(()).ok_or(Errno::ENOMEM)
    }

    /// Brings a block of zeros into the cache, by its reservation if it has one.
    ///
    /// # Errors
    ///
    /// `ENOSPC`: the pool has none. `ENOMEM`. `EBUSY`: the file has just become shorter.
    pub(crate) fn fetch_block(&self, file: &Arc<File>, index: u32) -> Result<(), Errno> {
        loop {
            match self.try_fetch_block(file, index) {
                Err(Errno::ENOSPC) => self.add_surplus()?,
                result => return result,
            }
        }
    }

    fn try_fetch_block(&self, file: &File, index: u32) -> Result<(), Errno> {
        let first = index >> M::INDEX_BITS << M::INDEX_BITS;
        let slots = first..first + self.frames.pieces() as u32;
        // No piece is found to be poisoned meanwhile.
        let _one = self.failures.lock();
        let mut cache = file.cache.lock();
        if u64::from(first) >= cache.pages() {
            return Err(Errno::EBUSY);
        }
        let reserved = match cache.slots.get(first) {
            None => false,
            Some(Slot::Reserved) => true,
            // Another CPU brought it in.
            Some(_) => return Ok(()),
        };
        let fill = self.begin_fill(&mut cache, slots.clone())?;
        let state = FrameState::File {
            file: file.id,
            index: first,
        };
        let Some(fresh) = self.frames.allocate_pooled(state, reserved) else {
            cache.each_of_fill(slots, fill, |_| None);
            return Err(Errno::ENOSPC);
        };
        for piece in 0..self.frames.pieces() {
            fresh.with_piece(piece, |piece| self.machine.zero(piece));
        }
        {
            let mut head = self.frames.lock(&fresh);
            head.dirty = true;
            head.migrating = false;
            head.take_reservation();
        }
        let page = |index| {
            let pfn = Pfn(fresh.pfn().0 + u64::from(index - first));
            Slot::Filled(self.frames.get(pfn))
        };
        if let Some(slot @ Slot::Reserved) = cache.slots.get_mut(first) {
            *slot = page(first);
        }
        cache.each_of_fill(slots, fill, |index| Some(page(index)));
        self.frames.put(fresh);
        Ok(())
    }

    /// Takes the contents of a slot out of use.
    pub(super) fn drop_slot(&self, slot: Option<Slot>) {
        match slot {
            Some(Slot::Filled(frame)) => self.frames.put(frame),
            Some(Slot::Reserved) => self.frames.unreserve(1),
            Some(Slot::Filling(_) | Slot::Lost) | None => {}
        }
    }
}
