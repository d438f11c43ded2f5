//! Moving a page to another frame while processes use it, and soft offline on top of it.
//!
//! Every mapping is replaced by a migration entry, so that no CPU can reach the page; then it is
//! copied; then the entries are replaced by mappings of the copy, or of the original if the copy
//! failed. A page that moves gains no mapping: a fault waits, and a fork starts again.

mod block;

use alloc::sync::Arc;

use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::{Errno, File, FrameState, Machine, Memory, Pfn, Poisoned, Protection, UserFrame};

/// Why a page stays where it is.
pub(crate) enum Stays {
    Error(Errno),
    Poisoned(Poisoned),
}

impl<M: Machine> Memory<M> {
    /// Takes a frame out of use before it fails, and keeps what is in it. One that is known to have
    /// failed is out of use already, or will be when its last pin is gone.
    ///
    /// # Errors
    ///
    /// `ENXIO`: not ours. `EBUSY`: it is the kernel's, or someone holds it. `ENOMEM`: there is no
    /// frame to move to, or none to split the huge page it is in. `EHWPOISON`: it could not be read;
    /// the page was dealt with as [`memory_failure`](Self::memory_failure) does. Otherwise the page
    /// stays as it was.
    pub fn soft_offline(&self, pfn: Pfn) -> Result<(), Errno> {
        self.with_reclaim(|| self.try_soft_offline(pfn))
    }

    fn try_soft_offline(&self, pfn: Pfn) -> Result<(), Errno> {
        loop {
            let moved = {
                let _one = self.failures.lock();
                self.try_offline(pfn)
            };
            match moved {
                Ok(()) => return Ok(()),
                Err(Stays::Error(error)) => return Err(error),
                Err(Stays::Poisoned(poisoned)) => {
                    self.isolate_consumed(poisoned.pfn);
                    if poisoned.pfn == pfn {
                        return Err(Errno::EHWPOISON);
                    }
                    // It was in the way of a huge page, which is one no more.
                }
            }
        }
    }

    fn try_offline(&self, pfn: Pfn) -> Result<(), Stays> {
        self.frames.dissolve_spare(pfn);
        if self.offline_whole(pfn)? {
            return Ok(());
        }
        let page = {
            let mut frame = self.frames.find(pfn).ok_or(Stays::Error(Errno::ENXIO))?;
            match frame.state {
                _ if frame.poisoned => return Ok(()),
                FrameState::Free => {
                    // On its way out of the allocator it is used, and cannot be found yet.
                    if !self.frames.isolate_free(&mut frame, pfn) {
                        return Err(Stays::Error(Errno::EBUSY));
                    }
                    self.frames.mark_poisoned(&mut frame);
                    return Ok(());
                }
                // It may be in a huge page again since that was split.
                FrameState::Anonymous | FrameState::Ksm | FrameState::File { .. }
                    if !frame.huge =>
                {
                    frame.references += 1;
                    frame.migrating = true;
                }
                _ => return Err(Stays::Error(Errno::EBUSY)),
            }
            UserFrame::of_entry(pfn)
        };
        let moved = self.migrate(&page);
        let mut frame = self.frames.lock(&page);
        frame.migrating = false;
        if moved.is_ok() {
            self.frames.mark_poisoned(&mut frame);
        }
        drop(frame);
        self.frames.put(page);
        moved
    }

    /// Takes a frame out of use by moving all of the huge page that it is in. Where there is no
    /// room for that, the huge page is split. Returns whether the frame is out of use.
    fn offline_whole(&self, pfn: Pfn) -> Result<bool, Stays> {
        let Some(page) = self.frames.get_piece(pfn) else {
            return Ok(false);
        };
        let pooled = self.frames.lock(&page).is_pooled();
        let moved = self.migrate_block(&page);
        let offline = match moved {
            Ok(()) => {
                if let Some(mut frame) = self.frames.find(pfn) {
                    self.frames.mark_poisoned(&mut frame);
                }
                Ok(true)
            }
            // There is no room for all of it, or somebody holds another piece.
            Err(Stays::Error(_)) if !pooled => {
                let split = self.split_held(&page);
                split.map(|_| false).map_err(Stays::Error)
            }
            Err(stays) => Err(stays),
        };
        // With this goes what nobody needs any more.
        self.frames.put(page);
        offline
    }

