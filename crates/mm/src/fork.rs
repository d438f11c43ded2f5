//! Fork: the child gets the areas, and shares private pages until someone stores to them.

use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::table::Stale;
use crate::vma::{Sharing, Vma};
use crate::{
    AddressSpace, Entry, Errno, FrameState, Machine, Memory, OnFork, PageRange, Pfn, Protection,
    SpaceId, VirtualPage,
};

impl<M: Machine> Memory<M> {
    /// A copy of an address space. Nothing is read: pages are shared until one side stores.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; there is no child, and the parent keeps all it had.
    pub fn fork(&self, parent: &AddressSpace) -> Result<AddressSpace, Errno> {
        loop {
            match self.with_reclaim(|| self.try_fork(parent)) {
                Err(Errno::EBUSY) => crate::lock::relax(),
                result => return result,
            }
        }
    }

    /// A fork that gives up with `EBUSY` when it meets a page that is being moved.
    fn try_fork(&self, parent: &AddressSpace) -> Result<AddressSpace, Errno> {
        let child = self.try_create()?;
        let result = {
            // The child is younger, and spaces are locked in order of age.
            let parent_inner = parent.0.inner.lock();
            let mut child_inner = child.0.inner.lock();
            let mut stale = None;
            let result = self.copy_areas(&parent_inner, child.id(), &mut child_inner, &mut stale);
            if let Some(stale) = stale {
                stale.flush(&self.machine);
            }
            result
        };
        match result {
            Ok(()) => {
                child.0.merging.inherit(&parent.0.merging);
                child.set_early_kill(
                    parent
                        .0
                        .early_kill
                        .load(core::sync::atomic::Ordering::Relaxed),
                );
                Ok(child)
            }
            Err(error) => {
                self.destroy(child);
                Err(error)
            }
        }
    }

    fn copy_areas(
        &self,
        parent: &Inner,
        child_id: SpaceId,
        child: &mut Inner,
        stale: &mut Option<Stale>,
    ) -> Result<(), Errno> {
        for vma in parent.vmas.iter().filter(|vma| vma.on_fork != OnFork::Omit) {
            let copy = vma.part(vma.pages);
            let file = copy.backing.file().cloned();
            let noted = match &file {
                Some(file) => file.add_space(self.permit(), child_id),
                None => Ok(()),
            };
            let inserted = noted.and_then(|()| child.vmas.insert(self.permit(), copy));
            if let Err(error) = inserted {
                if let Some(file) = file {
                    self.close(file);
                }
                return Err(error);
            }
            // Pages of files need not be copied: the child finds them when it touches them.
            if vma.sharing == Sharing::Private && vma.on_fork == OnFork::Inherit {
                self.copy_entries(parent, vma, child_id, child, stale)?;
            }
        }
        Ok(())
    }

    fn copy_entries(
        &self,
        parent: &Inner,
        vma: &Vma,
        child_id: SpaceId,
        child: &Inner,
        stale: &mut Option<Stale>,
    ) -> Result<(), Errno> {
        let mut rest = Some(vma.pages);
        while let Some(range) = rest {
            let Some((page, entry)) = parent.table.next(&self.machine, range) else {
                break;
            };
            rest = PageRange::new(page.next(), vma.pages.end());
            match entry {
                Entry::Empty => {}
                Entry::HwPoison(_) => {
                    child.table.prepare(&self.machine, &self.frames, page)?;
                    child.table.mark(&self.machine, page, entry);
                }
                Entry::Page(pfn, protection) => {
                    let shared = protection.read_only();
                    if !self.share_frame(child_id, child, page, pfn, shared)? {
                        continue;
                    }
                    if let Some(more) = parent.table.protect(&self.machine, page, shared) {
                        *stale = Some(more.and(stale.take()));
                    }
                }
                Entry::Migration(_) => return Err(Errno::EBUSY),
            }
        }
        Ok(())
    }

    /// Gives the child an entry for the frame of one of the parent's, if it is private memory.
    fn share_frame(
        &self,
        child_id: SpaceId,
        child: &Inner,
        page: VirtualPage,
        pfn: Pfn,
        protection: Protection,
    ) -> Result<bool, Errno> {
        if !self.frames.lock_known(pfn).is_private() {
            return Ok(false);
        }
        child.table.prepare(&self.machine, &self.frames, page)?;
        let permit = self.permit();
        let mut frame = self.frames.lock_known(pfn);
        if frame.poisoned && frame.state == FrameState::Ksm {
            // It may get another frame at this moment.
            return Err(Errno::EBUSY);
        }
        if frame.poisoned {
            // It is being unmapped from the parent at this moment, and what that leaves is this.
            drop(frame);
            child.table.mark(&self.machine, page, Entry::HwPoison(pfn));
            return Ok(false);
        }
        if frame.migrating {
            return Err(Errno::EBUSY);
        }
        frame.mappers.insert(permit, Mapper::new(child_id, page))?;
        frame.references += 1;
        drop(frame);
        child
            .table
            .mark(&self.machine, page, Entry::Page(pfn, protection));
        Ok(true)
    }
}
