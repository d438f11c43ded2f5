//! Moving a page to another frame while processes use it, and soft offline on top of it.
//!
//! Every mapping is replaced by a migration entry, so that no CPU can reach the page; then it is
//! copied; then the entries are replaced by mappings of the copy, or of the original if the copy
//! failed. A page that moves gains no mapping: a fault waits, and a fork starts again.

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
    /// Takes a frame out of use before it fails, and keeps what is in it.
    ///
    /// # Errors
    ///
    /// `ENXIO`: not ours. `EBUSY`: it is the kernel's, or someone holds it. `ENOMEM`: there is no
    /// frame to move to, or none to split the huge page it is in. `EHWPOISON`: it could not be read; the page was dealt with as
    /// [`memory_failure`](Self::memory_failure) does. Otherwise the page stays as it was.
    pub fn soft_offline(&self, pfn: Pfn) -> Result<(), Errno> {
        self.with_reclaim(|| self.try_soft_offline(pfn))
    }

    fn try_soft_offline(&self, pfn: Pfn) -> Result<(), Errno> {
        let moved = {
            let _one = self.failures.lock();
            self.split_locked(pfn)?;
            let page = {
                let mut frame = self.frames.find(pfn).ok_or(Errno::ENXIO)?;
                match frame.state {
                    _ if frame.poisoned => return Ok(()),
                    FrameState::Free => {
                        // On its way out of the allocator it is used, and cannot be found yet.
                        if !self.frames.isolate_free(&mut frame, pfn) {
                            return Err(Errno::EBUSY);
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
                    _ => return Err(Errno::EBUSY),
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
        };
        match moved {
            Ok(()) => Ok(()),
            Err(Stays::Error(error)) => Err(error),
            Err(Stays::Poisoned(poisoned)) => {
                self.isolate_consumed(poisoned.pfn);
                Err(Errno::EHWPOISON)
            }
        }
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
            _ => self.copy_if_alone(page, &fresh, 0),
        };
        self.thaw(page, if copied.is_ok() { &fresh } else { page });
        self.frames.lock(&fresh).migrating = false;
        self.frames.put(fresh);
        copied
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
                let reference = self.frames.get(target.pfn());
                if target.pfn() != page.pfn() {
                    self.frames.lock(page).mappers.remove(mapper);
                    self.frames.lock(target).mappers.insert_reserved(mapper);
                }
                let old = inner
                    .table
                    .thaw(&self.machine, mapper.page(), reference, protection);
                self.frames.put(old);
            },
            |_, _| {},
        );
    }
}
