//! Fork: the child gets the areas, and shares private pages until someone stores to them.

use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::table::Stale;
use crate::vma::{Sharing, Vma};
use crate::{
    AddressSpace, Entry, Errno, FrameState, Locking, Machine, Memory, OnFork, PageRange, Pfn,
    Poisoned, Protection, SpaceId,
};

/// Why there is no child.
enum Fails {
    Error(Errno),
    Poisoned(Poisoned),
    /// Only a part of a huge page is pinned.
    Huge(Pfn),
    /// The pool has no huge page for a copy of one that is pinned.
    Pool,
}

impl From<Errno> for Fails {
    fn from(error: Errno) -> Self {
        Self::Error(error)
    }
}

impl<M: Machine> Memory<M> {
    /// A copy of an address space. Pages are shared until one side stores; only pinned ones are
    /// copied now, because a store of the parent's must not part it from its pin.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EHWPOISON`: a pinned page could not be copied, and is lost. There is no child,
    /// and the parent keeps all else.
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
                child.set_kill_policy(parent.kill_policy());
                Ok(child)
            }
            Err(fails) => {
                self.destroy(child);
                match fails {
                    Fails::Error(error) => Err(error),
                    Fails::Huge(pfn) => {
                        self.split(pfn)?;
                        Err(Errno::EBUSY)
                    }
                    Fails::Pool => match self.add_surplus() {
                        Ok(()) => Err(Errno::EBUSY),
                        Err(_) => Err(Errno::ENOMEM),
                    },
                    Fails::Poisoned(poisoned) => {
                        self.isolate_consumed(poisoned.pfn);
                        Err(Errno::EHWPOISON)
                    }
                }
            }
        }
    }

    fn copy_areas(
        &self,
        parent: &Inner,
        child_id: SpaceId,
        child: &mut Inner,
        stale: &mut Option<Stale>,
    ) -> Result<(), Fails> {
        for vma in parent.vmas.iter().filter(|vma| vma.on_fork != OnFork::Omit) {
            let mut copy = vma.part(vma.pages);
            copy.locking = Locking::Unlocked;
            copy.owner = false;
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
                return Err(error.into());
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
    ) -> Result<(), Fails> {
        let mut rest = Some(vma.pages);
        while let Some(range) = rest {
            let Some((pages, entry)) = parent.table.next(&self.machine, range) else {
                break;
            };
            rest = PageRange::new(pages.end(), vma.pages.end());
            match entry {
                // A reservation is the parent's.
                Entry::Empty | Entry::Reserved => {}
                Entry::HwPoison(_) | Entry::Taken | Entry::Swap(_) => {
                    child
                        .table
                        .prepare_for(&self.machine, &self.frames, pages)?;
                    if let Entry::Swap(slot) = entry {
                        // The parent's entry keeps the slot meanwhile.
                        self.swap.lock().add_entry(slot);
                    }
                    child.table.mark(&self.machine, pages, entry);
                }
                Entry::Page(pfn, _) if self.is_pinned_anonymous(pfn) => {
                    if pages.pages() > 1 && !self.frames.lock_known(pfn).is_pooled() {
                        return Err(Fails::Huge(pfn));
                    }
                    self.copy_now(child_id, child, pages, pfn, vma.protection)?;
                }
                Entry::Page(pfn, protection) => {
                    let shared = protection.read_only();
                    if !self.share_frame(child_id, child, pages, pfn, shared)? {
                        continue;
                    }
                    if let Some(more) = parent.table.protect(&self.machine, pages.start(), shared) {
                        *stale = Some(more.and(stale.take()));
                    }
                }
                Entry::Migration(_) => return Err(Errno::EBUSY.into()),
            }
        }
        Ok(())
    }

    fn is_pinned_anonymous(&self, pfn: Pfn) -> bool {
        let frame = self.frames.lock_known(pfn);
        frame.pins > 0 && frame.state == FrameState::Anonymous
    }

    /// Gives the child a copy of a page, or of a huge page of the pool (`copy_present_page`).
    fn copy_now(
        &self,
        child_id: SpaceId,
        child: &Inner,
        pages: PageRange,
        pfn: Pfn,
        protection: Protection,
    ) -> Result<(), Fails> {
        let huge = pages.pages() > 1;
        child
            .table
            .prepare_for(&self.machine, &self.frames, pages)?;
        let state = FrameState::Anonymous;
        let fresh = match huge {
            true => self
                .frames
                .allocate_pooled(state, false)
                .ok_or(Fails::Pool)?,
            false => self.frames.allocate_user(&self.machine, state)?,
        };
        let source = self.frames.get(pfn);
        let copied = match huge {
            true => self.copy_pieces(&fresh, &source),
            false => self.machine.copy_page(&fresh, &source),
        };
        self.frames.put(source);
        let adopted = copied.map_err(Fails::Poisoned).and_then(|()| {
            let permit = self.permit();
            let mut frame = self.frames.lock(&fresh);
            // A huge page counts as migrating until now.
            if frame.has_failed() || frame.migrating && !huge {
                return Err(Errno::EBUSY.into());
            }
            let mapper = Mapper::new(child_id, pages.start());
            frame.mappers.insert(permit, mapper)?;
            frame.migrating = false;
            Ok(())
        });
        if let Err(fails) = adopted {
            self.frames.put(fresh);
            return Err(fails);
        }
        let copy = Entry::Page(fresh.into_entry(), protection);
        child.table.mark(&self.machine, pages, copy);
        Ok(())
    }

    /// Gives the child an entry for the frame of one of the parent's, a page or a block, if it is
    /// private memory.
    fn share_frame(
        &self,
        child_id: SpaceId,
        child: &Inner,
        pages: PageRange,
        pfn: Pfn,
        protection: Protection,
    ) -> Result<bool, Errno> {
        if !self.frames.lock_known(pfn).is_private() {
            return Ok(false);
        }
        child
            .table
            .prepare_for(&self.machine, &self.frames, pages)?;
        let permit = self.permit();
        let mut frame = self.frames.lock_known(pfn);
        if frame.poisoned && frame.state == FrameState::Ksm {
            // It may get another frame at this moment.
            return Err(Errno::EBUSY);
        }
        if frame.has_failed() {
            // It is being unmapped from the parent at this moment, and what that leaves is this.
            drop(frame);
            child.table.mark(&self.machine, pages, Entry::HwPoison(pfn));
            return Ok(false);
        }
        if frame.migrating {
            return Err(Errno::EBUSY);
        }
        frame
            .mappers
            .insert(permit, Mapper::new(child_id, pages.start()))?;
        frame.references += 1;
        drop(frame);
        child
            .table
            .mark(&self.machine, pages, Entry::Page(pfn, protection));
        Ok(true)
    }
}