    /// Moves a page that is marked as migrating. On an error it is mapped as before.
    pub(crate) fn migrate(&self, page: &UserFrame) -> Result<(), Stays> {
        let (state, mappers) = {
            let frame = self.frames.lock(page);
            (frame.state, frame.mappers.len())
        };
        let fresh = self
            .frames
            .allocate_user(&self.machine, state)
            .map_err(Stays::Error)?;
        let room = self
            .frames
            .lock(&fresh)
            .mappers
            .reserve(self.permit(), mappers);
        if let Err(error) = room {
            self.frames.put(fresh);
            return Err(Stays::Error(error));
        }
        // Until the end it gains no mapping by other ways, which would take the room.
        self.frames.lock(&fresh).migrating = true;
        self.freeze(page);
        let copied = match state {
            FrameState::File { file, index } => match self.find_file(file) {
                Some(file) => self.copy_cached(&file, index, page, &fresh),
                None => Err(Stays::Error(Errno::EBUSY)),
            },
            FrameState::Ksm => self.copy_stable(page, &fresh),
            _ => self.copy_private(page, &fresh),
        };
        self.thaw(page, if copied.is_ok() { &fresh } else { page });
        {
            let mut frame = self.frames.lock(&fresh);
            frame.migrating = false;
            if frame.mappers.is_empty() {
                self.leave_swap(&mut frame);
            }
        }
        self.frames.put(fresh);
        copied
    }

    /// Copies a private page, and puts the copy into its place in the swap cache.
    fn copy_private(&self, page: &UserFrame, fresh: &UserFrame) -> Result<(), Stays> {
        let cached = self.frames.lock(page).slot.is_some();
        self.copy_if_alone(page, fresh, u32::from(cached))?;
        self.move_in_swap(page, fresh);
        Ok(())
    }

    /// Copies a page of a file and puts the copy into the cache. The cache is locked meanwhile,
    /// so that nobody reads or writes the page.
    fn copy_cached(
        &self,
        file: &Arc<File>,
        index: u32,
        page: &UserFrame,
        fresh: &UserFrame,
    ) -> Result<(), Stays> {
        let mut slot = file
            .slots(index, core::slice::from_ref(page))
            .ok_or(Stays::Error(Errno::EBUSY))?;
        self.copy_if_alone(page, fresh, 1)?;
        let dirty = self.frames.lock(page).dirty;
        self.frames.lock(fresh).dirty = dirty;
        let old = slot.replace(0, self.frames.get(fresh.pfn()));
        drop(slot);
        self.frames.put(old);
        Ok(())
    }

    /// Copies a page that is merged, and puts the copy into its place in the stable tree.
    fn copy_stable(&self, page: &UserFrame, fresh: &UserFrame) -> Result<(), Stays> {
        let mut ksm = self.ksm.lock();
        ksm.reserve(self.permit()).map_err(Stays::Error)?;
        self.copy_if_alone(page, fresh, 0)?;
        ksm.moved(page.pfn(), fresh.pfn());
        Ok(())
    }

    /// Copies a frozen page, unless someone other than its mappers, the `cached` references of
    /// the page cache and this operation holds it.
    fn copy_if_alone(&self, page: &UserFrame, fresh: &UserFrame, cached: u32) -> Result<(), Stays> {
        {
            let frame = self.frames.lock(page);
            if frame.writeback || frame.references != frame.mappers.len() as u32 + cached + 1 {
                return Err(Stays::Error(Errno::EBUSY));
            }
        }
        self.machine.copy_page(fresh, page).map_err(Stays::Poisoned)
    }

    /// Makes a page or a huge page inaccessible to all who map it.
    pub(crate) fn freeze(&self, page: &UserFrame) {
        self.for_each_mapper(
            page,
            |_, inner: &mut Inner, mapper: Mapper| {
                if let Some(stale) = inner.table.freeze(&self.machine, mapper.page()) {
                    stale.flush(&self.machine);
                }
            },
            |_, _| {},
        );
    }

    /// Maps `target` wherever `page` is frozen. Stores come back by a fault.
    fn thaw(&self, page: &UserFrame, target: &UserFrame) {
        self.for_each_mapper(
            page,
            |_, inner, mapper| {
                let area = inner.vmas.find(mapper.page());
                debug_assert!(area.is_some(), "a page is mapped outside all areas");
                let protection = area.map_or(Protection::NONE, |vma| vma.protection.read_only());
                self.thaw_one(inner, mapper, page, target, protection);
            },
            |_, _| {},
        );
    }
}
