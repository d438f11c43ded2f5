//! Which areas take part in merging, and giving pages frames of their own again.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::fault::{Need, Stop};
use crate::memory::Inner;
use crate::table::pages_end;
use crate::vma::Vma;
use crate::{
    AddressSpace, Entry, Errno, FrameState, Machine, Memory, Outcome, PageRange, Sharing, SpaceId,
};

/// An address space's part in merging. It is changed with the space locked, or new; who looks at it without
/// may miss a change that is being made.
#[derive(Debug)]
pub(crate) struct Membership {
    /// One of its areas is mergeable, or was.
    member: AtomicBool,
    /// All its areas are that can be, and those to come.
    all_areas: AtomicBool,
}

impl Membership {
    pub(crate) const fn new() -> Self {
        Self {
            member: AtomicBool::new(false),
            all_areas: AtomicBool::new(false),
        }
    }

    pub(super) fn is_member(&self) -> bool {
        self.member.load(Ordering::Relaxed)
    }

    fn join(&self) {
        self.member.store(true, Ordering::Relaxed);
    }

    /// Takes the part that another space has.
    pub(crate) fn inherit(&self, parent: &Self) {
        let copy = |from: &AtomicBool, to: &AtomicBool| {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        };
        copy(&parent.member, &self.member);
        copy(&parent.all_areas, &self.all_areas);
    }

    /// Whether a new area is mergeable.
    pub(crate) fn takes(&self, sharing: Sharing) -> bool {
        sharing == Sharing::Private && self.all_areas.load(Ordering::Relaxed)
    }
}

fn make_mergeable(area: &mut Vma) {
    // As in Linux, what cannot be merged ignores the advice.
    area.mergeable = area.sharing == Sharing::Private && !area.is_pooled();
}

impl<M: Machine> Memory<M> {
    /// Acts on `MADV_MERGEABLE`.
    pub(crate) fn advise_mergeable(
        &self,
        space: &AddressSpace,
        inner: &mut Inner,
        pages: PageRange,
    ) -> Result<(), Errno> {
        self.split_at_ends(inner, pages)?;
        inner.vmas.change(pages, make_mergeable);
        space.0.merging.join();
        Ok(())
    }

    /// Acts on `MADV_UNMERGEABLE`. On an error the areas are as they were; pages that have a
    /// frame of their own again keep it.
    pub(crate) fn advise_unmergeable(
        &self,
        space: &AddressSpace,
        pages: PageRange,
    ) -> Result<(), Errno> {
        self.unmerge(space, pages, |inner| {
            self.split_at_ends(inner, pages)?;
            inner.vmas.change(pages, |area| area.mergeable = false);
            Ok(())
        })
    }

    /// Makes all areas of a process mergeable that can be, and those it will have, as
    /// `prctl(PR_SET_MEMORY_MERGE)` does; or unmerges them all. A fork inherits it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`: there is no memory to give every page a frame of its own again. Nothing that
    /// the process can see has changed.
    pub fn set_memory_merge(&self, space: &AddressSpace, all_areas: bool) -> Result<(), Errno> {
        let setting = &space.0.merging.all_areas;
        if all_areas {
            let mut inner = space.0.inner.lock();
            setting.store(true, Ordering::Relaxed);
            inner.vmas.change(PageRange::ALL, make_mergeable);
            space.0.merging.join();
            return Ok(());
        }
        self.unmerge(space, PageRange::ALL, |inner| {
            setting.store(false, Ordering::Relaxed);
            inner
                .vmas
                .change(PageRange::ALL, |area| area.mergeable = false);
            Ok(())
        })
    }

    /// Whether all areas of a process are mergeable (`prctl(PR_GET_MEMORY_MERGE)`).
    pub fn memory_merge(&self, space: &AddressSpace) -> bool {
        space.0.merging.all_areas.load(Ordering::Relaxed)
    }

    /// Gives every merged page of every process a frame of its own again, as writing 2 to
    /// `/sys/kernel/mm/ksm/run` does. Areas stay mergeable: the scanner should rest first.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the rest of the pages stay merged.
    pub fn ksm_unmerge_all(&self) -> Result<(), Errno> {
        let mut id = SpaceId(0);
        loop {
            let next = self
                .spaces
                .lock()
                .ceiling(id)
                .map(|(id, space)| (id, Arc::clone(space)));
            let Some((found, space)) = next else {
                return Ok(());
            };
            if space.merging.is_member() {
                self.unmerge(&AddressSpace(space), PageRange::ALL, |_| Ok(()))?;
            }
            id = SpaceId(found.0 + 1);
        }
    }

    /// How many pages of a process share a frame by contents
    /// (`/proc/pid/ksm_merging_pages`, with those of zeros).
    pub fn ksm_merging_pages(&self, space: &AddressSpace) -> u64 {
        let inner = space.0.inner.lock();
        self.merged(&inner, PageRange::ALL)
            .filter(Result::is_ok)
            .count() as u64
    }

    /// Gives all pages in a range frames of their own, and then runs `finish` under the same
    /// lock. A page that turns out to be lost does not stop it: its process is told when it
    /// touches the page.
    fn unmerge(
        &self,
        space: &AddressSpace,
        pages: PageRange,
        finish: impl FnOnce(&mut Inner) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        loop {
            let mut inner = self.lock_apart(space, pages)?;
            match self.unmerge_pages(space, &inner, pages) {
                Ok(()) => return finish(&mut inner),
                Err(Stop::Need(Need::Isolation(pfn))) => {
                    drop(inner);
                    self.isolate_consumed(pfn);
                }
                Err(Stop::Outcome(Outcome::Retry)) => {
                    drop(inner);
                    crate::lock::relax();
                }
                Err(_) => return Err(Errno::ENOMEM),
            }
        }
    }

    fn unmerge_pages(
        &self,
        space: &AddressSpace,
        inner: &Inner,
        pages: PageRange,
    ) -> Result<(), Stop> {
        for page in self.merged(inner, pages) {
            self.unshare(space, inner, page?)?;
        }
        Ok(())
    }

    /// The merged pages in a range. An entry of a page that is being moved may be one.
    fn merged<'a>(
        &'a self,
        inner: &'a Inner,
        pages: PageRange,
    ) -> impl Iterator<Item = Result<crate::VirtualPage, Stop>> + 'a {
        let mut rest = PageRange::new(pages.start(), pages.end().min(pages_end::<M>()));
        if inner.vmas.len() == 0 {
            // The space may have ended, and its tables be someone else's.
            rest = None;
        }
        core::iter::from_fn(move || {
            loop {
                let range = rest?;
                let (found, entry) = inner.table.next(&self.machine, range)?;
                rest = PageRange::new(found.end(), range.end());
                match entry {
                    Entry::Page(pfn, _) => {
                        if self.frames.lock_known(pfn).state == FrameState::Ksm {
                            return Some(Ok(found.start()));
                        }
                    }
                    Entry::Migration(_) => return Some(Err(Stop::Outcome(Outcome::Retry))),
                    Entry::Empty
                    | Entry::HwPoison(_)
                    | Entry::Reserved
                    | Entry::Taken
                    | Entry::Swap(_) => {}
                }
            }
        })
    }
}
