//! Huge pages on their way between the allocator, the pool and users.

use super::{Frame, Frames, HugeSort};
use crate::hugetlb::Pool;
use crate::lock::MutexGuard;
use crate::{Errno, FrameState, Machine, Pfn, UserFrame};

impl Frames {
    pub(crate) fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock()
    }

    fn block_of(&self, head: Pfn) -> usize {
        ((head.0 - self.first) >> self.huge_order) as usize
    }

    fn head_of_block(&self, block: usize) -> Pfn {
        Pfn(self.first + ((block as u64) << self.huge_order))
    }

    /// Moves a huge page from the allocator to the pool.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add_to_pool<M: Machine>(&self, machine: &M, surplus: bool) -> Result<(), Errno> {
        let (pfn, mut head) = self.take_block(machine)?;
        head.state = FrameState::Hugetlb;
        head.sort = HugeSort::Pooled;
        self.pool.lock().add(self.block_of(pfn), surplus);
        Ok(())
    }

    /// Gives a user a huge page of the pool: the one that was reserved, or one that is not. Its
    /// contents are whatever they were. While it counts as migrating it is not split.
    pub(crate) fn allocate_pooled(&self, state: FrameState, reserved: bool) -> Option<UserFrame> {
        loop {
            let block = self.pool.lock().take(reserved)?;
            let pfn = self.head_of_block(block);
            let mut head = self.lock_exactly(pfn);
            debug_assert!(head.is_pooled() && head.state == FrameState::Hugetlb);
            if reserved {
                head.sort = HugeSort::Reserved;
            }
            if self.is_sound(&head, pfn) {
                head.state = state;
                head.references = 1;
                head.migrating = true;
                return Some(UserFrame::of_entry(pfn));
            }
            // A piece was found to be poisoned while it was on its way here.
            self.retire(&mut head, pfn);
        }
    }

    fn is_sound(&self, head: &Frame, pfn: Pfn) -> bool {
        !head.poisoned
            && self
                .tails(pfn)
                .all(|tail| !self.lock_exactly(tail).poisoned)
    }

    /// Puts a huge page of the pool that has lost its last user back there, if all of it is sound
    /// and the pool wants it. Otherwise it is the pool's no more.
    pub(super) fn return_to_pool(&self, head: &mut Frame, pfn: Pfn) -> bool {
        debug_assert!(head.references == 0 && head.mappers.is_empty());
        let sound = self.is_sound(head, pfn);
        let reserved = head.sort == HugeSort::Reserved;
        let kept = {
            let mut pool = self.pool.lock();
            let kept = sound && pool.keeps(reserved);
            if kept {
                pool.give_back(self.block_of(pfn), reserved);
            } else if sound {
                pool.drop_surplus();
            } else {
                pool.lose(reserved);
            }
            kept
        };
        if kept {
            head.renew(FrameState::Hugetlb);
            head.huge = true;
            head.sort = HugeSort::Pooled;
        }
        kept
    }

    /// A huge page is about to be split, or damaged: then it is not the pool's.
    pub(crate) fn leave_pool(&self, head: &mut Frame) {
        if head.is_pooled() {
            let reserved = head.sort == HugeSort::Reserved;
            self.pool.lock().lose(reserved);
            head.sort = HugeSort::Transparent;
        }
    }

    /// Gives the frames of a huge page that the pool has just let go to the allocator.
    fn dissolve(&self, head: &mut Frame, pfn: Pfn) {
        debug_assert!(head.is_pooled() && head.state == FrameState::Hugetlb);
        head.sort = HugeSort::Transparent;
        self.retire(head, pfn);
    }

    /// Takes the huge page that `pfn` is in out of the pool, if it waits there, and gives what is
    /// sound of it to the allocator.
    pub(crate) fn dissolve_waiting(&self, pfn: Pfn) -> bool {
        if self.index(pfn).is_none() {
            return false;
        }
        let head_pfn = self.head_of(pfn);
        let mut head = self.lock_exactly(head_pfn);
        let waits = head.huge && head.state == FrameState::Hugetlb;
        // Otherwise it is on its way out, and whoever takes it looks whether it is sound.
        if !waits || !self.pool.lock().withdraw(self.block_of(head_pfn)) {
            return false;
        }
        self.dissolve(&mut head, head_pfn);
        true
    }

    /// The same, unless the page is reserved.
    pub(crate) fn dissolve_spare(&self, pfn: Pfn) {
        let spare = self.pool.lock().available() > 0;
        if spare {
            self.dissolve_waiting(pfn);
        }
    }

    /// Makes a huge page that someone has one of the pool.
    pub(crate) fn join_pool(&self, page: &UserFrame) {
        let mut head = self.lock(page);
        self.pool.lock().join();
        head.sort = HugeSort::Pooled;
    }

    /// Gives a huge page that waits and that nobody reserved to the allocator. Returns whether
    /// there was one.
    pub(crate) fn shrink_pool(&self) -> bool {
        self.dissolve_one(Pool::shrink)
    }

    /// Gives back the huge pages that the pool got for someone who needs them no more.
    pub(crate) fn trim_pool(&self) {
        while self.dissolve_one(Pool::trim) {}
    }

    fn dissolve_one(&self, choose: impl FnOnce(&mut Pool) -> Option<usize>) -> bool {
        let Some(block) = choose(&mut self.pool.lock()) else {
            return false;
        };
        let pfn = self.head_of_block(block);
        self.dissolve(&mut self.lock_exactly(pfn), pfn);
        true
    }

    /// Ends so many reservations.
    pub(crate) fn unreserve(&self, count: u64) {
        self.pool.lock().unreserve(count);
        self.trim_pool();
    }
}
